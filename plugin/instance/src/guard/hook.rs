//! What happens at the moment of a panic in a callback: its place is noted, nothing is printed.
//!
//! The standard hook formats a message, and with `RUST_BACKTRACE` a whole backtrace, which on an audio thread takes
//! tens of milliseconds. The hook is this library's own: its standard library is linked in, so the host's panics and
//! those of other plug-ins do not come here. Panics outside callbacks go to the hook that was there before.

use std::cell::Cell;
use std::fmt;
use std::sync::Once;

/// As much of a file's name as is kept: its end.
const NAME_BYTES: usize = 64;

/// Where a panic began; shown as the end of a list, as nothing when it is not known.
#[derive(Clone, Copy)]
pub(super) struct Place {
    name: [u8; NAME_BYTES],
    length: usize,
    line: u32,
}

impl Place {
    const UNKNOWN: Self = Self { name: [0; NAME_BYTES], length: 0, line: 0 };

    fn new(file: &str, line: u32) -> Self {
        let bytes = file.as_bytes();
        let kept = &bytes[bytes.len().saturating_sub(NAME_BYTES)..];
        let mut place = Self { length: kept.len(), line, ..Self::UNKNOWN };
        place.name[..kept.len()].copy_from_slice(kept);
        place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == 0 {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&self.name[..self.length]);
        write!(formatter, ", {name}:{}", self.line)
    }
}

thread_local! {
    /// This thread is in a guarded callback.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static PLACE: Cell<Place> = const { Cell::new(Place::UNKNOWN) };
}

/// Has panics in callbacks noted instead of printed; once per copy of this library.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or(Place::UNKNOWN, |at| Place::new(at.file(), at.line()));
            PLACE.set(place);
            if !IN_CALLBACK.get() {
                before(info);
            }
        }));
    });
}

/// Runs `body` as a callback. *Realtime-safe: yes.*
pub(super) fn in_callback<R>(body: impl FnOnce() -> R) -> R {
    let _mark = Mark(IN_CALLBACK.replace(true));
    body()
}

/// Puts the mark back as it was, also when `body` unwinds.
struct Mark(bool);

impl Drop for Mark {
    fn drop(&mut self) {
        IN_CALLBACK.set(self.0);
    }
}

/// Where this thread's last panic began. *Realtime-safe: yes.*
pub(super) fn last_place() -> Place {
    PLACE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_panic_is_known() {
        install();
        let caught = std::panic::catch_unwind(|| in_callback(|| panic!("on purpose")));
        assert!(caught.is_err());
        let place = last_place().to_string();
        assert!(place.contains("hook.rs:"), "{place}");
        assert!(!IN_CALLBACK.get());
    }

    #[test]
    fn long_names_keep_their_end() {
        let place = Place::new(&format!("{}/part.rs", "x".repeat(200)), 7).to_string();
        assert!(place.ends_with("xx/part.rs:7") && place.len() == NAME_BYTES + 4, "{place}");
    }
}
