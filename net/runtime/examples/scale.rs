//! Many streams over one connection: what sending and receiving them costs, and whether anything is lost.
//!
//! `cargo run --release -p audiocloud-runtime --example scale -- [SECONDS] [STREAMS] [FRAMES]`: two processes, the first
//! with so many stereo streams of 24 bits at 48 kHz, noise that nothing can make smaller, all of one callback that is
//! paced in real time, the second subscribed to them all. Prints the processor time of both network threads, in cores,
//! and what came. `SCALE_BIND` and `SCALE_BIND_RECEIVER` are addresses other than the loopback's, and `SCALE_RUN` a
//! command that runs the second process, `ip netns exec NAME` for one.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use audiocloud_rt::block_ring::{Epoch, Flags, Header, Producer, block_ring};
use audiocloud_rt::event::event_ring;
use audiocloud_rt::{host_time, priority};
use audiocloud_runtime::{Config, Handle, PublishConfig, Report, Runtime, SubscribeConfig};
use audiocloud_units::{Frames, MediaTime, Nanos, SampleRate};
use audiocloud_wire::codec::Codec;
use audiocloud_wire::id::{StreamId, StreamKey};

const SAMPLE_RATE_HZ: u32 = 48_000;
const CHANNELS: u16 = 2;
const NOISE_SAMPLES: usize = 1 << 16;
const FOLDER: &str = "SCALE_FOLDER";
/// After the last block: what is on its way arrives.
const SETTLE: Duration = Duration::from_millis(500);

type Failure = Box<dyn Error>;

#[derive(Clone, Copy)]
struct Load {
    seconds: u32,
    streams: u64,
    frames: u32,
}

impl Load {
    fn from_arguments() -> Result<Self, Failure> {
        let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>());
        let mut next = |default| arguments.next().transpose().map(|given| given.unwrap_or(default));
        Ok(Self { seconds: next(10)?, streams: next(64)?.into(), frames: next(240)? })
    }

    fn blocks(self) -> u64 {
        u64::from(self.seconds) * u64::from(SAMPLE_RATE_HZ) / u64::from(self.frames)
    }
}

fn main() -> Result<(), Failure> {
    let load = Load::from_arguments()?;
    match std::env::var_os(FOLDER) {
        Some(folder) => receive(load, Path::new(&folder)),
        None => send(load),
    }
}

fn runtime(folder: &Path, address: &str) -> Result<Handle, Failure> {
    let mut config = Config::in_folders(&folder.join("config"), &folder.join("run"));
    config.mdns = false;
    config.bind = match std::env::var(address) {
        Ok(address) => SocketAddr::new(address.parse()?, 0),
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    Ok(Runtime::acquire_with(config)?)
}

fn no_report() -> Report {
    Box::new(|| serde_json::Value::Null)
}

// ---- The sender.

fn send(load: Load) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let handle = runtime(folder.path(), "SCALE_BIND")?;
    let sample_rate = SampleRate::new(SAMPLE_RATE_HZ).ok_or("a rate")?;
    let mut rings = Vec::new();
    let mut publications = Vec::new();
    for stream in 1..=load.streams {
        let (blocks, blocks_out) = block_ring(64, usize::try_from(load.frames)? * usize::from(CHANNELS) * 64);
        let (events, events_out) = event_ring(16);
        let publish = PublishConfig {
            name: format!("Stream {stream}"),
            sample_rate,
            channels: CHANNELS,
            codec: Codec::PcmS24,
            codecs: Vec::new(),
            bitrate_max_bps: 0,
            max_block: load.frames,
            session: None,
            purpose: audiocloud_wire::message::Purpose::Play,
        };
        let claim = handle.claim(StreamId(stream))?;
        publications.push(handle.publish(claim, publish, blocks_out, events_out, no_report()));
        rings.push((blocks, events));
    }
    let mut receiver = start_receiver(folder.path(), &handle)?;
    while publications.iter().any(|publication| publication.status().subscribers == 0) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = processor_time()?;
    let waker = handle.waker();
    let blocks: Vec<Producer> =
        rings.iter_mut().map(|(blocks, _)| std::mem::replace(blocks, block_ring(1, 1).0)).collect();
    let callback = std::thread::spawn(move || callback(load, sample_rate, blocks, &|| waker.wake()));
    let unsent = callback.join().map_err(|_| "the callback panicked")?;
    std::thread::sleep(SETTLE);
    let spent = processor_time()?.saturating_sub(before);
    println!(
        "sending: {:.3} cores, {unsent} blocks found their ring full",
        spent.as_secs_f64() / f64::from(load.seconds)
    );
    let figures: Vec<_> = publications.iter().map(|publication| publication.status().figures).collect();
    println!(
        "packets: {}, first stream: {:?}",
        figures.iter().map(|one| one.packets).sum::<u64>(),
        figures.first()
    );
    receiver.stdin.take().ok_or("no pipe")?.write_all(b"end\n")?;
    for line in BufReader::new(receiver.stdout.take().ok_or("no pipe")?).lines() {
        println!("{}", line?);
    }
    receiver.wait()?;
    drop(rings);
    Ok(())
}

