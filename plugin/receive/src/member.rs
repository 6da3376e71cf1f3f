//! One stream that is played, beside the callbacks: its subscription, its fader, its plan.

use std::sync::Arc;
use std::time::Instant;

use audiocloud_engine::rt::{host_time, snapshot};
use audiocloud_engine::stream::receiver::{self, Cause};
use audiocloud_engine::units::{Frames, Nanos, SampleRate};
use audiocloud_instance::feedback::Watch;
use audiocloud_instance::state::{PersonRef, StreamRef};
use audiocloud_instance::status::{RECENT, Recent};
use audiocloud_instance::time::Setup;
use audiocloud_net::runtime::{self, Subscription, SubscriptionStatus};
use audiocloud_net::session::budget::Waterfall;
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::quality::Quality;

use crate::missing;
use crate::planner::Planner;
use crate::settings::Hold;
use crate::status::{Facts, Link, Sound};
use crate::strip::Dial;
use crate::timing::Timing;

/// Half of the 96 taps of the playout's resampler, in frames: how long it keeps a frame.
const RESAMPLER_FRAMES: i64 = 48;
/// Of Opus: a frame where none is asked for, and what an encoder without its speech half looks ahead, in microseconds.
const OPUS_FRAME_US: u32 = 5_000;
const OPUS_LOOKAHEAD_US: u32 = 2_500;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) stream: StreamRef,
    pub(crate) person: PersonRef,
    /// What its person is called in the session; empty where that is not known.
    pub(crate) called: String,
    pub(crate) slot: usize,
    pub(crate) subscription: Subscription,
    pub(crate) playout: snapshot::Reader<receiver::Status>,
    pub(crate) watch: Option<Watch>,
    pub(crate) dial: Arc<Dial>,
    /// The output of its own that it has in this run.
    pub(crate) output: Option<u8>,
    /// The rate that the playout was made for; none: not more than ours.
    pub(crate) stream_rate: Option<SampleRate>,
    /// What was asked for last.
    pub(crate) asked: Quality,
    pub(crate) planner: Planner,
    pub(crate) plan: snapshot::Writer<Option<Hold>>,
    pub(crate) timing: Timing,
    pub(crate) gaps: Recent,
    /// When it was in reach last.
    pub(crate) seen: Instant,
}

/// What there is to know of a stream at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) playout: receiver::Status,
    pub(crate) wire: SubscriptionStatus,
}

impl Member {
    pub(crate) fn read(&self) -> Reading {
        Reading { playout: self.playout.read(), wire: self.subscription.status() }
    }

    /// Asks for another quality, if it is another.
    pub(crate) fn ask(&mut self, quality: Quality) {
        if self.asked != quality {
            self.asked = quality;
            self.subscription.set_quality(quality);
        }
    }

    /// What the stream was called last; its id where that was never known.
    pub(crate) fn name(&self, wire: &SubscriptionStatus, kept: &str) -> String {
        let names = [wire.stream_name.clone(), kept.to_owned()];
        let known = names.into_iter().find(|name| !name.is_empty());
        known.unwrap_or_else(|| self.subscription.key().stream.to_string())
    }

    /// What its publisher was called last, or its person; the device where neither was ever known.
    pub(crate) fn publisher(&self, wire: &SubscriptionStatus) -> String {
        let names = [&wire.publisher_name, &self.called];
        let known = names.into_iter().find(|name| !name.is_empty());
        known.cloned().unwrap_or_else(|| format!("device {}", self.subscription.key().publisher.short()))
    }

    /// What the sentence about it depends on; `kept` is what the project calls it.
    pub(crate) fn facts(&mut self, reading: &Reading, setup: Option<Setup>, kept: &str) -> Facts {
        let playout = &reading.playout;
        let ms = |frames| setup.map_or(0.0, |setup| reading.stream_ms(frames, setup.sample_rate));
        Facts {
            name: self.name(&reading.wire, kept),
            publisher: self.publisher(&reading.wire),
            link: reading.link(),
            sound: reading.sound(),
            looped: self.watch.as_ref().is_some_and(Watch::is_looped),
            ours_hz: setup.map_or(0, |setup| setup.sample_rate.hz()),
            gaps: self.gaps.look(playout.missing_frames, Instant::now()),
            silent_s: reading.silent_s(),
            cause: reading.recent_cause(),
            burst_ms: ms(playout.burst_frames),
            delay_ms: ms(playout.delay_frames),
            alignment: playout.alignment,
            link_offset: playout.link_offset,
            needs: playout.needs,
            bars: self.timing.bars(),
        }
    }

