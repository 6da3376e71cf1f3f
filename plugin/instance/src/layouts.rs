//! The bus layouts of all plug-ins: stereo first, then mono, 5.1 and 7.1, input as wide as output; for CLAP also 64.
//!
//! 3 and 4 channels are left out because nice-plug's VST3 arrangements for them are wrong, and every auxiliary bus is
//! as wide as the main one because its VST3 `setBusArrangements` compares them.

use nice_plug::prelude::*;

const STEREO: NonZeroU32 = new_nonzero_u32(2);
const MONO: NonZeroU32 = new_nonzero_u32(1);
const SIX: NonZeroU32 = new_nonzero_u32(6);
const EIGHT: NonZeroU32 = new_nonzero_u32(8);
const SIXTY_FOUR: NonZeroU32 = new_nonzero_u32(64);
/// Outputs of a Receive beside the main one.
const BESIDE: usize = 9;

const fn layout(
    channels: NonZeroU32,
    name: &'static str,
    aux_output_ports: &'static [NonZeroU32],
    aux_outputs: &'static [&'static str],
) -> AudioIOLayout {
    AudioIOLayout {
        main_input_channels: Some(channels),
        main_output_channels: Some(channels),
        aux_input_ports: &[],
        aux_output_ports,
        names: PortNames {
            layout: Some(name),
            main_input: None,
            main_output: None,
            aux_inputs: &[],
            aux_outputs,
        },
    }
}

/// Main input and main output.
pub const THROUGH: &[AudioIOLayout] = &[
    layout(STEREO, "Stereo", &[], &[]),
    layout(MONO, "Mono", &[], &[]),
    layout(SIX, "6 channels", &[], &[]),
    layout(EIGHT, "8 channels", &[], &[]),
];

/// As [`THROUGH`], and as wide as a stream can be. For CLAP: of so many channels nice-plug's VST3 has no arrangement.
pub const THROUGH_WIDE: &[AudioIOLayout] = &[
    layout(STEREO, "Stereo", &[], &[]),
    layout(MONO, "Mono", &[], &[]),
    layout(SIX, "6 channels", &[], &[]),
    layout(EIGHT, "8 channels", &[], &[]),
    layout(SIXTY_FOUR, "64 channels", &[], &[]),
];

const STREAMS: &[&str; BESIDE] = &[
    "Stream only",
    "Stream 1",
    "Stream 2",
    "Stream 3",
    "Stream 4",
    "Stream 5",
    "Stream 6",
    "Stream 7",
    "Stream 8",
];

/// Main input and main output, an output for what is received by itself, and one each for eight streams. For CLAP: a host
/// that leaves an output unconnected would not be processed at all.
pub const THROUGH_AND_STREAMS: &[AudioIOLayout] = &[
    layout(STEREO, "Stereo", &[STEREO; BESIDE], STREAMS),
    layout(MONO, "Mono", &[MONO; BESIDE], STREAMS),
    layout(SIX, "6 channels", &[SIX; BESIDE], STREAMS),
    layout(EIGHT, "8 channels", &[EIGHT; BESIDE], STREAMS),
    layout(SIXTY_FOUR, "64 channels", &[], &[]),
];

/// Main input and main output, as wide as effects are.
pub const EFFECT: &[AudioIOLayout] = &[layout(STEREO, "Stereo", &[], &[]), layout(MONO, "Mono", &[], &[])];

const fn listening(layout: AudioIOLayout, side_chain: &'static [NonZeroU32]) -> AudioIOLayout {
    AudioIOLayout {
        aux_input_ports: side_chain,
        names: PortNames { aux_inputs: &["Side-chain"], ..layout.names },
        ..layout
    }
}

/// As [`EFFECT`], with an input that effects listen to. For CLAP: where a VST3 host gives fewer inputs than there are,
/// nice-plug reads one too far.
pub const EFFECT_AND_SIDE_CHAIN: &[AudioIOLayout] = &[
    listening(layout(STEREO, "Stereo", &[], &[]), &[STEREO]),
    listening(layout(MONO, "Mono", &[], &[]), &[MONO]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bus_is_as_wide_as_the_main_one() {
        for layout in THROUGH_WIDE.iter().chain(THROUGH_AND_STREAMS).chain(EFFECT_AND_SIDE_CHAIN) {
            assert_eq!(layout.main_input_channels, layout.main_output_channels);
            for aux in layout.aux_output_ports.iter().chain(layout.aux_input_ports) {
                assert_eq!(Some(*aux), layout.main_output_channels);
            }
        }
        let widths = |layouts: &[AudioIOLayout]| -> Vec<_> {
            layouts.iter().filter_map(|layout| layout.main_output_channels).collect()
        };
        assert_eq!(widths(THROUGH), [STEREO, MONO, SIX, EIGHT]);
        for layouts in [EFFECT, EFFECT_AND_SIDE_CHAIN] {
            assert_eq!(widths(layouts), [STEREO, MONO]);
        }
        for layouts in [THROUGH_WIDE, THROUGH_AND_STREAMS] {
            assert_eq!(widths(layouts), [STEREO, MONO, SIX, EIGHT, SIXTY_FOUR]);
        }
    }
}
