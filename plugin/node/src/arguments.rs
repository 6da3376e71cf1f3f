//! What can be asked for, as its user types it.

mod chain;
mod device;
mod node;

use std::ffi::OsString;

use audiocloud_net::membership::rights::Rights;
use audiocloud_net::runtime::config::MeetingPoint;
use audiocloud_net::runtime::doctor::Check;
use audiocloud_net::wire::id::UserId;
use clap::{Args, Parser, Subcommand};

pub(crate) use self::chain::{ChainCommand, Switch, WhichChain};
pub(crate) use self::device::{ReceiveArguments, SendArguments};
pub(crate) use self::node::{NodeArguments, PtpRole};

/// Sends audio and notes from one DAW to another: what is running, who you are, and with whom.
#[derive(Debug, Parser)]
#[command(name = "audiocloud", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Environment:
  AUDIOCLOUD_CONFIG_DIR   keys, config.toml, sessions, instead of the user's configuration folder
  AUDIOCLOUD_RUNTIME_DIR  control sockets and claims, instead of $XDG_RUNTIME_DIR/audiocloud

Exit codes:
  0  done; a list may be empty
  1  failed, or `doctor` found a fault; what is printed says why and what to do
  2  wrong usage";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What every audiocloud process of this machine sends, receives and is connected to
    Status(Form),
    /// The streams that can be received here now
    Streams(Form),
    /// How long a sound takes to a peer and back, as it is heard, once a second
    Ping(PingArguments),
    /// This user's and this device's keys; made when there are none yet
    Identity(Form),
    /// Sessions: the people with whom you share streams
    #[command(subcommand)]
    Session(SessionCommand),
    /// Who hears what, as a matrix; and rewires it
    Patch(PatchArguments),
    /// Who wants to connect and is not trusted yet
    Strangers(Form),
    /// Lets a stranger connect from now on, with all rights: they are as your own devices
    Accept(AcceptArguments),
    /// Gives an invitation to a machine nearby by a short spoken code, or takes one
    Pair(PairArguments),
    /// Sends a recording, or what a sound device hears, as a stream: without a DAW
    Send(Box<SendArguments>),
    /// Plays a stream on a sound device, or records it: without a DAW
    Receive(Box<ReceiveArguments>),
    /// Runs without a DAW until it is ended: plays chains of effects for others, is where sessions meet, relays for them
    Node(Box<NodeArguments>),
    /// Nodes that can be reached now, and how much room they have
    Nodes(Form),
    /// Chains of effects that run on nodes: shows them, and proposes changes to their owners
    #[command(subcommand)]
    Chain(ChainCommand),
    /// The CLAP plug-ins of this machine that its node plays for others, and those that crashed and are in quarantine
    #[cfg(target_os = "linux")]
    PlugIns(PlugInsArguments),
    /// Whose time it is, how sure this machine is of it, and whose it shall be
    Clock(ClockArguments),
    /// Looks for what stands in the way, and says what to do about it
    Doctor(DoctorArguments),
    /// Holds one plug-in for a node, which starts this itself
    #[command(hide = true)]
    Sandbox {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Form {
    /// One JSON document, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PingArguments {
    /// Its name, the beginning of its device's key, or its address, as `audiocloud status` shows them
    pub(crate) peer: String,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// A JSON document a line, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Only these: identity, port, firewall, reach, multicast, clock, scheduling, stream
    pub(crate) checks: Vec<Check>,
    /// Somebody who should answer, besides the peers and meeting points of config.toml and of your sessions
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) reach: Vec<String>,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct PlugInsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<PlugInsCommand>,
    /// One JSON document, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[cfg(target_os = "linux")]
#[derive(Debug, Subcommand)]
pub(crate) enum PlugInsCommand {
    /// Lets one that is in quarantine be loaded again
    Release {
        /// Its id, or its file where that could not even be searched
        #[arg(value_name = "ID")]
        what: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ClockArguments {
    #[command(subcommand)]
    pub(crate) command: Option<ClockCommand>,
    /// Of this session alone: its name or the beginning of its id
    #[arg(long, value_name = "SESSION", global = true)]
    pub(crate) session: Option<String>,
    /// One JSON document, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Makes a machine's clock everybody's, until another one is chosen
    Choose {
        /// Its name or the beginning of its device's key, or `automatic`: whichever is best
        master: String,
    },
    /// Enters by how much longer the way from the master takes than the way to it, where somebody has measured it
    Asymmetry {
        /// In milliseconds; negative where it is the shorter one
        #[arg(value_name = "MS", allow_hyphen_values = true)]
        longer_from_master_ms: f64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArguments {
    /// Their name or the beginning of their user key, as `audiocloud strangers` shows it, or the whole key
    pub(crate) user: String,
    /// Takes it back
    #[arg(long)]
    pub(crate) forget: bool,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Debug, Args)]
pub(crate) struct PatchArguments {
    #[command(subcommand)]
    pub(crate) command: Option<PatchCommand>,
    /// One JSON document, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PatchCommand {
    /// The matrix
    List,
    /// Lets an input play a stream
    Connect(Crossing),
    /// Ends that
    Disconnect(Crossing),
}

#[derive(Debug, Args)]
pub(crate) struct Crossing {
    /// Its name, its id, or the name of its machine, as the matrix shows them
    pub(crate) input: String,
    /// Its name or its id, as the matrix shows them
    pub(crate) stream: String,
}

#[derive(Debug, Args)]
pub(crate) struct PairArguments {
    /// The code that the other one says; without it, this machine invites and says one
    pub(crate) code: Option<String>,
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) bounds: Bounds,
    /// Through a meeting point instead of the local network, and the TCP port of its relay
    #[arg(long, value_name = "HOST:PORT=DEVICEKEY[,tcp=PORT]", value_parser = meeting_point)]
    pub(crate) meeting: Option<MeetingPoint>,
}

/// Which session is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// A session by name or id; without it, the current one
    #[arg(long = "in", value_name = "SESSION", global = true)]
    pub(crate) session: Option<String>,
    /// One JSON document, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What is granted, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Bounds {
    /// musician, listener, everything, or a list such as publish=2x8,subscribe,edit
    #[arg(long, value_parser = rights, default_value = "musician")]
    pub(crate) rights: Rights,
    /// The end, from now: 90s, 30m, 2h, 7d
    #[arg(long, value_name = "SPAN", value_parser = span_s)]
    pub(crate) expires: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Founds one; it becomes the current one
    Create {
        name: String,
        /// A node where its members meet, as `audiocloud node` prints it; without it, those of config.toml
        #[arg(long, value_name = "HOST:PORT=DEVICEKEY[,tcp=PORT]", value_parser = meeting_point)]
        meeting: Vec<MeetingPoint>,
        #[command(flatten)]
        form: Form,
    },
    /// Makes a link by which others join
    Invite {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        bounds: Bounds,
        /// How many may join by it
        #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
        uses: u16,
        /// For this user alone (64 digits): useless to anybody else
        #[arg(long = "for", value_name = "USERKEY", conflicts_with = "uses")]
        for_user: Option<UserId>,
        /// Draw it, for a camera
        #[arg(long, conflicts_with = "json")]
        qr: bool,
    },
    /// Joins one by a link; it becomes the current one
    Join {
        /// audiocloud://join/…
        link: String,
        #[command(flatten)]
        form: Form,
    },
    /// Your sessions
    List(Form),
    /// Who is in it, who is there now, and what they may do
    Members(Which),
    /// Takes you out of it, and all that is kept of it off this machine
    Leave(Which),
    /// Puts a member out, and whom they let in
    Revoke {
        /// Name, or the beginning of the user key
        member: String,
        #[command(flatten)]
        which: Which,
        /// Why, for them to read
        #[arg(long, value_name = "TEXT", default_value = "")]
        because: String,
    },
    /// Makes a link narrower, or your own membership; needs no network
    Narrow {
        /// The link; without it, say --own
        #[arg(required_unless_present = "own")]
        link: Option<String>,
        /// Gives up rights of your own; only a new link brings them back
        #[arg(long, conflicts_with = "link")]
        own: bool,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// What its members share: key, scale, tempo, loop, scenes, presets, notes
    State {
        #[command(subcommand)]
        command: Option<StateCommand>,
        #[command(flatten)]
        which: Which,
    },
    /// The chat; with a text, says it
    Chat {
        text: Vec<String>,
        /// So many lines of it
        #[arg(long, value_name = "N", default_value = "50")]
        lines: usize,
        #[command(flatten)]
        which: Which,
    },
    /// Who did what
    Log {
        #[arg(long, value_name = "N", default_value = "50")]
        lines: usize,
        /// Of one session, by name or id; without it, of all
        #[arg(long = "in", value_name = "SESSION")]
        session: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Makes one the current one: what a new Send or Receive joins
    Use {
        /// Name or id
        session: String,
        #[command(flatten)]
        form: Form,
    },
    /// What you are called in it
    Rename {
        name: String,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Shows it
    Show,
    /// Sets tempo, key, scale, loop (`8-16` or `off`) or notes (`-`: from standard input)
    Set { what: Setting, value: Vec<String> },
    /// Scenes: which streams and effect chains are on
    #[command(subcommand)]
    Scene(SceneCommand),
    /// Presets of effect chains
    #[command(subcommand)]
    Preset(PresetCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Setting {
    Tempo,
    Key,
    Scale,
    Loop,
    Notes,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SceneCommand {
    /// Makes or replaces one
    Put {
        name: String,
        /// A stream that is on, by name or id as `audiocloud streams` shows it, or as PUBLISHER/STREAM
        #[arg(long, value_name = "STREAM")]
        stream: Vec<String>,
        /// A chain that is on
        #[arg(long, value_name = "CHAIN")]
        chain: Vec<String>,
    },
    /// Takes one away
    Remove { name: String },
    /// Switches one on
    On { name: String },
    /// No scene is on
    Off,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PresetCommand {
    /// Keeps the bytes of a file under a name
    Put { name: String, file: std::path::PathBuf },
    /// Writes them to a file
    Get { name: String, file: std::path::PathBuf },
    /// Takes one away
    Remove { name: String },
}

/// Names for what is mostly granted, or single rights.
fn rights(text: &str) -> Result<Rights, String> {
    match text {
        "musician" => Ok(Rights::musician()),
        "listener" => Ok(Rights::listener()),
        "everything" => Ok(Rights::everything()),
        list => list.parse().map_err(|error| format!("{error}")),
    }
}

/// A number and a unit as seconds.
fn span_s(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(seconds).filter(|total| *total > 0)
    });
    parsed.ok_or_else(|| "a span is a number and s, m, h, d or w, such as 90s, 30m, 2h, 7d".to_owned())
}

/// `HOST:PORT=DEVICEKEY`, and the TCP port of its relay after `,tcp=`.
pub(crate) fn meeting_point(text: &str) -> Result<MeetingPoint, String> {
    let form =
        || "a meeting point is HOST:PORT=DEVICEKEY[,tcp=PORT], as `audiocloud node` prints it".to_owned();
    let (address, rest) = text.split_once('=').ok_or_else(form)?;
    let (key, tls_port) = match rest.split_once(",tcp=") {
        Some((key, port)) => (key, Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(form)?)),
        None => (rest, None),
    };
    let device = key.parse::<UserId>().map_err(|_| "a device key is 64 hexadecimal digits".to_owned())?.0;
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if !has_port {
        return Err(form());
    }
    Ok(MeetingPoint { address: address.to_owned(), device, tls_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn spans_have_a_unit() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(span_s(text).ok(), expected, "{text}");
        check("90s", Some(90));
        check("2h", Some(7_200));
        check("7d", Some(604_800));
        check("0s", None);
        check("5", None);
        check("h", None);
        check("-1h", None);
        check("99999999999999999999w", None);
        check("18446744073709551615w", None);
    }

    #[test]
    fn meeting_points_are_read_as_they_are_printed() {
        let key = "0a".repeat(32);
        let point = |text: &str| meeting_point(text).ok();
        let expected =
            MeetingPoint { address: "n.example.org:4720".into(), device: [10; 32], tls_port: None };
        assert_eq!(point(&format!("n.example.org:4720={key}")), Some(expected.clone()));
        let with_tcp = MeetingPoint { tls_port: Some(443), ..expected };
        assert_eq!(point(&format!("n.example.org:4720={key},tcp=443")), Some(with_tcp));
        for wrong in
            ["", "a:1", "a:1=00", &format!("a={key}"), &format!("a:0={key}"), &format!("a:1={key},tcp=x")]
        {
            assert_eq!(point(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rights_have_names() {
        assert_eq!(rights("listener"), Ok(Rights::listener()));
        assert_eq!(rights("musician"), Ok(Rights::musician()));
        assert!(rights("composer").is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("audiocloud session invite --rights listener --expires 2h --uses 3 --qr"));
        assert!(parses("audiocloud session state set tempo 120 --in Band"));
        assert!(parses("audiocloud patch"));
        assert!(parses("audiocloud patch connect Monitor Guitar --json"));
        assert!(parses("audiocloud node --rendezvous --relay --tcp [::]:443"));
        assert!(!parses("audiocloud node --rendezvous --tcp [::]:443"), "TCP is the relay's");
        assert!(!parses("audiocloud session invite --uses 0"));
        assert!(!parses("audiocloud session narrow"), "which link?");
        assert!(!parses("audiocloud doctor nonsense"));
    }
}
