//! The receiving half: a stream, as what a callback asks for.

use audiocloud_engine::rt::block_ring::block_ring;
use audiocloud_engine::rt::callback::Callback;
use audiocloud_engine::rt::event::event_ring;
use audiocloud_engine::rt::snapshot;
use audiocloud_engine::stream::receiver::{
    self, Clock, Config, LinkOffset, Mode, Playout, Settings, State, Status,
};
use audiocloud_engine::units::{Frames, Nanos, SessionLine};
use audiocloud_net::runtime::{self, Handle, StreamEntry, Subscription};
use audiocloud_net::runtime::{Link, LossCause, SubscribeConfig};
use audiocloud_net::wire::quality::Quality;
use serde_json::{Value, json};

use super::{EVENTS, Process, Shape};

/// As late as it gets where it may be as early as the network allows.
const CEILING: Nanos = Nanos::from_millis(100);
const DELAY_MAX: Nanos = Nanos::from_millis(1_000);

/// How a stream is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Always so late; none: as early as can be.
    pub(super) delay: Option<Nanos>,
    pub(super) is_aligned: bool,
    pub(super) has_same_clock: bool,
}

impl Wish {
    fn settings(&self, shape: &Shape) -> Settings {
        let frames = |span: Nanos| span.to_frames_nearest(shape.sample_rate);
        let mode = match self.delay {
            _ if self.is_aligned => Mode::Aligned { link_offset: LinkOffset::Agreed },
            Some(delay) => Mode::Fixed { delay: frames(delay) },
            None => Mode::Lowest { floor: Frames::new(0), ceiling: frames(CEILING) },
        };
        Settings { mode, clock: if self.has_same_clock { Clock::Shared } else { Clock::Automatic } }
    }
}

/// A stream that is played until it is dropped.
pub(super) struct Playing {
    subscription: Subscription,
    playout: snapshot::Reader<Status>,
    /// Kept, for without a user it stands still.
    _clock: runtime::clock::Clock,
}

/// The callback's end.
pub(super) struct Sound {
    playout: Playout,
    line: Option<snapshot::Reader<Option<SessionLine>>>,
}

/// Plays `stream` on a device of this shape.
pub(super) fn play(handle: &Handle, stream: &StreamEntry, shape: &Shape, wish: &Wish) -> (Playing, Sound) {
    let widest = Shape { channels: shape.channels.max(stream.channels), ..*shape };
    let (blocks, samples) = widest.ring();
    let (block_producer, block_consumer) = block_ring(blocks, samples);
    let (event_producer, event_consumer) = event_ring(EVENTS);
    let config = Config {
        sample_rate: shape.sample_rate,
        stream_rate: Some(stream.sample_rate),
        channels: shape.channels,
        max_block: shape.block_max,
        settings: wish.settings(shape),
        delay_max: DELAY_MAX.to_frames_ceil(shape.sample_rate),
    };
    let playout = Playout::new(config, block_consumer, event_consumer);
    let status = playout.status();
    let clock = handle.clock(stream.session);
    let line = wish.is_aligned.then(|| clock.line());
    let subscribe =
        SubscribeConfig { key: stream.key, quality: Quality::default(), due: Some(playout.due()) };
    let shown = status.clone();
    let report = Box::new(move || {
        let playout = shown.read();
        json!({ "kind": "receive", "state": format!("{:?}", playout.state), "delay_frames": playout.delay_frames })
    });
    let subscription = handle.subscribe(subscribe, block_producer, event_producer, report);
    (Playing { subscription, playout: status, _clock: clock }, Sound { playout, line })
}

impl Playing {
    /// Whether the stream was there and its publisher has ended it.
    pub(super) fn has_ended(&self) -> bool {
        let was_there = self.playout.read().blocks > 0;
        let link = self.subscription.status().link;
        let is_over = matches!(
            link,
            Link::NotPublished | Link::Lost { cause: LossCause::Unpublished | LossCause::PeerClosed, .. }
        );
        // What is in the rings is played out first.
        was_there && is_over && self.playout.read().state != State::Playing
    }

    /// Whether it cannot be played here any more, for it has another sample rate now.
    pub(super) fn has_another_rate(&self) -> bool {
        matches!(self.playout.read().state, State::RateMismatch { .. })
    }

    /// Why nothing is heard, if it is known.
    pub(super) fn trouble(&self) -> Option<String> {
        match self.subscription.status().link {
            Link::Refused { reason } | Link::Unplayable { reason } => Some(reason),
            _ => None,
        }
    }

    /// What became of it.
    pub(super) fn figures(&self) -> Value {
        let status: receiver::Status = self.playout.read();
        json!({
            "frames": status.played_frames,
            "frames_missing": status.missing_frames,
            "is_resampling": status.is_resampling,
            "delay_frames": status.delay_frames,
        })
    }
}

impl Sound {
    /// Fills a block. *Realtime-safe: yes.*
    pub(super) fn fill<C: AsMut<[f32]>>(&mut self, callback: &Callback<'_>, output: &mut [C]) {
        if let Some(line) = &self.line {
            self.playout.set_session_line(line.read());
        }
        self.playout.process(callback, output, |_, _| ());
    }

    /// Where it stands, on the thread that plays it. *Realtime-safe: yes.*
    pub(super) fn status(&self) -> snapshot::Reader<Status> {
        self.playout.status()
    }
}

impl Process for Sound {
    fn process(&mut self, callback: &Callback<'_>, _input: &[&[f32]], output: &mut [&mut [f32]]) {
        self.fill(callback, output);
    }
}
