//! Send and Receive in one process, through the real runtime: what a user does within one project.
//!
//! Each test runs in a process of its own, with folders of its own: the runtime is one per process.

mod studio;

use std::process::Command;

use audiocloud_instance::session::Session;
use audiocloud_receive::ReceivePart;
use audiocloud_send::SendPart;
use nice_plug::midi::{Channel, Key, VoiceID};
use nice_plug::prelude::{NoteEvent, ProcessMode};
use serde_json::Value;
use studio::{BLOCK, Rack, paced};

/// Set in the child process that runs a test for real.
const CHILD: &str = "AUDIOCLOUD_TEST_CHILD";
const SEND_A: &str = r#"{"schema":1,"name":"Drums","stream":"00000000000000aa","colour":"red"}"#;
const SEND_B: &str = r#"{"schema":1,"name":"Bass","stream":"00000000000000bb"}"#;

/// Runs `test` in a process of its own; false there is only this one.
fn alone(name: &str, environment: &[(&str, &str)], test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return test();
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "mdns = false\nbind = \"127.0.0.1:0\"\n").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env("AUDIOCLOUD_CONFIG_DIR", folder.path())
        .env("AUDIOCLOUD_RUNTIME_DIR", folder.path().join("run"))
        .envs(environment.iter().copied())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn receive_of(stream: &str) -> String {
    let device = status()["device"].as_str().unwrap().to_owned();
    format!(r#"{{"schema":1,"publisher":"{device}","stream":"{stream}","name":"Drums"}}"#)
}

/// What the status command would answer.
fn status() -> Value {
    Session::default().join(Box::new(Value::default)).unwrap().status_json()
}

/// The sentence in the report of the publication or subscription of a stream.
fn sentence(kind: &str, stream: &str) -> String {
    let one = |entry: &&Value| entry["stream"] == stream;
    let report = status()[kind].as_array().unwrap().iter().find(one).map(|entry| entry["report"].clone());
    report.and_then(|report| Some(report["sentence"].as_str()?.to_owned())).unwrap_or_default()
}

/// Noise in 23 bits, the same at every run: MurmurHash3's finaliser over the frame's index.
fn signal(frame: usize) -> f32 {
    let mut bits = u32::try_from(frame).unwrap().wrapping_add(1);
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85EB_CA6B);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xC2B2_AE35);
    bits ^= bits >> 16;
    f32::from_bits(bits >> 9 | 0x3E80_0000) - 0.375
}

fn feed(send: &mut Rack<SendPart>, block: usize) {
    for index in 0..BLOCK {
        send.main[0][index] = signal(block * BLOCK + index);
        send.main[1][index] = -signal(block * BLOCK + index);
    }
}

/// Replaces the input by the stream at unity, 10 ms after it came.
fn replacing(state: &str) -> Rack<ReceivePart> {
    let mut receive = Rack::<ReceivePart>::new(state, ProcessMode::Realtime);
    receive.set("mode", 1.0);
    receive.set("playout", 1.0);
    receive.deactivate();
    receive.activate(ProcessMode::Realtime);
    receive
}

fn note(on: bool, timing: u32, key: u8) -> NoteEvent<()> {
    let (voice_id, channel, key) = (VoiceID::Wildcard, Channel::Number(0), Key::Number(key));
    if on {
        NoteEvent::NoteOn { timing, voice_id, channel, key, velocity: 0.75 }
    } else {
        NoteEvent::NoteOff { timing, voice_id, channel, key, velocity: 0.25 }
    }
}

