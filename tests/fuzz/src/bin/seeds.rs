//! Writes seeds for the fuzz targets into `corpus/<target>/`: the byte vectors of the specification, and a little
//! that is made here.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, target) in [
        ("audio.json", "audio_packet"),
        ("event.json", "event_packet"),
        ("repair.json", "repair_packet"),
        ("report.json", "receiver_report"),
        ("request.json", "resend_request"),
        ("message.json", "message"),
        ("time.json", "message"),
        ("clock.json", "clock_packet"),
        ("slice.json", "slice"),
        ("slice-report.json", "slice"),
        ("remote.json", "message"),
        ("remote.json", "remote_message"),
    ] {
        let vectors = std::fs::read_to_string(here.join("../../net/wire/spec/vectors").join(file))?;
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&vectors)?;
        let folder = here.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, vector) in vectors.iter().enumerate() {
            let hex = vector["hex"].as_str().ok_or("a vector without hex")?;
            let stem = file.trim_end_matches(".json");
            std::fs::write(folder.join(format!("{stem}-{number:03}")), unhex(hex)?)?;
        }
        println!("{target}: {} seeds", vectors.len());
    }
    let mut made = vec![("identifier", format!("{}/{}", "0f".repeat(32), "f0".repeat(8)).into_bytes())];
    made.extend([64, 32, 16].map(|digits| ("identifier", b"0123456789abcdef".repeat(digits / 16))));
    made.extend([0, 1, 5].map(|channels| ("unpack", tone(channels))));
    made.extend([1, 5, 16].map(|window| ("repair_decoder", losses(window))));
    made.extend([0, 1, 2, 3].map(|codec| ("intake", packets(codec))));
    made.extend([0, 1, 2, 3].map(|codec| ("feedback", listener(codec))));
    // Processes that come, say how they stand, measure each other and edit.
    made.extend(
        [1, 7, 31].map(|step: u8| ("timekeeper", (0..=255).map(|n: u8| n.wrapping_mul(step)).collect())),
    );
    // Peers of tempo Link that come, say their tempo and answer pings.
    made.extend([3, 11, 29].map(|step: u8| ("link", (0..=255).map(|n: u8| n.wrapping_mul(step)).collect())));
    made.extend(beat_maps().map(|map| ("bridges", map)));
    made.extend([0, 1, 2, 4, 6].map(|choice| ("remote_intake", slices(choice))));
    made.extend(audiocloud_fuzz::chains::seeds());
    made.extend(audiocloud_fuzz::plugins::seeds());
    made.extend(audiocloud_fuzz::changes::seeds());
    made.extend(audiocloud_fuzz::people::seeds());
    made.extend(audiocloud_fuzz::traversal::seeds());
    for (number, (target, bytes)) in made.iter().enumerate() {
        let folder = here.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("made-{number}")), bytes)?;
    }
    println!("{} seeds made", made.len());
    Ok(())
}

/// Songs that play, ramp, loop and stop, as segments of 80 bytes; and what Ardour says.
fn beat_maps() -> [Vec<u8>; 5] {
    let segment = |flags: u64, start_ms: u64, beat: f64, bpm: f64, more: [f64; 5]| {
        let [to_bpm, over, from, to, bar_beat] = more.map(f64::to_bits);
        // Four quarters to the bar; eight bytes are for nothing.
        let words = [flags | 4 << 8 | 4 << 16, start_ms * 1_000_000, beat.to_bits(), bpm.to_bits(), 0];
        words
            .into_iter()
            .chain([to_bpm, over, from, to, bar_beat])
            .flat_map(u64::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let map = |segments: &[Vec<u8>]| [vec![130], segments.concat()].concat();
    let plays = segment(4, 500, 0.0, 120.0, [0.0; 5]);
    let ramps = segment(5, 1_000, 1.0, 90.0, [150.0, 8.0, 0.0, 0.0, 0.0]);
    let loops = segment(6, 2_000, 4.0, 240.0, [0.0, 0.0, 4.0, 8.0, 4.0]);
    let stops = segment(0, 3_000, 16.5, 97.0, [0.0; 5]);
    let said = b"\0{\"node\":\"transport_time\",\"val\":[6.45333]}".to_vec();
    [
        map(&[plays.clone()]),
        map(&[ramps, stops.clone()]),
        map(&[loops.clone()]),
        map(&[plays, loops, stops]),
        said,
    ]
}

/// Samples of 24 bit in some channels, after the three bytes that say so.
fn tone(more_channels: u8) -> Vec<u8> {
    let mut bytes = vec![64 | more_channels, 0, 128];
    for frame in 0..128_u32 {
        for channel in 0..=u32::from(more_channels) {
            // A parabola each way and a little noise: smooth, and small between the channels.
            let place = i64::from(frame % 64) - 32;
            let noise = i64::from((frame * 7919 + channel * 104_729) % 251);
            let sample = (1024 - place * place) * if frame < 64 { 4000 } else { -4000 } + noise;
            bytes.extend_from_slice(&sample.to_be_bytes()[5..]);
        }
    }
    bytes
}

/// Forty packets of which each fourth is lost, each with a repair of `window` packets.
fn losses(window: u8) -> Vec<u8> {
    let steps =
        (0..40).flat_map(|place: u8| [(window % 16) << 4 | u8::from(place % 4 == 0), 60 + place, place * 5]);
    std::iter::once(200).chain(steps).collect()
}

/// Sixty packets of four channels in a codec, each fifth of them lost, each seventh late, a repair to each third.
fn packets(codec: u8) -> Vec<u8> {
    let mut input = vec![5, 60, 4];
    for number in (40..100_u8).filter(|number| number % 5 != 0) {
        let late = if number % 7 == 0 { number - 4 } else { number };
        input.extend([codec << 2, 0, 36, 0, late, 4, 24]);
        input.extend((0..24_u8).map(|at| at.wrapping_mul(late)));
        if number % 3 == 0 {
            input.extend([2, number, 1, 0, number, 8, 0]);
            input.extend([1, 2, 1, 0, number / 3, 2, 6, 0x90, 60, 100, 0x80, 60, 0]);
        }
    }
    input
}

/// A hundred slices of a chain, each fifth of them lost, each seventh late, a parameter in each third; or blocks of the end
/// that sends them.
fn slices(choice: u8) -> Vec<u8> {
    let mut input = vec![choice, 10, 40];
    for number in (0..100_u8).filter(|number| number % 5 != 0) {
        let late = if number % 7 == 0 { number.saturating_sub(3) } else { number };
        input.extend([late % 2 * 2, 36, 0, late, late / 3, 0, 64]);
        let events: &[u8] = if late % 3 == 0 { &[2, 1, 7, 3] } else { &[] };
        input.push(u8::try_from(events.len()).unwrap_or(0));
        input.extend(events);
    }
    input
}

/// Sixty blocks to a listener who wants one codec, reports every tenth, and misses every sixth.
fn listener(codec: u8) -> Vec<u8> {
    let mut input = vec![codec, 1];
    let mut step = |what: u8, bytes: [u8; 12]| {
        input.extend([what, 36]);
        input.extend(bytes);
        input.extend([0; 4]);
    };
    for number in 0..60_u8 {
        step(5, [number.wrapping_mul(7), 1, 130, 4, 250, 6, number, 8, 99, 10, 11, 200]);
        if number % 6 == 5 {
            step(0, [0, number - 3, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        if number % 10 == 9 {
            step(1, [0, number, number, number / 6, number / 9, 0, 50, 100, 150, 0, 2, 8]);
            step(4, [0; 12]);
        }
    }
    input
}

fn unhex(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect()
}
