//! 20,000 callbacks of random length, with random events, edits and resets: none of them touches the heap.

mod bed;

use audiocloud_chain::document::{Chain, EFFECTS_MAX};
use audiocloud_chain::rack::{RackAudio, RackCall, RackControl, rack};
use audiocloud_graph::event::Body;
use audiocloud_graph::renderer::Ports;
use audiocloud_rt::chain_event::ChainBody;
use audiocloud_rt::{callback, trap};
use bed::author::{Author, Random};
use bed::{Shelf, rolling, setup, told};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const CALLBACKS: u64 = 20_000;

/// Steady noise in, and a look at what comes out.
#[derive(Default)]
struct Ears {
    random: u32,
    heard: bool,
    events: u64,
}

impl Ports for Ears {
    fn read(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &mut [f32]) {
        for sample in samples {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = f32::from(u16::try_from(self.random >> 16).unwrap()) / 65_536.0 - 0.5;
        }
    }

    fn write(&mut self, _bus: usize, _channel: usize, _from: usize, samples: &[f32]) {
        assert!(samples.iter().all(|sample| sample.is_finite()));
        self.heard |= samples.iter().any(|sample| *sample != 0.0);
    }

    fn event(&mut self, _offset: usize, _body: &Body) {
        self.events += 1;
    }
}

struct Stage {
    author: Author,
    control: RackControl,
    audio: RackAudio,
    ears: Ears,
    events: Vec<(u32, ChainBody)>,
    edits: u64,
    refused: u64,
}

impl Stage {
    fn edit(&mut self) {
        let edit = self.author.edit(self.control.chain());
        match self.control.apply(&edit) {
            Ok(_) => self.edits += 1,
            Err(_) => self.refused += 1,
        }
    }

    fn call(&mut self) {
        let random = &mut self.author.random;
        // Mostly short blocks, few as long as any host's.
        let limit = if random.below(2_000) == 0 { 8_192 } else { 64 };
        let frames = 1 + usize::try_from(random.below(limit)).unwrap();
        self.events.clear();
        for _ in 0..random.below(4) {
            let offset = random.number(u32::try_from(frames).unwrap() + 2);
            let (effect, on) = (random.number(self.control.chain().next_id), random.below(2) == 0);
            let body = match random.below(8) {
                0 => told(rolling(f64::from(offset))),
                1 => ChainBody::Bypass { effect, on },
                2 => ChainBody::Voice(audiocloud_rt::event::Body::Midi1 { port: 0, bytes: [0x90, 60, 100] }),
                _ => {
                    let (parameter, value) = (random.number(12), random.number(2_000) as f32 - 500.0);
                    let ramp_frames = on.then_some(random.number(1_000));
                    ChainBody::Parameter { effect, parameter, value, ramp_frames }
                }
            };
            self.events.push((offset, body));
        }
        let resets = random.below(500) == 0;
        let position = 64 * random.below(1_000);
        callback::enter(|callback| {
            if resets {
                self.audio.reset_at(callback, position);
            }
            let call = RackCall { callback, offline: false, transport: None, events: &self.events };
            self.audio.process(&call, frames, &mut self.ears);
        });
    }
}

/// All in one function: the count is the process's.
#[test]
fn callbacks_leave_the_heap_alone() {
    // RealtimeSanitizer would end the process here, as its own tests show.
    if !cfg!(feature = "rtsan") {
        let before = trap::violations();
        callback::enter(|_| drop(std::hint::black_box(Box::new(1))));
        assert_eq!(trap::violations() - before, 2, "the trap counts");
    }
    let (control, audio) = rack(&Chain::default(), &setup(), Box::new(Shelf::default())).unwrap();
    let (events, ears) = (Vec::with_capacity(EFFECTS_MAX), Ears::default());
    let mut stage = Stage {
        author: Author { random: Random(0x5eed) },
        control,
        audio,
        ears,
        events,
        edits: 0,
        refused: 0,
    };
    let before = trap::violations();
    for callback in 0..CALLBACKS {
        if callback.is_multiple_of(16) {
            stage.edit();
        }
        stage.call();
        if callback.is_multiple_of(64) {
            stage.control.report();
        }
    }
    assert_eq!(trap::violations() - before, 0);
    assert!(stage.ears.heard && stage.edits > 600, "{} edits, {} refused", stage.edits, stage.refused);
    // As many callbacks of the same length end every crossfade, and all comes home.
    while stage.control.is_settling() {
        stage.call();
        stage.control.collect();
    }
}