#[test]
fn what_is_sent_is_played_bit_for_bit_and_passed_through() {
    alone("what_is_sent_is_played_bit_for_bit_and_passed_through", &[], || {
        let mut send = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let mut receive = replacing(&receive_of("00000000000000aa"));
        let mut played = Vec::new();
        paced(1.5, |block| {
            feed(&mut send, block);
            let before = send.main.clone();
            send.process();
            assert_eq!(send.main, before, "dry");
            receive.main.iter_mut().for_each(|channel| channel.fill(0.9));
            receive.process();
            assert_eq!(receive.main, receive.aux, "the stream alone");
            played.extend_from_slice(&receive.main[0]);
            false
        });
        let first = (0..played.len()).find(|frame| played[*frame] != 0.0).expect("something is played");
        // Past the fade-in every frame is the next of the signal.
        let from = first + 480;
        let start =
            (0..played.len()).find(|frame| signal(*frame).to_bits() == played[from].to_bits()).unwrap();
        let wrong = (0..played.len() - from)
            .filter(|index| played[from + index].to_bits() != signal(start + index).to_bits())
            .count();
        assert_eq!(wrong, 0, "of {}", played.len() - from);
        assert!(played.len() - from > 24_000);
        assert!(sentence("subscriptions", "00000000000000aa").starts_with("Playing “Drums” from"));
        assert_eq!(sentence("publications", "00000000000000aa"), "On air to one receiver.");
        assert!(send.save().contains(r#""colour":"red""#));
    });
}

#[test]
fn notes_come_out_at_their_frames_and_none_hangs() {
    alone("notes_come_out_at_their_frames_and_none_hangs", &[], || {
        let mut send = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let mut receive = replacing(&receive_of("00000000000000aa"));
        let mut out = Vec::new();
        paced(1.5, |block| {
            feed(&mut send, block);
            match block {
                300 => send.notes_in.extend([note(true, 5, 60), note(true, 77, 64)]),
                310 => send.notes_in.extend([note(false, 127, 60)]),
                _ => {}
            }
            send.process();
            receive.process();
            out.extend(receive.notes_out.drain(..).map(|event| (block * BLOCK, event)));
            false
        });
        assert_eq!(send.notes_out.len(), 3, "passed through");
        let at = |index: usize| out[index].0 + usize::try_from(out[index].1.timing()).unwrap();
        assert_eq!(out.len(), 3, "{out:?}");
        assert_eq!((at(1) - at(0), at(2) - at(0)), (72, 10 * BLOCK + 122), "{out:?}");
        assert!(matches!(out[0].1, NoteEvent::NoteOn { velocity: 0.75, key: Key::Number(60), .. }));
        // Key 64 still sounds: another stream is picked, and it is let go.
        receive.load(&receive_of("00000000000000bb"));
        receive.process();
        let off = receive.notes_out.pop();
        assert!(matches!(off, Some(NoteEvent::NoteOff { key: Key::Number(64), .. })), "{off:?}");
    });
}

#[test]
fn a_duplicate_becomes_a_new_stream_and_says_so() {
    alone("a_duplicate_becomes_a_new_stream_and_says_so", &[], || {
        let first = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let second = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        assert!(first.save().contains("00000000000000aa"));
        let saved: Value = serde_json::from_str(&second.save()).unwrap();
        let fresh = saved["stream"].as_str().unwrap();
        assert_ne!(fresh, "00000000000000aa");
        assert_eq!((saved["name"].as_str(), saved["colour"].as_str()), (Some("Drums"), Some("red")));
        assert!(sentence("publications", fresh).contains("is now a new stream"));
        assert!(!sentence("publications", "00000000000000aa").contains("new stream"));
        // The original goes: the other one keeps the identity that it has taken.
        drop(first);
        let saved_again: Value = serde_json::from_str(&second.save()).unwrap();
        assert_eq!(saved_again, saved);
    });
}

#[test]
fn another_stream_is_picked_while_playing() {
    alone("another_stream_is_picked_while_playing", &[], || {
        let mut drums = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let mut bass = Rack::<SendPart>::new(SEND_B, ProcessMode::Realtime);
        let mut receive = replacing(&receive_of("00000000000000aa"));
        let mut tail = Vec::new();
        paced(2.0, |block| {
            drums.main.iter_mut().for_each(|channel| channel.fill(0.5));
            bass.main.iter_mut().for_each(|channel| channel.fill(0.25));
            drums.process();
            bass.process();
            receive.process();
            if block == 350 {
                assert_eq!(receive.main[0][0], 0.5);
                receive.load(&receive_of("00000000000000bb"));
            }
            if block > 340 {
                tail.extend_from_slice(&receive.main[0]);
            }
            tail.len() > 300 * BLOCK
        });
        let steepest = tail.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.02, "a click of {steepest}");
        assert_eq!(tail.last(), Some(&0.25));
        assert!(sentence("subscriptions", "00000000000000bb").contains("“Bass”"));
    });
}

/// The first sample of each output: the main one, *Stream only*, then streams by themselves.
fn heads(receive: &Rack<ReceivePart>) -> Vec<f32> {
    let outputs = [&receive.main, &receive.aux].into_iter().chain(&receive.own);
    outputs.map(|channels| channels[0][0]).collect()
}

#[test]
fn a_session_is_mixed_by_its_faders_or_comes_out_separately() {
    alone("a_session_is_mixed_by_its_faders_or_comes_out_separately", &[], || {
        let mut drums = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let mut bass = Rack::<SendPart>::new(SEND_B, ProcessMode::Realtime);
        let device = status()["device"].as_str().unwrap().to_owned();
        let state = |drums: &str, bass: &str| {
            format!(
                r#"{{"schema":2,"play":"session","faders":{{"{device}/00000000000000aa":{drums},"{device}/00000000000000bb":{bass}}}}}"#
            )
        };
        // Both are this process' own: they are played because they are asked for.
        let mut receive =
            replacing(&state(r#"{"own":true,"output":3}"#, r#"{"own":true,"level":-6.02,"pan":1}"#));
        let mut tail = Vec::new();
        let mut until = |receive: &mut Rack<ReceivePart>, done: &dyn Fn(&Rack<ReceivePart>) -> bool| {
            let reached = paced(5.0, |_| {
                drums.main.iter_mut().for_each(|channel| channel.fill(0.5));
                bass.main.iter_mut().for_each(|channel| channel.fill(0.25));
                drums.process();
                bass.process();
                receive.process();
                tail.extend_from_slice(&receive.main[1]);
                done(receive)
            });
            assert!(reached, "{:?}", heads(receive));
        };
        let near = |value: f32, expected: f32| (value - expected).abs() < 1e-4;
        // Panned to the right, the bass is not in the left channel.
        until(&mut receive, &|receive| near(receive.main[1][0], 0.625) && receive.main[0][0] == 0.5);
        assert_eq!(receive.main, receive.aux);
        // The host's outputs are used: the bass takes the first that is free, and the project keeps it.
        receive.set("outputs", 1.0);
        until(&mut receive, &|receive| {
            let heads = heads(receive);
            heads[..2] == [0.0; 2] && heads[4] == 0.5 && near(receive.own[0][1][0], 0.125)
        });
        assert!(receive.own.iter().skip(3).flatten().flatten().all(|sample| *sample == 0.0));
        let saved: Value = serde_json::from_str(&receive.save()).unwrap();
        assert_eq!(saved["faders"][format!("{device}/00000000000000bb")]["output"], 1, "{saved}");
        // Back into the mix, and the drums muted.
        receive.set("outputs", 0.0);
        receive.load(&state(r#"{"own":true,"mute":true}"#, r#"{"own":true}"#));
        until(&mut receive, &|receive| heads(receive)[..2] == [0.25; 2]);
        // One is no longer asked for.
        receive.load(&state(r#"{"own":true}"#, "{}"));
        until(&mut receive, &|receive| heads(receive)[..2] == [0.5; 2]);
        // A stream that is heard from its beginning begins at once; from then on nothing jumps.
        let begun = tail.iter().position(|sample| near(*sample, 0.625)).unwrap();
        let steepest = tail[begun..].windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.02, "a click of {steepest}");
    });
}

#[test]
fn an_offline_render_publishes_nothing_and_plays_silence() {
    alone("an_offline_render_publishes_nothing_and_plays_silence", &[], || {
        let mut send = Rack::<SendPart>::new(SEND_A, ProcessMode::Offline);
        let mut receive = Rack::<ReceivePart>::new(&receive_of("00000000000000aa"), ProcessMode::Offline);
        for block in 0..500 {
            feed(&mut send, block);
            let before = send.main.clone();
            send.process();
            assert_eq!(send.main, before);
            receive.main = before.clone();
            receive.process();
            assert_eq!(receive.main, before, "the input passes in Mix");
            assert!(receive.aux.iter().flatten().all(|sample| *sample == 0.0));
        }
        assert!(status()["publications"].as_array().unwrap().is_empty());
        // The one that asks says nothing.
        let said: Vec<Value> =
            status()["instances"].as_array().unwrap().iter().filter(|one| !one.is_null()).cloned().collect();
        assert!(
            said.len() == 2
                && said.iter().all(|one| one["sentence"].as_str().unwrap().starts_with("Offline"))
        );
        // Back in real time the stream is there again, under its old id.
        send.activate(ProcessMode::Realtime);
        assert!(send.save().contains("00000000000000aa"));
        assert!(!sentence("publications", "00000000000000aa").is_empty());
    });
}

#[test]
fn a_panic_leaves_send_dry_and_receive_silent() {
    alone("a_panic_leaves_send_dry_and_receive_silent", &[("AUDIOCLOUD_INJECT_PANIC", "process@50")], || {
        let mut send = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let mut receive = replacing(&receive_of("00000000000000aa"));
        for block in 0..100 {
            feed(&mut send, block);
            send.notes_in.push_back(note(true, 1, 60));
            let before = send.main.clone();
            send.process();
            assert_eq!(send.main, before);
            assert_eq!(send.notes_out.len(), block + 1);
            receive.main.iter_mut().for_each(|channel| channel.fill(1.0));
            receive.process();
            if block >= 49 {
                assert!(receive.main.iter().chain(&receive.aux).flatten().all(|sample| *sample == 0.0));
            }
        }
        let said = sentence("publications", "00000000000000aa");
        assert!(said.contains("stopped after an internal error in process (injected"), "{said}");
        let said = sentence("subscriptions", "00000000000000aa");
        assert!(said.contains("it is silent"), "{said}");
        send.deactivate();
        send.activate(ProcessMode::Realtime);
        send.process();
        let said = sentence("publications", "00000000000000aa");
        assert!(!said.contains("internal error"), "{said}");
    });
}

#[test]
fn a_feedback_loop_is_found_and_faded() {
    alone("a_feedback_loop_is_found_and_faded", &[], || {
        let mut send = Rack::<SendPart>::new(SEND_A, ProcessMode::Realtime);
        let mut receive = replacing(&receive_of("00000000000000aa"));
        let found = paced(10.0, |block| {
            feed(&mut send, block);
            let before = send.main.clone();
            for (channel, back) in send.main.iter_mut().zip(&receive.main) {
                channel
                    .iter_mut()
                    .zip(back)
                    .for_each(|(own, back)| *own = (*own * 0.1 + back).clamp(-8.0, 8.0));
            }
            send.process();
            receive.main = before;
            receive.process();
            block % 40 == 0 && sentence("subscriptions", "00000000000000aa").starts_with("Feedback loop")
        });
        assert!(found);
        assert!(sentence("publications", "00000000000000aa").starts_with("Feedback loop"));
        for _ in 0..20 {
            send.process();
            receive.process();
        }
        assert!(receive.main.iter().flatten().all(|sample| *sample == 0.0), "faded out");
    });
}

#[test]
fn a_later_schema_is_kept_and_said() {
    alone("a_later_schema_is_kept_and_said", &[], || {
        let later = r#"{"schema":7,"streams":[{"id":1}]}"#;
        let mut send = Rack::<SendPart>::new(later, ProcessMode::Realtime);
        let mut receive = Rack::<ReceivePart>::new(later, ProcessMode::Realtime);
        send.process();
        receive.process();
        assert_eq!((send.save().as_str(), receive.save().as_str()), (later, later));
        send.deactivate();
        assert_eq!(send.save(), later);
    });
}
