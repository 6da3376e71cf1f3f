//! Any bytes as a control stream: frames are cut off it, each message that is read can be sent on and read
//! again, and reading allocates in proportion to what there is to read.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use audiocloud_wire::message::{DecodeError, FRAME_BYTES_MAX, Message, split_frame};
use libfuzzer_sys::fuzz_target;

/// The system's allocator, and how much of it is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Reads a body, and checks how much was allocated at once to do so: a growing list is copied once to twice
/// its size, and what a stream or an error takes besides, or a short list of inputs, which take less room on the wire.
fn decode(body: &[u8]) -> Result<Message, DecodeError> {
    let before = IN_USE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let message = Message::decode(body);
    let allocated = MOST.load(Ordering::Relaxed) - before;
    assert!(allocated <= 4 * body.len() + 16_384, "{allocated} bytes for a body of {}", body.len());
    message
}

fn read(body: &[u8]) {
    let Ok(message) = decode(body) else { return };
    // It may take more room than before: defaults are written out.
    let Ok(frame) = message.to_frame() else { return };
    let (body, rest) = split_frame(&frame).expect("a frame").expect("a whole one");
    assert!(rest.is_empty());
    assert_eq!(Message::decode(body), Ok(message));
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((body, after))) = split_frame(rest) {
        assert!((1..=FRAME_BYTES_MAX).contains(&body.len()) && after.len() < rest.len());
        read(body);
        rest = after;
    }
    read(bytes);
});
