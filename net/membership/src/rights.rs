//! What a member may do: as data, as text of the command line, and in words.

use std::fmt;
use std::str::FromStr;

use audiocloud_wire::id::StreamKey;

/// The most streams or names that a right lists.
pub const LIST_MAX: usize = 16;
/// The longest name of a chain or track in a right, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// How much a member may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Streams at the same time.
    pub streams: u16,
    /// Channels of each of them.
    pub channels: u16,
}

/// What a member may hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subscribe {
    /// Nothing.
    #[default]
    None,
    /// Every stream of the session.
    All,
    /// These streams; at most [`LIST_MAX`].
    Only(Vec<StreamKey>),
}

/// Which effects of others a member may control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// None.
    #[default]
    None,
    /// Each that its owner lets be controlled.
    All,
    /// Chains or tracks of these names; at most [`LIST_MAX`], each of at most [`NAME_BYTES_MAX`].
    Only(Vec<String>),
}

/// What a member may do. To join is no right of its own: every ticket that holds lets its holder in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Publish streams.
    pub publish: Option<Publish>,
    /// Hear streams.
    pub subscribe: Subscribe,
    /// Host effects for others.
    pub host: bool,
    /// Control effects of others.
    pub control: Control,
    /// Lead the clock.
    pub lead: bool,
    /// Let others in, with at most the own rights.
    pub invite: bool,
    /// Put others out.
    pub revoke: bool,
    /// Change the shared state.
    pub edit: bool,
}

