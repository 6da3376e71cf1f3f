//! Whom we compare: how each is started so that a stereo stream goes from A to B.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::network::{Site, at};
use super::ours;
use super::program::Program;

/// Below JACK's own thread and its clients' process threads.
pub(crate) const PRIORITY: u32 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    Ours,
    /// Ours, received as Opus
    OursOpus,
    #[value(name = "zita-5")]
    #[serde(rename = "zita-5")]
    Zita5,
    #[value(name = "zita-10")]
    #[serde(rename = "zita-10")]
    Zita10,
    #[value(name = "jacktrip")]
    #[serde(rename = "jacktrip")]
    JackTrip,
    #[value(name = "jacktrip-r2")]
    #[serde(rename = "jacktrip-r2")]
    JackTripTwice,
    Jamulus,
}

impl System {
    pub(crate) const ALL: [Self; 7] = [
        Self::Ours,
        Self::OursOpus,
        Self::Zita5,
        Self::Zita10,
        Self::JackTrip,
        Self::JackTripTwice,
        Self::Jamulus,
    ];
    pub(crate) const DEFAULT: [Self; 6] =
        [Self::Ours, Self::Zita5, Self::Zita10, Self::JackTrip, Self::JackTripTwice, Self::Jamulus];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursOpus => "ours-opus",
            Self::Zita5 => "zita-5",
            Self::Zita10 => "zita-10",
            Self::JackTrip => "jacktrip",
            Self::JackTripTwice => "jacktrip-r2",
            Self::Jamulus => "jamulus",
        }
    }

    /// Whether its codec keeps the sound and not the samples.
    pub(crate) fn is_lossy(self) -> bool {
        matches!(self, Self::OursOpus | Self::Jamulus)
    }

    /// In the words of its own command line.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Ours => "24 bit, default settings",
            Self::OursOpus => "Opus 96 kbit/s, default settings",
            Self::Zita5 => "zita-n2j --buff 5, 24 bit",
            Self::Zita10 => "zita-n2j --buff 10, 24 bit",
            Self::JackTrip => "jacktrip -q 4, 16 bit",
            Self::JackTripTwice => "jacktrip -q 4 -r 2, 16 bit",
            Self::Jamulus => "quality high, automatic jitter buffers, server at B",
        }
    }

    /// What has to be installed.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::Ours | Self::OursOpus => None,
            Self::Zita5 | Self::Zita10 => Some("zita-j2n"),
            Self::JackTrip | Self::JackTripTwice => Some("jacktrip"),
            Self::Jamulus => Some("Jamulus"),
        }
    }
}

/// Receive's parameter that asks for it.
const OPUS: &str = "quality=Opus 96 kbit/s";

/// Where a system is started.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    /// Names of the JACK servers at A and at B.
    pub(crate) servers: [String; 2],
    pub(crate) block: u32,
    /// How long it may run, in seconds.
    pub(crate) seconds_max: f64,
    pub(crate) ours: ours::Tools,
    /// What is added to our parameters.
    pub(crate) parameters: Vec<String>,
}

impl Stage {
    pub(crate) fn server(&self, site: Site) -> &str {
        match site {
            Site::A => &self.servers[0],
            Site::B => &self.servers[1],
        }
    }

    /// Starts a program at `site` on the site's JACK server.
    pub(crate) fn start(
        &self,
        site: Site,
        program: &Path,
        name: &str,
        arguments: &[String],
    ) -> Result<Program> {
        let mut command = at(site, Some(PRIORITY), program);
        command
            .args(arguments)
            .env("JACK_DEFAULT_SERVER", self.server(site))
            .env("JACK_NO_AUDIO_RESERVATION", "1")
            .env("JACK_NO_START_SERVER", "1")
            .env("HOME", &self.folder)
            .env("QT_QPA_PLATFORM", "offscreen");
        Program::start(command, name, &self.folder)
    }

    fn call(&self, site: Site, name: &str, line: &str) -> Result<Program> {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        // In command lines of our own a tilde stands for a space.
        let arguments: Vec<String> = words.map(|word| word.replace('~', " ")).collect();
        self.start(site, Path::new(program), name, &arguments)
    }
}