    /// As it is remembered once it is no longer waited for.
    pub(crate) fn as_missing(&self) -> missing::Stream {
        let wire = self.subscription.status();
        let (name, publisher) = (self.name(&wire, ""), self.publisher(&wire));
        missing::Stream { stream: self.stream, person: self.person, name, publisher }
    }
}

impl Reading {
    /// Frames of the stream as milliseconds.
    pub(crate) fn stream_ms(&self, frames: i64, ours: SampleRate) -> f64 {
        let rate = self.wire.sample_rate.unwrap_or(ours);
        Frames::new(frames).to_nanos_floor(rate).as_millis_f64()
    }

    /// The way there: half of the round trip, for the playout measures from a packet's arrival.
    pub(crate) fn way(&self) -> Nanos {
        Nanos::new(i64::try_from(self.wire.path.rtt_us).unwrap_or(0).saturating_mul(500))
    }

    /// From a sample's arrival in Send to its leaving here, while something is playing.
    pub(crate) fn latency(&self) -> Option<Nanos> {
        self.here(self.playout.latency.last)
    }

    /// The same as it is by and large, which lasts.
    pub(crate) fn latency_median(&self) -> Option<Nanos> {
        self.here(self.playout.latency.median)
    }

    fn here(&self, here: Nanos) -> Option<Nanos> {
        let playing = self.playout.state == receiver::State::Playing && self.playout.latency.blocks > 0;
        playing.then(|| here + self.way())
    }

    /// Where the milliseconds go, for a stream that was asked for as this.
    pub(crate) fn waterfall(&self, setup: &Setup, asked: Quality) -> Waterfall {
        let rate = self.wire.sample_rate.unwrap_or(setup.sample_rate);
        let span = |frames: i64, rate| Frames::new(frames).to_nanos_floor(rate);
        Waterfall {
            sender_block: span(self.wire.block_frames_max.into(), rate),
            codec: codec(asked),
            wire: self.way(),
            jitter: span(self.playout.hold_frames.max(0), rate),
            resampler: if self.playout.is_resampling { span(RESAMPLER_FRAMES, rate) } else { Nanos::ZERO },
            receiver_block: span(setup.block_max.into(), setup.sample_rate),
        }
    }

    pub(crate) fn link(&self) -> Link {
        match &self.wire.link {
            runtime::Link::Connecting => Link::Connecting,
            runtime::Link::Refused { reason } => Link::Refused { reason: reason.clone() },
            runtime::Link::Unplayable { reason } => Link::Unplayable { reason: reason.clone() },
            runtime::Link::NotPublished => Link::NotPublished,
            runtime::Link::Live => Link::Live,
            runtime::Link::Lost { since, cause } => {
                let seconds = (host_time::now() - *since).get() / 1_000_000_000;
                Link::Lost { cause: loss(*cause), seconds }
            }
            _ => Link::Searching,
        }
    }

    pub(crate) fn sound(&self) -> Sound {
        match self.playout.state {
            receiver::State::Empty | receiver::State::Waiting => Sound::Waiting,
            receiver::State::Playing => Sound::Playing,
            receiver::State::Starved => Sound::Starved,
            receiver::State::RateMismatch { theirs } => Sound::RateMismatch { theirs_hz: theirs.hz() },
        }
    }

    /// Why the playout moved, within the last while.
    pub(crate) fn recent_cause(&self) -> Option<Cause> {
        let age = host_time::now() - self.playout.last_cause_at;
        self.playout.last_cause.filter(|_| age < Nanos::from(RECENT))
    }

    /// How long nothing has come, s.
    pub(crate) fn silent_s(&self) -> i64 {
        (host_time::now() - self.playout.last_block_at).get() / 1_000_000_000
    }
}

/// How long Opus waits for a frame to be full, and what it looks ahead. PCM waits for nothing.
fn codec(asked: Quality) -> Nanos {
    if asked.codec != Some(Codec::Opus) {
        return Nanos::ZERO;
    }
    let frame_us = if asked.frame_us == 0 { OPUS_FRAME_US } else { asked.frame_us };
    Nanos::new(i64::from(frame_us + OPUS_LOOKAHEAD_US) * 1_000)
}

/// Why a connection ended, in words.
fn loss(cause: runtime::LossCause) -> &'static str {
    match cause {
        runtime::LossCause::PeerClosed => "its host or plug-in was closed",
        runtime::LossCause::Timeout => "nothing came for two seconds: it crashed, or the network is gone",
        runtime::LossCause::Unpublished => "it is no longer published",
        _ => "the connection broke",
    }
}

impl Member {
    /// Whether the stream has a rate that its playout was not made for.
    pub(crate) fn needs_another_rate(&self) -> bool {
        match self.playout.read().state {
            receiver::State::RateMismatch { theirs } => self.stream_rate != Some(theirs),
            _ => false,
        }
    }
}
