use std::collections::VecDeque;

use super::*;
use audiocloud_rt::block_ring::block_ring;
use audiocloud_rt::callback;
use audiocloud_rt::chain_event::chain_event_ring;
use audiocloud_rt::event::{Body, Event, NoteAddress, event_ring};
use audiocloud_rt::hand_off::{Giver, hand_off};
use audiocloud_units::HostTime;

mod faults;

const RATE: SampleRate = SampleRate::new(48_000).unwrap();
const DELAY: u32 = 512;

/// What comes in: a low tone, so that every seam stands out, quieter in the second channel.
fn tone(channel: usize, frame: u64) -> f32 {
    let phase = frame as f64 * 110.0 / 48_000.0 * std::f64::consts::TAU;
    #[allow(clippy::cast_possible_truncation, reason = "a sample")]
    let sample = (0.5 / (channel + 1) as f64 * phase.sin()) as f32;
    sample
}

/// What the chain makes of it.
fn processed(sample: f32) -> f32 {
    -0.8 * sample
}

/// The other room: takes blocks out of the rings, and answers each when it is told to.
struct FarEnd {
    blocks: block_ring::Consumer,
    events: chain_event::Consumer,
    back: block_ring::Producer,
    back_events: event::Producer,
    waiting: VecDeque<(Header, Vec<Vec<f32>>)>,
    heard: Vec<ChainEvent>,
}

fn rings() -> (Ends, FarEnd) {
    let (blocks, far_blocks) = block_ring(64, 4 * 8_192);
    let (events, far_events) = chain_event_ring(64);
    let (far_back, back) = block_ring(64, 4 * 8_192);
    let (far_back_events, back_events) = event_ring(64);
    let (waker, _wakes) = wake::wake_pair().unwrap();
    let ends = Ends { blocks, events, back, back_events, waker };
    let (waiting, heard) = (VecDeque::new(), Vec::new());
    let far = FarEnd {
        blocks: far_blocks,
        events: far_events,
        back: far_back,
        back_events: far_back_events,
        waiting,
        heard,
    };
    (ends, far)
}

impl FarEnd {
    /// Takes what has come; all but the last `held_back` blocks are answered.
    fn run(&mut self, held_back: usize) {
        self.take();
        while self.waiting.len() > held_back {
            let (header, rows) = self.waiting.pop_front().unwrap();
            self.answer(&header, |channel, frame| processed(rows[channel][frame]));
        }
    }

    fn take(&mut self) {
        while let Ok(event) = self.events.pop() {
            self.heard.push(event);
        }
        while let Some(block) = self.blocks.try_pop(|header, samples| {
            let row = |channel| {
                let (one, two): (&[f32], &[f32]) = samples.channel(channel);
                [one, two].concat()
            };
            (*header, (0..usize::from(header.channels)).map(row).collect())
        }) {
            self.waiting.push_back(block);
        }
    }

    fn answer(&mut self, header: &Header, sample: impl Fn(usize, usize) -> f32) {
        let header = Header { channels: 2, stream_channels: 2, ..*header };
        let fill = |channel: usize, from: usize, destination: &mut [f32]| {
            for (index, slot) in destination.iter_mut().enumerate() {
                *slot = sample(channel, from + index);
            }
        };
        self.back.try_push(&header, fill).unwrap();
    }
}

/// An insert in virtual time, with the far end beside it.
struct World {
    insert: Insert,
    giver: Giver<Ends>,
    far: Option<FarEnd>,
    wanted: Wanted,
    /// Whether the chain runs in this process too, and how late its processors are.
    local: Option<u32>,
    /// In callbacks: how long the far end takes.
    held_back: usize,
    time: HostTime,
    /// All that was heard, first channel.
    heard: Vec<f32>,
    notes: Vec<(u64, Body)>,
}

impl World {
    fn new() -> Self {
        Self::of(256)
    }

