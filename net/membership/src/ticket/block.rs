//! One block of a hop as Datalog, the language of biscuits, in the one way that this crate writes it.
//!
//! A block's checks are those that any verifier of biscuits enforces. This one reads them back as data instead of
//! running them, and takes only text that is letter for letter what it would have written: no Datalog of a stranger
//! is ever evaluated, so none can be made to run for long. That both come to the same is tested against the
//! evaluation of `biscuit-auth`.
//!
//! The facts that the checks ask for: `operation(name)` for each but publishing; `publish(streams, channels)`;
//! `subscribe(stream)`, 40 bytes; `control(name)`, as bytes; `time(seconds)`.

use std::fmt::{self, Write};

use audiocloud_wire::id::{DeviceId, StreamId, StreamKey, UserId};

use super::Holder;
use crate::rights::{Control, Publish, Rights, Subscribe};

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Of the first block of a hop: whom it is made for. Others narrow it.
    pub(super) made: Option<Made>,
    pub(super) rights: Rights,
    pub(super) expires_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) to: Holder,
    /// Of each hop but the first: the hash of all before it. So a hop cannot be moved behind other ones, which might
    /// allow more.
    pub(super) after: Option<[u8; 32]>,
}

impl Block {
    /// Its Datalog, as `biscuit-auth` prints it.
    pub(super) fn source(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes all");
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        if let Some(made) = &self.made {
            match made.to {
                Holder::User(user) => writeln!(text, "user(hex:{user});")?,
                Holder::Link { key, uses } => writeln!(text, "link(hex:{}, {uses});", hex(&key))?,
            }
            if let Some(hash) = made.after {
                writeln!(text, "after(hex:{});", hex(&hash))?;
            }
        }
        write!(
            text,
            "check if operation($operation), [{}].contains($operation)",
            self.operations().join(", ")
        )?;
        if let Some(Publish { streams, channels }) = self.rights.publish {
            write!(text, " or publish($streams, $channels), $streams <= {streams}, $channels <= {channels}")?;
        }
        if let Subscribe::Only(streams) = &self.rights.subscribe {
            let streams = streams.iter().map(|stream| stream_bytes(stream).to_vec());
            write!(text, " or subscribe($stream), [{}].contains($stream)", list(streams))?;
        }
        if let Control::Only(names) = &self.rights.control {
            let names = names.iter().map(|name| name.as_bytes().to_vec());
            write!(text, " or control($name), [{}].contains($name)", list(names))?;
        }
        text.push_str(";\n");
        match self.expires_s {
            Some(expires_s) => writeln!(text, "check if time($time), $time <= {expires_s};"),
            None => Ok(()),
        }
    }

    /// Those that are allowed whatever they are done to.
    fn operations(&self) -> Vec<&'static str> {
        let Rights { publish: _, subscribe, host, control, lead, invite, revoke, edit } = &self.rights;
        let all = [
            (true, "\"join\""),
            (*subscribe == Subscribe::All, "\"subscribe\""),
            (*host, "\"host\""),
            (*control == Control::All, "\"control\""),
            (*lead, "\"lead\""),
            (*invite, "\"invite\""),
            (*revoke, "\"revoke\""),
            (*edit, "\"edit\""),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
    }

    /// Reads what [`source`](Self::source) writes, and nothing else.
    pub(super) fn read(source: &str) -> Option<Self> {
        let mut made = None;
        let mut rights = None;
        let mut expires_s = None;
        for line in source.strip_suffix(";\n")?.split(";\n") {
            if let Some(clauses) = line.strip_prefix("check if operation") {
                rights = Some(read_rights(clauses)?);
            } else if let Some(last_s) = line.strip_prefix("check if time($time), $time <= ") {
                expires_s = Some(last_s.parse().ok()?);
            } else if let Some(hash) = within(line, "after(hex:", ")") {
                Made::after(&mut made, hash)?;
            } else {
                made = Some(Made { to: read_holder(line)?, after: None });
            }
        }
        let block = Self { made, rights: rights?, expires_s };
        // What was read leniently counts only if it was written strictly.
        (block.rights.check().is_ok() && block.source() == source).then_some(block)
    }
}

impl Made {
    fn after(made: &mut Option<Self>, hash: &str) -> Option<()> {
        made.as_mut()?.after = Some(key(hash)?);
        Some(())
    }
}

fn read_holder(line: &str) -> Option<Holder> {
    if let Some(user) = within(line, "user(hex:", ")") {
        return Some(Holder::User(UserId(key(user)?)));
    }
    let (link, uses) = within(line, "link(hex:", ")")?.split_once(", ")?;
    Some(Holder::Link { key: key(link)?, uses: uses.parse().ok()? })
}

fn read_rights(clauses: &str) -> Option<Rights> {
    let mut rights = Rights::default();
    let mut clauses = clauses.split(" or ");
    for operation in within(clauses.next()?, "($operation), [", "].contains($operation)")?.split(", ") {
        match operation {
            "\"join\"" => {}
            "\"subscribe\"" => rights.subscribe = Subscribe::All,
            "\"host\"" => rights.host = true,
            "\"control\"" => rights.control = Control::All,
            "\"lead\"" => rights.lead = true,
            "\"invite\"" => rights.invite = true,
            "\"revoke\"" => rights.revoke = true,
            "\"edit\"" => rights.edit = true,
            _ => return None,
        }
    }
    for clause in clauses {
        if let Some(most) = clause.strip_prefix("publish($streams, $channels), $streams <= ") {
            let (streams, channels) = most.split_once(", $channels <= ")?;
            rights.publish =
                Some(Publish { streams: streams.parse().ok()?, channels: channels.parse().ok()? });
        } else if let Some(streams) = within(clause, "subscribe($stream), [", "].contains($stream)") {
            rights.subscribe = Subscribe::Only(streams.split(", ").map(read_stream).collect::<Option<_>>()?);
        } else {
            let names = within(clause, "control($name), [", "].contains($name)")?;
            let read = |name: &str| String::from_utf8(unhex(name.strip_prefix("hex:")?)?).ok();
            rights.control = Control::Only(names.split(", ").map(read).collect::<Option<_>>()?);
        }
    }
    // An order or a repetition that this crate would not write is not what it wrote.
    Some(rights.in_order())
}

fn within<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

pub(super) fn stream_bytes(stream: &StreamKey) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(stream.publisher.as_bytes());
    bytes[32..].copy_from_slice(&stream.stream.to_bytes());
    bytes
}

fn read_stream(text: &str) -> Option<StreamKey> {
    let bytes = unhex(text.strip_prefix("hex:")?)?;
    let (publisher, stream) = bytes.split_at_checked(32)?;
    let stream = StreamId::from_bytes(stream.try_into().ok()?);
    Some(StreamKey::new(DeviceId(publisher.try_into().ok()?), stream))
}

fn list(items: impl Iterator<Item = Vec<u8>>) -> String {
    items.map(|bytes| format!("hex:{}", hex(&bytes))).collect::<Vec<_>>().join(", ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok());
    pairs.collect()
}

fn key(text: &str) -> Option<[u8; 32]> {
    unhex(text)?.try_into().ok()
}
