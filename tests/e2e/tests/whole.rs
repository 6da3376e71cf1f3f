//! A stream comes out bit for bit, whatever its shape.

use audiocloud_e2e::{PLAYOUT_MS, Stage, assert_whole, recording};
use audiocloud_rig::{audio::phrase, process::Block, session::PairOptions};

fn options(channels: usize, sample_rate: u32, block: Block) -> PairOptions {
    PairOptions { playout_ms: Some(PLAYOUT_MS), ..PairOptions::new(channels, sample_rate, block) }
}

#[test]
fn strings_in_stereo_at_48_khz() {
    let source = recording("strings-48k.wav", 48_000, 2, 6.0);
    assert_whole(&Stage::new().stream(&source, &mut options(2, 48_000, Block::Fixed(128))));
}

#[test]
fn a_trumpet_at_44_1_khz() {
    let stage = Stage::new();
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/audio/trumpet-44k1.wav");
    let channels = audiocloud_rig::audio::read(path).map_or(2, |audio| audio.channels.len());
    let source = recording("trumpet-44k1.wav", 44_100, channels, 4.0);
    assert_whole(&stage.stream(&source, &mut options(channels, 44_100, Block::Fixed(128))));
}

#[test]
fn speech_in_mono() {
    let source = recording("speech-48k-mono.wav", 48_000, 1, 4.0);
    assert_whole(&Stage::new().stream(&source, &mut options(1, 48_000, Block::Fixed(128))));
}

#[test]
fn samples_of_24_bits() {
    let source = recording("strings-48k.wav", 48_000, 2, 3.0);
    let mut options = PairOptions { codec: Some("pcm-s24"), ..options(2, 48_000, Block::Fixed(128)) };
    let outcome = Stage::new().stream(&source, &mut options);
    assert!(outcome.status.to_string().contains("pcm-s24"), "{:#}", outcome.status);
    assert_whole(&outcome);
}

#[test]
fn six_and_eight_channels() {
    for channels in [6, 8] {
        let source = phrase(48_000, channels, 3.0).with_lead(0.2);
        assert_whole(&Stage::new().stream(&source, &mut options(channels, 48_000, Block::Fixed(128))));
    }
}

#[test]
fn at_96_and_192_khz() {
    for sample_rate in [96_000, 192_000] {
        let source = phrase(sample_rate, 2, 2.0).with_lead(0.2);
        assert_whole(&Stage::new().stream(&source, &mut options(2, sample_rate, Block::Fixed(256))));
    }
}

#[test]
fn blocks_of_64_frames_against_480() {
    for (sent, received) in [(64, 480), (480, 64)] {
        let source = recording("strings-48k.wav", 48_000, 2, 3.0);
        let mut options = options(2, 48_000, Block::Fixed(sent));
        options.receive.block = Block::Fixed(received);
        assert_whole(&Stage::new().stream(&source, &mut options));
    }
}

#[test]
fn block_sizes_that_change_at_every_callback() {
    let source = recording("strings-48k.wav", 48_000, 2, 4.0);
    let mut options = options(2, 48_000, Block::Random(1, 512, 1));
    options.receive.block = Block::Random(16, 700, 2);
    assert_whole(&Stage::new().stream(&source, &mut options));
}
