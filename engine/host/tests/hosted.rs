//! A plug-in in another process does, to the bit and to the frame, what it would do here.

mod bed;

use audiocloud_graph::event::Body;
use audiocloud_graph::node::{Activation, Node, Tail};
use audiocloud_host::plugin::{HostedPlugin, Setup};
use audiocloud_misbehaving as parameter;
use audiocloud_rt::event::{self, NoteAddress};
use bed::{GAIN, LATE, MONO, Rig, library, noise, rate, setup};

/// Of every frame, what the plug-in at gain `gain` makes of the input `latency` frames before.
fn expected(input: &[f32], latency: usize, gain: impl Fn(usize) -> f32) -> Vec<f32> {
    let frame = |frame: usize| frame.checked_sub(latency).map_or(0.0, |from| input[from] * gain(from));
    (0..input.len()).map(frame).collect()
}

#[test]
fn it_is_exact_at_any_block_size() {
    const FRAMES: usize = 6000;
    let (_folder, library) = library();
    let input = vec![noise(1, FRAMES), noise(2, FRAMES)];
    for (block, latency) in [(64, 64), (128, 128), (1, 128), (100, 192), (509, 576), (2048, 2048)] {
        let setup = setup(u32::try_from(block).unwrap());
        let mut rig = Rig::new(&library, GAIN, &setup, vec![input.clone()]);
        assert_eq!(rig.latency(), latency, "in blocks of {block}");
        rig.graph.set_value(rig.key, parameter::GAIN, 0.5).unwrap();
        rig.controller.set_parameter(&mut rig.graph, rig.key, parameter::GAIN, 0.5).unwrap();
        rig.play_in(FRAMES, block);
        for (output, input) in rig.host.output.iter().zip(&input) {
            assert_eq!(*output, expected(input, latency, |_| 0.5), "in blocks of {block}");
        }
        let status = rig.handle.status();
        assert!(status.running && status.words.is_none());
        assert_eq!((status.late_blocks, status.refused_blocks, status.failed_calls), (0, 0, 0));
    }
}

#[test]
fn it_is_in_time_without_waiting() {
    const FRAMES: usize = 48_000;
    let (_folder, library) = library();
    let input = noise(3, FRAMES);
    let mut rig = Rig::new(&library, GAIN, &setup(128), vec![vec![input.clone(), input.clone()]]);
    rig.play_live(FRAMES, 128);
    assert_eq!(rig.host.output[1], expected(&input, 128, |_| 1.0));
    assert_eq!(rig.handle.status().late_blocks, 0);
}

#[test]
fn its_own_latency_is_added_and_its_tail_told() {
    const FRAMES: usize = 1000;
    let (_folder, library) = library();
    let plugin = HostedPlugin::open(&library, LATE, &setup(64), None).unwrap();
    let activation = Activation { sample_rate: rate() };
    assert_eq!(plugin.latency_frames(&activation), 64 + 32);
    assert_eq!(plugin.tail(&activation), Tail::Frames(64 + 100));
    let input = noise(4, FRAMES);
    let mut rig = Rig::of(plugin, &setup(64), vec![vec![input.clone(), input.clone()]]);
    rig.play_in(FRAMES, 64);
    assert_eq!(rig.host.output[0], expected(&input, 96, |_| 1.0));
}

#[test]
fn a_reset_begins_anew() {
    const FRAMES: usize = 2000;
    let (_folder, library) = library();
    let input = noise(5, FRAMES);
    let mut rig = Rig::new(&library, LATE, &setup(64), vec![vec![input.clone(), input.clone()]]);
    rig.play_in(1000, 64);
    audiocloud_rt::callback::enter(|callback| rig.renderer.reset(callback));
    rig.play_in(FRAMES, 64);
    // What was under way is forgotten, in the pipeline and in the plug-in.
    assert_eq!(rig.host.output[0][1000..], expected(&input[1000..], 96, |_| 1.0));
}

