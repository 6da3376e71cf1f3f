//! Whatever parameter is moved while a tone plays, there is no click.

use audiocloud_effects::effect::Kind;
use audiocloud_effects::eq::EQ;
use audiocloud_effects::{KINDS, kind};

use crate::bed::{Dice, Move, Player, any, tone};

const RATE: u32 = 48_000;
const PART: usize = 9600;
/// What may be added above 8 kHz by a gesture: −54 dBFS.
const CLICK: f32 = 0.002;

/// The greatest magnitude above 8 kHz, where a tone of 150 Hz has nothing.
fn high(signal: &[f32]) -> Vec<f32> {
    let cut = [("Band 1 on", 1.0), ("Band 1 frequency", 8000.0), ("Band 1 slope", 3.0)];
    Player::with(&EQ, RATE, 1, &cut).play(&vec![signal.to_vec()]).remove(0)
}

fn peak(signal: &[f32]) -> f32 {
    signal.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// By how much more there is above 8 kHz around the gesture than before and long after it.
fn click(kind: &'static Kind, place: usize, value: f32) -> f32 {
    let mut player = Player::new(kind, RATE, 1, &kind.defaults());
    let mut signal = tone(RATE, 150.0, 0.5, 1, 4 * PART);
    let gesture = Move { frame: 2 * PART - 1234, place, value, frames: None };
    player.play_moving(&mut signal, &[], &[gesture], &mut || 64);
    let high = high(&signal[0]);
    let steady = peak(&high[PART..2 * PART - 1240]).max(peak(&high[3 * PART..]));
    peak(&high[2 * PART - 1240..3 * PART]) - steady
}

#[test]
fn no_gesture_clicks() {
    let mut clicks = Vec::new();
    for kind in KINDS {
        let mut dice = Dice(11);
        for (place, parameter) in kind.parameters.iter().enumerate() {
            // Eight bands of one kind: one stands for all.
            if kind.id == "eq" && !(24..30).contains(&place) {
                continue;
            }
            let (before, after) = (parameter.default, any(parameter, &mut dice));
            let click = click(kind, place, after);
            if click > CLICK {
                let (before, after) = (parameter.to_text(before), parameter.to_text(after));
                clicks.push(format!("{}: {} from {before} to {after} adds {click}", kind.id, parameter.name));
            }
        }
    }
    assert!(clicks.is_empty(), "{clicks:#?}");
}

/// The measure notices what it is for.
#[test]
fn a_step_of_gain_is_a_click() {
    let mut signal = tone(RATE, 150.0, 0.5, 1, 4 * PART).remove(0);
    signal[2 * PART + 70..].iter_mut().for_each(|sample| *sample *= 0.9);
    assert!(peak(&high(&signal)[PART..]) > 2.0 * CLICK);
    assert!(kind("eq").is_some());
}
