//! The field GF(2⁸) of RFC 8681: polynomials over GF(2) modulo x⁸ + x⁴ + x³ + x² + 1.
//!
//! A sum is an exclusive or. A product is looked up: one row of 256 bytes per factor, which stays in the
//! first-level cache for the length of a packet.

/// The modulus without its x⁸.
const MODULUS: u8 = 0x1d;

static PRODUCTS: [[u8; 256]; 256] = products();
static INVERSES: [u8; 256] = inverses();

/// `a · x`.
const fn times_x(a: u8) -> u8 {
    (a << 1) ^ (MODULUS * (a >> 7))
}

/// Each row from the two rows of its higher and its lowest bit.
#[allow(clippy::cast_possible_truncation, reason = "an index of a table of 256, in a constant")]
const fn products() -> [[u8; 256]; 256] {
    let mut table = [[0; 256]; 256];
    let mut b = 0;
    while b < 256 {
        table[1][b] = b as u8;
        let mut a = 2;
        while a < 256 {
            let low = if a % 2 == 1 { b as u8 } else { 0 };
            table[a][b] = times_x(table[a / 2][b]) ^ low;
            a += 1;
        }
        b += 1;
    }
    table
}

#[allow(clippy::cast_possible_truncation, reason = "an index of a table of 256, in a constant")]
const fn inverses() -> [u8; 256] {
    let products = products();
    let mut table = [0; 256];
    let mut a = 1;
    while a < 256 {
        let mut b = 1;
        while products[a][b] != 1 {
            b += 1;
        }
        table[a] = b as u8;
        a += 1;
    }
    table
}

/// `1 / a`; 0 for 0.
pub(super) fn inverse(a: u8) -> u8 {
    INVERSES[usize::from(a)]
}

/// Multiplies all of `bytes` by `factor`.
pub(super) fn scale(bytes: &mut [u8], factor: u8) {
    if factor != 1 {
        let row = &PRODUCTS[usize::from(factor)];
        for byte in bytes {
            *byte = row[usize::from(*byte)];
        }
    }
}

/// Adds `factor` times `from` to the front of `to`, which is at least as long.
pub(super) fn add_scaled(to: &mut [u8], from: &[u8], factor: u8) {
    debug_assert!(from.len() <= to.len(), "what is added fits");
    if factor == 1 {
        // Vectorises; and is all that repetition and parity need.
        for (to, from) in to.iter_mut().zip(from) {
            *to ^= from;
        }
    } else if factor != 0 {
        let row = &PRODUCTS[usize::from(factor)];
        for (to, from) in to.iter_mut().zip(from) {
            *to ^= row[usize::from(*from)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication by shifts and additions, then reduction from the top: none of the code under test.
    fn by_hand(a: u8, b: u8) -> u8 {
        let mut product =
            (0..8).filter(|bit| b >> bit & 1 == 1).fold(0_u16, |sum, bit| sum ^ u16::from(a) << bit);
        for bit in (8..15).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11d << (bit - 8);
            }
        }
        u8::try_from(product).expect("reduced")
    }

    #[test]
    fn products_and_inverses_are_those_of_the_field() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(PRODUCTS[usize::from(a)][usize::from(b)], by_hand(a, b), "{a} · {b}");
            }
            assert_eq!(by_hand(a, inverse(a)), u8::from(a != 0), "1 / {a}");
        }
    }

    #[test]
    fn a_multiple_is_added_byte_by_byte() {
        let from: Vec<u8> = (0..=255).collect();
        for factor in [0, 1, 2, 0x1d, 255] {
            let mut to = vec![0xa5; 300];
            add_scaled(&mut to, &from, factor);
            for (at, &byte) in to.iter().enumerate() {
                let added = from.get(at).map_or(0, |&from| by_hand(factor, from));
                assert_eq!(byte, 0xa5 ^ added, "{factor} at {at}");
            }
        }
    }
}