/// A system that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// Everything of it: the processor time that they take is its cost.
    pub(crate) programs: Vec<Program>,
    /// JACK ports at A.
    pub(crate) inputs: [String; 2],
    /// JACK ports at B.
    pub(crate) outputs: [String; 2],
    pub(crate) ours: Option<ours::Pair>,
}

impl Running {
    pub(crate) fn run_time(&self) -> Duration {
        self.programs.iter().map(Program::run_time).sum()
    }

    /// Ends all of it; ours tells what it has to tell.
    pub(crate) fn end(self) -> Result<Option<ours::Finished>> {
        match self.ours {
            Some(pair) => pair.finish(self.programs).map(Some),
            None => {
                self.programs.into_iter().for_each(Program::end);
                Ok(None)
            }
        }
    }
}

/// The ports of `client` whose names end in these.
pub(crate) fn ports(client: &str, names: [&str; 2]) -> [String; 2] {
    names.map(|name| format!("{client}:{name}"))
}

/// Starts `system`; its ports may take a moment to appear.
pub(crate) fn start(system: System, stage: &Stage) -> Result<Running> {
    let (a, b) = (Site::A, Site::B);
    let to = b.address();
    match system {
        System::Ours => ours::start(stage, &[]),
        System::OursOpus => ours::start(stage, &[OPUS]),
        System::Zita5 | System::Zita10 => {
            let buffer_ms = if system == System::Zita5 { 5 } else { 10 };
            let (server_a, server_b) = (stage.server(a), stage.server(b));
            let receive = format!(
                "zita-n2j --jserv {server_b} --jname zita-b --chan 1,2 --buff {buffer_ms} {to} 30000"
            );
            let send = format!("zita-j2n --jserv {server_a} --jname zita-a --chan 2 --24bit {to} 30000");
            Ok(Running {
                programs: vec![stage.call(b, "zita-b", &receive)?, stage.call(a, "zita-a", &send)?],
                inputs: ports("zita-a", ["in_1", "in_2"]),
                outputs: ports("zita-b", ["out_1", "out_2"]),
                ours: None,
            })
        }
        System::JackTrip | System::JackTripTwice => {
            let options = if system == System::JackTrip { "-q 4" } else { "-q 4 -r 2" };
            let receive = format!("jacktrip -s -D -n 2 -J jacktrip-b {options} --udprt");
            let send = format!("jacktrip -c {to} -D -n 2 -J jacktrip-a {options} --udprt");
            let server = stage.call(b, "jacktrip-b", &receive)?;
            std::thread::sleep(Duration::from_millis(500));
            Ok(Running {
                programs: vec![server, stage.call(a, "jacktrip-a", &send)?],
                inputs: ports("jacktrip-a", ["send_1", "send_2"]),
                outputs: ports("jacktrip-b", ["receive_1", "receive_2"]),
                ours: None,
            })
        }
        System::Jamulus => jamulus(stage),
    }
}

fn jamulus(stage: &Stage) -> Result<Running> {
    let settings = "<client>\n <audiochannels>2</audiochannels>\n <audioquality>2</audioquality>\n \
                    <autojitbuf>1</autojitbuf>\n <jitbuf>6</jitbuf>\n <jitbufserver>6</jitbufserver>\n \
                    <enableopussmall>1</enableopussmall>\n</client>\n";
    let fast = if stage.block <= 64 { "-F" } else { "" };
    let mut server =
        stage.call(Site::B, "jamulus-server", &format!("Jamulus -s -n -t -p 22124 -T {fast}"))?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(server.runs(), "the Jamulus server ended");
    let client = |site: Site, name: &str| {
        let file = stage.folder.join(format!("jamulus-{name}.ini"));
        std::fs::write(&file, settings)?;
        let line = format!(
            "Jamulus -n -t -j -c {}:22124 -i {} --clientname {name} --mutemyown",
            Site::B.address(),
            file.display()
        );
        stage.call(site, &format!("jamulus-{name}"), &line)
    };
    let receiver = client(Site::B, "B")?;
    let sender = client(Site::A, "A")?;
    Ok(Running {
        programs: vec![sender, receiver, server],
        inputs: ports("Jamulus A", ["input left", "input right"]),
        outputs: ports("Jamulus B", ["output left", "output right"]),
        ours: None,
    })
}
