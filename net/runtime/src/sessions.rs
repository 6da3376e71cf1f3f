//! Sessions of this user: what is kept of them, what is done with them, and how the runtime takes part.

pub mod acts;
pub(crate) mod live;
pub(crate) mod log;
mod membership;
mod status;
pub(crate) mod store;

pub use acts::{Error, InviteOptions};
pub use log::{Act, LOG_LINES_MAX, LogEntry};
pub use membership::Membership;
pub use status::{SessionMember, SessionStatus, Stranger};
pub use store::{Accepted, Stamp, Store, StoreError, WAIT_MAX, may_edit};

#[cfg(test)]
mod tests;
