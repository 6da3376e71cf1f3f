//! What is meant by a name, an id, or the beginning of one, among what a status lists.

use anyhow::bail;
use audiocloud_net::wire::id::{DeviceId, StreamKey};
use serde_json::Value;

use crate::field::{clean, plain};

/// Fewer digits mean too many things.
pub(crate) const PREFIX_MIN: usize = 4;

/// The stream of this name or id, or the one that is written out as `PUBLISHER/STREAM`, which need not be there now.
pub(crate) fn stream(known: &[Value], text: &str) -> anyhow::Result<StreamKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let names = |stream: &Value| {
        let (name, publisher) = (plain(stream, "name"), plain(stream, "publisher_name"));
        let both = format!("{publisher}/{name}");
        (vec![name, both], plain(stream, "stream"))
    };
    let stream = the_one(known, text, "stream", names)?;
    let (Ok(publisher), Ok(id)) =
        (plain(stream, "publisher").parse::<DeviceId>(), plain(stream, "stream").parse())
    else {
        bail!("the process that lists \"{}\" is of another version; update audiocloud", clean(text));
    };
    Ok(StreamKey::new(publisher, id))
}

/// The input of this name or id, of the machine of this name, or written as `MACHINE/NAME`.
pub(crate) fn input<'a>(known: &'a [Value], text: &str) -> anyhow::Result<&'a Value> {
    let names = |input: &Value| {
        let (name, device) = (plain(input, "name"), plain(input, "device_name"));
        let both = format!("{device}/{name}");
        (vec![name, both, device], plain(input, "id"))
    };
    the_one(known, text, "input", names)
}

/// The stranger of this name, or whose user key begins so.
pub(crate) fn stranger<'a>(known: &'a [Value], text: &str) -> anyhow::Result<&'a Value> {
    the_one(known, text, "stranger", |one| (vec![plain(one, "name")], plain(one, "user")))
}

/// The machine of this name, or whose device's key begins so.
pub(crate) fn machine<'a>(known: &'a [Value], text: &str) -> anyhow::Result<&'a Value> {
    the_one(known, text, "machine", |one| (vec![plain(one, "name")], plain(one, "device")))
}

/// The chain of this name, or whose id begins so, or that is written as `OWNER/NAME`.
pub(crate) fn chain<'a>(known: &'a [Value], text: &str) -> anyhow::Result<&'a Value> {
    let names = |chain: &Value| {
        let (name, owner, id) = (plain(chain, "name"), plain(chain, "owner"), plain(chain, "chain"));
        let both = format!("{owner}/{name}");
        // Of `DEVICE/NUMBER` the number tells them apart.
        let number = id.rsplit('/').next().unwrap_or_default().to_owned();
        (vec![name, both, id], number)
    };
    the_one(known, text, "chain", names)
}

/// `names`: what it is called, and its id.
fn the_one<'a>(
    known: &'a [Value],
    text: &str,
    what: &str,
    names: impl Fn(&Value) -> (Vec<String>, String),
) -> anyhow::Result<&'a Value> {
    let wanted = text.to_lowercase();
    let is_called = |one: &&Value| {
        let (names, id) = names(one);
        let begins = wanted.len() >= PREFIX_MIN && id.starts_with(&wanted);
        begins || names.iter().any(|name| !name.is_empty() && name.to_lowercase() == wanted)
    };
    let described = |one: &Value| {
        let (names, id) = names(one);
        format!(
            "\"{}\" ({})",
            names.first().map_or("", String::as_str),
            id.chars().take(16).collect::<String>()
        )
    };
    match known.iter().filter(is_called).collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] if known.is_empty() => bail!("there is no {what} now; `audiocloud status` shows what runs"),
        [] => {
            let there: Vec<String> = known.iter().map(described).collect();
            bail!("no {what} is called \"{}\"; there are: {}", clean(text), there.join(", "))
        }
        ref several => {
            let found: Vec<String> = several.iter().map(|one| described(one)).collect();
            bail!("\"{}\" is more than one {what}; take the id: {}", clean(text), found.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn streams_are_found_by_name_id_and_key() {
        let publisher = "11".repeat(32);
        let listed = |name: &str, id: &str| json!({"publisher": publisher, "publisher_name": "Ada", "name": name, "stream": id});
        let known = [
            listed("Guitar", "00000000000000aa"),
            listed("Voice", "00000000000000bb"),
            listed("voice", "cccc0000000000cc"),
        ];
        let found = |text: &str| stream(&known, text).map(|key| key.to_string());
        let key = |id: &str| format!("{publisher}/{id}");
        assert_eq!(found("guitar").unwrap(), key("00000000000000aa"));
        assert_eq!(found("ada/guitar").unwrap(), key("00000000000000aa"));
        assert_eq!(found("cccc").unwrap(), key("cccc0000000000cc"));
        assert_eq!(found(&key("00000000000000dd")).unwrap(), key("00000000000000dd"), "not there now");
        assert!(found("Voice").unwrap_err().to_string().contains("more than one stream; take the id"));
        assert!(found("ccc").unwrap_err().to_string().contains("there are: \"Guitar\" (00000000000000aa)"));
        assert!(stream(&[], "x").unwrap_err().to_string().contains("there is no stream now"));
    }

    #[test]
    fn an_input_is_also_known_by_its_machine() {
        let listed =
            |device: &str, name: &str| json!({"device_name": device, "name": name, "id": "0123456789abcdef"});
        let known = [listed("Studio", "Monitor"), listed("Stage", "Monitor")];
        assert_eq!(input(&known, "stage").unwrap()["device_name"], "Stage");
        assert_eq!(input(&known, "Studio/Monitor").unwrap()["device_name"], "Studio");
        assert!(input(&known, "monitor").is_err());
        assert!(input(&[listed("", "")], "").is_err(), "what has no name is not found by none");
    }
}
