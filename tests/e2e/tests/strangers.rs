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
    let source = phrase(48_000, 2, 6.0).with_lead(0.2);
    let mut options = PairOptions::new(2, 48_000, Block::Fixed(128));
    options.playout_ms = Some(2.0 * PLAYOUT_MS);
    options.send.input = Some(stage.recording("source", &source));
    let mut pair = Pair::start(&stage.tools, &stage.world, &options).expect("a pair");
    pair.wait_live(LIVE).expect("live");
    let us = stage.world.identity(&stage.tools).expect("an identity");
    let status = stage.world.status(&stage.tools).expect("a status");
    let port = port_of_sender(&status).expect("the sender's port");
    pair.begin().expect("begun");

    let peer = |key: &str| format!("[[peer]]\naddress = \"127.0.0.1:{port}\"\nkey = \"{key}\"\n");
    let stream = format!("{:016x}", pair.options.stream);
    // Another identity that knows our key: we refuse it, for we do not know it.
    let unknown = stage.another("unknown", &peer(&us.user));
    // Another identity that expects somebody else at our address: it refuses us.
    let mistaken = stage.another("mistaken", &peer(NOBODY));
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

    let ours = stage.world.wait_status(&stage.tools, LIVE, "refusing", |status| {
        Some(refusals(status)).filter(|list| !list.is_empty())
    });
    println!("we say: {:?}", ours.expect("a refusal"));
    let theirs = mistaken.wait_status(&stage.tools, LIVE, "refusing", |status| {
        Some(refusals(status)).filter(|list| !list.is_empty())
    });
    println!("the mistaken one says: {:?}", theirs.expect("a refusal"));

    pair.send.wait("input-done", Duration::from_secs(30)).expect("all in");
    for rig in rigs {
        let run = rig.finish().expect("a run");
        assert!(run.report.peak == 0.0, "a stranger heard the stream");
    }
    assert_whole(&pair.finish(&source).expect("an outcome"));
}
