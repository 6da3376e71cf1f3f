//! The receiving half: from datagrams to blocks and events, requests and reports.