fn start_receiver(folder: &Path, handle: &Handle) -> Result<std::process::Child, Failure> {
    let this = std::env::current_exe()?;
    let mut command = match std::env::var("SCALE_RUN") {
        Ok(run) => {
            let mut words = run.split_whitespace();
            let mut command = Command::new(words.next().ok_or("SCALE_RUN is empty")?);
            command.args(words).arg(this);
            command
        }
        Err(_) => Command::new(this),
    };
    command.args(std::env::args().skip(1)).env(FOLDER, folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let device = handle.device().0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    writeln!(child.stdin.as_mut().ok_or("no pipe")?, "{device}")?;
    Ok(child)
}

/// How many blocks found no room.
fn callback(load: Load, sample_rate: SampleRate, mut rings: Vec<Producer>, wake: &dyn Fn()) -> u64 {
    if let Err(error) = priority::realtime(80) {
        eprintln!("no real-time scheduling: {error}");
    }
    let mut header = Header {
        epoch: Epoch(1),
        sample_rate,
        start: MediaTime::new(0),
        frames: load.frames,
        first_channel: 0,
        channels: CHANNELS,
        stream_channels: CHANNELS,
        host_time: host_time::now(),
        session_time: None,
        flags: Flags::NONE,
        recovery: Nanos::ZERO,
    };
    let noise = noise(NOISE_SAMPLES);
    let mut from = 0;
    let period = Duration::from_secs(1) * load.frames / SAMPLE_RATE_HZ;
    let mut next = Instant::now();
    let mut unsent = 0;
    for _ in 0..load.blocks() {
        next += period;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        header.host_time = host_time::now();
        for ring in &mut rings {
            let pushed = ring.try_push(&header, |_, _, out| {
                from = (from + 997) % (NOISE_SAMPLES - out.len());
                out.copy_from_slice(&noise[from..from + out.len()]);
            });
            unsent += u64::from(pushed.is_err());
        }
        wake();
        header.start += Frames::new(i64::from(load.frames));
    }
    unsent
}

/// White, of 24 bits, at full scale: a linear congruential generator's upper bits.
fn noise(samples: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [high, middle, low, _] = state.to_be_bytes().map(f32::from);
        (high * 65_536.0 + middle * 256.0 + low) / 8_388_608.0 - 1.0
    };
    (0..samples).map(next).collect()
}

// ---- The receiver.

fn receive(load: Load, folder: &Path) -> Result<(), Failure> {
    let mut device = String::new();
    std::io::stdin().read_line(&mut device)?;
    let mut sender = audiocloud_wire::id::DeviceId([0; 32]);
    for (index, byte) in sender.0.iter_mut().enumerate() {
        *byte = u8::from_str_radix(device.get(2 * index..2 * index + 2).ok_or("no device")?, 16)?;
    }
    let handle = runtime(folder, "SCALE_BIND_RECEIVER")?;
    let mut rings = Vec::new();
    let mut subscriptions = Vec::new();
    for stream in 1..=load.streams {
        let (blocks_in, blocks) =
            block_ring(256, usize::try_from(load.frames)? * usize::from(CHANNELS) * 256);
        let (events_in, events) = event_ring(16);
        let key = StreamKey::new(sender, StreamId(stream));
        subscriptions.push(handle.subscribe(SubscribeConfig::new(key), blocks_in, events_in, no_report()));
        rings.push((blocks, events));
    }
    let before = processor_time()?;
    let ended = std::thread::spawn(|| std::io::stdin().read_line(&mut String::new()));
    let mut frames = 0;
    loop {
        let last = ended.is_finished();
        for (blocks, _) in &mut rings {
            while let Some(taken) = blocks.try_pop(|header, _| u64::from(header.frames)) {
                frames += taken;
            }
        }
        if last {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let spent = processor_time()?.saturating_sub(before);
    println!("receiving: {:.3} cores", spent.as_secs_f64() / f64::from(load.seconds));
    let sent = load.blocks() * load.streams * u64::from(load.frames);
    println!("frames: {frames} of {sent} came, {} did not", sent.saturating_sub(frames));
    println!("first stream: {:?}", subscriptions.first().map(|subscription| subscription.status().figures));
    Ok(())
}

/// What the network thread of this process has run for, the kernel's work for it included.
fn processor_time() -> Result<Duration, Failure> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "audiocloud-net" {
            let times = std::fs::read_to_string(task.join("schedstat"))?;
            return Ok(Duration::from_nanos(times.split_whitespace().next().ok_or("no time")?.parse()?));
        }
    }
    Err("there is no network thread".into())
}
