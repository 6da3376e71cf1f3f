//! What the parameters ask of playouts and senders.

use audiocloud_engine::stream::receiver::{self, LinkOffset, Settings};
use audiocloud_engine::units::Nanos;
use audiocloud_instance::params::DELAY_MAX_MS;
use audiocloud_instance::time::Setup;
use audiocloud_net::wire::codec::Codec;
use audiocloud_net::wire::quality;

use crate::params::{Clock, Playout, Quality, ReceiveParams};

/// Between what a plan lets frames wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) floor: Nanos,
    pub(crate) ceiling: Nanos,
}

/// How a stream is to be played: by its plan, where there is one, and where it is to be late by bars, as those are now.
/// *Realtime-safe: yes.*
pub(crate) fn playout(
    params: &ReceiveParams,
    setup: &Setup,
    plan: Option<Hold>,
    bars: Option<LinkOffset>,
) -> Settings {
    let clock = match params.clock.value() {
        Clock::Automatic => receiver::Clock::Automatic,
        Clock::Shared => receiver::Clock::Shared,
    };
    let longest = setup.delay(DELAY_MAX_MS);
    let lowest = |floor, ceiling| receiver::Mode::Lowest { floor, ceiling };
    let mode = match (plan, params.playout.value()) {
        (Some(hold), _) => {
            let frames = |span: Nanos| span.to_frames_nearest(setup.sample_rate).min(longest);
            lowest(frames(hold.floor), frames(hold.ceiling))
        }
        (None, Playout::Lowest) => {
            let floor = setup.delay(params.floor.value());
            lowest(floor, setup.delay(params.ceiling.value()).max(floor))
        }
        (None, Playout::Fixed) => receiver::Mode::Fixed { delay: setup.delay(params.delay.value()) },
        (None, Playout::Aligned) => {
            receiver::Mode::Aligned { link_offset: link_offset(params.link_offset.value()) }
        }
        // Without a beat, aligned is as near to it as can be.
        (None, Playout::Interval) => {
            receiver::Mode::Aligned { link_offset: bars.unwrap_or(LinkOffset::Agreed) }
        }
    };
    Settings { mode, clock }
}

/// As it is set; 0: as it is agreed.
fn link_offset(millis: f32) -> LinkOffset {
    #[allow(clippy::cast_possible_truncation, reason = "at most 500 ms, and a cast saturates")]
    let nanos = Nanos::new((f64::from(millis) * 1e6).round() as i64);
    if nanos > Nanos::ZERO { LinkOffset::set(nanos) } else { LinkOffset::Agreed }
}

/// How a stream is to be sent, without a plan.
pub(crate) fn quality(wanted: Quality) -> quality::Quality {
    let pcm = |codec| quality::Quality { codec: Some(codec), ..quality::Quality::default() };
    let opus = |bitrate_bps| quality::Quality { codec: Some(Codec::Opus), bitrate_bps, frame_us: 0 };
    match wanted {
        Quality::AsSent => quality::Quality::default(),
        Quality::Pcm24 => pcm(Codec::PcmS24),
        Quality::Pcm16 => pcm(Codec::PcmS16),
        Quality::Opus256 => opus(256_000),
        Quality::Opus128 => opus(128_000),
        Quality::Opus96 => opus(96_000),
        Quality::Opus64 => opus(64_000),
    }
}

/// A quality in words.
pub(crate) fn words(quality: quality::Quality) -> String {
    let Some(codec) = quality.codec else { return "as sent".into() };
    let mut words = codec_words(codec).to_owned();
    if codec == Codec::Opus && quality.bitrate_bps > 0 {
        words += &format!(" at {} kbit/s", quality.bitrate_bps / 1_000);
    }
    if codec == Codec::Opus && quality.frame_us > 0 {
        words += &format!(", {} ms", f64::from(quality.frame_us) / 1_000.0);
    }
    words
}

/// A codec in words.
pub(crate) fn codec_words(codec: Codec) -> &'static str {
    match codec {
        Codec::PcmF32 => "32-bit float",
        Codec::PcmS24 => "24-bit",
        Codec::PcmS16 => "16-bit",
        Codec::Opus => "Opus",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::{Frames, SampleRate};

    const SETUP: Setup =
        Setup { sample_rate: SampleRate::new(48_000).unwrap(), channels: 2, block_max: 128, offline: false };

    #[test]
    fn a_new_receive_plays_at_the_lowest_latency_and_a_plan_takes_its_place() {
        let params = ReceiveParams::default();
        let lowest = |floor, ceiling| Settings {
            mode: receiver::Mode::Lowest { floor: Frames::new(floor), ceiling: Frames::new(ceiling) },
            clock: receiver::Clock::Automatic,
        };
        assert_eq!(playout(&params, &SETUP, None, None), lowest(0, 4_800));
        let hold = Hold { floor: Nanos::from_millis(2), ceiling: Nanos::from_secs(9) };
        assert_eq!(playout(&params, &SETUP, Some(hold), None), lowest(96, 9_600));
        assert_eq!(link_offset(0.0), LinkOffset::Agreed);
        assert_eq!(link_offset(12.5), LinkOffset::set(Nanos::from_micros(12_500)));
    }

    #[test]
    fn qualities_in_words() {
        let check = |wanted, expected: &str| assert_eq!(words(quality(wanted)), expected);
        check(Quality::AsSent, "as sent");
        check(Quality::Pcm24, "24-bit");
        check(Quality::Opus96, "Opus at 96 kbit/s");
        let planned = quality::Quality { frame_us: 2_500, ..quality(Quality::Opus64) };
        assert_eq!(words(planned), "Opus at 64 kbit/s, 2.5 ms");
    }
}
