//! No heap operation in the callback while another thread lends, gives, frees and reads as fast as it can. Under
//! RealtimeSanitizer, no lock or system call either.
#![cfg(not(loom))]

use audiocloud_rt::hand_off::{hand_off, loan};
use audiocloud_rt::snapshot::snapshot;
use audiocloud_rt::{callback, trap};

#[global_allocator]
static TRAP: trap::Allocator = trap::Allocator;

/// Objects that have to come across each way before the test ends.
const OBJECTS: u64 = 5_000;

#[test]
fn callbacks_leave_the_heap_alone() {
    let (mut lender, mut borrower) = loan::<Vec<u64>>(4);
    let (mut giver, mut taker) = hand_off(Some(Box::new(vec![0_u64])));
    let (mut writer, reader) = snapshot([0_u64; 16]);
    let other = std::thread::spawn(move || {
        let (mut home, mut given) = (0, 0);
        while home < OBJECTS || given < OBJECTS {
            let lent = lender.lend(Box::new(Vec::with_capacity(1))).is_ok();
            if giver.give(Some(Box::new(vec![given + 1]))).is_ok() {
                given += 1;
            } else if !lent {
                // The callbacks are behind: let them run.
                std::thread::yield_now();
            }
            while let Some(object) = lender.returned() {
                assert_eq!(*object, [7], "worked in");
                home += 1;
            }
            let published = reader.read();
            assert_eq!(published, [published[0]; 16]);
        }
        given
    });

    let before = trap::violations();
    let (mut callbacks, mut last) = (0, 0);
    let mut call = || {
        callbacks += 1;
        callback::enter(|_| {
            while borrower.is_waiting() {
                let Some(mut object) = borrower.take() else { break };
                object.push(7);
                borrower.send_home(object);
            }
            taker.exchange(|old| assert!(old.pop().is_some(), "left once"));
            last = taker.current().map_or(0, |current| current[0]);
            writer.write([callbacks; 16]);
        });
    };
    while !other.is_finished() {
        call();
        assert_eq!(trap::violations() - before, 0, "heap operations inside callbacks");
        std::thread::yield_now();
    }
    let given = other.join().unwrap();
    // Twice, for an exchange takes no more than could be under way when it began.
    call();
    call();
    assert_eq!(trap::violations() - before, 0, "heap operations inside callbacks");
    assert_eq!(last, given, "the last one given is the one worked with");
}
