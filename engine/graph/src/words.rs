//! What the callback had to tell, in plain words.

use audiocloud_rt::log::{Entry, What};

/// The entry as a sentence, nodes called by `name`; `None` where it is not of the graph.
pub(crate) fn explain(entry: &Entry, name: impl Fn(u64) -> String) -> Option<String> {
    let Entry { what, a, b, .. } = *entry;
    Some(match what {
        What::EditWaits => {
            format!("a change waits until this computer has time for it (load {})", percent(b))
        }
        What::EditTaken => format!("change {a} plays"),
        What::Shed => match b {
            0 => "meters stopped, for this computer is too slow".to_owned(),
            1 => "oversampling is off, for this computer is too slow".to_owned(),
            _ => format!("“{}” is bypassed, for this computer is too slow", name(a)),
        },
        What::Restored => match b {
            0 => "meters run again".to_owned(),
            1 => "oversampling is on again".to_owned(),
            _ => format!("“{}” is heard again", name(a)),
        },
        What::NotFinite => {
            let times = if b == 1 { "once".to_owned() } else { format!("{b} times") };
            format!("“{}” made something that is not sound ({times}); it was muted and reset", name(a))
        }
        What::Load => {
            format!(
                "group {a} takes {} of the time there is, at worst {}",
                percent(b >> 32),
                percent(b & 0xffff_ffff)
            )
        }
        What::EventsRefused => format!("“{}” has more events than there is room for ({b} lost)", name(a)),
        _ => return None,
    })
}

fn percent(in_65536ths: u64) -> String {
    format!("{} %", in_65536ths.saturating_mul(100) / 65_536)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_units::HostTime;

    #[test]
    fn says_who_and_why() {
        let check = |what, a, b, expected: Option<&str>| {
            let entry = Entry { at: HostTime::new(0), what, a, b };
            assert_eq!(explain(&entry, |node| format!("node {node}")).as_deref(), expected);
        };
        check(What::Shed, 7, 2, Some("“node 7” is bypassed, for this computer is too slow"));
        check(What::Restored, 0, 1, Some("oversampling is on again"));
        check(
            What::Load,
            3,
            32_768 << 32 | 65_536,
            Some("group 3 takes 50 % of the time there is, at worst 100 %"),
        );
        check(What::Starved, 0, 0, None);
    }
}
