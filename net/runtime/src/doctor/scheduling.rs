//! The right to real-time scheduling, which the network thread asks for, and to locked memory, which DAWs do.

use super::{Check, Finding};

const CHECK: Check = Check::Scheduling;
/// Enough for a DAW with plug-ins.
const LOCKED_BYTES_MIN: u64 = 256 << 20;
/// The file that the remedy makes.
const LIMITS_FILE: &str = "/etc/security/limits.d/99-audiocloud.conf";

/// What the system allows this user.
#[derive(Clone, Debug)]
struct Rights {
    /// What came of asking for real-time scheduling: the system's words where it was refused.
    realtime: Result<(), String>,
    /// The highest real-time priority that may be asked for (`ulimit -r`).
    priority_max: u64,
    /// `None`: without limit.
    locked_bytes_max: Option<u64>,
    user: String,
    is_in_audio_group: bool,
    /// A file of `limits.d` that grants real-time priorities to the group `audio`.
    granted_by: Option<String>,
}

pub(super) fn examine() -> Vec<Finding> {
    match rights() {
        Some(rights) => vec![judge_priority(&rights), judge_memory(&rights)],
        None => vec![Finding::unknown(CHECK, "real-time rights are not examined on this system yet")],
    }
}

fn judge_priority(rights: &Rights) -> Finding {
    let wanted = crate::thread::PRIORITY;
    let Err(cause) = &rights.realtime else {
        return Finding::good(CHECK, format!("real-time scheduling is permitted (SCHED_FIFO {wanted})"));
    };
    if rights.priority_max >= u64::from(wanted) {
        return Finding::fault(
            CHECK,
            format!(
                "real-time scheduling is refused ({cause}) although the limit, {}, permits it",
                rights.priority_max
            ),
            "this process runs in a control group without real-time time: `sysctl kernel.sched_rt_runtime_us` must not be 0, \
             and a container needs --ulimit rtprio=95 --cap-add=sys_nice",
        );
    }
    Finding::fault(
        CHECK,
        format!(
            "real-time scheduling is refused ({cause}): the highest real-time priority for {} is {}, and {wanted} is \
             needed; while the machine is busy, packets wait",
            rights.user, rights.priority_max
        ),
        remedy(rights),
    )
}

fn judge_memory(rights: &Rights) -> Finding {
    match rights.locked_bytes_max {
        None => Finding::good(CHECK, "memory can be locked without limit"),
        Some(bytes) if bytes >= LOCKED_BYTES_MIN => {
            Finding::good(CHECK, format!("{} MiB of memory can be locked", bytes >> 20))
        }
        Some(bytes) => Finding::warning(
            CHECK,
            format!(
                "only {} KiB of memory can be locked: a DAW that locks its memory fails, and one that does not can be \
                 swapped out",
                bytes >> 10
            ),
            remedy(rights),
        ),
    }
}

/// The exact lines; less where part of it is done.
fn remedy(rights: &Rights) -> String {
    let lines =
        format!("printf '@audio - rtprio 95\\n@audio - memlock unlimited\\n' | sudo tee {LIMITS_FILE}");
    let join = format!("sudo usermod -aG audio {}", rights.user);
    match (&rights.granted_by, rights.is_in_audio_group) {
        (Some(file), false) => {
            format!("{file} grants it to the group audio: `{join}`, then log out and in again")
        }
        (Some(file), true) => {
            format!("{file} grants it to you: log out and in again, or restart the machine")
        }
        (None, true) => format!("`{lines}`, then log out and in again"),
        (None, false) => format!("`{lines}` and `{join}`, then log out and in again"),
    }
}

#[cfg(target_os = "linux")]
fn rights() -> Option<Rights> {
    use rustix::process::{Resource, getrlimit};

    // On a thread of its own, which ends with its priority.
    let asked =
        std::thread::spawn(|| audiocloud_rt::priority::realtime(crate::thread::PRIORITY)).join().ok()?;
    Some(Rights {
        realtime: asked.map_err(|error| error.to_string()),
        priority_max: getrlimit(Resource::Rtprio).current.unwrap_or(u64::MAX),
        locked_bytes_max: getrlimit(Resource::Memlock).current,
        user: user(),
        is_in_audio_group: is_in_group("audio"),
        granted_by: granting_file(),
    })
}

#[cfg(not(target_os = "linux"))]
fn rights() -> Option<Rights> {
    None
}

#[cfg(target_os = "linux")]
fn user() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

#[cfg(target_os = "linux")]
fn is_in_group(wanted: &str) -> bool {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let id = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then(|| fields.nth(1)?.parse::<u32>().ok())?
    });
    let mine = rustix::process::getgroups().unwrap_or_default();
    let is_mine =
        |id: u32| mine.iter().any(|group| group.as_raw() == id) || rustix::process::getegid().as_raw() == id;
    id.is_some_and(is_mine)
}

#[cfg(target_os = "linux")]
fn granting_file() -> Option<String> {
    let folder = std::fs::read_dir("/etc/security/limits.d").into_iter().flatten().flatten();
    // Other names are not read (pam_limits(8)).
    let mut files: Vec<_> = folder
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.push("/etc/security/limits.conf".into());
    let grants = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
            matches!(fields[..], ["@audio", _, "rtprio", priority] if priority.parse::<u8>().is_ok_and(|it| it > 0))
        })
    };
    let granting =
        files.into_iter().find(|file| std::fs::read_to_string(file).is_ok_and(|text| grants(&text)));
    granting.map(|file| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn nobody() -> Rights {
        Rights {
            realtime: Err("Operation not permitted".to_owned()),
            priority_max: 0,
            locked_bytes_max: Some(8 << 20),
            user: "ada".to_owned(),
            is_in_audio_group: false,
            granted_by: None,
        }
    }

    #[test]
    fn missing_rights_have_the_exact_lines_as_remedy() {
        let finding = judge_priority(&nobody());
        assert_eq!(finding.outcome, Outcome::Fault);
        assert!(finding.found.contains("for ada is 0, and 60 is needed"), "{finding:?}");
        let remedy = finding.remedy.unwrap();
        assert!(remedy.contains("@audio - rtprio 95\\n@audio - memlock unlimited\\n"), "{remedy}");
        assert!(
            remedy.contains("/etc/security/limits.d/") && remedy.contains("usermod -aG audio ada"),
            "{remedy}"
        );
        let memory = judge_memory(&nobody());
        assert_eq!(memory.outcome, Outcome::Warning);
        assert!(memory.found.contains("8192 KiB"), "{memory:?}");
    }

    #[test]
    fn what_is_done_already_is_not_asked_for() {
        let granted = Rights { granted_by: Some("/etc/x".to_owned()), ..nobody() };
        let text = remedy(&granted);
        assert!(text.contains("usermod") && !text.contains("printf"), "{text}");
        let both = remedy(&Rights { is_in_audio_group: true, ..granted });
        assert!(both.contains("log out") && !both.contains("usermod"), "{both}");
    }

    #[test]
    fn rights_that_are_there_are_good_and_others_limits_are_named() {
        let rights = Rights { realtime: Ok(()), locked_bytes_max: None, ..nobody() };
        assert_eq!(
            (judge_priority(&rights).outcome, judge_memory(&rights).outcome),
            (Outcome::Good, Outcome::Good)
        );
        let contained = judge_priority(&Rights { priority_max: 95, ..nobody() });
        assert_eq!(contained.outcome, Outcome::Fault);
        assert!(contained.remedy.unwrap().contains("container"));
    }
}
