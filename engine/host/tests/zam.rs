//! Plug-ins of somebody else's, from a Debian package: they load, process, keep their state, and are as late as they say.
//!
//! `cargo xtask test` installs the package; without it this test says so and passes.

mod bed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audiocloud_host::library::Library;
use audiocloud_host::plugin::HostedPlugin;
use bed::{Rig, noise, program, setup};

const FOLDER: &str = "/usr/lib/clap";
const FRAMES: usize = 24_000;

/// A library of what is installed of them, or nothing.
fn library(folder: &Path) -> Option<Arc<Library>> {
    let plugins = folder.join("clap");
    std::fs::create_dir(&plugins).unwrap();
    let installed =
        std::fs::read_dir(FOLDER).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_zam = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| {
            name.to_string_lossy().starts_with("Zam") || name.to_string_lossy().starts_with("ZaM")
        })
    };
    let mut count = 0;
    for path in installed.filter(is_zam) {
        std::os::unix::fs::symlink(&path, plugins.join(path.file_name().unwrap())).unwrap();
        count += 1;
    }
    if count == 0 {
        println!("zam skipped: it needs zam-plugins (remedy: apt-get install zam-plugins)");
        return None;
    }
    let library = Library::open(&folder.join("state"), program());
    let report = library.search_within(&[plugins], Duration::from_secs(20)).unwrap();
    assert_eq!((report.files, report.plugins), (count, count), "{report:?}");
    Some(Arc::new(library))
}

#[test]
fn they_load_and_process() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path()) else { return };
    let input = vec![noise(1, FRAMES), noise(2, FRAMES)];
    let (mut played, mut held) = (0, Vec::new());
    for found in library.plugins() {
        let id = &found.listed.id;
        let plugin = match HostedPlugin::open(&library, id, &setup(128), None) {
            Ok(plugin) => plugin,
            Err(error) => {
                held.push((id.clone(), error.to_string()));
                continue;
            }
        };
        let mut rig = Rig::of(plugin, &setup(128), vec![input.clone()]);
        rig.play_in(FRAMES, 128);
        let (status, description) = (rig.handle.status(), rig.handle.description());
        if !status.running {
            held.push((id.clone(), status.words.unwrap_or_default()));
            continue;
        }
        let name = &found.listed.name;
        assert!(rig.host.output.iter().flatten().all(|sample| sample.is_finite()), "{name}");
        let heard = &rig.host.output[0][FRAMES / 2..];
        assert!(heard.iter().any(|sample| sample.abs() > 1e-4), "{name} is silent");
        assert_eq!(rig.latency(), 128 + usize::try_from(description.latency_frames).unwrap(), "{name}");
        assert_eq!((status.late_blocks, status.failed_calls), (0, 0), "{name}");

        let again = library
            .find(id)
            .map(|_| HostedPlugin::open(&library, id, &setup(128), rig.handle.save_state().ok().as_deref()));
        let again = again.unwrap().unwrap();
        let values = |parameters: &[audiocloud_host::description::Parameter]| {
            parameters
                .iter()
                .filter(|parameter| !parameter.read_only)
                .map(|parameter| (parameter.id, parameter.value))
                .collect::<Vec<_>>()
        };
        let settled = rig.handle.describe().unwrap();
        assert_eq!(values(&again.handle().description().parameters), values(&settled.parameters), "{name}");
        println!(
            "{name:16} {} in, {} out, {} copies, {} parameters, latency {}, there and back {:.0} µs (median)",
            description.inputs.len(),
            description.outputs.len(),
            description.copies,
            description.parameters.len(),
            description.latency_frames,
            status.turn.p50_us,
        );
        played += 1;
    }
    println!("{played} played; in quarantine: {held:?}");
    // What crashes is nobody's fault but its own, and is held; most of them do not.
    assert_eq!(library.quarantined().len(), held.len());
    assert!(played >= 12, "{held:?}");
}

#[test]
fn an_equalizer_of_theirs_filters() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path()) else { return };
    let Some(found) = library.plugins().into_iter().find(|found| found.listed.name == "ZamEQ2") else {
        panic!("ZamEQ2 is one of them: {:?}", library.plugins())
    };
    // 20 dB up at 1 kHz: a tone there is ten times as loud, one at 50 Hz is as it was.
    let tone = |hz: f64| -> Vec<f32> {
        #[allow(clippy::cast_possible_truncation, reason = "samples have 24 bits")]
        let sample =
            |frame: u32| (0.01 * (std::f64::consts::TAU * hz * f64::from(frame) / 48_000.0).sin()) as f32;
        (0..u32::try_from(FRAMES).unwrap()).map(sample).collect()
    };
    let level = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    for (hz, at_least, at_most) in [(1000.0, 15.0, 25.0), (50.0, -1.0, 1.0)] {
        let input = tone(hz);
        let mut rig = Rig::new(&library, &found.listed.id, &setup(64), vec![vec![input.clone(); 2]]);
        let description = rig.handle.description();
        let id = |name: &str| {
            let parameter = description.parameters.iter().find(|parameter| parameter.name.contains(name));
            parameter.unwrap_or_else(|| panic!("no {name:?} in {:?}", description.parameters)).id
        };
        let (frequency, gain) = (id("Frequency 1"), id("Boost/Cut 1"));
        rig.controller.set_parameter(&mut rig.graph, rig.key, frequency, 1000.0).unwrap();
        rig.controller.set_parameter(&mut rig.graph, rig.key, gain, 20.0).unwrap();
        rig.play_in(FRAMES, 64);
        let half = FRAMES / 2;
        let db = 10.0 * (level(&rig.host.output[1][half..]) / level(&input[half..])).log10();
        assert!((at_least..at_most).contains(&db), "{hz} Hz: {db} dB");
    }
}
