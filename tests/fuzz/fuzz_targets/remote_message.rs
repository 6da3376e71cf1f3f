//! Any bytes as the messages of a control stream that are about chains: each that is read can be sent on and read again,
//! and the parts of documents make documents, or nothing, and are no more to keep than was sent.
#![no_main]

use audiocloud_session::remote::document::Assembler;
use audiocloud_wire::message::{DOCUMENT_PART_BYTES_MAX, DOCUMENT_PARTS_MAX, Message, split_frame};
use audiocloud_wire::message::{RemoteDocument, RemoteOpen};
use libfuzzer_sys::fuzz_target;

fn check(message: &Message, assembler: &mut Assembler) {
    match message {
        Message::RemoteOpen(open) => {
            let RemoteOpen { sample_rate_hz, inputs, side_chain, outputs, .. } = **open;
            assert!(sample_rate_hz > 0 && (1..=64).contains(&outputs));
            assert!((1..=64).contains(&(u16::from(inputs) + u16::from(side_chain))));
        }
        Message::RemoteDocument(RemoteDocument { revision, part, parts, bytes, .. }) => {
            assert!(part < parts && *parts <= DOCUMENT_PARTS_MAX);
            if let Ok(Some(document)) = assembler.take(*revision, *part, *parts, bytes.clone()) {
                assert!(document.len() <= usize::from(*parts) * DOCUMENT_PART_BYTES_MAX);
                assert_eq!(document.len() - bytes.len(), usize::from(*part) * DOCUMENT_PART_BYTES_MAX);
            }
        }
        _ => {}
    }
}

fn read(body: &[u8], assembler: &mut Assembler) {
    let Ok(message) = Message::decode(body) else { return };
    check(&message, assembler);
    // It may take more room than before: defaults are written out.
    let Ok(frame) = message.to_frame() else { return };
    let (body, rest) = split_frame(&frame).expect("a frame").expect("a whole one");
    assert!(rest.is_empty());
    assert_eq!(Message::decode(body), Ok(message));
}

fuzz_target!(|bytes: &[u8]| {
    let mut assembler = Assembler::default();
    let mut rest = bytes;
    while let Ok(Some((body, after))) = split_frame(rest) {
        read(body, &mut assembler);
        rest = after;
    }
    // Numbers that a frame would take long to find, with parts of any length.
    for step in bytes.chunks_exact(4) {
        let length = [0, 1, DOCUMENT_PART_BYTES_MAX, usize::from(step[3])][usize::from(step[3] % 4)];
        let part = vec![step[0]; length].try_into().expect("short enough");
        let (number, parts) = (u16::from(step[1]), u16::from(step[2]));
        if let Ok(Some(document)) = assembler.take((step[0] & 1).into(), number, parts, part) {
            assert_eq!(document.len() - length, usize::from(number) * DOCUMENT_PART_BYTES_MAX);
        }
    }
});
