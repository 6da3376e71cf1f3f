//! What a host says of its transport at the first frame of a block, with what makes no sense left out.

use nice_plug::prelude::Transport as HostTransport;

/// Quarter notes a minute that a host may mean.
const BPM: std::ops::RangeInclusive<f64> = 1.0..=1_000.0;
/// Positions beyond this are none.
const BEATS_MAX: f64 = 1e9;

/// Where a host's music is. Small enough to be handed over in each callback.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transport {
    pub is_playing: bool,
    /// Quarter notes a minute.
    pub bpm: Option<f64>,
    /// In quarter notes.
    pub beat: Option<f64>,
    /// Beats of a bar, and which part of a whole note each is.
    pub meter: Option<(u8, u8)>,
    /// Where the present bar begins, in quarter notes, and its number, from 0.
    pub bar: Option<(f64, i64)>,
    /// From and to, in quarter notes; what is played goes round in it.
    pub looped: Option<(f64, f64)>,
}

impl Transport {
    /// *Realtime-safe: yes.*
    pub fn from_host(host: &HostTransport) -> Self {
        let beat = host.pos_beats().filter(|beat| beat.abs() <= BEATS_MAX);
        let meter = host.time_sig_numerator.zip(host.time_sig_denominator).and_then(meter);
        let told = host.bar_start_pos_beats().zip(host.bar_number());
        Self {
            is_playing: host.playing,
            bpm: host.tempo.filter(|bpm| BPM.contains(bpm)),
            beat,
            meter,
            bar: beat.zip(meter).map(|(beat, meter)| bar(beat, meter, told)),
            looped: host
                .loop_range_beats
                .filter(|(from, to)| to - from >= 0.01 && from.abs() <= BEATS_MAX && to.abs() <= BEATS_MAX),
        }
    }
}

fn meter((beats, unit): (i32, i32)) -> Option<(u8, u8)> {
    let beats = u8::try_from(beats).ok().filter(|beats| *beats > 0)?;
    let unit = u8::try_from(unit).ok().filter(|unit| matches!(unit, 1 | 2 | 4 | 8 | 16 | 32))?;
    Some((beats, unit))
}

/// The bar that a position lies in: the one that the host tells, if the position can lie in it. Many hosts tell none, or
/// always the first; then bars are counted from the beginning.
fn bar(beat: f64, (beats, unit): (u8, u8), told: Option<(f64, i32)>) -> (f64, i64) {
    let length = f64::from(beats) * 4.0 / f64::from(unit);
    if let Some((start, number)) = told {
        // Positions are rounded: the very first of a bar may seem to lie before it.
        if (-1e-6..length + 1e-6).contains(&(beat - start)) {
            return (start, i64::from(number));
        }
    }
    let whole = (beat / length + 1e-9).floor();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "at most 10^9 quarter notes in bars of an eighth of one"
    )]
    let number = whole as i64;
    (whole * length, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostTransport {
        let mut host = HostTransport::new(48_000.0);
        host.playing = true;
        host.tempo = Some(120.0);
        host.pos_beats = Some(13.5);
        (host.time_sig_numerator, host.time_sig_denominator) = (Some(3), Some(4));
        host
    }

    #[test]
    fn bars_are_the_hosts_where_it_tells_of_them() {
        assert_eq!(Transport::from_host(&host()).bar, Some((12.0, 4)), "counted");
        let mut telling = host();
        (telling.bar_start_pos_beats, telling.bar_number) = (Some(11.0), Some(7));
        assert_eq!(Transport::from_host(&telling).bar, Some((11.0, 7)));
        // As of a host that fills in nothing.
        (telling.bar_start_pos_beats, telling.bar_number) = (Some(0.0), Some(0));
        assert_eq!(Transport::from_host(&telling).bar, Some((12.0, 4)));
        telling.pos_beats = Some(-1.0);
        assert_eq!(Transport::from_host(&telling).bar, Some((-3.0, -1)), "a count-in");
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let mut senseless = host();
        (senseless.tempo, senseless.pos_beats) = (Some(0.0), Some(f64::INFINITY));
        senseless.time_sig_denominator = Some(5);
        senseless.loop_range_beats = Some((4.0, 4.0));
        let seen = Transport::from_host(&senseless);
        assert_eq!(seen, Transport { is_playing: true, ..Transport::default() });
        let mut looping = host();
        looping.loop_range_beats = Some((4.0, 8.0));
        assert_eq!(Transport::from_host(&looping).looped, Some((4.0, 8.0)));
    }
}
