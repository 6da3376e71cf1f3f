//! Systems whose kernels do not tell when a packet left.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{PtpConfig, PtpError};
use crate::status::Shared;

pub(super) fn start(
    _: Arc<Shared>,
    _: PtpConfig,
    _: [u8; 8],
) -> Result<(oneshot::Sender<()>, JoinHandle<()>), PtpError> {
    Err(PtpError::NotLinux)
}
