#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    reason = "numbers drawn for a test, cut to the width wanted"
)]

use super::*;

/// A small generator with a seed (SplitMix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn packet(&mut self, length_max: u64) -> Vec<u8> {
        (0..=self.below(length_max)).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// What a policy leaves of a random loss.
#[derive(Debug)]
struct Residual {
    sent: u32,
    lost: u32,
    /// Not there when the packet `deadline` places later, and its repair, have come.
    missing: u32,
}

/// Sends packets, and after every `every`th one a repair over the last `window`, over a path that loses each
/// of both with probability `loss_percent`. Every packet recovered is compared with what was sent.
fn simulate(every: u32, window: u8, deadline: u32, loss_percent: u64, seed: u64) -> Residual {
    let mut random = Random(seed);
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut residual = Residual { sent: 20_000, lost: 0, missing: 0 };
    let first = 0_u32.wrapping_sub(residual.sent / 2);
    let mut packets = Vec::new();
    let mut there = vec![false; 20_000];
    let mut key = 0;
    for index in 0..residual.sent {
        let sequence = first.wrapping_add(index);
        packets.push(random.packet(24));
        let packet = packets.last().expect("just pushed");
        encoder.push(sequence, packet);
        if random.below(100) >= loss_percent {
            decoder.source(sequence, packet);
            there[index as usize] = true;
        } else {
            residual.lost += 1;
        }
        if index % every == every - 1 {
            key = key % 192 + 1;
            let mut symbol = [0; 64];
            let (last, covered, length) = encoder.encode(window, key, &mut symbol).expect("room");
            if random.below(100) >= loss_percent {
                decoder.repair(last, covered, key, &symbol[..length]);
            }
        }
        while let Some((sequence, packet)) = decoder.next_recovered() {
            let index = sequence.wrapping_sub(first) as usize;
            assert_eq!(packet, packets[index], "{sequence}, seed {seed}");
            assert!(!there[index], "{sequence} once");
            there[index] = true;
        }
        if let Some(due) = index.checked_sub(deadline) {
            residual.missing += u32::from(!there[due as usize]);
        }
    }
    residual
}

#[test]
fn repetition_squares_the_loss() {
    let Residual { sent, missing, .. } = simulate(1, 1, 0, 10, 1);
    let expected = f64::from(sent) * 0.1 * 0.1;
    assert!((f64::from(missing) - expected).abs() < 4.0 * expected.sqrt(), "{missing} of {sent}");
}

/// One repair over each pair, packets and repairs lost at 10 %: a packet stays missing when it is lost and
/// its partner or the repair too, 0.1 · (1 − 0.9²).
#[test]
fn parity_of_pairs_loses_what_it_must() {
    let Residual { sent, missing, .. } = simulate(2, 2, 1, 10, 2);
    let expected = f64::from(sent) * 0.1 * (1.0 - 0.9 * 0.9);
    assert!((f64::from(missing) - expected).abs() < 4.0 * expected.sqrt(), "{missing} of {sent}");
}

#[test]
fn a_repair_for_each_packet_outlives_ten_percent() {
    let Residual { sent, lost, missing } = simulate(1, 8, 8, 10, 3);
    assert!(lost > 1_900, "{lost}");
    assert!(missing * 5_000 < sent, "{missing} of {sent}");
}

#[test]
fn as_many_repairs_as_losses_suffice() {
    let mut random = Random(4);
    for window in 1..=16_u8 {
        for lost in 1..=u64::from(window) {
            let mut decoder = Decoder::new();
            let mut encoder = Encoder::new();
            let first = 0_u32.wrapping_sub(7);
            let packets: Vec<_> = (0..window).map(|_| random.packet(40)).collect();
            let mut gone = vec![false; packets.len()];
            while gone.iter().filter(|gone| **gone).count() < lost as usize {
                gone[random.below(u64::from(window)) as usize] = true;
            }
            for ((sequence, packet), gone) in (0..).map(|n| first.wrapping_add(n)).zip(&packets).zip(&gone) {
                encoder.push(sequence, packet);
                if !gone {
                    decoder.source(sequence, packet);
                }
            }
            // Parity first, then keys from anywhere.
            let start = random.below(192 - lost);
            for n in 0..lost {
                let key = if n == 0 { 0 } else { (start + n) as u8 };
                let mut symbol = [0; 64];
                let (last, covered, length) = encoder.encode(window, key, &mut symbol).expect("room");
                assert_eq!(covered, window);
                assert!(decoder.next_recovered().is_none(), "{lost} of {window} by {n}");
                decoder.repair(last, covered, key, &symbol[..length]);
            }
            let mut recovered: Vec<_> = std::iter::from_fn(|| decoder.next_recovered()).collect();
            recovered.sort_by_key(|(sequence, _)| sequence.wrapping_sub(first));
            let expected: Vec<_> = (0..)
                .map(|n| first.wrapping_add(n))
                .zip(packets)
                .zip(gone)
                .filter_map(|(packet, gone)| gone.then_some(packet))
                .collect();
            assert_eq!(recovered, expected, "{lost} of {window}");
        }
    }
}

#[test]
fn what_was_asked_for_again_helps_the_others() {
    let packets: Vec<Vec<u8>> = vec![vec![1, 2, 3], vec![4], vec![5, 6]];
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for (sequence, packet) in (10..).zip(&packets) {
        encoder.push(sequence, packet);
    }
    let mut symbol = [0; 16];
    let (last, window, length) = encoder.encode(3, 0, &mut symbol).expect("room");
    assert_eq!((last, window, length), (12, 3, 5));
    decoder.source(12, &packets[2]);
    decoder.repair(last, window, 0, &symbol[..length]);
    assert_eq!(decoder.next_recovered(), None);
    decoder.source(10, &packets[0]);
    assert_eq!(decoder.next_recovered(), Some((11, packets[1].clone())));
    assert_eq!(decoder.next_recovered(), None);
}

#[test]
fn a_window_ends_at_a_gap() {
    let mut encoder = Encoder::new();
    let mut symbol = [0; 16];
    assert_eq!(encoder.encode(4, 1, &mut symbol), None);
    for sequence in [5, 6, 8, 9] {
        encoder.push(sequence, &[0; 3]);
    }
    assert_eq!(encoder.encode(4, 1, &mut symbol), Some((9, 2, 5)));
    assert_eq!(encoder.encode(1, 0, &mut symbol[..4]), None, "no room");
    encoder.push(10, &[0; PACKET_BYTES_MAX + 1]);
    assert_eq!(encoder.encode(4, 1, &mut symbol), None);
}

#[test]
fn anything_may_come() {
    let mut random = Random(5);
    let mut decoder = Decoder::new();
    for _ in 0..20_000 {
        // Mostly near one another, now and then far away.
        let near = (u32::MAX - 20).wrapping_add(random.below(60) as u32);
        let sequence = if random.below(50) == 0 { random.next() as u32 } else { near };
        let bytes = random.packet(12);
        if random.below(2) == 0 {
            decoder.source(sequence, &bytes);
        } else {
            decoder.repair(sequence, random.next() as u8, random.next() as u8, &bytes);
        }
        if random.below(4) == 0 {
            while decoder.next_recovered().is_some() {}
        }
    }
}
