//! Loan, hand-off and snapshot under loom, which runs a model once for every order in which the threads' operations may
//! take effect under the C11 memory model (B. Norris and B. Demsky, "CDSchecker: Checking Concurrent Data Structures
//! Written with C/C++ Atomics", OOPSLA 2013), and finds unsynchronised access and what was not freed.
//!
//! To loom a read-modify-write comes after all that was executed before it, on any thread. That it might not is why the
//! snapshot's `latest` is stored with Release and loaded with Acquire: loom would not miss these two.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --package audiocloud-rt --test loom`
#![cfg(loom)]

use std::sync::atomic::{AtomicU64, Ordering};

use audiocloud_rt::hand_off::{Borrower, Lender, Taker, hand_off, loan};
use audiocloud_rt::snapshot::{Reader, Writer, snapshot};
use loom::alloc::Track;
use loom::cell::Cell;
use loom::model::Builder;
use loom::thread;

/// What crosses: a number in a cell that loom watches, in an allocation that loom counts.
struct Object {
    number: Cell<u32>,
    _freed: Track<()>,
}

impl Object {
    fn new(number: u32) -> Box<Self> {
        Box::new(Self { number: Cell::new(number), _freed: Track::new(()) })
    }

    fn number(&self) -> u32 {
        self.number.get()
    }

    fn add(&mut self, more: u32) {
        self.number.set(self.number() + more);
    }
}

/// Runs `model` in every order; with a bound, in those in which threads that could go on are interrupted at most so
/// many times.
fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let orders = std::sync::Arc::new(AtomicU64::new(0));
    let count = std::sync::Arc::clone(&orders);
    let begin = std::time::Instant::now();
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} orders in {:?}", orders.load(Ordering::Relaxed), begin.elapsed());
}

/// Callbacks that work in what they find and send it home.
fn work(borrower: &mut Borrower<Object>, callbacks: usize) {
    for _ in 0..callbacks {
        let waiting = borrower.is_waiting();
        let taken = borrower.take();
        assert!(taken.is_some() || !waiting, "what is waiting can be taken");
        if let Some(mut object) = taken {
            object.add(100);
            borrower.send_home(object);
        }
    }
}

fn collect(lender: &mut Lender<Object>, home: &mut Vec<u32>) {
    while let Some(object) = lender.returned() {
        home.push(object.number());
    }
}

#[test]
fn a_loan_comes_home_worked_in() {
    check(None, || {
        let (mut lender, mut borrower) = loan(2);
        let callbacks = thread::spawn(move || {
            work(&mut borrower, 2);
            borrower
        });
        let mut home = Vec::new();
        for number in 0..3 {
            // With both under way the third waits for one to be home.
            let lent = lender.lend(Object::new(number)).is_ok();
            assert!(lent || lender.under_way() == 2);
            collect(&mut lender, &mut home);
        }
        work(&mut callbacks.join().unwrap(), 3);
        collect(&mut lender, &mut home);
        assert!(home == [100, 101, 102] || home == [100, 101], "{home:?}");
        assert_eq!(lender.under_way(), 0);
    });
}

/// With one place each way, every object needs the places that the one before has left.
#[test]
fn the_way_home_is_free() {
    check(None, || {
        let (mut lender, mut borrower) = loan(1);
        let callbacks = thread::spawn(move || work(&mut borrower, 3));
        let mut home = Vec::new();
        let mut lent = 0;
        for number in 0..3 {
            lent += usize::from(lender.lend(Object::new(number)).is_ok());
            collect(&mut lender, &mut home);
        }
        callbacks.join().unwrap();
        // What found no room was leaked, and loom complains.
        collect(&mut lender, &mut home);
        assert_eq!(home.len() + lender.under_way(), lent);
        assert!(home.is_sorted());
    });
}

/// Either end may go first, with objects still under way: the other end frees them.
#[test]
fn nothing_is_lost_when_an_end_goes() {
    check(None, || {
        let (mut lender, mut borrower) = loan(2);
        let callbacks = thread::spawn(move || work(&mut borrower, 2));
        for number in 0..3 {
            if lender.lend(Object::new(number)).is_err() {
                drop(lender.returned());
            }
        }
        drop(lender);
        callbacks.join().unwrap();
    });
}

/// Stands for no object: after all of them.
const NONE: u32 = 99;

/// A callback. Objects are numbered in order; those that were left are marked.
fn exchange(taker: &mut Taker<Object>, last: &mut u32) {
    let changed = taker.exchange(|old| old.add(100));
    let current = taker.current().map_or(NONE, |object| {
        object.add(0);
        object.number()
    });
    assert!(if changed { current > *last } else { current == *last });
    *last = current;
}

#[test]
fn an_exchange_returns_the_old_one() {
    check(None, || {
        let (mut giver, mut taker) = hand_off(Some(Object::new(0)));
        let callbacks = thread::spawn(move || {
            let mut last = 0;
            exchange(&mut taker, &mut last);
            exchange(&mut taker, &mut last);
            (taker, last)
        });
        assert!(giver.give(Some(Object::new(1))).is_ok());
        giver.free_returned();
        assert!(giver.give(None).is_ok());
        let (mut taker, mut last) = callbacks.join().unwrap();
        if last != NONE {
            exchange(&mut taker, &mut last);
        }
        assert_eq!(last, NONE);
    });
}

#[test]
fn nothing_is_lost_when_giver_or_taker_goes() {
    check(None, || {
        let (mut giver, mut taker) = hand_off(Some(Object::new(0)));
        let callbacks = thread::spawn(move || exchange(&mut taker, &mut 0));
        assert!(giver.give(Some(Object::new(1))).is_ok());
        assert!(giver.give(Some(Object::new(2))).is_ok());
        drop(giver);
        callbacks.join().unwrap();
    });
}

/// A reader that reads twice. That a value is whole loom sees to: it is written and read in a cell that loom watches.
fn read_twice(reader: &Reader<u64>) {
    let (first, second) = (reader.read(), reader.read());
    assert!(first <= second, "{second} after {first}");
}

/// Publishes 1, 2, …; tells the last one that found a slot.
fn write(writer: &mut Writer<u64>, values: u64) -> u64 {
    let mut last = 0;
    for value in 1..=values {
        let missed = writer.missed();
        writer.write(value);
        if writer.missed() == missed {
            last = value;
        }
    }
    last
}

#[test]
fn a_snapshot_never_goes_back() {
    check(None, || {
        let (mut writer, reader) = snapshot(0);
        let writing = thread::spawn(move || write(&mut writer, 4));
        read_twice(&reader);
        let last = writing.join().unwrap();
        assert_eq!(reader.read(), last);
    });
}

#[test]
fn two_readers_and_what_finds_no_slot() {
    static MISSED: AtomicU64 = AtomicU64::new(0);
    check(Some(3), || {
        let (mut writer, reader) = snapshot(0);
        let writing = thread::spawn(move || (write(&mut writer, 3), writer.missed()));
        let second = reader.clone();
        let reading = thread::spawn(move || read_twice(&second));
        read_twice(&reader);
        let (last, missed) = writing.join().unwrap();
        reading.join().unwrap();
        assert_eq!(reader.read(), last);
        MISSED.fetch_add(missed, Ordering::Relaxed);
    });
    assert!(MISSED.load(Ordering::Relaxed) > 0, "two readers in two slots leave none beside the latest");
}
