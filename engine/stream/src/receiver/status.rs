use audiocloud_rt::block_ring::Epoch;
use audiocloud_units::{HostTime, MediaTime, Nanos, SampleRate};

use crate::meter;

/// What the playout is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No block has come yet, or the stream was let go.
    Empty,
    /// A block has come; its first frame is due when the playout delay is over.
    Waiting,
    /// Frames are played.
    Playing,
    /// Frames are due and none are there: the sender paused or ended, or the network fails.
    Starved,
    /// The stream has a higher rate than this device, and it was not foreseen: silence.
    RateMismatch {
        /// The stream's rate.
        theirs: SampleRate,
    },
}

/// How a stream that is to be played at a time of the session keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alignment {
    /// It is not to be.
    #[default]
    Off,
    /// This machine does not know the session's time.
    NoTime,
    /// The sender does not know it: its frames bear no stamps.
    NoStamps,
    /// The link offset is longer than the playout can hold frames.
    TooLong,
    /// It does, so far off at the last callback: of what is heard, above 0 too late.
    Kept {
        /// So far.
        error: Nanos,
    },
}

/// Why the read position was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The frame index leapt further ahead than the buffer holds: the sender skipped, or a long outage ended.
    StreamJumped,
    /// The sender's host rendered more than half a second ahead of real time.
    SenderAhead,
    /// Blocks came too late: the network or the sender became slower, and the delay longer.
    BlocksLate,
    /// Blocks came at the last moment: the delay became longer before one was late.
    BlocksNearlyLate,
    /// Blocks came earlier than necessary for a while: the delay became shorter.
    BlocksEarly,
    /// This host did not call for a while.
    ReceiverStalled,
    /// This host's blocks became longer than the delay allows.
    BlocksLonger,
    /// To be heard at its time of the session: at the start, when frames were lost at either end, or when the link offset
    /// became another.
    SessionTime,
}

/// How long frames took, from [`audiocloud_rt::block_ring::Header::host_time`] until the callback's entry plus the
/// frame's offset in its block. For a sender on the same machine that is from the sender's callback to leaving ours;
/// over a network, where the runtime sets `host_time` at a packet's arrival, it is the time spent in this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Of the last block.
    pub last: Nanos,
    /// Least since this epoch began.
    pub min: Nanos,
    /// Most since this epoch began.
    pub max: Nanos,
    /// Median since this epoch began, to 0.05 ms; refreshed about every second.
    pub median: Nanos,
    /// 99th percentile since this epoch began, to 0.05 ms; refreshed about every second.
    pub p99: Nanos,
    /// Blocks measured.
    pub blocks: u64,
}

