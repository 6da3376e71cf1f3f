//! What the user may decide: `config.toml`, and where the folders are, by environment variables.
//!
//! Reading writes nothing. A file that is not there means the defaults; one with a mistake names file, line
//! and remedy.
//!
//! ```toml
//! name = "Studio A"          # as other users see this machine; default: its host name
//! bind = "[::]:0"            # UDP address and port; port 0: any that is free
//! mdns = true                # find and be found on the local network
//! interfaces = ["eth0"]      # mDNS on these alone; default: all but loopback
//! [[peer]]                   # dialled always, wherever they are
//! address = "studio-b.example.org:4720"
//! key = "<64 hex digits>"    # the user's or the device's key, as `audiocloud identity` prints it there
//! [[meeting]]                # a rendezvous node where this user's own machines find each other, wherever they are
//! address = "meet.example.org:4720"
//! key = "<64 hex digits>"    # the node's device key
//! tls_port = 443             # TCP port of its relay, for networks that drop all UDP; default: none
//! [serve]                    # what this machine does for others, as `audiocloud node` does by its options
//! rendezvous = true          # introduce members of a session to each other
//! relay = true               # forward their sealed packets where they have no direct way
//! tcp = "[::]:443"           # and take those packets by TLS over TCP too; default: not
//! ```

use std::ffi::OsString;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use audiocloud_wire::id::UserId;
use serde::Deserialize;
use toml::Spanned;

use crate::clock::HostClock;

const FILE: &str = "config.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: usize = 64;

/// Where things are and what the user has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Keys, `config.toml`, last addresses.
    pub config_dir: PathBuf,
    /// Control sockets and stream claims.
    pub runtime_dir: PathBuf,
    /// This machine's name for people, at most 64 bytes.
    pub name: String,
    /// UDP address of the endpoint; port 0 for any that is free.
    pub bind: SocketAddr,
    /// Announce and browse by mDNS.
    pub mdns: bool,
    /// Names of the network interfaces for mDNS; empty means all but loopback.
    pub interfaces: Vec<String>,
    /// Peers that are dialled wherever they are.
    pub peers: Vec<ExplicitPeer>,
    /// Rendezvous nodes where this user's own machines find each other.
    pub meeting: Vec<MeetingPoint>,
    /// What this runtime does for others.
    pub serve: Option<Serve>,
    /// It is a node, which outlives the plug-ins of its machine: it keeps the time for them.
    pub is_node: bool,
    /// The clock that shared time is laid over. Not in the file: anything but the machine's own is for tests.
    pub host_clock: HostClock,
}

/// A rendezvous node, as one finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeetingPoint {
    /// `host:port` of its UDP endpoint, a name or an address.
    pub address: String,
    /// Its device key: nobody else will do.
    pub device: [u8; 32],
    /// Where the same host takes the relay's packets by TLS over TCP.
    pub tls_port: Option<u16>,
}

/// What a node does for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serve {
    /// Introduces the members of a room to each other.
    pub rendezvous: bool,
    /// Forwards sealed packets between members of a room.
    pub relay: bool,
    /// Takes those packets by TLS over TCP here.
    pub tcp: Option<SocketAddr>,
}

/// A peer that the user has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplicitPeer {
    /// `host:port`, a name or an address.
    pub address: String,
    /// The public key of the peer's user or device.
    pub key: [u8; 32],
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line of `config.toml` cannot be used.
    #[error("{}, line {line}: {cause}; correct the line or delete it to get the default", file.display())]
    Invalid { file: PathBuf, line: usize, cause: String },
    /// The file is there but cannot be read.
    #[error("cannot read {}: {cause}; make it readable for you, or set AUDIOCLOUD_CONFIG_DIR to another folder", file.display())]
    Unreadable { file: PathBuf, cause: io::Error },
    /// There is no place for the configuration.
    #[error("this user has no home folder; set AUDIOCLOUD_CONFIG_DIR to a folder for the configuration")]
    NoHome,
    /// A folder from the environment leads nowhere.
    #[error("{variable} cannot be used as a folder: {cause}; set it to an absolute path")]
    Folder { variable: &'static str, cause: io::Error },
}

