//! `audiocloud identity`: the public keys, and where the secret ones are.

use std::fmt;
use std::path::{Path, PathBuf};

use audiocloud_net::runtime::identity::Identity;
use audiocloud_net::wire::id::{DeviceId, UserId};
use serde_json::{Value, json};

/// What may be told of an identity.
#[derive(Debug)]
pub(crate) struct Summary {
    user: UserId,
    device: DeviceId,
    folder: PathBuf,
}

impl Summary {
    /// Makes the keys when there are none.
    pub(crate) fn load(config_dir: &Path) -> anyhow::Result<Self> {
        let identity = Identity::load_or_create(config_dir)?;
        Ok(Self { user: identity.user(), device: identity.device(), folder: config_dir.to_owned() })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "user": self.user,
            "user_fingerprint": self.user.short().to_string(),
            "device": self.device,
            "device_fingerprint": self.device.short().to_string(),
            "config_dir": self.folder,
            "user_key_file": self.folder.join("user.key"),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "user    {}  ({})", self.user, self.user.short())?;
        writeln!(f, "device  {}  ({})", self.device, self.device.short())?;
        writeln!(f, "folder  {}", self.folder.display())?;
        writeln!(f)?;
        writeln!(
            f,
            "Another machine becomes yours when its folder has a copy of your user.key: keep that file secret."
        )?;
        writeln!(
            f,
            "Somebody else lets you in by the user line above, as a [[peer]] key in their config.toml."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_tell_the_same_keys_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let summary = Summary::load(folder.path()).unwrap();
        let (json, text) = (summary.to_json(), summary.to_string());
        for key in ["user", "device", "user_fingerprint", "device_fingerprint"] {
            assert!(text.contains(json[key].as_str().unwrap()), "{key}: {text}");
        }
        let secret = std::fs::read_to_string(folder.path().join("user.key")).unwrap();
        let secret = secret.lines().nth(1).unwrap();
        assert!(!text.contains(secret) && !json.to_string().contains(secret));
        assert_eq!(Summary::load(folder.path()).unwrap().to_json(), json);
    }
}
