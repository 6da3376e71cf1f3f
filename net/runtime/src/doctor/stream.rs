//! A second of sound from one runtime to another through real sockets on loopback: everything but the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{self, Epoch, Flags, Header, block_ring};
use audiocloud_rt::event::event_ring;
use audiocloud_rt::host_time;
use audiocloud_units::{Frames, MediaTime, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::StreamKey;
use audiocloud_wire::message::Purpose;
use serde_json::Value;

use super::{Check, Finding};
use crate::{Config, Handle, Link, PublishConfig, Runtime, SubscribeConfig, private_file};

const CHECK: Check = Check::Stream;
const RATE: SampleRate = SampleRate::new(48_000).expect("it is a rate");
const CHANNELS: u16 = 2;
const BLOCK_FRAMES: u32 = 64;
/// A second.
const BLOCKS: usize = 750;
const BLOCK: Duration = Duration::from_nanos(64 * 1_000_000_000 / 48_000);
/// How long the two may take to find each other.
const MEET: Duration = Duration::from_secs(3);
/// How long the last packets may take.
const TAIL: Duration = Duration::from_millis(500);
/// What comes later than this is heard at usual buffer sizes.
const LATENCY_MAX: Duration = Duration::from_millis(10);

pub(super) fn examine() -> Vec<Finding> {
    vec![match play() {
        Ok(played) => judge(&played),
        Err(finding) => *finding,
    }]
}

/// How the second went.
#[derive(Clone, Debug, Default)]
struct Played {
    /// Of each block that came, from the publisher's callback until it lay in the other's ring, sorted.
    latencies: Vec<Duration>,
    /// Samples that were not what was sent, to the bit.
    wrong_samples: u64,
}

impl Played {
    fn latency(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

fn judge(played: &Played) -> Finding {
    let missing = BLOCKS - played.latencies.len().min(BLOCKS);
    let (median, worst) = (played.latency(50), played.latency(100));
    let ms = |latency: Duration| format!("{:.2} ms", latency.as_secs_f64() * 1e3);
    if played.wrong_samples > 0 {
        return Finding::fault(
            CHECK,
            format!(
                "of a second of sound, {} samples came out other than they went in",
                played.wrong_samples
            ),
            "this is a mistake in audiocloud or a fault of this machine's memory: please report it",
        );
    }
    if missing > 0 {
        return Finding::fault(
            CHECK,
            format!(
                "of a second of sound on this machine alone, {missing} of {BLOCKS} blocks did not come in time"
            ),
            "the machine is too busy, or without real-time rights (see scheduling): close other programs and try again",
        );
    }
    if worst > LATENCY_MAX {
        return Finding::warning(
            CHECK,
            format!(
                "a second of sound came through bit for bit, but late at times: {} usually, {} at worst",
                ms(median),
                ms(worst)
            ),
            "give audiocloud real-time rights (see scheduling), and close what keeps the processor busy",
        );
    }
    Finding::good(
        CHECK,
        format!(
            "a second of sound came through bit for bit, after {} usually and {} at worst",
            ms(median),
            ms(worst)
        ),
    )
}

/// Exact in 24 bits, and different wherever it could be confused.
fn sample(channel: usize, frame: u64) -> f32 {
    let mixed = (frame * 2 + u64::try_from(channel).unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 41;
    #[allow(clippy::cast_precision_loss, reason = "23 bits fit")]
    let value = mixed as f32;
    value / 8_388_608.0 - 0.5
}

/// A folder that goes when this does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("audiocloud-{}", crate::random_stream()));
        private_file::create_dir(&path).map(|()| Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies among temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn runtime(folder: &Path, name: &str) -> Result<Handle, Box<Finding>> {
    let mut config = Config::in_folders(folder, folder);
    config.name = name.to_owned();
    config.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.mdns = false;
    Runtime::acquire_with(config).map_err(|error| Box::new(Finding::of_error(CHECK, &error.to_string())))
}

/// Plays it, or says what prevents it.
fn play() -> Result<Played, Box<Finding>> {
    let folder = Folder::new().map_err(|error| {
        let found = format!("no temporary folder can be made in {}: {error}", std::env::temp_dir().display());
        Box::new(Finding::fault(CHECK, found, "make room there, or set TMPDIR to another folder"))
    })?;
    let (here, there) = (runtime(&folder.0, "doctor, sending")?, runtime(&folder.0, "doctor, receiving")?);
    let (blocks_in, blocks_out) = block_ring(1024, 1024 * 128);
    let (_events_in, events_out) = event_ring(16);
    let config = PublishConfig {
        name: "Self-test".to_owned(),
        sample_rate: RATE,
        channels: CHANNELS,
        codec: Codec::PcmF32,
        codecs: Vec::new(),
        bitrate_max_bps: 0,
        max_block: BLOCK_FRAMES,
        session: None,
        purpose: Purpose::Play,
    };
    let claim = here
        .claim(here.random_stream())
        .map_err(|error| Box::new(Finding::of_error(CHECK, &error.to_string())))?;
    let publication = here.publish(claim, config, blocks_out, events_out, Box::new(|| Value::Null));
    let (blocks, mut blocks_heard) = block_ring(1024, 1024 * 128);
    let (events, _events_heard) = event_ring(16);
    let key = StreamKey::new(here.device(), publication.stream());
    let subscription = there.subscribe(SubscribeConfig::new(key), blocks, events, Box::new(|| Value::Null));
    let deadline = Instant::now() + MEET;
    while subscription.status().link != Link::Live || publication.status().subscribers == 0 {
        if Instant::now() > deadline {
            return Err(Box::new(apart(&there)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| listen(&mut blocks_heard, began));
        send(&here, blocks_in, began);
        listener.join()
    })
    .map_err(|_| {
        Box::new(Finding::fault(
            CHECK,
            "the self-test failed",
            "this is a mistake in audiocloud: please report it",
        ))
    })
}

fn apart(there: &Handle) -> Finding {
    let said = there.refusals().pop().or_else(|| there.events_log().pop()).unwrap_or_default();
    let said = said.split_once("  ").map_or(String::new(), |(_, line)| format!(" ({})", line.trim()));
    Finding::fault(
        CHECK,
        format!("two processes on this machine do not reach each other by UDP on 127.0.0.1{said}"),
        "a firewall of this machine drops UDP on the loopback interface, or the interface is down: `sudo ip link set lo up`, \
         and with iptables `sudo iptables -I INPUT -i lo -j ACCEPT`",
    )
}

/// Block by block, each when it is due.
fn send(handle: &Handle, mut blocks: block_ring::Producer, began: Instant) {
    let waker = handle.waker();
    let mut header = Header {
        epoch: Epoch(1),
        sample_rate: RATE,
        start: MediaTime::new(0),
        frames: BLOCK_FRAMES,
        first_channel: 0,
        channels: CHANNELS,
        stream_channels: CHANNELS,
        host_time: host_time::now(),
        session_time: None,
        flags: Flags::NONE,
        recovery: audiocloud_units::Nanos::ZERO,
    };
    for number in 0..BLOCKS {
        std::thread::sleep(due(began, number).saturating_duration_since(Instant::now()));
        header.host_time = host_time::now();
        let start = header.start.get();
        let pushed = blocks.try_push(&header, |channel, from, out| {
            for (frame, out) in (from..).zip(out) {
                *out = sample(channel, start + u64::try_from(frame).unwrap_or(0));
            }
        });
        if pushed.is_err() {
            // It is missing at the other end and counted there.
            tracing::debug!(target: "audiocloud::doctor", number, "the ring of the self-test is full");
        }
        waker.wake();
        header.start += Frames::new(i64::from(BLOCK_FRAMES));
    }
}

fn due(began: Instant, number: usize) -> Instant {
    began + BLOCK * u32::try_from(number).unwrap_or(u32::MAX)
}

/// Takes blocks as they come until all are there or the time is over.
fn listen(blocks: &mut block_ring::Consumer, began: Instant) -> Played {
    let mut played = Played::default();
    let deadline = due(began, BLOCKS) + TAIL;
    while played.latencies.len() < BLOCKS && Instant::now() < deadline {
        let taken = blocks.try_pop(|header, samples| {
            let start = header.start.get();
            let wrong = (0..usize::from(header.channels)).flat_map(|channel| {
                (0..header.frame_count()).filter(move |frame| {
                    let expected = sample(channel, start + u64::try_from(*frame).unwrap_or(0));
                    samples.get(channel, *frame).to_bits() != expected.to_bits()
                })
            });
            (start, u64::try_from(wrong.count()).unwrap_or(u64::MAX))
        });
        match taken {
            Some((start, wrong)) => {
                let number = usize::try_from(start / u64::from(BLOCK_FRAMES)).unwrap_or(usize::MAX);
                played.latencies.push(due(began, number).elapsed());
                played.wrong_samples += wrong;
            }
            None => std::thread::sleep(Duration::from_micros(50)),
        }
    }
    played.latencies.sort_unstable();
    played
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn how_the_second_went_is_judged() {
        let played =
            |blocks, ms| Played { latencies: vec![Duration::from_millis(ms); blocks], wrong_samples: 0 };
        let check = |played: &Played, outcome, found: &str| {
            let finding = judge(played);
            assert_eq!(finding.outcome, outcome, "{finding:?}");
            assert!(finding.found.contains(found), "{finding:?}");
        };
        check(&played(BLOCKS, 1), Outcome::Good, "bit for bit, after 1.00 ms usually and 1.00 ms at worst");
        check(&played(BLOCKS, 30), Outcome::Warning, "30.00 ms at worst");
        check(&played(BLOCKS - 3, 1), Outcome::Fault, "3 of 750 blocks");
        check(&played(0, 1), Outcome::Fault, "750 of 750 blocks");
        check(&Played { wrong_samples: 2, ..played(BLOCKS, 1) }, Outcome::Fault, "2 samples");
    }

    #[test]
    fn samples_differ_and_stay_in_range() {
        let all: std::collections::BTreeSet<u32> =
            (0..2).flat_map(|channel| (0..4096).map(move |frame| sample(channel, frame).to_bits())).collect();
        assert!(all.len() > 8_000, "{}", all.len());
        assert!((0..48_000).all(|frame| (-0.5..0.5).contains(&sample(0, frame))));
    }
}
