//! The stream that is meant, once it is there.

use anyhow::bail;
use audiocloud_net::runtime::{Handle, StreamEntry};
use audiocloud_net::wire::id::StreamKey;

use crate::choice::PREFIX_MIN;
use crate::field::clean;

/// The stream of this name or id, or that begins with this id, or is written as `PUBLISHER/STREAM`; none: not yet.
///
/// # Errors
/// Several are meant.
pub(super) fn stream(handle: &Handle, text: &str) -> anyhow::Result<Option<StreamEntry>> {
    the_one(handle.streams(), text)
}

fn the_one(streams: Vec<StreamEntry>, text: &str) -> anyhow::Result<Option<StreamEntry>> {
    let wanted = text.to_lowercase();
    let key: Option<StreamKey> = text.parse().ok();
    let is_meant = |stream: &StreamEntry| {
        let both = format!("{}/{}", stream.publisher_name, stream.name);
        let begins = wanted.len() >= PREFIX_MIN && stream.key.stream.to_string().starts_with(&wanted);
        key == Some(stream.key)
            || begins
            || [&stream.name, &both].iter().any(|name| name.to_lowercase() == wanted)
    };
    let mut found: Vec<StreamEntry> = streams.into_iter().filter(is_meant).collect();
    found.dedup_by_key(|stream| stream.key);
    if found.len() > 1 {
        let list: Vec<String> = found
            .iter()
            .map(|stream| {
                format!(
                    "{} of {} ({})",
                    clean(&stream.name),
                    clean(&stream.publisher_name),
                    stream.key.stream
                )
            })
            .collect();
        bail!("\"{}\" may mean {}; say more digits of the id", clean(text), list.join(" or "));
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_engine::units::SampleRate;
    use audiocloud_net::wire::id::{DeviceId, StreamId};
    use audiocloud_net::wire::message::Purpose;

    fn entry(id: u64, name: &str, publisher: &str) -> StreamEntry {
        StreamEntry {
            key: StreamKey::new(DeviceId([7; 32]), StreamId(id)),
            name: name.to_owned(),
            publisher_name: publisher.to_owned(),
            sample_rate: SampleRate::new(48_000).unwrap(),
            channels: 2,
            codec: None,
            session: None,
            purpose: Purpose::default(),
            local: false,
        }
    }

    #[test]
    fn a_stream_is_found_by_name_and_by_id() {
        let streams = || {
            vec![
                entry(0x0123_4567_89ab_cdef, "Strings", "Hall"),
                entry(2, "Strings", "Booth"),
                entry(3, "Voice", "Booth"),
            ]
        };
        let found = |text: &str| the_one(streams(), text).map(|found| found.map(|entry| entry.key.stream.0));
        assert_eq!(found("voice").unwrap(), Some(3));
        assert_eq!(found("Booth/Strings").unwrap(), Some(2));
        assert_eq!(found("0123").unwrap(), Some(0x0123_4567_89ab_cdef));
        assert_eq!(found(&entry(3, "", "").key.to_string()).unwrap(), Some(3));
        assert_eq!(found("Drums").unwrap(), None);
        let said = found("strings").unwrap_err().to_string();
        assert!(
            said.contains("Strings of Hall (0123456789abcdef)") && said.contains("more digits"),
            "{said}"
        );
    }
}
