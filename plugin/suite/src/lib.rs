//! The one library that exports every audiocloud plug-in