#[test]
fn parameters_change_at_their_frame() {
    const FRAMES: usize = 6000;
    let (_folder, library) = library();
    let ones = vec![1.0; FRAMES];
    for block in [64, 100, 509] {
        let setup = setup(u32::try_from(block).unwrap());
        let mut rig = Rig::new(&library, GAIN, &setup, vec![vec![ones.clone(), ones.clone()]]);
        let latency = rig.latency();
        while rig.host.at < FRAMES {
            let (from, to) = (rig.host.at, (rig.host.at + block).min(FRAMES));
            let mut events = Vec::new();
            for (frame, value) in [(1000_usize, 2.0), (1001, 3.0), (2005, 0.25)] {
                if (from..to).contains(&frame) {
                    let offset = u32::try_from(frame - from).unwrap();
                    events.push(rig.event(offset, Body::parameter(parameter::GAIN, value)));
                }
            }
            if (from..to).contains(&3000) {
                let offset = u32::try_from(3000 - from).unwrap();
                let curve = audiocloud_dsp::ramp::Curve::Linear;
                let body =
                    Body::Parameter { id: parameter::GAIN, value: 1.25, ramp_frames: Some(500), curve };
                events.push(rig.event(offset, body));
            }
            rig.play(to, &events);
        }
        let steps = |from: usize| match from {
            0..1000 => 1.0,
            1000 => 2.0,
            1001..2005 => 3.0,
            _ => 0.25,
        };
        let heard = &rig.host.output[0];
        assert_eq!(
            heard[..3000 + latency],
            expected(&ones, latency, steps)[..3000 + latency],
            "in blocks of {block}"
        );
        for (frame, sample) in heard[3000 + latency..].iter().enumerate() {
            let ramp = 0.25 + f32::from(u16::try_from(frame.min(500)).unwrap()) / 500.0;
            // CLAP has no ramps: every 16 frames it hears where the ramp is.
            assert!((ramp - sample) < 16.5 / 500.0 && *sample <= ramp + 1e-6, "{frame}: {sample} for {ramp}");
        }
        assert!(heard[3500 + latency..].iter().all(|sample| *sample == 1.25));
    }
}

#[test]
fn the_side_chain_arrives() {
    const FRAMES: usize = 1000;
    let (_folder, library) = library();
    let (main, side) = (noise(6, FRAMES), noise(7, FRAMES));
    let setup = Setup { side_chain: 1, ..setup(64) };
    let inputs = vec![vec![main.clone(), main.clone()], vec![side.clone()]];
    let mut rig = Rig::new(&library, GAIN, &setup, inputs);
    rig.play_in(FRAMES, 64);
    let sum: Vec<f32> = main.iter().zip(&side).map(|(main, side)| main + side).collect();
    // A mono side-chain reaches both channels of a stereo one.
    assert_eq!(rig.host.output, vec![expected(&sum, 64, |_| 1.0); 2]);
}

#[test]
fn a_mono_plug_in_in_a_stereo_chain_is_two() {
    const FRAMES: usize = 1000;
    let (_folder, library) = library();
    let input = vec![noise(8, FRAMES), noise(9, FRAMES)];
    let mut rig = Rig::new(&library, MONO, &setup(64), vec![input.clone()]);
    assert_eq!(rig.handle.description().copies, 2);
    rig.controller.set_parameter(&mut rig.graph, rig.key, parameter::GAIN, 2.0).unwrap();
    rig.play_in(FRAMES, 64);
    for (output, input) in rig.host.output.iter().zip(&input) {
        assert_eq!(*output, expected(input, 64, |_| 2.0));
    }
    // And one in a mono chain, or where the plug-in is wider than the chain.
    for id in [MONO, GAIN] {
        let setup = Setup { channels: 1, ..setup(64) };
        let mut rig = Rig::new(&library, id, &setup, vec![vec![input[0].clone()]]);
        assert_eq!(rig.handle.description().copies, 1);
        rig.play_in(FRAMES, 64);
        assert_eq!(rig.host.output[0], expected(&input[0], 64, |_| 1.0), "{id}");
    }
}

