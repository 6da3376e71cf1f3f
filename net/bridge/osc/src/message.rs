//! Open Sound Control 1.0: messages, as bytes of one datagram.

/// An argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// Type `i`.
    Integer(i32),
    /// Type `f`.
    Float(f32),
}

/// One message's bytes: its address, its types, its arguments, each padded to four bytes. The address has no zero byte.
#[must_use]
pub fn encode(address: &str, arguments: &[Argument]) -> Vec<u8> {
    let types = arguments.iter().map(|argument| match argument {
        Argument::Integer(_) => 'i',
        Argument::Float(_) => 'f',
    });
    let types: String = std::iter::once(',').chain(types).collect();
    let mut bytes = Vec::with_capacity(64);
    for text in [address, &types] {
        bytes.extend_from_slice(text.as_bytes());
        // One zero ends it, up to three more fill it.
        bytes.resize(bytes.len() + 4 - bytes.len() % 4, 0);
    }
    for argument in arguments {
        bytes.extend_from_slice(&match argument {
            Argument::Integer(value) => value.to_be_bytes(),
            Argument::Float(value) => value.to_be_bytes(),
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rosc::{OscMessage, OscPacket, OscType};

    use super::*;

    #[test]
    fn bytes_are_those_of_the_specification() {
        // The specification's own examples have these two shapes.
        let example = encode("/oscillator/4/frequency", &[Argument::Float(440.0)]);
        assert_eq!(&example, b"/oscillator/4/frequency\0,f\0\0\x43\xdc\0\0");
        assert_eq!(&encode("/foo", &[Argument::Integer(1_000)]), b"/foo\0\0\0\0,i\0\0\0\0\x03\xe8");
        assert_eq!(&encode("/stop", &[]), b"/stop\0\0\0,\0\0\0");
    }

    proptest! {
        #[test]
        fn another_reads_the_same(
            address in "(/[a-z]{1,9}){1,4}",
            integer in any::<i32>(),
            float in any::<f32>().prop_filter("a number", |float| !float.is_nan()),
            count in 0_usize..3,
        ) {
            let given = [Argument::Integer(integer), Argument::Float(float)];
            let bytes = encode(&address, &given[..count]);
            let (rest, read) = rosc::decoder::decode_udp(&bytes).unwrap();
            let args = [OscType::Int(integer), OscType::Float(float)][..count].to_vec();
            prop_assert_eq!(rest.len(), 0);
            prop_assert_eq!(read, OscPacket::Message(OscMessage { addr: address, args }));
        }
    }
}
