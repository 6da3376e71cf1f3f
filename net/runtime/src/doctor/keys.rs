//! The identity: both keys are there, for their owner alone, and sound.

use std::path::Path;

use super::{Check, Examination, Finding};
use crate::identity::Identity;
use crate::private_file;

const CHECK: Check = Check::Identity;
const FILES: [&str; 2] = ["user.key", "device.key"];

pub(super) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    vec![judge(&examination.config.config_dir)]
}

fn judge(folder: &Path) -> Finding {
    match private_file::dir_exposure(folder) {
        Ok(None) => {}
        Ok(Some(exposure)) => return exposed_folder(folder, exposure),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return none_yet(folder),
        Err(error) => {
            let found = format!("the configuration folder {} cannot be looked at: {error}", folder.display());
            return Finding::fault(
                CHECK,
                found,
                "make it readable for you, or set AUDIOCLOUD_CONFIG_DIR to a folder that is",
            );
        }
    }
    let paths = FILES.map(|file| folder.join(file));
    match paths.iter().map(|path| path.exists()).collect::<Vec<_>>()[..] {
        [true, true] => {}
        [false, false] => return none_yet(folder),
        [true, false] => {
            return Finding::warning(
                CHECK,
                format!(
                    "{} is not there: this machine gets a new device key at the next start",
                    paths[1].display()
                ),
                "put a copy of it back if others know this machine by it; otherwise nothing is to be done",
            );
        }
        _ => {
            return Finding::fault(
                CHECK,
                format!("{} is not there: at the next start you would be somebody new", paths[0].display()),
                "put a copy of it back, from another of your machines or a backup",
            );
        }
    }
    if let Some(path) = paths.iter().find(|path| others_can_read(path)) {
        return exposed_key(path);
    }
    match Identity::load_or_create(folder) {
        Err(error) => Finding::of_error(CHECK, &error.to_string()),
        Ok(identity) if identity.user().0 == identity.device().0 => Finding::fault(
            CHECK,
            "user.key and device.key are the same key",
            format!("delete {}: this machine then gets a device key of its own", paths[1].display()),
        ),
        Ok(identity) => Finding::good(
            CHECK,
            format!(
                "user {}, device {}; the keys in {} are sound and yours alone",
                identity.user().short(),
                identity.device().short(),
                folder.display()
            ),
        ),
    }
}

fn none_yet(folder: &Path) -> Finding {
    Finding::unknown(
        CHECK,
        format!("there are no keys yet; the first start makes them in {}", folder.display()),
    )
}

fn exposed_folder(folder: &Path, exposure: &str) -> Finding {
    Finding::fault(
        CHECK,
        format!(
            "the configuration folder {} {exposure}: others could give you keys of theirs",
            folder.display()
        ),
        format!(
            "chmod 700 '{}', or set AUDIOCLOUD_CONFIG_DIR to a folder that is yours alone",
            folder.display()
        ),
    )
}

fn exposed_key(path: &Path) -> Finding {
    Finding::fault(
        CHECK,
        format!("the key file {} can be read by other users of this machine", path.display()),
        format!(
            "chmod 600 '{}'; if one of them is not to be trusted, move it away to get a new key",
            path.display()
        ),
    )
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_path: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::Outcome;
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn check(fault: impl FnOnce(&Path), outcome: Outcome, found: &str, remedy: &str) {
        let folder = tempfile::tempdir().unwrap();
        Identity::load_or_create(folder.path()).unwrap();
        fault(folder.path());
        let before = content(folder.path());
        let finding = judge(folder.path());
        assert_eq!(finding.outcome, outcome, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        assert!(finding.remedy.as_deref().unwrap_or_default().contains(remedy), "{finding:?}");
        assert_eq!(content(folder.path()), before, "looking changes nothing");
    }

    fn content(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let mut all: Vec<_> =
            entries.map(|path| (path.clone(), mode(&path), fs::read(&path).unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn every_fault_of_the_keys_has_its_remedy() {
        let mode = |path: PathBuf, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        check(|_| {}, Outcome::Good, "sound and yours alone", "");
        check(
            |folder| mode(folder.to_owned(), 0o777),
            Outcome::Fault,
            "can be written by other",
            "chmod 700",
        );
        check(
            |folder| mode(folder.join("user.key"), 0o644),
            Outcome::Fault,
            "can be read by other",
            "chmod 600",
        );
        check(
            |folder| fs::write(folder.join("user.key"), "scratched").unwrap(),
            Outcome::Fault,
            "is damaged",
            "put a copy of it back",
        );
        check(
            |folder| fs::remove_file(folder.join("user.key")).unwrap(),
            Outcome::Fault,
            "you would be somebody new",
            "another of your machines",
        );
        check(
            |folder| fs::remove_file(folder.join("device.key")).unwrap(),
            Outcome::Warning,
            "new device key",
            "put a copy of it back",
        );
        let same = |folder: &Path| {
            fs::copy(folder.join("user.key"), folder.join("device.key")).unwrap();
        };
        check(same, Outcome::Fault, "the same key", "delete");
        check(|folder| fs::remove_dir_all(folder).unwrap(), Outcome::Unknown, "no keys yet", "");
    }
}
