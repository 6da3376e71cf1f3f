//! The list of kinds: what projects and people rely on.

use std::collections::BTreeSet;

use audiocloud_effects::effect::Kind;
use audiocloud_effects::parameter::Range;
use audiocloud_effects::{KINDS, kind};

#[test]
fn the_eight_are_there_by_their_ids() {
    for id in ["eq", "compressor", "gate", "limiter", "chorus", "delay", "reverb", "distortion"] {
        assert_eq!(kind(id).map(|kind| kind.id), Some(id));
    }
    assert!(kind("").is_none() && kind("EQ").is_none());
}

#[test]
fn ids_and_names_are_taken_once() {
    let all = |what: fn(&Kind) -> &'static str| KINDS.iter().map(|kind| what(kind)).collect::<BTreeSet<_>>();
    assert_eq!(all(|kind| kind.id).len(), KINDS.len());
    assert_eq!(all(|kind| kind.name).len(), KINDS.len());
    for kind in KINDS {
        assert!(!kind.about.is_empty());
        let ids: BTreeSet<u32> = kind.parameters.iter().map(|parameter| parameter.id).collect();
        let names: BTreeSet<&str> = kind.parameters.iter().map(|parameter| parameter.name).collect();
        assert_eq!((ids.len(), names.len()), (kind.parameters.len(), kind.parameters.len()), "{}", kind.id);
    }
}

#[test]
fn a_parameter_is_found_by_its_id() {
    for kind in KINDS {
        for (place, parameter) in kind.parameters.iter().enumerate() {
            assert_eq!(kind.parameter(parameter.id), Some((place, parameter)));
        }
        assert_eq!(kind.parameter(u32::MAX), None);
    }
}

#[test]
fn ranges_hold_their_defaults_and_text_goes_both_ways() {
    for parameter in KINDS.iter().flat_map(|kind| kind.parameters) {
        let (min, max) = parameter.bounds();
        assert!(min < max, "{parameter:?}");
        assert!(!matches!(parameter.range, Range::Logarithmic { .. }) || min > 0.0, "{parameter:?}");
        assert_eq!(parameter.clamp(parameter.default), parameter.default, "{parameter:?}");
        for plain in [min, parameter.default, max, parameter.plain(0.3)] {
            let text = parameter.to_text(plain);
            let read = parameter.from_text(&text).unwrap();
            let error = parameter.normalised(read) - parameter.normalised(plain);
            assert!(error.abs() < 0.02, "{}: {plain} became {text} became {read}", parameter.name);
        }
    }
}

/// What was shipped once is in people's projects: to fail here means to break them.
#[test]
fn ids_of_parameters_are_those_of_the_first_release() {
    /// Counted from 1, in this order.
    fn check(id: &str, expected: &[&str]) {
        let found: Vec<(u32, &str)> =
            kind(id).unwrap().parameters.iter().map(|parameter| (parameter.id, parameter.name)).collect();
        assert_eq!(found, (1..).zip(expected.iter().copied()).collect::<Vec<_>>(), "{id}");
    }
    check("chorus", &["Rate", "Depth", "Delay", "Feedback", "Shape", "Spread", "Low cut", "High cut", "Mix"]);
    check("delay", &["Sort", "Sync", "Time", "Note", "Feedback", "Low cut", "High cut", "Wobble", "Mix"]);
    check(
        "reverb",
        &[
            "Decay",
            "Low decay",
            "High decay",
            "Low below",
            "High above",
            "Size",
            "Pre-delay",
            "Diffusion",
            "Motion",
            "Early",
            "Width",
            "Low cut",
            "High cut",
            "Mix",
        ],
    );
    check("distortion", &["Sort", "Drive", "Low cut", "Tone", "Output", "Mix"]);
    check(
        "compressor",
        &[
            "Threshold",
            "Ratio",
            "Knee",
            "Attack",
            "Release",
            "Make-up",
            "Detector",
            "Link",
            "Mix",
            "Key",
            "Key low cut",
            "Key high cut",
        ],
    );
    check(
        "gate",
        &[
            "Threshold",
            "Hysteresis",
            "Ratio",
            "Range",
            "Attack",
            "Hold",
            "Release",
            "Key",
            "Key low cut",
            "Key high cut",
        ],
    );
    check("limiter", &["Ceiling", "Drive", "Release", "True peak"]);
    let eq = kind("eq").unwrap();
    assert_eq!(eq.parameter(1).map(|(_, parameter)| parameter.name), Some("Output"));
    for band in 1..=8 {
        for (of_band, what) in ["on", "shape", "frequency", "gain", "Q", "slope"].iter().enumerate() {
            let id = 10 * band + u32::try_from(of_band).unwrap();
            assert_eq!(eq.parameter(id).unwrap().1.name, format!("Band {band} {what}"));
        }
    }
}

/// A choice is kept as its index: what is new comes last.
#[test]
fn choices_have_their_places() {
    let names = |id: &str, parameter: u32| match kind(id).unwrap().parameter(parameter).unwrap().1.range {
        Range::Choice(names) => names,
        _ => &[],
    };
    assert!(names("delay", 1).starts_with(&["Digital", "Analogue", "Tape", "Ping-pong"]));
    assert!(names("distortion", 1).starts_with(&["Classic", "Hard", "Fuzz", "Asymmetric", "Rectifier"]));
    assert!(names("chorus", 5).starts_with(&["Sine", "Triangle", "Random"]));
    assert!(names("eq", 11).starts_with(&[
        "Bell",
        "Low shelf",
        "High shelf",
        "Low cut",
        "High cut",
        "Notch"
    ]));
    assert!(names("eq", 11)[6..].starts_with(&["Band pass", "All pass", "Tilt"]));
    assert!(names("eq", 15).starts_with(&["12 dB/oct", "24 dB/oct", "36 dB/oct", "48 dB/oct"]));
    assert!(names("compressor", 7).starts_with(&["Peak", "RMS"]));
    assert!(names("compressor", 10).starts_with(&["Input", "Side-chain"]));
}
