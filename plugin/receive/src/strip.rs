//! One stream in the callbacks: its playout, and its way into the outputs by its fader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use audiocloud_engine::dsp::ramp::{Curve, Ramp};
use audiocloud_engine::rt::snapshot;
use audiocloud_engine::stream::receiver::{Playout, Settings};
use audiocloud_instance::feedback::Player;
use audiocloud_instance::params;
use audiocloud_instance::state::Fader;

use crate::settings::Hold;
use crate::timing::Told;

/// How long a fader takes to where it is moved, ms.
pub(crate) const GLIDE_MS: u32 = 20;
/// Frames whose gains are worked out at once.
const CHUNK: usize = 64;

/// Gains of the left channel, of the right one, and of all others.
pub(crate) type Gains = [f32; 3];

/// The gains of a track's fader under its person's. Pan takes from the far side alone: in the middle both are whole.
pub(crate) fn gains(track: Fader, person: Fader) -> Gains {
    if track.is_muted || person.is_muted {
        return [0.0; 3];
    }
    let level = params::gain(track.level_db) * params::gain(person.level_db);
    let pan = (track.pan + person.pan).clamp(-1.0, 1.0);
    let far = if pan.abs() == 1.0 { 0.0 } else { (pan.abs() * std::f32::consts::FRAC_PI_2).cos() };
    let far = level * if pan == 0.0 { 1.0 } else { far };
    if pan > 0.0 { [far, level, level] } else { [level, far, level] }
}

/// Where a strip is to stand; turned beside the callbacks, read in them.
#[derive(Debug)]
pub(crate) struct Dial {
    gains: [AtomicU32; 3],
    /// The output of its own, from 1; 0: none.
    output: AtomicU8,
}

impl Dial {
    pub(crate) fn new(gains: Gains, output: Option<u8>) -> Self {
        Self { gains: gains.map(|gain| gain.to_bits().into()), output: output.unwrap_or(0).into() }
    }

    pub(crate) fn turn(&self, gains: Gains, output: Option<u8>) {
        for (gain, wanted) in self.gains.iter().zip(gains) {
            gain.store(wanted.to_bits(), Ordering::Relaxed);
        }
        self.output.store(output.unwrap_or(0), Ordering::Relaxed);
    }

    fn gains(&self) -> Gains {
        std::array::from_fn(|index| f32::from_bits(self.gains[index].load(Ordering::Relaxed)))
    }
}

/// What the callbacks of one subscription work with.
#[derive(Debug)]
pub(crate) struct Strip {
    pub(crate) playout: Playout,
    /// `None` where no Send of the stream can be near, or too many Receives of it are watched for feedback already.
    pub(crate) player: Option<Player>,
    pub(crate) plan: snapshot::Reader<Option<Hold>>,
    pub(crate) timing: Told,
    dial: Arc<Dial>,
    /// Into the main output, and into the one of its own. At rest until the first block.
    main: [Ramp; 3],
    own: [Ramp; 3],
    own_index: Option<usize>,
    has_begun: bool,
    told: Settings,
}

impl Strip {
    /// A strip that begins where its dial stands. *Realtime-safe: no.*
    pub(crate) fn new(
        playout: Playout,
        settings: Settings,
        player: Option<Player>,
        plan: snapshot::Reader<Option<Hold>>,
        timing: Told,
        dial: Arc<Dial>,
    ) -> Self {
        let rest = [Ramp::constant(0.0); 3];
        Self {
            playout,
            player,
            plan,
            timing,
            dial,
            main: rest,
            own: rest,
            own_index: None,
            has_begun: false,
            told: settings,
        }
    }

    /// Takes over other settings. *Realtime-safe: yes.*
    pub(crate) fn set(&mut self, settings: Settings) {
        if settings != self.told {
            self.told = settings;
            self.playout.set(settings);
        }
    }

    /// Goes to where its dial stands, within `glide` frames. Of `outputs` for streams by themselves it takes one where it
    /// is to be `separate`. *Realtime-safe: yes.*
    pub(crate) fn follow(&mut self, separate: bool, outputs: usize, glide: u32) {
        let (gains, output) = (self.dial.gains(), usize::from(self.dial.output.load(Ordering::Relaxed)));
        let wanted = output.checked_sub(1).filter(|index| separate && *index < outputs);
        if self.own_index.is_none() || self.own.iter().all(|ramp| ramp.is_resting() && ramp.target() == 0.0) {
            self.own_index = wanted;
        }
        let is_there = self.own_index == wanted;
        let frames = if std::mem::replace(&mut self.has_begun, true) { glide } else { 0 };
        for (index, gain) in gains.into_iter().enumerate() {
            let (main, own) = if wanted.is_some() { (0.0, gain) } else { (gain, 0.0) };
            turn(&mut self.main[index], main, frames);
            turn(&mut self.own[index], if is_there { own } else { 0.0 }, frames);
        }
    }

    /// The output that it uses by itself.
    pub(crate) fn own_index(&self) -> Option<usize> {
        self.own_index
    }

