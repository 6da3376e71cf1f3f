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
    fn check(id: &str, expected: &[(u32, &str)]) {
        let found: Vec<(u32, &str)> =
            kind(id).unwrap().parameters.iter().map(|parameter| (parameter.id, parameter.name)).collect();
        assert_eq!(found, expected);
    }
    check("limiter", &[(1, "Ceiling"), (2, "Drive"), (3, "Release"), (4, "True peak")]);
    check(
        "compressor",
        &[
            (1, "Threshold"),
            (2, "Ratio"),
            (3, "Knee"),
            (4, "Attack"),
            (5, "Release"),
            (6, "Make-up"),
            (7, "Detector"),
            (8, "Link"),
            (9, "Mix"),
            (10, "Key"),
            (11, "Key low cut"),
            (12, "Key high cut"),
        ],
    );
    check(
        "gate",
        &[
            (1, "Threshold"),
            (2, "Hysteresis"),
            (3, "Ratio"),
            (4, "Range"),
            (5, "Attack"),
            (6, "Hold"),
            (7, "Release"),
            (8, "Key"),
            (9, "Key low cut"),
            (10, "Key high cut"),
        ],
    );
    let eq = kind("eq").unwrap();
    assert_eq!(eq.parameter(1).map(|(_, parameter)| parameter.name), Some("Output"));
    for band in 1..=8 {
        for (of_band, what) in ["on", "shape", "frequency", "gain", "Q", "slope"].iter().enumerate() {
            let id = 10 * band + u32::try_from(of_band).unwrap();
            assert_eq!(eq.parameter(id).unwrap().1.name, format!("Band {band} {what}"));
        }
    }
}