/// Something that needs a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Be in the session.
    Join,
    /// Publish a stream.
    Publish {
        /// Streams of this member, with this one.
        streams: u16,
        /// Its channels.
        channels: u16,
    },
    /// Hear this stream.
    Subscribe(&'a StreamKey),
    /// Host effects.
    Host,
    /// Control the chain or track of this name.
    Control(&'a str),
    /// Lead the clock.
    Lead,
    /// Let somebody in.
    Invite,
    /// Put somebody out.
    Revoke,
    /// Change the shared state.
    Edit,
}

/// Text that names no rights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseRightsError(pub(crate) String);

impl Publish {
    /// As much as there is.
    pub const ALL: Self = Self { streams: u16::MAX, channels: u16::MAX };
}

impl Rights {
    /// All that there is.
    pub fn everything() -> Self {
        Self {
            publish: Some(Publish::ALL),
            subscribe: Subscribe::All,
            host: true,
            control: Control::All,
            lead: true,
            invite: true,
            revoke: true,
            edit: true,
        }
    }

    /// What somebody needs who plays along: all but to host effects and to put others out.
    pub fn musician() -> Self {
        Self { host: false, revoke: false, ..Self::everything() }
    }

    /// To hear every stream, and nothing else.
    pub fn listener() -> Self {
        Self { subscribe: Subscribe::All, ..Self::default() }
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            publish: self.publish.zip(other.publish).map(|(a, b)| Publish {
                streams: a.streams.min(b.streams),
                channels: a.channels.min(b.channels),
            }),
            subscribe: match (&self.subscribe, &other.subscribe) {
                (Subscribe::None, _) | (_, Subscribe::None) => Subscribe::None,
                (Subscribe::All, some) | (some, Subscribe::All) => some.clone(),
                (Subscribe::Only(a), Subscribe::Only(b)) => Subscribe::Only(both(a, b)),
            },
            host: self.host && other.host,
            control: match (&self.control, &other.control) {
                (Control::None, _) | (_, Control::None) => Control::None,
                (Control::All, some) | (some, Control::All) => some.clone(),
                (Control::Only(a), Control::Only(b)) => Control::Only(both(a, b)),
            },
            lead: self.lead && other.lead,
            invite: self.invite && other.invite,
            revoke: self.revoke && other.revoke,
            edit: self.edit && other.edit,
        }
        .in_order()
    }

    /// Whether they allow it.
    pub fn allow(&self, operation: &Operation<'_>) -> bool {
        match *operation {
            Operation::Join => true,
            Operation::Publish { streams, channels } => {
                self.publish.is_some_and(|most| streams <= most.streams && channels <= most.channels)
            }
            Operation::Subscribe(stream) => match &self.subscribe {
                Subscribe::None => false,
                Subscribe::All => true,
                Subscribe::Only(streams) => streams.contains(stream),
            },
            Operation::Host => self.host,
            Operation::Control(name) => match &self.control {
                Control::None => false,
                Control::All => true,
                Control::Only(names) => names.iter().any(|one| one == name),
            },
            Operation::Lead => self.lead,
            Operation::Invite => self.invite,
            Operation::Revoke => self.revoke,
            Operation::Edit => self.edit,
        }
    }

    /// For people: "publish up to 2 streams of 8 channels, hear all streams, edit the shared state".
    pub fn words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        match self.publish {
            None => {}
            Some(Publish::ALL) => words.push("publish streams".to_owned()),
            Some(Publish { streams, channels }) => {
                words.push(format!(
                    "publish up to {} of {}",
                    count(streams, "stream"),
                    count(channels, "channel")
                ));
            }
        }
        match &self.subscribe {
            Subscribe::None => {}
            Subscribe::All => words.push("hear all streams".to_owned()),
            Subscribe::Only(streams) => {
                words.push(format!("hear {} named one by one", count(streams.len(), "stream")));
            }
        }
        match &self.control {
            Control::None => {}
            Control::All => words.push("control effects".to_owned()),
            Control::Only(names) => words.push(format!("control the effects of {}", names.join(", "))),
        }
        let flags = [
            (self.host, "host effects"),
            (self.lead, "lead the clock"),
            (self.invite, "invite others"),
            (self.revoke, "put others out"),
            (self.edit, "edit the shared state"),
        ];
        words.extend(flags.iter().filter(|(has, _)| *has).map(|(_, word)| (*word).to_owned()));
        if words.is_empty() { "be there, and nothing else".to_owned() } else { words.join(", ") }
    }

    /// The same rights, written in the one way that a ticket has for them: lists sorted, nothing twice, an empty one
    /// as none.
    pub(crate) fn in_order(mut self) -> Self {
        if let Subscribe::Only(streams) = &mut self.subscribe {
            streams.sort_unstable();
            streams.dedup();
            if streams.is_empty() {
                self.subscribe = Subscribe::None;
            }
        }
        if let Control::Only(names) = &mut self.control {
            names.sort_unstable();
            names.dedup();
            if names.is_empty() {
                self.control = Control::None;
            }
        }
        self
    }

    /// Whether a ticket has room for them.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if matches!(&self.subscribe, Subscribe::Only(streams) if streams.len() > LIST_MAX) {
            return Err("more than 16 streams to hear");
        }
        let Control::Only(names) = &self.control else { return Ok(()) };
        if names.len() > LIST_MAX {
            return Err("more than 16 names of effects to control");
        }
        if !names.iter().all(|name| is_name(name)) {
            return Err(
                "the name of an effect to control is empty, longer than 64 bytes, or has control characters",
            );
        }
        Ok(())
    }
}

fn both<T: Clone + PartialEq>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().filter(|one| b.contains(one)).cloned().collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

fn count(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {noun}"),
        Ok(number) => format!("{number} {noun}s"),
        Err(_) => format!("many {noun}s"),
    }
}

impl fmt::Display for Operation<'_> {
    /// For people, after "may".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Join => f.write_str("join"),
            Self::Publish { streams, channels } => {
                write!(f, "publish {} of {}", count(streams, "stream"), count(channels, "channel"))
            }
            Self::Subscribe(stream) => write!(f, "hear the stream {}", stream.stream.short()),
            Self::Host => f.write_str("host effects"),
            Self::Control(name) => write!(f, "control the effects of {name}"),
            Self::Lead => f.write_str("lead the clock"),
            Self::Invite => f.write_str("invite others"),
            Self::Revoke => f.write_str("put others out"),
            Self::Edit => f.write_str("edit the shared state"),
        }
    }
}

