//! How long the way to a plug-in's process and back takes, paced like a sound card, each plug-in on its own for some seconds.
//!
//! `cargo run --release -p audiocloud-host --example hop -- [BLOCK [SECONDS [ID…]]]`; without ids all that this machine has.

use std::error::Error;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn Error>> {
    paced::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("plug-ins are hosted on Linux alone".into())
}

#[cfg(target_os = "linux")]
mod paced {
    use std::error::Error;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use audiocloud_graph::controller::{Config, play};
    use audiocloud_graph::graph::Graph;
    use audiocloud_graph::renderer::{Call, Ports};
    use audiocloud_host::library::Library;
    use audiocloud_host::plugin::{HostedPlugin, Setup, Status};
    use audiocloud_host::program::Program;
    use audiocloud_rt::{callback, priority};
    use audiocloud_units::SampleRate;

    const RATE: u32 = 48_000;

    /// Noise in, nobody listening.
    struct Nowhere(u32);

    impl Ports for Nowhere {
        fn read(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &mut [f32]) {
            for sample in samples {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *sample = f32::from(u16::try_from(self.0 >> 16).unwrap_or(0)) / 131_072.0 - 0.25;
            }
        }

        fn write(&mut self, _bus: usize, _channel: usize, _from: usize, _samples: &[f32]) {}
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let mut words = std::env::args().skip(1);
        if words.next_if_sandbox() {
            return Ok(());
        }
        let block: u32 = words.next().map_or(Ok(64), |word| word.parse())?;
        let seconds: u64 = words.next().map_or(Ok(10), |word| word.parse())?;
        let folder = std::env::temp_dir().join("audiocloud-hop");
        let library = Arc::new(Library::open(&folder, Program::this(&["sandbox"])?));
        let report = library.search(&Library::folders())?;
        println!("{} plug-ins; blocks of {block} frames at {RATE} Hz, {seconds} s each", report.plugins);
        let mut ids: Vec<String> = words.collect();
        if ids.is_empty() {
            ids = library.plugins().into_iter().map(|found| found.listed.id).collect();
        }
        println!(
            "{:24} {:>4} {:>6}  to it (µs): p50    p99  p99.9    max   and back: p50    p99  p99.9    max   callback",
            "", "fifo", "late"
        );
        for id in ids {
            match measure(&library, &id, block, seconds) {
                Ok((status, callback_us)) => print(&status, callback_us),
                Err(error) => println!("{id}: {error}"),
            }
        }
        Ok(())
    }

    trait Arguments {
        fn next_if_sandbox(&mut self) -> bool;
    }

    impl Arguments for std::iter::Skip<std::env::Args> {
        /// The child is this program too.
        fn next_if_sandbox(&mut self) -> bool {
            let is_sandbox = std::env::args().nth(1).is_some_and(|word| word == "sandbox");
            if is_sandbox {
                audiocloud_host::sandbox::run(std::env::args_os().skip(2));
            }
            is_sandbox
        }
    }

    fn print(status: &Status, callback_us: f64) {
        let Status { name, realtime, late_blocks, wake, turn, .. } = status;
        let fifo = if *realtime { "yes" } else { "no" };
        print!("{name:24} {fifo:>4} {late_blocks:>6}            ");
        for times in [wake, turn] {
            print!(
                "{:>7.0}{:>7.0}{:>7.0}{:>7.0}          ",
                times.p50_us, times.p99_us, times.p999_us, times.max_us
            );
        }
        println!("{callback_us:>6.1}");
    }

    /// Plays in real time; how the plug-in did, and what a callback cost in the mean, in µs.
    fn measure(
        library: &Arc<Library>,
        id: &str,
        block: u32,
        seconds: u64,
    ) -> Result<(Status, f64), Box<dyn Error>> {
        let sample_rate = SampleRate::new(RATE).ok_or("a rate")?;
        let setup =
            Setup { sample_rate, channels: 2, side_chain: 0, block_frames_max: block, priority: Some(70) };
        let plugin = HostedPlugin::open(library, id, &setup, None)?;
        let handle = plugin.handle();
        let mut graph = Graph::new(&[2], &[2])?;
        let key = graph.add("plug-in", plugin)?;
        graph.connect_audio((graph.input(), 0), (key, 0))?;
        graph.connect_audio((key, 0), (graph.output(), 0))?;
        let (_controller, mut renderer) = play(&graph, Config::new(sample_rate), None)?;
        let period = Duration::from_secs(u64::from(block)) / RATE;
        let callbacks = u32::try_from(seconds * u64::from(RATE) / u64::from(block))?;
        let paced = move || {
            if let Err(error) = priority::realtime(75) {
                println!("without real-time scheduling: {error}");
            }
            let (mut ports, began, mut busy) = (Nowhere(1), Instant::now(), Duration::ZERO);
            for number in 0..callbacks {
                thread::sleep((began + period * number).saturating_duration_since(Instant::now()));
                let entered = Instant::now();
                callback::enter(|callback| {
                    let call = Call { callback, transport: None, offline: false, events: &[] };
                    renderer.process(&call, usize::try_from(block).unwrap_or(0), &mut ports);
                });
                busy += entered.elapsed();
            }
            busy.as_secs_f64() * 1e6 / f64::from(callbacks)
        };
        let callback_us = thread::spawn(paced).join().map_err(|_| "the callback panicked")?;
        Ok((handle.status(), callback_us))
    }
}