    fn of(block_frames_max: u32) -> Self {
        let (ends, far) = rings();
        let (giver, taker) = hand_off(Some(Box::new(ends)));
        let config = Config {
            sample_rate: RATE,
            inputs: 2,
            side_chain: 0,
            outputs: 2,
            delay_frames: DELAY,
            block_frames_max,
        };
        Self {
            insert: Insert::new(config, taker, Epoch(1)),
            giver,
            far: Some(far),
            wanted: Wanted::default(),
            local: None,
            held_back: 1,
            time: HostTime::new(0),
            heard: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn status(&self) -> Status {
        self.insert.status().read()
    }

    /// One callback. The far end has run before it.
    fn callback(&mut self, frames: usize) {
        if let Some(far) = &mut self.far {
            far.run(self.held_back);
        }
        self.bare_callback(frames, &mut || false);
    }

    fn bare_callback(&mut self, frames: usize, wait: &mut dyn FnMut() -> bool) {
        let Self { insert, wanted, local, time, heard, notes, .. } = self;
        let first = insert.position();
        let input: Vec<Vec<f32>> =
            (0..2).map(|channel| (first..).take(frames).map(|at| tone(channel, at)).collect()).collect();
        let mut output = vec![vec![f32::NAN; frames]; 2];
        callback::enter_at(*time, |callback| {
            insert.exchange();
            insert.push(callback, &input, &input[..0], wait);
            if let Some(latency) = *local {
                let late = |channel| {
                    let answered = |at: u64| at.checked_sub(u64::from(latency));
                    let sample = |at| answered(at).map_or(9.0, |at| processed(tone(channel, at)));
                    (first..).take(frames).map(sample).collect()
                };
                let rows: [Vec<f32>; 2] = [late(0), late(1)];
                insert.here(callback, 0, 0, latency, &rows);
            }
            insert.play(callback, *wanted, &mut output, wait, |offset, body| {
                notes.push((first + u64::from(offset), body));
            });
        });
        assert!(output.iter().flatten().all(|sample| sample.is_finite()), "every sample is written");
        heard.extend_from_slice(&output[0]);
        *time = *time + Frames::new(i64::try_from(frames).unwrap()).to_nanos_floor(RATE);
    }

    fn callbacks(&mut self, count: usize, frames: usize) {
        for _ in 0..count {
            self.callback(frames);
        }
    }

    /// What would be heard at this frame, were nothing ever late.
    fn due(&self, frame: usize) -> f32 {
        match u64::try_from(frame).unwrap().checked_sub(u64::from(DELAY)) {
            Some(answered) => processed(tone(0, answered)),
            None => 0.0,
        }
    }

    #[track_caller]
    fn check_exact(&self, frames: std::ops::Range<usize>) {
        for frame in frames {
            assert_eq!(self.heard[frame].to_bits(), self.due(frame).to_bits(), "frame {frame}");
        }
    }
}

#[test]
fn what_comes_back_is_played_d_frames_later_bit_for_bit() {
    for (frames, held_back) in [(64, 1), (64, 7), (128, 2), (256, 1), (1, 400), (100, 3)] {
        let mut world = World { held_back, ..World::new() };
        world.callbacks(6_000 / frames, frames);
        world.check_exact(0..world.heard.len());
        let status = world.status();
        assert_eq!((status.late_callbacks, status.unanswered_callbacks, status.switches), (0, 0, 0));
        assert!(status.answering && status.source == Source::Far);
        // Pushed in this callback, back after `held_back` more.
        let lead = DELAY as usize - held_back * frames;
        assert_eq!(status.margin_frames, i64::try_from(lead).unwrap() - i64::try_from(frames).unwrap());
    }
}

#[test]
fn the_chain_in_this_process_is_as_late_to_the_frame_and_bit_for_bit_the_same() {
    for latency in [0, 5, 512] {
        let mut world =
            World { local: Some(latency), wanted: Wanted { here: true, late: Late::Hold }, ..World::new() };
        world.far = None;
        world.callbacks(60, 64);
        world.check_exact(0..world.heard.len());
        assert_eq!((world.status().source, world.status().switches), (Source::Here, 0));
    }
}

#[test]
fn here_and_there_are_compared_without_a_seam() {
    let mut world = World { local: Some(64), ..World::new() };
    for _ in 0..20 {
        world.callbacks(9, 64);
        world.wanted.here = !world.wanted.here;
    }
    // They agree, so the fades between them are the same but for rounding.
    for frame in 0..world.heard.len() {
        assert!((world.heard[frame] - world.due(frame)).abs() < 1e-7, "frame {frame}");
    }
    assert_eq!(world.status().switches, 19);
}

#[test]
fn a_chain_that_begins_now_has_nothing_to_say_of_before() {
    let mut world = World { wanted: Wanted { here: true, late: Late::Hold }, ..World::new() };
    world.callbacks(20, 64);
    assert_eq!(world.status().source, Source::Here, "asked for from the beginning");
    world.wanted.here = false;
    world.callbacks(20, 64);
    world.wanted.here = true;
    let rows = [[0.25_f32; 64], [0.25; 64]];
    let began = world.insert.position();
    for _ in 0..12 {
        world.callback(64);
        callback::enter_at(world.time, |callback| world.insert.here(callback, 0, began, 100, &rows));
    }
    let heard = usize::try_from(began).unwrap() + DELAY as usize;
    world.check_exact(1_600..heard);
    assert_eq!(world.status().source, Source::Here);
}

#[test]
fn a_block_longer_than_announced_goes_in_pieces() {
    let mut world = World::of(32);
    world.callbacks(20, 64);
    world.check_exact(0..world.heard.len());
    let mut world = World { held_back: 0, ..World::new() };
    // Longer than D: it cannot have been answered, but is not lost either.
    world.callback(20_000);
    assert_eq!(world.status().blocks_dropped, 1, "in two pieces, of which the second finds the ring full");
    world.callbacks(10, 64);
    assert!(world.status().late_callbacks + world.status().unanswered_callbacks > 0);
}

#[test]
fn events_and_notes_keep_their_frames() {
    let mut world = World::new();
    world.callbacks(3, 100);
    let body = ChainBody::Parameter { effect: 1, parameter: 2, value: 0.5, ramp_frames: None };
    callback::enter(|callback| world.insert.event(callback, 7, body, &mut || false));
    world.callbacks(2, 100);
    let far = world.far.as_mut().unwrap();
    assert_eq!(far.heard, [ChainEvent { epoch: Epoch(1), time: MediaTime::new(307), body }]);
    let note = NoteAddress { note_id: -1, port: 0, channel: 0, key: 60 };
    let on = Body::NoteOn { note, velocity: 1.0 };
    let mut send = |epoch, time| {
        let event = Event { epoch: Epoch(epoch), time: MediaTime::new(time), body: on };
        far.back_events.push(event).unwrap();
    };
    send(2, 310);
    send(1, 400);
    send(1, 1_000_000);
    send(1, 410);
    world.callbacks(20, 100);
    let played: Vec<u64> = world.notes.iter().map(|(frame, _)| *frame).collect();
    assert_eq!(played, [912, 922], "of another epoch, and of no frame that was ever sent: none");
}

#[test]
fn lost_events_are_told_once() {
    let mut world = World { far: None, ..World::new() };
    let body = ChainBody::Bypass { effect: 1, on: true };
    let (mut asked, far) = (0, rings());
    world.giver.give(Some(Box::new(far.0))).unwrap();
    callback::enter(|callback| {
        assert!(world.insert.exchange());
        for _ in 0..64 {
            world.insert.event(callback, 0, body, &mut || unreachable!());
        }
        assert!(!world.insert.take_events_lost());
        let mut wait = || {
            asked += 1;
            asked < 3
        };
        world.insert.event(callback, 0, body, &mut wait);
    });
    assert_eq!(asked, 3);
    assert!(world.insert.take_events_lost() && !world.insert.take_events_lost());
    world.callback(64);
    assert_eq!(world.status().events_dropped, 1);
}

#[test]
fn an_exact_render_waits_for_its_answers_and_for_room() {
    let mut world = World { held_back: 0, ..World::new() };
    for _ in 0..50 {
        let mut far = world.far.take().unwrap();
        // The far end runs only while it is waited for, and takes its time.
        let mut turns = 0;
        let mut wait = || {
            turns += 1;
            if turns % 3 == 0 {
                far.run(0);
            }
            true
        };
        world.bare_callback(256, &mut wait);
        world.far = Some(far);
    }
    world.check_exact(0..world.heard.len());
    // More than the ring holds.
    let mut world = World { held_back: 0, ..World::of(20_000) };
    let mut far = world.far.take().unwrap();
    world.bare_callback(20_000, &mut || {
        far.run(0);
        true
    });
    assert_eq!((world.status().blocks_dropped, world.status().late_callbacks), (0, 0));
}

#[test]
fn a_wait_that_ends_leaves_the_rest_to_the_policy() {
    let mut world =
        World { local: Some(64), wanted: Wanted { here: false, late: Late::Local }, ..World::new() };
    world.far = None;
    let mut waits = 0;
    for _ in 0..40 {
        world.bare_callback(64, &mut || {
            waits += 1;
            false
        });
    }
    world.check_exact(0..world.heard.len());
    assert_eq!(waits, 32, "once for each callback from frame D on");
}
