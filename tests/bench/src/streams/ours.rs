//! Our own plug-ins: the rig hosts the built Send at A and the built Receive at B, each inside a JACK client, each with an
//! identity of its own and the other named in its configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use audiocloud_rig::callback_log::CallbackLog;
use audiocloud_rig::session::{RECEIVE_ID, SEND_ID, receive_field, send_field};
use serde_json::Value;

use super::network::Site;
use super::program::Program;
use super::system::{Running, Stage, ports};

const PORT: u16 = 4460;
const STREAM: &str = "0123456789abcdef";
const READY: Duration = Duration::from_secs(20);

/// Where the built things are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tools {
    /// The binary audiocloud-rig
    #[arg(long, value_name = "FILE")]
    pub(crate) rig: PathBuf,
    /// The binary audiocloud
    #[arg(long, value_name = "FILE")]
    pub(crate) audiocloud: PathBuf,
    /// The CLAP file
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: PathBuf,
}

/// What of our own runs.
#[derive(Debug)]
pub(crate) struct Pair {
    tools: Tools,
    worlds: [World; 2],
}

/// What our own side tells at the end.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `audiocloud status` at B just before the end.
    pub(crate) status: Value,
    /// The calls of Send and of Receive.
    pub(crate) calls: [CallbackLog; 2],
}

/// One machine's folders.
#[derive(Clone, Debug)]
struct World {
    site: Site,
    folder: PathBuf,
}

impl World {
    fn new(site: Site, stage: &Stage) -> Result<Self> {
        let world = Self { site, folder: stage.folder.join(format!("ours-{}", site.name())) };
        for part in ["config", "runtime", "files"] {
            fs::create_dir_all(world.folder.join(part))?;
        }
        Ok(world)
    }

    fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("AUDIOCLOUD_CONFIG_DIR", self.folder.join("config")),
            ("AUDIOCLOUD_RUNTIME_DIR", self.folder.join("runtime")),
        ]
    }

    fn files(&self) -> PathBuf {
        self.folder.join("files/rig")
    }

    fn ask(&self, tools: &Tools, question: &str) -> Result<Value> {
        let output =
            Command::new(&tools.audiocloud).args([question, "--json"]).envs(self.environment()).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "audiocloud {question}: {}", complaint.trim());
        serde_json::from_slice(&output.stdout).with_context(|| format!("audiocloud {question}: not JSON"))
    }

    fn device(&self, tools: &Tools) -> Result<String> {
        let identity = self.ask(tools, "identity")?;
        identity["device"].as_str().map(str::to_owned).context("audiocloud identity names no device")
    }

    /// Binds the site's address and names the other side.
    fn configure(&self, peer: Site, key: &str) -> Result<()> {
        let config = format!(
            "name = \"{}\"\nbind = \"{}:{PORT}\"\nmdns = false\n\
             [[peer]]\naddress = \"{}:{PORT}\"\nkey = \"{key}\"\n",
            self.site.name(),
            self.site.address(),
            peer.address()
        );
        fs::write(self.folder.join("config/config.toml"), config).context("writing config.toml")
    }

    fn rig(&self, stage: &Stage, id: &str, field: &Value, parameters: &[String]) -> Result<Program> {
        let name = format!("ours-{}", self.site.name());
        let path = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = vec![
            "run".into(),
            "--plugin".into(),
            path(&stage.ours.plugin),
            "--id".into(),
            id.into(),
            "--files".into(),
            path(&self.files()),
            "--seconds".into(),
            stage.seconds_max.to_string(),
            "--block".into(),
            stage.block.to_string(),
            "--jack".into(),
            name.clone(),
            "--field".into(),
            format!("stream={field}"),
        ];
        for parameter in parameters {
            arguments.extend(["--param".into(), parameter.clone()]);
        }
        let environment = self.environment().map(|(key, value)| format!("{key}={}", path(&value)));
        let words: Vec<String> =
            environment.into_iter().chain([path(&stage.ours.rig)]).chain(arguments).collect();
        stage.start(self.site, Path::new("env"), &name, &words)
    }
}

/// Starts both sides, Receive with `parameters` beside those of the stage.
pub(crate) fn start(stage: &Stage, parameters: &[&str]) -> Result<Running> {
    let tools = &stage.ours;
    let (a, b) = (World::new(Site::A, stage)?, World::new(Site::B, stage)?);
    let (sender, receiver) = (a.device(tools)?, b.device(tools)?);
    a.configure(Site::B, &receiver)?;
    b.configure(Site::A, &sender)?;
    let mut send_field = send_field(STREAM);
    send_field["codec"] = "pcm-s24".into();
    let mut all = stage.parameters.clone();
    all.extend(parameters.iter().map(|parameter| (*parameter).to_owned()));
    let mut receive = b.rig(stage, RECEIVE_ID, &receive_field(&sender, STREAM), &all)?;
    let mut send = a.rig(stage, SEND_ID, &send_field, &[])?;
    for rig in [&mut receive, &mut send] {
        rig.wait_for("\"ready\"", READY, &stage.folder)?;
    }
    Ok(Running {
        programs: vec![send, receive],
        inputs: ports("ours-a", ["in_1", "in_2"]),
        outputs: ports("ours-b", ["out_1", "out_2"]),
        ours: Some(Pair { tools: tools.clone(), worlds: [a, b] }),
    })
}

impl Pair {
    /// Ends both rigs and reads what they left.
    pub(crate) fn finish(self, programs: Vec<Program>) -> Result<Finished> {
        let status = self.worlds[1].ask(&self.tools, "status")?;
        for mut program in programs {
            program.command("stop")?;
            program.finish(Duration::from_secs(60))?;
        }
        let [send, receive] = &self.worlds;
        let calls = |world: &World| CallbackLog::read(world.files().with_extension("calls"));
        Ok(Finished { status, calls: [calls(send)?, calls(receive)?] })
    }
}
