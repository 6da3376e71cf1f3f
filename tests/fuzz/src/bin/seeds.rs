//! Writes the byte vectors of the specification as seeds for the fuzz targets, into `corpus/<target>/`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, target) in [
        ("audio.json", "audio_packet"),
        ("event.json", "event_packet"),
        ("repair.json", "repair_packet"),
        ("report.json", "receiver_report"),
        ("request.json", "resend_request"),
        ("message.json", "message"),
    ] {
        let vectors = std::fs::read_to_string(here.join("../../net/wire/spec/vectors").join(file))?;
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&vectors)?;
        let folder = here.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, vector) in vectors.iter().enumerate() {
            let hex = vector["hex"].as_str().ok_or("a vector without hex")?;
            std::fs::write(folder.join(format!("vector-{number:03}")), unhex(hex)?)?;
        }
        println!("{target}: {} seeds", vectors.len());
    }
    let folder = here.join("corpus/identifier");
    std::fs::create_dir_all(&folder)?;
    for (name, digits) in [("device", 64), ("instance", 32), ("stream", 16)] {
        std::fs::write(folder.join(name), "0123456789abcdef".repeat(digits / 16))?;
    }
    std::fs::write(folder.join("key"), format!("{}/{}", "0f".repeat(32), "f0".repeat(8)))?;
    println!("identifier: 4 seeds");
    Ok(())
}

fn unhex(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect()
}
