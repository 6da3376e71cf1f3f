//! Who does not belong is refused with a reason, and streams in progress do not notice.

use std::{net::UdpSocket, time::Duration};

use audiocloud_e2e::{LIVE, PLAYOUT_MS, Stage, assert_whole};
use audiocloud_rig::{
    audio::phrase,
    process::{Block, Options, Rig},
    session::{Pair, PairOptions, RECEIVE_ID, START, World, receive_field},
};
use serde_json::Value;

/// A key that is nobody's: the public half of a key pair that was thrown away.
const NOBODY: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

fn port_of_sender(status: &Value) -> Option<u64> {
    status["runtimes"].as_array()?.iter().find_map(|runtime| {
        let publishes = runtime["publications"].as_array().is_some_and(|list| !list.is_empty());
        runtime["port"].as_u64().filter(|port| publishes && *port != 0)
    })
}

fn refusals(status: &Value) -> Vec<String> {
    let runtimes = status["runtimes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lists = runtimes.iter().filter_map(|runtime| runtime["refusals"].as_array());
    lists.flatten().map(ToString::to_string).collect()
}

/// A Receive on a machine of its own that wants the stream.
fn stranger(stage: &Stage, world: &World, publisher: &str, stream: &str) -> Rig {
    let mut options = Options::new(RECEIVE_ID);
    options.fifo = None;
    options.fields.push(("stream".into(), receive_field(publisher, stream)));
    let mut rig = world.rig(&stage.tools, "stranger", &options).expect("a rig");
    rig.wait("ready", START).expect("ready");
    rig
}

#[test]
fn strangers_are_refused_and_the_stream_does_not_notice() {
    let stage = Stage::new();
    // Somebody whom we would let in, but who expects another key at our address.
    let mistaken = stage.another("mistaken", "");
    let friend = mistaken.identity(&stage.tools).expect("an identity").user;
    let peer = |port: u64, key: &str| format!("[[peer]]\naddress = \"127.0.0.1:{port}\"\nkey = \"{key}\"\n");
    // Port 9 discards: the entry is there for its key alone.
    stage.world.configure(&peer(9, &friend)).expect("configured");
    let source = phrase(48_000, 2, 6.0).with_lead(0.2);
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.playout_ms = Some(PLAYOUT_MS);
    options.send.input = Some(stage.recording("source", &source));
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    let us = stage.world.identity(&stage.tools).expect("an identity");
    let status = stage.world.status(&stage.tools).expect("a status");
    let port = port_of_sender(&status).expect("the sender's port");
    pair.begin().expect("begun");

    let stream = format!("{:016x}", pair.options.stream);
    // Another identity that knows our key: we refuse it, for we do not know it.
    let unknown = stage.another("unknown", &peer(port, &us.user));
    let stranger_user = unknown.identity(&stage.tools).expect("an identity").user;
    mistaken.configure(&peer(port, NOBODY)).expect("configured");
    let rigs =
        [stranger(&stage, &unknown, &us.device, &stream), stranger(&stage, &mistaken, &us.device, &stream)];

    let garbage = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for index in 0..3000_u32 {
        let length = usize::try_from(random % 1400).expect("small") + 1;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[3]
            })
            .collect();
        garbage.send_to(&bytes, format!("127.0.0.1:{port}")).expect("sent");
        if index % 10 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    let refused = |world: &World, what: &str, parts: [&str; 2]| {
        let found = world.wait_status(&stage.tools, LIVE, what, |status| {
            refusals(status).into_iter().find(|line| parts.iter().all(|part| line.contains(part)))
        });
        println!("{what}: {}", found.unwrap_or_else(|error| panic!("{error:#}")));
    };
    refused(&stage.world, "we refuse the unknown one", ["refused", &stranger_user]);
    refused(&mistaken, "the mistaken one refuses us", ["refused", NOBODY]);

    pair.send.wait("input-done", Duration::from_secs(30)).expect("all in");
    for rig in rigs {
        let run = rig.finish().expect("a run");
        assert!(run.report.peak == 0.0, "a stranger heard the stream");
    }
    assert_whole(&pair.finish(&source).expect("an outcome"));
}
