//! Subscribers who ask for a quality of their own.

use audiocloud_wire::codec::Codec;
use audiocloud_wire::quality::Quality;

use super::rig::{Machine, Receiver, Sender, until, until_subscribed};

#[test]
fn a_quality_is_changed_while_the_stream_plays() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let mut sender = Sender::new(&one, 2, 128, Codec::PcmF32);
    let mut receiver = Receiver::new(&two, sender.key(&one));
    receiver.until_live();
    until_subscribed(&sender, 1);
    let mut covered = Vec::new();
    let mut play = |sender: &mut Sender, receiver: &mut Receiver| {
        sender.block();
        std::thread::sleep(std::time::Duration::from_micros(500));
        covered.extend(receiver.frames());
    };
    for (codec, bitrate_bps) in
        [(Codec::PcmF32, 0), (Codec::PcmS16, 0), (Codec::Opus, 96_000), (Codec::PcmS24, 0)]
    {
        let quality = Quality { codec: Some(codec), bitrate_bps, frame_us: 0 };
        receiver.subscription.set_quality(quality);
        until("the listener is sent what it asked for", || {
            play(&mut sender, &mut receiver);
            let listeners = sender.publication.status().listeners;
            listeners.first().is_some_and(|one| (one.codec, one.bitrate_bps) == (codec, bitrate_bps))
        });
    }
    let end = sender.header.start.get();
    until("everything arrives", || {
        covered.extend(receiver.frames());
        covered.iter().any(|(_, last)| *last == end)
    });
    covered.sort_unstable();
    let mut heard = 0;
    for (first, last) in covered {
        assert!(first <= heard, "frames {heard} to {first} did not come");
        heard = heard.max(last);
    }
    assert_eq!(heard, end);
}

#[test]
fn a_listener_is_shown_with_what_it_says() {
    let machine = Machine::new();
    let (one, two) = (machine.start("one"), machine.start("two"));
    let mut sender = Sender::new(&one, 2, 128, Codec::PcmS24);
    let receiver = Receiver::new(&two, sender.key(&one));
    receiver.until_live();
    until_subscribed(&sender, 1);
    let mut listener = None;
    until("a report comes", || {
        sender.block();
        std::thread::sleep(std::time::Duration::from_millis(1));
        listener = sender.publication.status().listeners.pop();
        listener.as_ref().is_some_and(|one| one.heard.is_some_and(|heard| heard.received > 0))
    });
    let listener = listener.unwrap();
    assert_eq!((listener.name.as_str(), listener.codec, listener.given_up), ("two", Codec::PcmS24, None));
    assert!(listener.figures.packets > 0 && listener.figures.rate_bps > 0, "{:?}", listener.figures);
    let figures = sender.publication.status().figures;
    assert!(figures.bytes > 0 && figures.pump_delay_ns > 0 && figures.block_frames == 128, "{figures:?}");
}
