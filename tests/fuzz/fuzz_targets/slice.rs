//! Any datagram as a slice or a slice report: what is read is as long as it says, and can be written again.
#![no_main]

use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::slice::{
    Encoder, SLICE_BYTES_MAX, SLICE_FRAMES_MAX, SlicePacket, write_samples,
};
use audiocloud_wire::packet::slice_report::{SLICE_REPORT_BYTES, SliceReport};
use libfuzzer_sys::fuzz_target;

fn slice(bytes: &[u8], slice: &SlicePacket<'_>) {
    assert!(bytes.len() <= SLICE_BYTES_MAX && slice.as_bytes() == bytes);
    assert_eq!(slice.events().count(), usize::from(slice.count()));
    let frames = usize::from(slice.header.frames);
    assert!(frames <= usize::from(SLICE_FRAMES_MAX));
    let mut again = [0; SLICE_BYTES_MAX];
    let mut encoder = Encoder::new(&slice.header, &mut again).expect("it was read");
    for event in slice.events() {
        let offset = u16::try_from(event.frame - slice.header.first_frame).expect("within reach");
        encoder.try_push(offset, &event.body).expect("it was read");
    }
    let mut samples = vec![f32::NAN; frames];
    let length = encoder.finish(|channel, room| {
        slice.samples.read(channel, 0, &mut samples);
        write_samples(&samples, room);
    });
    assert_eq!(length, bytes.len());
    // Flags and switches have bits that mean nothing; what is said is the same.
    let read = SlicePacket::decode(&again[..length]).expect("what is written can be read");
    assert_eq!(read.header, slice.header);
    assert!(read.events().eq(slice.events()));
    let sample_bytes = slice.header.sample_bytes();
    assert_eq!(again[length - sample_bytes..length], bytes[bytes.len() - sample_bytes..], "bit for bit");
    let mut outside = [f32::NAN; 3];
    slice.samples.read(usize::from(slice.header.channels), frames, &mut outside);
    assert_eq!(outside, [0.0; 3]);
}

fuzz_target!(|bytes: &[u8]| {
    match Packet::decode(bytes) {
        Ok(Packet::Slice(packet)) => slice(bytes, &packet),
        Ok(Packet::SliceReport(report)) => {
            assert!(report.sequences().count() <= 64);
            let mut again = [0; SLICE_REPORT_BYTES];
            assert_eq!(report.encode(&mut again), Ok(bytes.len()));
            assert_eq!(SliceReport::decode(&again), Ok(report));
            assert_eq!(again[4..], bytes[4..]);
        }
        _ => assert!(SlicePacket::decode(bytes).is_err() && SliceReport::decode(bytes).is_err()),
    }
});
