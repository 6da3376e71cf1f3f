//! Documents that are longer than a message: in parts, and together again.

use audiocloud_wire::message::{Bytes, DOCUMENT_PART_BYTES_MAX, DOCUMENT_PARTS_MAX};

/// The longest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = DOCUMENT_PART_BYTES_MAX * DOCUMENT_PARTS_MAX as usize;

/// One part of a document.
pub type Part = Bytes<DOCUMENT_PART_BYTES_MAX>;

/// Why parts make no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A part is not the one after the last.
    Order,
    /// It says another number of parts, or none, or more than there may be.
    Parts,
    /// Parts before the last are full, and this one is not: what a peer may make us keep is bounded by what it sends.
    Short,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Order => "a part of a document came out of turn",
            Self::Parts => "the parts of a document do not agree on how many there are",
            Self::Short => "a part of a document is not full, and not the last",
        })
    }
}

impl std::error::Error for Broken {}

/// The parts of a document, in their order, with how many there are; none for one that is too long.
#[must_use]
pub fn split(document: &[u8]) -> Option<(u16, impl Iterator<Item = (u16, Part)> + '_)> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return None;
    }
    let parts = u16::try_from(document.len().div_ceil(DOCUMENT_PART_BYTES_MAX).max(1)).ok()?;
    let part = move |number: u16| {
        let from = usize::from(number) * DOCUMENT_PART_BYTES_MAX;
        let until = (from + DOCUMENT_PART_BYTES_MAX).min(document.len());
        let bytes = document.get(from..until).unwrap_or_default();
        Some((number, Part::try_from(bytes).ok()?))
    };
    Some((parts, (0..parts).filter_map(part)))
}

/// Puts the parts of documents together, one document after the other.
#[derive(Debug, Default)]
pub struct Assembler {
    revision: u64,
    parts: u16,
    next: u16,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Bytes that wait for the others.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// Takes a part; the document, with the last one. A part 0 begins anew, whatever was before it.
    ///
    /// # Errors
    ///
    /// What came so far is thrown away.
    pub fn take(
        &mut self,
        revision: u64,
        part: u16,
        parts: u16,
        bytes: Part,
    ) -> Result<Option<Vec<u8>>, Broken> {
        let result = self.try_take(revision, part, parts, bytes);
        if !matches!(result, Ok(None)) {
            *self = Self::default();
        }
        result
    }

    fn try_take(
        &mut self,
        revision: u64,
        part: u16,
        parts: u16,
        bytes: Part,
    ) -> Result<Option<Vec<u8>>, Broken> {
        if part == 0 {
            *self = Self { revision, parts, ..Self::default() };
        }
        if !(1..=DOCUMENT_PARTS_MAX).contains(&parts) || parts != self.parts {
            return Err(Broken::Parts);
        }
        if part != self.next || revision != self.revision {
            return Err(Broken::Order);
        }
        let is_last = part + 1 == parts;
        if !is_last && bytes.len() != DOCUMENT_PART_BYTES_MAX {
            return Err(Broken::Short);
        }
        if self.bytes.is_empty() {
            self.bytes = bytes.into_vec();
        } else {
            self.bytes.extend_from_slice(&bytes);
        }
        self.next += 1;
        Ok(is_last.then(|| std::mem::take(&mut self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(document: &[u8]) -> Option<Vec<u8>> {
        let mut assembler = Assembler::default();
        let (parts, each) = split(document)?;
        let mut whole = None;
        for (number, part) in each {
            assert_eq!(whole, None, "nothing follows the last part");
            whole = assembler.take(9, number, parts, part).unwrap();
        }
        whole
    }

    #[test]
    fn documents_come_out_as_they_went_in() {
        for length in [0, 1, 49_152, 49_153, 200_000] {
            let document: Vec<u8> = (0..=255).cycle().take(length).collect();
            assert_eq!(assembled(&document).as_ref(), Some(&document), "{length} bytes");
        }
        assert!(split(&vec![0; DOCUMENT_BYTES_MAX]).is_some());
        assert!(split(&vec![0; DOCUMENT_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let full = || Part::try_from(vec![1; DOCUMENT_PART_BYTES_MAX]).unwrap();
        let short = || Part::try_from(vec![1; 9]).unwrap();
        let mut assembler = Assembler::default();
        assert_eq!(assembler.take(1, 1, 2, full()), Err(Broken::Parts), "nothing has begun");
        assert_eq!(assembler.take(1, 0, 0, short()), Err(Broken::Parts));
        assert_eq!(assembler.take(1, 0, DOCUMENT_PARTS_MAX + 1, full()), Err(Broken::Parts));
        assert_eq!(assembler.take(1, 0, 2, short()), Err(Broken::Short));
        assert_eq!(assembler.take(1, 0, 3, full()), Ok(None));
        assert_eq!(assembler.take(1, 2, 3, short()), Err(Broken::Order));
        assert_eq!(assembler.take(1, 0, 3, full()), Ok(None));
        assert_eq!(assembler.take(2, 1, 3, full()), Err(Broken::Order), "of another revision");
        assert_eq!(assembler.take(1, 0, 3, full()), Ok(None));
        assert_eq!(assembler.take(1, 1, 2, short()), Err(Broken::Parts));
        assert_eq!(assembler.take(1, 0, 3, full()), Ok(None));
        let begun_anew = assembler.take(2, 0, 1, short()).unwrap().unwrap();
        assert_eq!(begun_anew, [1; 9]);
    }
}
