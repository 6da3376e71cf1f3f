//! Memory that two processes share. Whatever the other one does to it, reading it stays defined: all of it is atomics.

#![allow(unsafe_code, reason = "mapping shared memory is the system's boundary")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped memory file: so many 64-bit words, then so many 32-bit words. They do not overlap, so no access is of two
/// sizes.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<AtomicU64>,
    longs: usize,
    words: usize,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone until it is dropped, and what is in it is read and written as atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// New memory, zero, which neither process can make shorter or longer: a page that vanished would be a signal to
    /// whoever reads it.
    pub(crate) fn create(longs: usize, words: usize) -> io::Result<Self> {
        let file = memfd_create("audiocloud-plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, u64::try_from(bytes(longs, words)?).map_err(|_| too_large())?)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(file, longs, words)
    }

    /// Memory that another process made.
    pub(crate) fn adopt(file: OwnedFd, longs: usize, words: usize) -> io::Result<Self> {
        if usize::try_from(fstat(&file)?.st_size) != Ok(bytes(longs, words)?) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory of another length"));
        }
        Self::map(file, longs, words)
    }

    fn map(file: OwnedFd, longs: usize, words: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: the system chooses where, so nothing of ours is mapped over; the length is the file's.
        let base =
            unsafe { mmap(ptr::null_mut(), bytes(longs, words)?, protection, flags, file.as_fd(), 0) }?;
        let base = NonNull::new(base.cast()).ok_or_else(too_large)?;
        Ok(Self { base, longs, words, file })
    }

    /// The 64-bit words. *Realtime-safe: yes*.
    pub(crate) fn longs(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `longs` words long at least, lives as long as `self`, and any bits are
        // a valid atomic.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.longs) }
    }

    /// The 32-bit words. *Realtime-safe: yes*.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        // SAFETY: `longs` 64-bit words lie before them within the mapping.
        let first = unsafe { self.base.as_ptr().add(self.longs) };
        // SAFETY: as in `longs`; the two do not overlap.
        unsafe { std::slice::from_raw_parts(first.cast(), self.words) }
    }

    /// For the other process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Ok(length) = bytes(self.longs, self.words) else { return };
        // SAFETY: mapped by `map` with this length, and nobody borrows from a value that is dropped.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), length) };
        debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
    }
}

fn bytes(longs: usize, words: usize) -> io::Result<usize> {
    let total = longs.checked_mul(8).and_then(|longs| longs.checked_add(words.checked_mul(4)?));
    total.filter(|bytes| (1..1 << 30).contains(bytes)).ok_or_else(too_large)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no shared memory of that length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn both_see_what_one_writes_and_neither_can_shrink_it() {
        let ours = Memory::create(4, 6).unwrap();
        let theirs = Memory::adopt(rustix::io::dup(ours.file()).unwrap(), 4, 6).unwrap();
        ours.longs()[3].store(7 << 40, Ordering::Release);
        ours.words()[5].store(9, Ordering::Release);
        assert_eq!(theirs.longs()[3].load(Ordering::Acquire), 7 << 40);
        assert_eq!(theirs.words()[5].load(Ordering::Acquire), 9);
        assert_eq!((theirs.longs().len(), theirs.words().len()), (4, 6));
        assert_eq!(theirs.words()[4].load(Ordering::Acquire), 0);
        assert!(ftruncate(theirs.file(), 0).is_err());
        assert!(Memory::adopt(rustix::io::dup(ours.file()).unwrap(), 4, 7).is_err());
    }

    #[test]
    fn absurd_lengths_are_refused() {
        assert!(Memory::create(usize::MAX, 1).is_err());
        assert!(Memory::create(0, 0).is_err());
        assert!(Memory::create(1, usize::MAX / 4).is_err());
    }
}