/// What the playout has done since it was made. Counts never go back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The epoch being played.
    pub epoch: Option<Epoch>,
    /// The next frame to be played.
    pub played: MediaTime,
    /// Channels of the stream.
    pub stream_channels: u16,
    /// How long frames took.
    pub latency: Latency,
    /// Frames between the read position and the newest frame's end, when the last callback began; below 0 starved.
    pub level_frames: i64,
    /// How early the last block was: frames from the callback that took it until its first frame was due.
    pub margin_frames: i64,
    /// The delay in effect, in frames of the stream from callback to callback: what was asked for, or more where a
    /// callback's block is longer; of the lowest latency, what it is on average.
    pub delay_frames: i64,
    /// From the last block's arrival until its first frame is due, in frames of the stream.
    pub hold_frames: i64,
    /// How the session's time is kept, where it is to be.
    pub alignment: Alignment,
    /// From when a frame was recorded until it leaves, on the session's clock, where that is kept.
    pub link_offset: Nanos,
    /// The smallest link offset that could be kept here, where the session's time is known.
    pub needs: Option<Nanos>,
    /// How much faster the sender's sample clock runs than ours, in parts per million, as far as it is known.
    pub ppm: f64,
    /// Whether the stream is resampled: the clocks or the rates differ.
    pub is_resampling: bool,

    /// Blocks taken from the ring.
    pub blocks: u64,
    /// Frames played as they came: bit for bit, but where the stream is resampled.
    pub played_frames: u64,
    /// Frames that were not there in time, though later ones of the stream came: lost or late.
    pub missing_frames: u64,
    /// Frames that the sender said it never sent: paused, or its ring was full.
    pub unsent_frames: u64,
    /// Frames of silence while nothing at all was there to be played, the end of a stream included.
    pub starved_frames: u64,
    /// Frames played with a fade or cross-fade.
    pub faded_frames: u64,
    /// Frames that were missing, or not yet there, and in whose place the sound was carried on.
    pub concealed_frames: u64,
    /// How often that began.
    pub concealments: u64,
    /// Blocks that were lost on the way and came in the end: sent again, or computed.
    pub recovered_blocks: u64,
    /// Blocks that came, at least in part, after they were due.
    pub late_blocks: u64,
    /// Frames of those.
    pub late_frames: u64,
    /// Blocks of which everything was there already.
    pub duplicate_blocks: u64,
    /// Blocks of an epoch that is over.
    pub stale_blocks: u64,
    /// Blocks whose header contradicts itself.
    pub malformed_blocks: u64,
    /// Blocks of a rate that cannot be played.
    pub mismatched_blocks: u64,

    /// Epochs begun.
    pub epochs: u64,
    /// Times the read position was set anew, not cross-faded from afar: audible.
    pub resyncs: u64,
    /// Moves of the read position that made the delay longer or shorter.
    pub slips: u64,
    /// Frames skipped (positive) or repeated (negative) by slips, summed.
    pub slipped_frames: i64,
    /// Moves of the read position to where the session's time has it.
    pub realignments: u64,
    /// Cross-faded moves because the user changed the delay.
    pub delay_changes: u64,
    /// Why the read position was last moved, but for the user's wish.
    pub last_cause: Option<Cause>,
    /// When that was.
    pub last_cause_at: HostTime,
    /// Most frames that one callback found waiting, in the last one to two seconds: bursts of the sender's host.
    pub burst_frames: i64,

    /// Events played.
    pub events_played: u64,
    /// Events noticed missing by their numbers, or given up because their epoch never came.
    pub events_lost: u64,
    /// Events that came too late and were not played.
    pub events_late: u64,
    /// Events for which there was no room.
    pub events_dropped: u64,
    /// Notes let go because the stream failed them.
    pub notes_released: u64,

    /// Peak per channel of what was played, linear, falling 20 dB in 1.7 s.
    pub peaks: [f32; meter::CHANNELS_MAX],
    /// When the last block was taken; zero before the first.
    pub last_block_at: HostTime,
    /// Whether the writing end of the ring is gone.
    pub abandoned: bool,
}

impl Status {
    pub(super) fn new() -> Self {
        Self {
            state: State::Empty,
            epoch: None,
            played: MediaTime::ZERO,
            stream_channels: 0,
            latency: Latency::default(),
            level_frames: 0,
            margin_frames: 0,
            delay_frames: 0,
            hold_frames: 0,
            alignment: Alignment::Off,
            link_offset: Nanos::ZERO,
            needs: None,
            ppm: 0.0,
            is_resampling: false,
            blocks: 0,
            played_frames: 0,
            missing_frames: 0,
            unsent_frames: 0,
            starved_frames: 0,
            faded_frames: 0,
            concealed_frames: 0,
            concealments: 0,
            recovered_blocks: 0,
            late_blocks: 0,
            late_frames: 0,
            duplicate_blocks: 0,
            stale_blocks: 0,
            malformed_blocks: 0,
            mismatched_blocks: 0,
            epochs: 0,
            resyncs: 0,
            slips: 0,
            slipped_frames: 0,
            realignments: 0,
            delay_changes: 0,
            last_cause: None,
            last_cause_at: HostTime::new(0),
            burst_frames: 0,
            events_played: 0,
            events_lost: 0,
            events_late: 0,
            events_dropped: 0,
            notes_released: 0,
            peaks: [0.0; meter::CHANNELS_MAX],
            last_block_at: HostTime::new(0),
            abandoned: false,
        }
    }
}
