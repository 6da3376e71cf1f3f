//! No heap operation in 20,000 callbacks of random length of an insert, whatever its far end does.

use audiocloud_rt::block_ring::{Epoch, Flags, Header, block_ring};
use audiocloud_rt::chain_event::{ChainBody, chain_event_ring};
use audiocloud_rt::event::event_ring;
use audiocloud_rt::hand_off::hand_off;
use audiocloud_rt::{callback, trap, wake};
use audiocloud_stream::insert::{Config, Ends, Insert, Late, Source, Wanted};
use audiocloud_units::{Frames, HostTime, MediaTime, Nanos, SampleRate};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

const CALLBACKS: u32 = 20_000;
const BLOCK_MAX: usize = 256;

/// Xorshift; the seed is fixed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn callbacks_leave_the_heap_alone() {
    let rate = SampleRate::new(48_000).unwrap();
    let (blocks, mut far_blocks) = block_ring(256, 65_536);
    let (events, mut far_events) = chain_event_ring(64);
    let (mut far_back, back) = block_ring(256, 65_536);
    let (_notes, back_events) = event_ring(64);
    let (waker, _wakes) = wake::wake_pair().unwrap();
    let (_giver, taker) = hand_off(Some(Box::new(Ends { blocks, events, back, back_events, waker })));
    let config = Config {
        sample_rate: rate,
        inputs: 2,
        side_chain: 2,
        outputs: 2,
        delay_frames: 800,
        block_frames_max: 256,
    };
    let mut insert = Insert::new(config, taker, Epoch(1));
    let input = vec![vec![0.25_f32; BLOCK_MAX]; 2];
    let mut output = vec![vec![0.0_f32; BLOCK_MAX]; 2];
    let (mut random, mut now) = (Random(0x2545_f491_4f6c_dd1d), HostTime::new(0));
    let mut silent_for = 0;
    let mut sources = [0_u32; 3];

    let before = trap::violations();
    for count in 0..CALLBACKS {
        let frames = 1 + usize::try_from(random.below(BLOCK_MAX as u64)).unwrap();
        // The far end falls silent now and then, and answers some blocks late, twice or not at all.
        silent_for =
            if random.below(500) == 0 { random.below(40) } else { silent_for - u64::from(silent_for > 0) };
        while let Some(header) = far_blocks.try_pop(|header, _| *header) {
            if silent_for > 0 || random.below(200) == 0 {
                continue;
            }
            let header = Header { channels: 2, stream_channels: 2, flags: Flags::NONE, ..header };
            let late = Header {
                start: MediaTime::new(header.start.get().saturating_sub(random.below(900))),
                ..header
            };
            for answer in [header, late].iter().take(1 + usize::from(random.below(300) == 0)) {
                // Full: nobody listened for a while.
                far_back.try_push(answer, |_, _, samples| samples.fill(0.125)).ok();
            }
        }
        while far_events.pop().is_ok() {}
        let wanted = Wanted {
            here: random.below(100) == 0,
            late: [Late::Hold, Late::Dry, Late::Local][usize::try_from(count / 50 % 3).unwrap()],
        };
        callback::enter_at(now, |callback| {
            if random.below(2_000) == 0 {
                insert.restart(Epoch(count));
            }
            insert.exchange();
            let body = ChainBody::Parameter { effect: 1, parameter: 1, value: 0.5, ramp_frames: None };
            insert.event(callback, 0, body, &mut || false);
            let rows = [&input[0][..frames], &input[1][..frames]];
            insert.push(callback, &rows, &rows, &mut || false);
            if count % 1_000 > 300 {
                insert.here(callback, 0, 0, 64, &rows);
            }
            let (one, two) = output.split_at_mut(1);
            let block = &mut [&mut one[0][..frames], &mut two[0][..frames]];
            insert.play(callback, wanted, block, &mut || false, |_, _| ());
        });
        sources[match insert.source() {
            Source::Far => 0,
            Source::Here => 1,
            Source::Dry => 2,
        }] += 1;
        now = now + Frames::new(i64::try_from(frames).unwrap()).to_nanos_floor(rate) + Nanos::from_micros(3);
    }
    assert_eq!(trap::violations() - before, 0);
    let status = insert.status().read();
    assert!(sources.iter().all(|count| *count > 100), "{sources:?} {status:?}");
    assert!(
        status.late_callbacks > 100 && status.switches > 100 && status.came_late_frames > 100,
        "{status:?}"
    );
}
