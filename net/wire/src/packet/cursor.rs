//! Big-endian fields, one after the other, in a slice that may be too short.

use crate::packet::{DecodeError, EncodeError, Kind, PACKET_BYTES_MAX};

/// One way through the fields of a header, in their order, for who reads them and for who writes them: a [`Reader`] sets
/// each, a [`Writer`] puts it.
pub(super) trait Fields {
    /// There are too few bytes.
    type Error;

    /// The field as it stands in the packet, before and after.
    fn pass<const N: usize>(&mut self, field: [u8; N]) -> Result<[u8; N], Self::Error>;

    fn byte(&mut self, field: &mut u8) -> Result<(), Self::Error> {
        self.pass([*field]).map(|[byte]| *field = byte)
    }

    fn short(&mut self, field: &mut u16) -> Result<(), Self::Error> {
        self.pass(field.to_be_bytes()).map(|bytes| *field = u16::from_be_bytes(bytes))
    }

    fn word(&mut self, field: &mut u32) -> Result<(), Self::Error> {
        self.pass(field.to_be_bytes()).map(|bytes| *field = u32::from_be_bytes(bytes))
    }

    fn long(&mut self, field: &mut u64) -> Result<(), Self::Error> {
        self.pass(field.to_be_bytes()).map(|bytes| *field = u64::from_be_bytes(bytes))
    }
}

impl Fields for Reader<'_> {
    type Error = DecodeError;

    #[inline]
    fn pass<const N: usize>(&mut self, _unknown: [u8; N]) -> Result<[u8; N], DecodeError> {
        self.array()
    }
}

impl Fields for Writer<'_> {
    type Error = EncodeError;

    #[inline]
    fn pass<const N: usize>(&mut self, field: [u8; N]) -> Result<[u8; N], EncodeError> {
        self.put(&field).map(|()| field)
    }
}

/// Takes fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// At the front of a datagram that is no longer than allowed, of this version and of this kind.
    pub(super) fn of(datagram: &'a [u8], expected: Kind) -> Result<Self, DecodeError> {
        let kind = Kind::of(datagram)?;
        if kind != expected {
            return Err(DecodeError::OtherKind(kind));
        }
        if datagram.len() > PACKET_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        Ok(Self(datagram))
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    #[inline]
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn finite_f64(&mut self) -> Result<f64, DecodeError> {
        let value = f64::from_be_bytes(self.array()?);
        if value.is_finite() { Ok(value) } else { Err(DecodeError::NotFinite) }
    }
}

/// Puts fields at the front of a slice.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    /// Bytes written so far.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Bytes that can be written in all.
    pub(super) fn room(&self) -> usize {
        self.out.len()
    }

    /// The next `length` bytes, to be written by the caller; none where there are not so many.
    pub(super) fn take(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        let end = start.saturating_add(length);
        match self.out.get_mut(start..end) {
            Some(bytes) => {
                self.length = end;
                bytes
            }
            None => &mut [],
        }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let room = self.out.get_mut(self.length..).ok_or(EncodeError::NoRoom)?;
        room.get_mut(..bytes.len()).ok_or(EncodeError::NoRoom)?.copy_from_slice(bytes);
        self.length += bytes.len();
        Ok(())
    }

    /// Sets the bytes from `at` on, which were written before.
    pub(super) fn set(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        debug_assert!(end <= self.length, "only what was written can be set");
        if let Some(field) = self.out.get_mut(at..end) {
            field.copy_from_slice(bytes);
        }
    }

    /// Takes back all bytes from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}
