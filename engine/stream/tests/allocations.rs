//! No heap operation in 100,000 callbacks of random length, on either side, whatever the stream does.

use audiocloud_rt::block_ring::{Epoch, block_ring};
use audiocloud_rt::event::{Body, NoteAddress, event_ring};
use audiocloud_rt::{callback, trap, wake};
use audiocloud_stream::receiver::{LinkOffset, Mode, Settings};
use audiocloud_stream::{receiver, sender};
use audiocloud_units::{Frames, HostTime, Nanos, Ppm, SampleRate, SessionLine, SessionTime};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const CALLBACKS: u64 = 100_000;

/// Xorshift; the seed is fixed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn frames(&mut self) -> usize {
        // Mostly short blocks, some as long as any host's.
        let limit = if self.below(1_000) == 0 { 8_192 } else { 128 };
        1 + usize::try_from(self.below(limit)).unwrap()
    }
}

/// Both kinds of test in one function: the count is the process's.
#[test]
fn callbacks_leave_the_heap_alone() {
    // RealtimeSanitizer would end the process here, as its own tests show.
    if !cfg!(feature = "rtsan") {
        let before = trap::violations();
        callback::enter(|_| drop(std::hint::black_box(Box::new(1))));
        assert_eq!(trap::violations() - before, 2, "the trap counts");
    }

    let rate = SampleRate::new(48_000).unwrap();
    let (blocks_in, blocks_out) = block_ring(64, 65_536);
    let (events_in, events_out) = event_ring(64);
    let (waker, _wakes) = wake::wake_pair().unwrap();
    let config = sender::Config { sample_rate: rate, channels: 2 };
    let mut tap = sender::Tap::new(config, blocks_in, events_in, waker, Epoch(1));
    let config = receiver::Config {
        sample_rate: rate,
        channels: 2,
        max_block: 8_192,
        stream_rate: None,
        settings: Settings::fixed(Frames::new(480)),
        delay_max: Frames::new(9_600),
    };
    let mut playout = receiver::Playout::new(config, blocks_out, events_out);
    let line = SessionLine {
        host: HostTime::new(0),
        session: SessionTime::new(1_800_000_000_000_000_000),
        fraction: 0.25,
        rate: Ppm::new(-20.0),
    };
    let input = vec![vec![0.25_f32; 8_192]; 2];
    let mut output = vec![vec![0.0_f32; 8_192]; 2];
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut sent, mut played) = (0_u64, 0_u64);
    let mut heard = 0_u64;

    let before = trap::violations();
    for count in 0..CALLBACKS {
        let now = |frames: u64| {
            let frames = Frames::new(i64::try_from(frames).unwrap());
            HostTime::new(0) + frames.to_nanos_floor(rate)
        };
        while sent <= played {
            let frames = random.frames();
            callback::enter_at(now(sent), |callback| {
                let key = i16::try_from(random.below(128)).unwrap();
                let note = NoteAddress { note_id: -1, port: 0, channel: 0, key };
                let body = if random.below(2) == 0 {
                    Body::NoteOn { note, velocity: 1.0 }
                } else {
                    Body::NoteOff { note, velocity: 0.0 }
                };
                tap.event(callback, 0, body);
                match random.below(500) {
                    0 => tap.pause(callback, frames),
                    1 if count % 7 == 0 => tap.restart(Epoch(u32::try_from(count).unwrap())),
                    _ => tap.process(callback, &[&input[0][..frames], &input[1][..frames]], Some(line)),
                }
            });
            sent += u64::try_from(frames).unwrap();
        }
        let frames = random.frames();
        callback::enter_at(now(played), |callback| {
            if random.below(2_000) == 0 {
                let delay = Frames::new(i64::try_from(random.below(9_600)).unwrap());
                let fixed = Settings::fixed(delay);
                let set = LinkOffset::set(Nanos::from_millis(20) + delay.to_nanos_floor(rate));
                let aligned = |link_offset| Settings { mode: Mode::Aligned { link_offset }, ..fixed };
                playout.set(match random.below(4) {
                    0 => aligned(LinkOffset::Agreed),
                    1 => aligned(set),
                    _ => fixed,
                });
            }
            playout.set_session_line((random.below(1_000) > 0).then_some(line));
            if random.below(5_000) == 0 {
                playout.stop(callback, |_, _| heard += 1);
            }
            let (one, two) = output.split_at_mut(1);
            let block = &mut [&mut one[0][..frames], &mut two[0][..frames]];
            playout.process(callback, block, |_, _| heard += 1);
        });
        played += u64::try_from(frames).unwrap();
    }
    assert_eq!(trap::violations() - before, 0);

    let status = playout.status().read();
    assert!(heard > 1_000 && status.played_frames > 1_000_000 && status.epochs > 5, "{status:?}");
    assert!(status.missing_frames + status.unsent_frames > 0 && status.delay_changes > 5, "{status:?}");
    assert!(status.realignments > 5, "{status:?}");
}
