//! Streams between runtimes.

use audiocloud_rt::event::{Body, Event, NoteAddress};
use audiocloud_units::MediaTime;
use audiocloud_wire::codec::Codec;

use super::rig::{Machine, Receiver, Sender, until, until_subscribed};
use crate::{Link, LossCause};

fn carry(channels: u16, frames: u32, codec: Codec) {
    const BLOCKS: usize = 40;
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let mut sender = Sender::new(&one, channels, frames, codec);
    let mut receiver = Receiver::new(&two, sender.key(&one));
    receiver.until_live();
    until_subscribed(&sender, 1);
    let expected = BLOCKS * usize::from(channels) * usize::try_from(frames).unwrap();
    let mut samples = 0;
    for _ in 0..BLOCKS {
        sender.block();
        std::thread::sleep(std::time::Duration::from_millis(2));
        samples += receiver.check_blocks();
    }
    until("all samples arrive", || {
        samples += receiver.check_blocks();
        samples == expected
    });
    let (sent, received) = (sender.publication.status().figures, receiver.subscription.status().figures);
    assert_eq!(sent.packets, received.packets);
    assert_eq!(received.sequence_gaps + received.ring_full + received.undecodable + received.duplicates, 0);
    assert_eq!(sent.dropped_queue_full + sent.dropped_unsendable + sent.dropped_mismatched, 0);
}

#[test]
fn stereo_arrives_bit_for_bit() {
    carry(2, 128, Codec::PcmF32);
}

#[test]
fn eight_channels_of_480_frames_arrive_bit_for_bit() {
    carry(8, 480, Codec::PcmF32);
}

#[test]
fn twenty_four_bits_arrive_bit_for_bit() {
    carry(8, 480, Codec::PcmS24);
}

#[test]
fn mono_of_64_frames_arrives_bit_for_bit() {
    carry(1, 64, Codec::PcmS24);
}

#[test]
fn two_subscribers_in_one_process_and_one_in_the_publishers_own() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let mut sender = Sender::new(&one, 2, 128, Codec::PcmF32);
    let key = sender.key(&one);
    let mut receivers = [Receiver::new(&two, key), Receiver::new(&two, key), Receiver::new(&one, key)];
    for receiver in &receivers {
        receiver.until_live();
    }
    until_subscribed(&sender, 2);
    for _ in 0..10 {
        sender.block();
    }
    for receiver in &mut receivers {
        let mut samples = 0;
        until("all samples arrive", || {
            samples += receiver.check_blocks();
            samples == 10 * 2 * 128
        });
    }
    assert_eq!(receivers[2].subscription.status().address, None, "ring to ring");
    drop(receivers);
    until_subscribed(&sender, 0);
}

#[test]
fn events_arrive_at_their_frames() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let mut sender = Sender::new(&one, 2, 128, Codec::PcmF32);
    let mut receiver = Receiver::new(&two, sender.key(&one));
    receiver.until_live();
    until_subscribed(&sender, 1);
    let mut sent = Vec::new();
    for number in 0..200_u64 {
        let key = i16::try_from(number % 128).unwrap();
        let note = NoteAddress { note_id: -1, port: 0, channel: 3, key };
        let body = if number % 2 == 0 {
            Body::NoteOn { note, velocity: 0.5 }
        } else {
            Body::NoteOff { note, velocity: 0.0 }
        };
        let event = Event { epoch: sender.header.epoch, time: MediaTime::new(number * 3), body };
        sender.events.push(event).unwrap();
        sent.push(event);
    }
    sender.block();
    let mut received = Vec::new();
    until("all events arrive", || {
        received.extend(receiver.events());
        received.len() >= sent.len()
    });
    assert_eq!(received, sent);
    assert_eq!(receiver.subscription.status().figures.events_lost, 0);
}

#[test]
fn renaming_unpublishing_and_publishing_again_is_seen() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let sender = Sender::new(&one, 2, 128, Codec::PcmF32);
    let key = sender.key(&one);
    let mut receiver = Receiver::new(&two, key);
    receiver.until_live();
    sender.publication.rename("Drums");
    until("the new name is seen", || two.streams().iter().any(|stream| stream.name == "Drums"));
    until("and by the subscription", || receiver.subscription.status().stream_name == "Drums");
    let claim = sender.publication.into_claim();
    until("the loss is seen", || {
        matches!(receiver.subscription.status().link, Link::Lost { cause: LossCause::Unpublished, .. })
    });
    assert!(two.streams().is_empty());
    let mut sender = Sender::with_claim(&one, claim, 8, 480, Codec::PcmS24);
    assert_eq!(sender.key(&one), key);
    receiver.until_live();
    until_subscribed(&sender, 1);
    sender.block();
    let mut samples = 0;
    until("the new form is heard", || {
        samples += receiver.check_blocks();
        samples == 8 * 480
    });
    assert_eq!(receiver.subscription.status().figures.reconnects, 1);
    assert_eq!(receiver.subscription.status().channels, 8);
}

#[test]
fn status_says_it_all() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let sender = Sender::new(&one, 2, 128, Codec::PcmF32);
    let receiver = Receiver::new(&two, sender.key(&one));
    receiver.until_live();
    until_subscribed(&sender, 1);
    until("peers are shown", || !two.peers().is_empty() && two.peers()[0].streams == 1);
    let status = one.status_json();
    assert_eq!(status["publications"][0]["report"]["from"], "sender");
    assert_eq!(status["publications"][0]["subscribers"], 1);
    let status = two.status_json();
    assert_eq!(status["subscriptions"][0]["link"], "live");
    assert_eq!(status["subscriptions"][0]["report"]["from"], "receiver");
    assert_eq!(status["peers"][0]["state"], "connected");
    assert_eq!(status["peers"][0]["name"], "one");
}
