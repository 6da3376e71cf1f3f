//! What the two ends count. Who owns a loss is said with it; the rest is no loss.

use audiocloud_wire::packet::slice_report::SliceReport;

/// What an [`Outlet`](super::Outlet) has done, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutletFigures {
    /// Slices that were made.
    pub slices: u64,
    /// Bytes of all that was sent, repeats too.
    pub bytes: u64,
    /// Events in them.
    pub events: u64,
    /// Slices that were sent a second time unasked.
    pub repeats: u64,
    /// Slices that were sent again on request.
    pub resends: u64,
    /// Requests for slices that are not kept any more. Owner: the network.
    pub requests_too_old: u64,
    /// Requests beyond what may be owed. Owner: our limit.
    pub requests_refused: u64,
    /// Events of another epoch, or with values that are no numbers: not sent. Owner: the sender's computer.
    pub events_refused: u64,
    /// Times that frames were never given to us between two blocks. Owner: the sender's computer.
    pub discontinuities: u64,
    /// Whether each slice is sent twice at present.
    pub doubling: bool,
    /// What the other end reported of the present epoch.
    pub far: Option<SliceReport>,
}

/// What an [`Intake`](super::Intake) has done, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeFigures {
    /// Slices that came, each once.
    pub slices: u64,
    /// Frames in them.
    pub frames: u64,
    /// Events that were handed over.
    pub events: u64,
    /// Slices that did not come by themselves.
    pub missed: u64,
    /// Of these, slices that came in time by a repeat, asked for or not.
    pub recovered: u64,
    /// Slices that did not come in time. Owner: the network.
    pub lost: u64,
    /// Of these, slices that came after that.
    pub late: u64,
    /// Frames of silence in place of what did not come. Owner: the network.
    pub filled_frames: u64,
    /// Times that the frames' numbers jumped.
    pub jumps: u64,
    /// Events that never came. Owner: the network.
    pub events_lost: u64,
    /// Events that came late, and still counted.
    pub events_late: u64,
    /// Slices that had come before.
    pub duplicates: u64,
    /// Slices of an epoch that is over.
    pub stale: u64,
    /// Slices that are not of this way, or out of turn on a stream. Owner: our limit.
    pub refused: u64,
    /// Requests that were sent.
    pub requests: u64,
}
