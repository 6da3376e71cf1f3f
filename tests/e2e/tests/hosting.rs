//! `audiocloud node` plays chains of effects for another process: over real sockets, as a plug-in's runtime asks for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use audiocloud_e2e::{Stage, remote_fx::FxNode};
use audiocloud_engine::chain::document::Chain;
use audiocloud_engine::chain::edit::{Edit, Place};
use audiocloud_engine::chain::foreign::NoForeign;
use audiocloud_engine::chain::rack::{RackCall, RackSetup, rack};
use audiocloud_engine::graph::renderer::Ports;
use audiocloud_engine::rt::callback;
use audiocloud_engine::units::SampleRate;
use audiocloud_net::runtime::remote::Transfer;
use serde_json::Value;

use crate::insert::{FRAMES, Insert, OWNER, RATE_HZ, noise, until};

/// How long a node may take to answer a request.
const ANSWER: Duration = Duration::from_secs(30);

/// The status line, and what follows the head.
fn get(node: &FxNode, path: &str) -> (String, String) {
    let address = node.place()["metrics"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn says(stage: &Stage, arguments: &[&str]) -> String {
    let output = stage.world.audiocloud(&stage.tools, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn insert(stage: &Stage, transfer: Transfer) -> Insert {
    Insert::new(stage, "Vocals", document().to_json(), transfer)
}

fn document() -> Chain {
    let mut chain = Chain { name: "Vocals".to_owned(), ..Chain::default() };
    for kind in ["eq", "compressor", "reverb"] {
        chain.apply(&Edit::Add { at: Place::END, kind: kind.to_owned() }).unwrap();
    }
    chain
}

/// The left channel of what the chain gives here.
fn played_here(frames: usize) -> Vec<f32> {
    struct Here(u64, Vec<f32>);
    impl Ports for Here {
        fn read(&mut self, _bus: usize, channel: usize, from: usize, samples: &mut [f32]) {
            for (index, sample) in samples.iter_mut().enumerate() {
                *sample = noise(channel, self.0 + u64::try_from(from + index).unwrap());
            }
        }
        fn write(&mut self, _bus: usize, channel: usize, _from: usize, samples: &[f32]) {
            if channel == 0 {
                self.1.extend_from_slice(samples);
            }
        }
    }
    let sample_rate = SampleRate::new(RATE_HZ).unwrap();
    let setup = RackSetup { sample_rate, inputs: 2, side_chain: 0, outputs: 2 };
    let (control, mut audio) = rack(&document(), &setup, Box::new(NoForeign)).unwrap();
    let latency = usize::try_from(control.latency_frames()).unwrap();
    let mut here = Here(0, Vec::new());
    while here.1.len() < frames + latency {
        callback::enter(|callback| {
            let call = RackCall { callback, offline: true, transport: None, events: &[] };
            audio.process(&call, 512, &mut here);
        });
        here.0 += 512;
    }
    here.1.drain(..latency);
    here.1.truncate(frames);
    here.1
}

#[test]
fn what_comes_back_is_what_the_chain_gives_here_bit_for_bit() {
    let stage = Stage::new();
    let node = FxNode::with(&stage, &["--metrics", "127.0.0.1:0", "--log-json"], &[]);
    assert_eq!(node.place()["hosts"], true, "{}", node.place());
    let mut insert = insert(&stage, Transfer::Exact);
    let blocks = 200;
    // The last frames are still in the compressor's and the reverb's pre-delay, if they have any.
    until("all that was sent", || insert.play(blocks, 4_096).then_some(()));
    let here = played_here(insert.got.len());
    let differing =
        insert.got.iter().zip(&here).filter(|(there, here)| there.to_bits() != here.to_bits()).count();
    assert_eq!(differing, 0, "of {} frames", insert.got.len());
    assert!(here.iter().any(|sample| sample.abs() > 0.01), "silence proves nothing");
    // The node says what it does.
    let (status, page) = get(&node, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(page.contains("audiocloud_chains 1\n"), "{page}");
    let frames = until("the chain's figures", || {
        let (_, page) = get(&node, "/metrics");
        let line =
            page.lines().find(|line| line.starts_with("audiocloud_chain_frames_total{chain=\"Vocals\""))?;
        line.rsplit(' ').next()?.parse::<u64>().ok().filter(|frames| *frames > 0)
    });
    assert!(frames <= blocks * u64::from(FRAMES), "{frames}");
    let (status, health) = get(&node, "/healthz");
    assert!(status.ends_with("200 OK") && health.contains("\"status\":\"ok\""), "{status} {health}");
    let log = node.errors();
    let opened = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(
        opened.into_iter().any(|line| line["message"] == "chain opened" && line["owner"] == OWNER),
        "{log}"
    );
}

#[test]
fn the_command_line_shows_nodes_and_chains_and_proposes_edits() {
    let stage = Stage::new();
    let _node = FxNode::new(&stage);
    let insert = insert(&stage, Transfer::Live);
    let nodes: Value = serde_json::from_str(&says(&stage, &["nodes", "--json"])).unwrap();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(1), "{nodes}");
    assert!(says(&stage, &["nodes"]).contains(" % free, "));
    let listed = says(&stage, &["chain", "list"]);
    assert!(listed.starts_with("\"Vocals\" of \"Ada\" ("), "{listed}");
    assert!(says(&stage, &["chain", "show", "Vocals"]).contains("  1  Compressor\n"));
    says(&stage, &["chain", "set", "vocals", "compressor", "threshold", "-20 dB"]);
    says(&stage, &["chain", "bypass", "Ada/Vocals", "eq"]);
    let mut edits = Vec::new();
    until("the proposals", || {
        let new = insert.remote.proposals();
        edits.extend(new.iter().map(|proposal| Edit::from_json(&proposal.edit).unwrap()));
        (edits.len() == 2).then_some(())
    });
    assert!(matches!(edits[0], Edit::Set { effect: 1, value: -20.0, .. }), "{edits:?}");
    assert_eq!(edits[1], Edit::Bypass(0, true));
    let wrong = ["chain", "set", "Vocals", "flanger", "depth", "1"];
    let wrong = stage.world.audiocloud(&stage.tools, &wrong).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("no effect of the chain is called \"flanger\""), "{said}");
}

#[test]
fn a_node_that_is_told_to_end_lets_its_chains_go_first() {
    let stage = Stage::new();
    std::fs::write(stage.world.config.join("node.toml"), "[drain]\nseconds = 60\n").unwrap();
    let start = || FxNode::with(&stage, &["--metrics", "127.0.0.1:0"], &[]);
    let mut first = start();
    let mut insert = insert(&stage, Transfer::Live);
    let mut second = start();
    until("the second node", || (insert.handle.nodes().len() == 2).then_some(()));
    first.tell_to_end();
    until("the second node has the chain", || {
        insert.push();
        insert.forget_answers();
        get(&second, "/metrics").1.contains("audiocloud_chains 1\n").then_some(())
    });
    let ended = until("the end of the first", || first.ended());
    assert!(ended.success());
    insert.wait_until_live();
    // Told again, it ends at once, though its chain has nowhere to go.
    second.tell_to_end();
    until("it lets its chain go", || {
        get(&second, "/metrics").1.contains("audiocloud_draining 1\n").then_some(())
    });
    second.tell_to_end();
    let ended = until("the end of the second", || second.ended());
    assert!(ended.success());
}
