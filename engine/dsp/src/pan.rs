//! Panning: one channel between two loudspeakers, and the balance of two channels.

use crate::fade::sine_of_quarter;

/// How the gains of a panned channel depend on its position. Named for what stays constant on the way, and told apart by
/// the gain at the centre; every law gives 0 dB on one side and silence on the other at the ends.
///
/// C. Roads, *The Computer Music Tutorial*, MIT Press 1996, *Linear panning* and *Constant power panning*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Law {
    /// −6 dB at the centre: the amplitudes add up to one, so a sum to mono is level. Sounds far at the centre in a room.
    ConstantAmplitude,
    /// −3 dB at the centre: the powers add up to one, as they do in a room that reverberates.
    #[default]
    ConstantPower,
    /// −4.5 dB at the centre: the geometric mean of the other two, for rooms and sums to mono alike.
    Compromise,
}

/// The gains (left, right) of one channel at `position`, −1 being left, 0 the centre and 1 right. Beyond that it is at
/// the nearer end; what is not a number is at the centre.
///
/// *Realtime-safe: yes*.
#[must_use]
pub fn pan(law: Law, position: f32) -> (f32, f32) {
    let position = bounded(position);
    // Mirrored exactly: the gain of the right at a position is that of the left at the opposite one.
    (gain(law, 0.5 - 0.5 * position), gain(law, 0.5 + 0.5 * position))
}

/// The gains (left, right) of a stereo signal whose balance is turned to `position`: as for [`pan`], but both channels
/// pass unchanged at the centre, and the side that is turned away from falls by amplitude, in a line.
///
/// *Realtime-safe: yes*.
#[must_use]
pub fn balance(position: f32) -> (f32, f32) {
    let position = bounded(position);
    ((1.0 - position).min(1.0), (1.0 + position).min(1.0))
}

/// The gain of a loudspeaker towards which the position has gone by `nearness`, from 0 to 1.
fn gain(law: Law, nearness: f32) -> f32 {
    match law {
        Law::ConstantAmplitude => nearness,
        Law::ConstantPower => sine_of_quarter(nearness),
        Law::Compromise => (nearness * sine_of_quarter(nearness)).sqrt(),
    }
}

fn bounded(position: f32) -> f32 {
    if position.is_nan() { 0.0 } else { position.clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAWS: [Law; 3] = [Law::ConstantAmplitude, Law::ConstantPower, Law::Compromise];

    fn decibels(gain: f32) -> f32 {
        20.0 * gain.log10()
    }

    #[test]
    fn each_law_has_its_level_at_the_centre() {
        let check = |law, expected_db: f32| {
            let (left, right) = pan(law, 0.0);
            assert_eq!(left, right);
            assert!((decibels(left) - expected_db).abs() < 1e-3, "{law:?}: {} dB", decibels(left));
        };
        check(Law::ConstantAmplitude, -6.0206);
        check(Law::ConstantPower, -3.0103);
        check(Law::Compromise, -4.5154);
    }

    #[test]
    fn ends_are_exact_and_sides_mirror() {
        for law in LAWS {
            assert_eq!(pan(law, -1.0), (1.0, 0.0));
            assert_eq!(pan(law, 1.0), (0.0, 1.0));
            assert_eq!(pan(law, f32::NEG_INFINITY), (1.0, 0.0));
            assert_eq!(pan(law, 7.0), (0.0, 1.0));
            assert_eq!(pan(law, f32::NAN), pan(law, 0.0));
            for step in -100_i16..=100 {
                let position = f32::from(step) / 100.0;
                let (left, right) = pan(law, position);
                assert_eq!(pan(law, -position), (right, left));
            }
        }
    }

    #[test]
    fn what_a_law_is_named_for_stays_constant() {
        for step in -1000_i16..=1000 {
            let position = f32::from(step) / 1000.0;
            let (left, right) = pan(Law::ConstantAmplitude, position);
            assert!((left + right - 1.0).abs() < 1e-6);
            let (left, right) = pan(Law::ConstantPower, position);
            assert!((left * left + right * right - 1.0).abs() < 1e-6);
            let angle = std::f32::consts::FRAC_PI_4 * (1.0 + position);
            assert!((left - angle.cos()).abs() < 1e-6 && (right - angle.sin()).abs() < 1e-6);
        }
    }

    #[test]
    fn balance_leaves_the_centre_alone() {
        for (position, expected) in [
            (0.0, (1.0, 1.0)),
            (0.25, (0.75, 1.0)),
            (-0.5, (1.0, 0.5)),
            (1.0, (0.0, 1.0)),
            (-9.0, (1.0, 0.0)),
            (f32::NAN, (1.0, 1.0)),
        ] {
            assert_eq!(balance(position), expected, "{position}");
        }
    }
}
