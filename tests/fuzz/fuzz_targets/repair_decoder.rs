//! Any packets and repairs, in any order, at a decoder that has to bear them; and honest ones of which some are
//! lost: what is recovered is what was lost.
#![no_main]

use audiocloud_codec::repair::{Decoder, Encoder, PACKET_BYTES_MAX, REACH, WINDOW_MAX};
use libfuzzer_sys::fuzz_target;

/// Enough for the decoder to forget everything several times over.
const STEPS_MAX: usize = 512;

/// The front of `input` as an array, which is taken off it.
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*front)
}

/// Each step says what comes, and how many of the bytes after it are in it.
fn anything(mut input: &[u8]) {
    let mut decoder = Decoder::new();
    for _ in 0..STEPS_MAX {
        let Some([what, jump, number, window, key, length]) = take(&mut input) else { break };
        // Mostly near zero, on both sides of the wrap; now and then anywhere.
        let sequence = if jump > 240 { u32::from(jump) << 24 | u32::from(number) } else { u32::from(number) };
        let sequence = sequence.wrapping_sub(128);
        let (bytes, rest) = input.split_at(usize::from(length).min(input.len()));
        input = rest;
        match what % 4 {
            0 => decoder.source(sequence, bytes),
            1 => decoder.repair(sequence, window, key, bytes),
            2 => decoder.repair(sequence, window % 17, key, &vec![key; PACKET_BYTES_MAX + 3]),
            _ => decoder.source(sequence, &vec![key; PACKET_BYTES_MAX + 1]),
        }
        let recovered = std::iter::from_fn(|| decoder.next_recovered()).inspect(|(_, packet)| {
            assert!(packet.len() <= PACKET_BYTES_MAX);
        });
        assert!(recovered.count() <= REACH);
    }
}

/// Each step is a packet and what becomes of it and of the repair after it.
fn honest(mut input: &[u8]) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let first = u32::MAX - 20;
    let mut symbol = vec![0; PACKET_BYTES_MAX + 2];
    for _ in 0..STEPS_MAX {
        let Some([fate, length, fill]) = take(&mut input) else { break };
        let place = u32::try_from(sent.len()).expect("a short input");
        let sequence = first.wrapping_add(place);
        sent.push((0..=length).map(|at| fill ^ at).collect());
        let packet = sent.last().expect("just sent");
        encoder.push(sequence, packet);
        if fate & 1 == 0 {
            decoder.source(sequence, packet);
        }
        let key = u8::try_from(place % 193).expect("at most 192");
        if let Some((last, window, bytes)) = encoder.encode(fate >> 4, key, &mut symbol)
            && fate & 2 == 0
        {
            assert!((1..=WINDOW_MAX).contains(&usize::from(window)));
            decoder.repair(last, window, key, &symbol[..bytes]);
        }
        while let Some((sequence, packet)) = decoder.next_recovered() {
            let place = usize::try_from(sequence.wrapping_sub(first)).expect("a place in what was sent");
            assert!(sent[place] == packet, "another packet than was lost");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((0..128, rest)) => anything(rest),
        Some((_, rest)) => honest(rest),
        None => (),
    }
});