#[test]
fn notes_pass_at_their_frame() {
    const FRAMES: usize = 1000;
    let (_folder, library) = library();
    let silence = vec![vec![0.0; FRAMES]; 2];
    let mut rig = Rig::new(&library, GAIN, &setup(100), vec![silence]);
    let latency = rig.latency();
    let note = NoteAddress { note_id: 5, port: 0, channel: 2, key: 61 };
    let (on, off) =
        (event::Body::NoteOn { note, velocity: 0.5 }, event::Body::NoteOff { note, velocity: 0.25 });
    while rig.host.at < FRAMES {
        let (from, to) = (rig.host.at, rig.host.at + 100);
        let mut events = Vec::new();
        for (frame, body) in [(130, on), (333, off)] {
            if (from..to).contains(&frame) {
                events.push(rig.event(u32::try_from(frame - from).unwrap(), Body::Voice(body)));
            }
        }
        rig.play(to, &events);
    }
    assert_eq!(rig.host.events, [(130 + latency, Body::Voice(on)), (333 + latency, Body::Voice(off))]);
}

#[test]
fn state_moves_from_process_to_process() {
    let (_folder, library) = library();
    let plugin = HostedPlugin::open(&library, GAIN, &setup(64), None).unwrap();
    let handle = plugin.handle();
    handle.load_state(&2.5_f64.to_le_bytes()).unwrap();
    let state = handle.save_state().unwrap();
    assert_eq!(state, 2.5_f64.to_le_bytes());
    assert!(handle.load_state(&[1, 2]).unwrap_err().to_string().contains("refused"));
    assert_eq!(handle.describe().unwrap().parameters[0].value, 2.5);

    let again = HostedPlugin::open(&library, GAIN, &setup(64), Some(&state)).unwrap();
    assert_eq!(again.parameters()[0].default, 2.5);
    let mut rig = Rig::of(again, &setup(64), vec![vec![vec![1.0; 256]; 2]]);
    rig.play_in(256, 64);
    assert_eq!(rig.host.output[0][64..], [2.5; 192]);
}

#[test]
fn a_long_state_and_another_latency_are_noticed() {
    let (_folder, library) = library();
    let mut rig = Rig::new(&library, GAIN, &setup(64), vec![vec![vec![1.0; 64_000]; 2]]);
    let (handle, before) = (rig.handle.clone(), rig.handle.state_changes());
    let mut set = |id, value| rig.controller.set_parameter(&mut rig.graph, rig.key, id, value).unwrap();
    set(parameter::STATE, 3000.0);
    set(parameter::LATENCY, 480.0);
    rig.play_live(640, 64);
    bed::wait("its word that its state changed", || handle.state_changes() > before);
    assert_eq!(handle.save_state().unwrap().len(), 16 + 3000 * 1024);
    bed::wait("its word that it is later", || handle.moved() == Some((0, 480)));
    assert!(handle.status().words.unwrap().contains("480 frames late now and was 0"));
    // With its state another one is as late from the beginning.
    let again = HostedPlugin::open(&library, GAIN, &setup(64), Some(&handle.save_state().unwrap())).unwrap();
    assert_eq!(again.latency_frames(&Activation { sample_rate: rate() }), 64 + 480);
    assert_eq!(again.handle().moved(), None);
}

#[test]
fn parameters_have_words() {
    let (_folder, library) = library();
    let plugin = HostedPlugin::open(&library, GAIN, &setup(64), None).unwrap();
    let handle = plugin.handle();
    let description = handle.description();
    let gain = &description.parameters[0];
    assert_eq!((gain.id, gain.name.as_str(), gain.min, gain.max), (parameter::GAIN, "Gain", 0.0, 4.0));
    assert_eq!((gain.text.as_str(), gain.stepped), ("1.00 times", false));
    assert!(description.parameters[1].stepped);
    assert_eq!(handle.text(parameter::GAIN, 0.5).unwrap().as_deref(), Some("0.50 times"));
    assert_eq!(handle.value(parameter::GAIN, "3.25 times").unwrap(), Some(3.25));
    assert_eq!(handle.value(parameter::GAIN, "loud").unwrap(), None);
    assert!(description.note_input && description.note_output && description.state);
    assert_eq!(description.inputs.iter().map(|port| port.channels).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(description.outputs.iter().map(|port| port.channels).collect::<Vec<_>>(), [2, 1]);
}
