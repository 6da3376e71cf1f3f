//! 20,000 callbacks of random length, with random events, edits and resets: none of them touches the heap.

mod bed;

use audiocloud_chain::document::{BRANCHES_MAX, Chain, EFFECTS_MAX, Item};
use audiocloud_chain::edit::{Edit, Place};
use audiocloud_chain::rack::{RackAudio, RackCall, RackControl, rack};
use audiocloud_graph::event::Body;
use audiocloud_graph::renderer::Ports;
use audiocloud_rt::chain_event::ChainBody;
use audiocloud_rt::{callback, trap};
use bed::{Shelf, rolling, setup, told};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const CALLBACKS: u64 = 20_000;

/// Xorshift; the seed is fixed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn number(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit.max(1)))).unwrap()
    }

    fn frames(&mut self) -> usize {
        // Mostly short blocks, few as long as any host's.
        let limit = if self.below(2_000) == 0 { 8_192 } else { 64 };
        1 + usize::try_from(self.below(limit)).unwrap()
    }
}

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
    random: Random,
    control: RackControl,
    audio: RackAudio,
    ears: Ears,
    events: Vec<(u32, ChainBody)>,
    edits: u64,
    refused: u64,
}

impl Stage {
    fn kind(&mut self) -> String {
        let kinds = audiocloud_effects::KINDS;
        let toys = ["clap:gain", "clap:late:99", "clap:probe", "clap:bad", "clap:nobody"];
        let which = usize::try_from(self.random.below(20)).unwrap();
        match kinds.get(which) {
            Some(kind) => kind.id.to_owned(),
            None => toys[which % toys.len()].to_owned(),
        }
    }

    fn place(&mut self) -> Place {
        let index = self.random.number(6);
        let mut parallels = Vec::new();
        self.control.chain().each(&mut |item| {
            if let Item::Parallel(parallel) = item {
                parallels.push((parallel.id, parallel.branches.len()));
            }
        });
        match parallels.get(usize::try_from(self.random.below(4)).unwrap()) {
            Some((id, branches)) => {
                let branch = self.random.number(u32::try_from(*branches).unwrap());
                Place::within(*id, u16::try_from(branch).unwrap(), index)
            }
            None => Place::at(index),
        }
    }

    fn id(&mut self) -> u32 {
        let mut ids = Vec::new();
        self.control.chain().each(&mut |item| ids.push(item.id()));
        let which = usize::try_from(self.random.below(1 + ids.len() as u64)).unwrap();
        ids.get(which).copied().unwrap_or(7)
    }

    fn edit(&mut self) {
        let id = self.id();
        let many = self.control.chain().effects().len() > 10;
        let edit = match self.random.below(10) {
            _ if many => Edit::Remove(id),
            0..3 => Edit::Add { at: self.place(), kind: self.kind() },
            3 => {
                let branches = 1 + self.random.number(u32::try_from(BRANCHES_MAX).unwrap());
                Edit::AddParallel { at: self.place(), branches: u16::try_from(branches).unwrap() }
            }
            4 => Edit::AddBranch(id),
            5 => Edit::RemoveBranch(id, 0),
            6 => Edit::Remove(id),
            7 => Edit::Move { id, to: self.place() },
            8 => Edit::Bypass(id, self.random.below(2) == 0),
            _ => {
                let parameter = self.random.number(12);
                Edit::Set { effect: id, parameter, value: self.random.number(2_000) as f32 - 500.0 }
            }
        };
        match self.control.apply(&edit) {
            Ok(_) => self.edits += 1,
            Err(_) => self.refused += 1,
        }
    }

    fn call(&mut self) {
        let frames = self.random.frames();
        self.events.clear();
        for _ in 0..self.random.below(4) {
            let offset = self.random.number(u32::try_from(frames).unwrap() + 2);
            let (effect, on) = (self.random.number(self.control.chain().next_id), self.random.below(2) == 0);
            let body = match self.random.below(8) {
                0 => told(rolling(f64::from(offset))),
                1 => ChainBody::Bypass { effect, on },
                2 => ChainBody::Voice(audiocloud_rt::event::Body::Midi1 { port: 0, bytes: [0x90, 60, 100] }),
                _ => {
                    let (parameter, value) =
                        (self.random.number(12), self.random.number(2_000) as f32 - 500.0);
                    let ramp_frames = on.then_some(self.random.number(1_000));
                    ChainBody::Parameter { effect, parameter, value, ramp_frames }
                }
            };
            self.events.push((offset, body));
        }
        let resets = self.random.below(500) == 0;
        let position = 64 * self.random.below(1_000);
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
    let mut stage = Stage { random: Random(0x5eed), control, audio, ears, events, edits: 0, refused: 0 };
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
