//! What the library exports, as `moduleinfo.json` tells it. The library itself cannot be asked: it may be built for
//! another system. `tests/hosts/factory.py` asks the built one and compares.

/// A plug-in as the VST3 factory describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// The class id in the byte order in which the plug-in declares it (`VST3_CLASS_ID`). nice-plug swaps the first
    /// eight bytes on Windows, and the SDK prints them swapped back there: the text is the same everywhere.
    pub id: [u8; 16],
    /// Shown to the user.
    pub name: &'static str,
    /// Where hosts file it, outermost first.
    pub sub_categories: &'static [&'static str],
}

/// Publishes a track.
pub const SEND: Class =
    Class { id: *b"audiocloudSend01", name: "audiocloud Send", sub_categories: &["Fx", "Tools", "Network"] };

/// Plays a published track.
pub const RECEIVE: Class = Class {
    id: *b"audiocloudRecv01",
    name: "audiocloud Receive",
    sub_categories: &["Fx", "Tools", "Network"],
};

/// Shares a session's beat.
pub const CLOCK: Class =
    Class { id: *b"audiocloudClok01", name: "audiocloud Clock", sub_categories: &["Fx", "Tools", "Network"] };

/// Runs a chain of effects on another machine.
pub const REMOTE_FX: Class = Class {
    id: *b"audiocloudRmFx01",
    name: "audiocloud Remote FX",
    sub_categories: &["Fx", "Tools", "Network"],
};

/// All of them, in the order in which the suite exports them.
pub const ALL: &[Class] = &[SEND, RECEIVE, CLOCK, REMOTE_FX];

/// Who makes them.
pub const VENDOR: &str = "audiocloud";

/// Where they tell of them.
pub const URL: &str = "https://audiocloud.org";