/// The file as written. Unknown keys are mistakes: a mistyped `mnds = false` must not pass in silence.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    name: Option<Spanned<String>>,
    bind: Option<Spanned<String>>,
    mdns: Option<bool>,
    interfaces: Vec<Spanned<String>>,
    peer: Vec<FilePeer>,
    meeting: Vec<FileMeeting>,
    serve: Option<FileServe>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePeer {
    address: Spanned<String>,
    key: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMeeting {
    address: Spanned<String>,
    key: Spanned<String>,
    tls_port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileServe {
    rendezvous: bool,
    relay: bool,
    tcp: Option<Spanned<String>>,
}

impl Config {
    /// The configuration that the environment points to.
    ///
    /// # Errors
    /// See [`Error`]. Plug-ins use [`Config::from_environment_or_defaults`], for a mistyped line must not
    /// stop the music.
    pub fn from_environment() -> Result<Self, Error> {
        match Self::from_environment_or_defaults()? {
            (config, None) => Ok(config),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`Config::from_environment`], but a file that cannot be used gives the defaults, and what is wrong
    /// with it.
    ///
    /// # Errors
    /// Only when there is no folder to use.
    pub fn from_environment_or_defaults() -> Result<(Self, Option<Error>), Error> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// The defaults, in these two folders: what a test or a tool starts from.
    pub fn in_folders(config_dir: &Path, runtime_dir: &Path) -> Self {
        Self {
            config_dir: config_dir.to_owned(),
            runtime_dir: runtime_dir.to_owned(),
            name: host_name(),
            bind: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            mdns: true,
            interfaces: Vec::new(),
            peers: Vec::new(),
            meeting: Vec::new(),
            serve: None,
            is_node: false,
            host_clock: HostClock::Machine,
        }
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<(Self, Option<Error>), Error> {
        let folder = |name: &'static str| {
            let given = variable(name).filter(|value| !value.is_empty());
            given
                .map(std::path::absolute)
                .transpose()
                .map_err(|cause| Error::Folder { variable: name, cause })
        };
        let config_dir = match folder("AUDIOCLOUD_CONFIG_DIR")? {
            Some(given) => given,
            None => default_config_dir().ok_or(Error::NoHome)?,
        };
        let runtime_dir = match (folder("AUDIOCLOUD_RUNTIME_DIR")?, folder("XDG_RUNTIME_DIR")?) {
            (Some(given), _) => given,
            (None, Some(of_the_login)) => of_the_login.join("audiocloud"),
            (None, None) => std::env::temp_dir().join(format!("audiocloud-{}", user_name())),
        };
        let defaults = Self::in_folders(&config_dir, &runtime_dir);
        let file = config_dir.join(FILE);
        let text = match read(&file) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok((defaults, None)),
            Err(cause) => return Ok((defaults, Some(Error::Unreadable { file, cause }))),
        };
        match defaults.clone().with(&text) {
            Ok(config) => Ok((config, None)),
            Err((offset, cause)) => {
                let line = 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
                Ok((defaults, Some(Error::Invalid { file, line, cause })))
            }
        }
    }

    /// The settings of the file's text over these, or the byte offset of the first mistake and what it is.
    fn with(mut self, text: &str) -> Result<Self, (usize, String)> {
        let file: File = toml::from_str(text).map_err(|error| {
            (error.span().map_or(0, |span| span.start), error.message().replace('\n', " "))
        })?;
        if let Some(name) = file.name {
            self.name = checked(name, |name| {
                let fits = !name.trim().is_empty()
                    && name.len() <= NAME_BYTES_MAX
                    && !name.contains(char::is_control);
                fits.then(|| name.trim().to_owned()).ok_or("`name` must be 1 to 64 bytes of printable text")
            })?;
        }
        if let Some(bind) = file.bind {
            let remedy =
                "`bind` must be an IP address and a port, such as \"[::]:0\" or \"192.168.1.5:4720\"";
            self.bind = checked(bind, |bind| bind.parse().map_err(|_| remedy))?;
        }
        self.mdns = file.mdns.unwrap_or(self.mdns);
        for interface in file.interfaces {
            let remedy = "an entry of `interfaces` must be the name of a network interface, such as \"eth0\"";
            self.interfaces
                .push(checked(interface, |name| (!name.is_empty()).then(|| name.to_owned()).ok_or(remedy))?);
        }
        for peer in file.peer {
            self.peers.push(ExplicitPeer { address: host_and_port(peer.address)?, key: key(peer.key)? });
        }
        for meeting in file.meeting {
            let (address, device) = (host_and_port(meeting.address)?, key(meeting.key)?);
            self.meeting.push(MeetingPoint { address, device, tls_port: meeting.tls_port });
        }
        if let Some(serve) = file.serve {
            let remedy = "`tcp` must be an IP address and a port, such as \"[::]:443\"";
            let tcp =
                serve.tcp.map(|tcp| checked(tcp, |text| text.parse().map_err(|_| remedy))).transpose()?;
            self.serve = Some(Serve { rendezvous: serve.rendezvous, relay: serve.relay, tcp });
        }
        Ok(self)
    }
}

fn checked<T>(
    value: Spanned<String>,
    check: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, (usize, String)> {
    check(value.get_ref()).map_err(|remedy| (value.span().start, remedy.to_owned()))
}

fn host_and_port(address: Spanned<String>) -> Result<String, (usize, String)> {
    let remedy = "`address` must be a host and a port, such as \"studio-b.example.org:4720\"";
    checked(address, |text| has_port(text).then(|| text.to_owned()).ok_or(remedy))
}

fn key(key: Spanned<String>) -> Result<[u8; 32], (usize, String)> {
    let remedy = "`key` must be 64 hexadecimal digits, as `audiocloud identity` prints them there";
    checked(key, |text| text.parse::<UserId>().map(|key| key.0).map_err(|_| remedy))
}

fn has_port(address: &str) -> bool {
    let split = address.rsplit_once(':');
    split.is_some_and(|(host, port)| {
        let host_is_plain = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && host_is_plain && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file)?;
    io::Read::read_to_string(&mut io::Read::take(opened, FILE_BYTES_MAX), &mut text)?;
    Ok(text)
}

fn default_config_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("org", "audiocloud", "audiocloud").map(|dirs| dirs.config_dir().to_owned())
}

#[cfg(unix)]
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_owned();
    if name.is_empty() || name.len() > NAME_BYTES_MAX { "audiocloud".to_owned() } else { name }
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "audiocloud".to_owned())
}

#[cfg(unix)]
fn user_name() -> String {
    rustix::process::geteuid().as_raw().to_string()
}

#[cfg(not(unix))]
fn user_name() -> String {
    std::env::var("USERNAME").unwrap_or_else(|_| "user".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: Option<&str>) -> (tempfile::TempDir, Config, Option<Error>) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            std::fs::write(folder.path().join(FILE), text).unwrap();
        }
        let before = std::fs::read_dir(folder.path()).unwrap().count();
        let given = folder.path().to_owned();
        let variables = |name: &str| (name != "XDG_RUNTIME_DIR").then(|| given.clone().into_os_string());
        let (config, error) = Config::from_variables(variables).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before, "reading writes nothing");
        (folder, config, error)
    }

    #[test]
    fn no_file_means_the_defaults() {
        let (folder, config, error) = load(None);
        assert!(error.is_none());
        assert_eq!(config, Config::in_folders(folder.path(), folder.path()));
        assert_eq!(config.bind.to_string(), "[::]:0");
        assert!(
            config.mdns && config.interfaces.is_empty() && config.peers.is_empty() && !config.name.is_empty()
        );
    }

    #[test]
    fn every_setting_is_read() {
        let key = "0a".repeat(32);
        let (_folder, config, error) = load(Some(&format!(
            "name = \"Studio A\"\nbind = \"127.0.0.1:4720\"\nmdns = false\n\
             interfaces = [\"eth0\", \"wlan0\"]\n\
             [[peer]]\naddress = \"studio-b.example.org:4720\"\nkey = \"{key}\"\n\
             [[peer]]\naddress = \"[fe80::1]:5\"\nkey = \"{key}\"\n\
             [[meeting]]\naddress = \"meet.example.org:4720\"\nkey = \"{key}\"\ntls_port = 443\n\
             [serve]\nrendezvous = true\ntcp = \"[::]:443\"\n"
        )));
        assert!(error.is_none(), "{error:?}");
        assert_eq!((config.name.as_str(), config.bind.port(), config.mdns), ("Studio A", 4720, false));
        assert_eq!(config.interfaces, ["eth0", "wlan0"]);
        assert_eq!(config.peers.len(), 2);
        assert_eq!(
            config.peers[0],
            ExplicitPeer { address: "studio-b.example.org:4720".into(), key: [10; 32] }
        );
        let address = "meet.example.org:4720".to_owned();
        assert_eq!(config.meeting, [MeetingPoint { address, device: [10; 32], tls_port: Some(443) }]);
        let tcp = Some("[::]:443".parse().unwrap());
        assert_eq!(config.serve, Some(Serve { rendezvous: true, relay: false, tcp }));
    }

    #[test]
    fn mistakes_name_file_line_and_remedy_and_leave_the_defaults() {
        let check = |text: &str, line: usize, needle: &str| {
            let (folder, config, error) = load(Some(text));
            let error = error.expect(text).to_string();
            let place = format!("{}, line {line}: ", folder.path().join(FILE).display());
            assert!(
                error.starts_with(&place) && error.contains(needle) && error.contains("delete it"),
                "{error}"
            );
            assert_eq!(config, Config::in_folders(folder.path(), folder.path()));
        };
        check("name = \"x\"\nmnds = false\n", 2, "unknown field `mnds`");
        check("mdns = \"no\"", 1, "expected a boolean");
        check("\n\nbind = \"everywhere\"", 3, "such as \"[::]:0\"");
        check("name = \"\"", 1, "1 to 64 bytes");
        check("name = \"a\\u0007\"", 1, "printable");
        check("interfaces = [\"eth0\",\n\"\"]", 2, "name of a network interface");
        check("[[peer]]\naddress = \"somewhere\"\nkey = \"00\"", 2, "a host and a port");
        check("[[peer]]\naddress = \"fe80::1:5\"\nkey = \"00\"", 2, "a host and a port");
        check("[[peer]]\naddress = \"a:1\"\nkey = \"00\"", 3, "64 hexadecimal digits");
        check("[[peer]]\naddress = \"a:1\"", 1, "missing field `key`");
        check("[[meeting]]\naddress = \"a\"\nkey = \"00\"", 2, "a host and a port");
        check("[serve]\nrelay = true\ntcp = \"443\"", 3, "such as \"[::]:443\"");
        check("name = ", 1, "");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let given = folder.path().as_os_str().to_owned();
        let (_, error) = Config::from_variables(|_| Some(given.clone())).unwrap();
        assert!(matches!(error, Some(Error::Unreadable { .. })), "{error:?}");
    }

    #[test]
    fn folders_come_from_the_environment() {
        let check = |name: &'static str, value: &'static str, expected: Option<&str>| {
            let (config, _) = Config::from_variables(|asked| match asked {
                "AUDIOCLOUD_CONFIG_DIR" => Some("/nowhere/config".into()),
                _ if asked == name => Some(value.into()),
                _ => None,
            })
            .unwrap();
            let fallback = std::env::temp_dir().join(format!("audiocloud-{}", user_name()));
            assert_eq!(config.runtime_dir, expected.map_or(fallback, PathBuf::from));
        };
        check("AUDIOCLOUD_RUNTIME_DIR", "/somewhere", Some("/somewhere"));
        check("XDG_RUNTIME_DIR", "/run/user/5", Some("/run/user/5/audiocloud"));
        check("XDG_RUNTIME_DIR", "", None);
    }
}