impl fmt::Display for Rights {
    /// As [`from_str`](Self::from_str) reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<String> = Vec::new();
        match self.publish {
            None => {}
            Some(Publish::ALL) => items.push("publish".to_owned()),
            Some(Publish { streams, channels }) => items.push(format!("publish={streams}x{channels}")),
        }
        match &self.subscribe {
            Subscribe::None => {}
            Subscribe::All => items.push("subscribe".to_owned()),
            Subscribe::Only(streams) => {
                let streams: Vec<_> = streams.iter().map(ToString::to_string).collect();
                items.push(format!("subscribe={}", streams.join("+")));
            }
        }
        match &self.control {
            Control::None => {}
            Control::All => items.push("control".to_owned()),
            Control::Only(names) => {
                let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
                items.push(format!("control={}", names.join("+")));
            }
        }
        let flags = [
            (self.host, "host"),
            (self.lead, "lead"),
            (self.invite, "invite"),
            (self.revoke, "revoke"),
            (self.edit, "edit"),
        ];
        items.extend(flags.iter().filter(|(has, _)| *has).map(|(_, item)| (*item).to_owned()));
        f.write_str(if items.is_empty() { "none" } else { "" })?;
        f.write_str(&items.join(","))
    }
}

impl FromStr for Rights {
    type Err = ParseRightsError;

    /// Items between commas, each adding to the rights: `publish`, `publish=2x8` (streams x channels of each),
    /// `subscribe`, `subscribe=STREAM+STREAM`, `control`, `control=NAME+NAME` (`,` `+` `=` `%` in a name as `%2C`
    /// and so on), `host`, `lead`, `invite`, `revoke`, `edit`, and the sets `everything`, `musician`, `listener`,
    /// `none`.
    fn from_str(text: &str) -> Result<Self, ParseRightsError> {
        let mut rights = Self::default();
        for item in text.split(',').map(str::trim) {
            let (what, which) = match item.split_once('=') {
                Some((what, which)) => (what, Some(which)),
                None => (item, None),
            };
            match (what, which) {
                ("everything", None) => rights = Self::everything(),
                ("musician", None) => rights = rights.or_musician(),
                ("listener" | "subscribe", None) => rights.subscribe = Subscribe::All,
                ("none", None) => {}
                ("publish", None) => rights.publish = Some(Publish::ALL),
                ("publish", Some(which)) => rights.publish = Some(parse_publish(which)?),
                ("subscribe", Some(which)) => {
                    let streams: Result<_, _> = which.split('+').map(str::parse).collect();
                    rights.subscribe = Subscribe::Only(streams.map_err(|_| {
                        ParseRightsError(format!(
                            "`{which}` is no list of streams; write each as PUBLISHER/STREAM, with + between them"
                        ))
                    })?);
                }
                ("control", None) => rights.control = Control::All,
                ("control", Some(which)) => {
                    let names: Option<_> = which.split('+').map(unescape).collect();
                    rights.control = Control::Only(names.ok_or_else(|| {
                        ParseRightsError(format!("`{which}` is no list of names; put + between them"))
                    })?);
                }
                ("host", None) => rights.host = true,
                ("lead", None) => rights.lead = true,
                ("invite", None) => rights.invite = true,
                ("revoke", None) => rights.revoke = true,
                ("edit", None) => rights.edit = true,
                _ => {
                    return Err(ParseRightsError(format!(
                        "`{item}` is no right; write some of publish[=STREAMSxCHANNELS], subscribe[=STREAM+STREAM], \
                         control[=NAME+NAME], host, lead, invite, revoke, edit, or everything, musician, listener, none"
                    )));
                }
            }
        }
        rights.check().map_err(|why| ParseRightsError(format!("{why}; list fewer, or shorter ones")))?;
        Ok(rights.in_order())
    }
}

impl Rights {
    fn or_musician(&self) -> Self {
        Self { host: self.host, revoke: self.revoke, ..Self::everything() }
    }
}

fn parse_publish(which: &str) -> Result<Publish, ParseRightsError> {
    let parsed = which.split_once('x').and_then(|(streams, channels)| {
        Some(Publish { streams: streams.parse().ok()?, channels: channels.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        ParseRightsError(format!("`{which}` is no number of streams and channels; write publish=2x8, say"))
    })
}

/// What separates names, as its bytes in hexadecimal.
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '%' | ',' | '+' | '=' => text.push_str(&format!("%{:02X}", u32::from(character))),
            // The ends of an item are trimmed.
            ' ' => text.push_str("%20"),
            _ => text.push(character),
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
pub(crate) mod tests;