    /// Its way of one channel into the main output. *Realtime-safe: yes.*
    pub(crate) fn main(&self, channel: usize, channels: usize) -> &Ramp {
        &self.main[side(channel, channels)]
    }

    /// Its way of one channel into the output of its own. *Realtime-safe: yes.*
    pub(crate) fn own(&self, channel: usize, channels: usize) -> &Ramp {
        &self.own[side(channel, channels)]
    }

    /// So many frames are over. *Realtime-safe: yes.*
    pub(crate) fn advance(&mut self, frames: usize) {
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.main.iter_mut().chain(&mut self.own).for_each(|ramp| ramp.advance(frames));
    }
}

fn turn(ramp: &mut Ramp, target: f32, frames: u32) {
    if ramp.target() != target {
        ramp.glide(target, frames, Curve::Linear);
    }
}

/// Which gain a channel has: pan is for the first two, where there are two.
fn side(channel: usize, channels: usize) -> usize {
    if channels < 2 { 2 } else { channel.min(2) }
}

/// Adds `source` by `gain` to what is in `target`, or takes its place where it is the first; at rest at 1 bit for bit.
/// False where there was nothing to add, and `target` was left alone. *Realtime-safe: yes.*
pub(crate) fn add(target: &mut [f32], source: &[f32], gain: &Ramp, is_first: bool) -> bool {
    let put = |(target, sample): (&mut f32, f32)| *target = if is_first { sample } else { *target + sample };
    match (gain.is_resting(), gain.target()) {
        (true, 0.0) => return false,
        (true, 1.0) if is_first => target.copy_from_slice(source),
        (true, 1.0) => target.iter_mut().zip(source.iter().copied()).for_each(put),
        (true, gain) => target.iter_mut().zip(source.iter().map(|sample| sample * gain)).for_each(put),
        (false, _) => {
            let (mut gain, mut gains) = (*gain, [0.0; CHUNK]);
            for (target, source) in target.chunks_mut(CHUNK).zip(source.chunks(CHUNK)) {
                gain.fill(&mut gains);
                gain.advance(u32::try_from(source.len()).unwrap_or(u32::MAX));
                target
                    .iter_mut()
                    .zip(source.iter().zip(gains).map(|(sample, gain)| sample * gain))
                    .for_each(put);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faders_make_gains() {
        let check = |track: Fader, person: Fader, expected: Gains| {
            for (gain, expected) in gains(track, person).into_iter().zip(expected) {
                assert!((gain - expected).abs() < 1e-4, "{track:?} {person:?}: {gain}, not {expected}");
            }
        };
        let rest = Fader::default();
        assert_eq!(gains(rest, rest), [1.0; 3], "exactly");
        let level = |level_db| Fader { level_db, ..rest };
        check(level(-6.0206), rest, [0.5; 3]);
        check(level(-6.0206), level(-6.0206), [0.25; 3]);
        check(level(params::LEVEL_MIN_DB), rest, [0.0; 3]);
        check(rest, Fader { is_muted: true, ..rest }, [0.0; 3]);
        let pan = |pan| Fader { pan, ..rest };
        check(pan(-1.0), rest, [1.0, 0.0, 1.0]);
        check(pan(1.0), rest, [0.0, 1.0, 1.0]);
        check(pan(0.5), rest, [std::f32::consts::FRAC_1_SQRT_2, 1.0, 1.0]);
        check(pan(1.0), pan(-1.0), [1.0; 3]);
        assert_eq!(gains(pan(1.0), pan(1.0))[0], 0.0, "exactly");
    }

    #[test]
    fn the_first_at_unity_is_bit_exact_and_the_next_are_added() {
        let odd = [-0.0_f32, 1.0e-40, f32::MIN_POSITIVE, 0.1, -1.0, 3.0e38];
        let mut target = [f32::NAN; 6];
        assert!(add(&mut target, &odd, &Ramp::constant(1.0), true));
        assert!(target.iter().zip(odd).all(|(out, odd)| out.to_bits() == odd.to_bits()), "{target:?}");
        let mut target = [0.25; 4];
        assert!(add(&mut target, &[0.5; 4], &Ramp::constant(0.5), false));
        assert_eq!(target, [0.5; 4]);
        assert!(!add(&mut target, &[f32::NAN; 4], &Ramp::constant(0.0), false), "muted is not heard");
        assert_eq!(target, [0.5; 4]);
    }

    #[test]
    fn a_ramp_is_the_same_however_it_is_cut() {
        let source: Vec<f32> = (0_u8..200).map(|frame| f32::from(frame) / 200.0).collect();
        let mut gain = Ramp::constant(1.0);
        gain.glide(0.0, 150, Curve::Linear);
        let mut whole = vec![0.0; 200];
        assert!(add(&mut whole, &source, &gain, true));
        let (first, second) = source.split_at(77);
        let mut cut = vec![0.0; 200];
        add(&mut cut[..77], first, &gain, true);
        gain.advance(77);
        add(&mut cut[77..], second, &gain, true);
        assert_eq!(whole, cut);
        assert!(whole[150..].iter().all(|sample| *sample == 0.0) && whole[149] > 0.0);
    }
}
