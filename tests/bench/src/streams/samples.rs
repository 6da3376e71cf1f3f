//! Files of planar 32-bit float samples, little-endian, one channel after the other.

use std::path::Path;

use anyhow::{Context, Result, ensure};

pub(crate) fn write(path: &Path, channels: &[Vec<f32>]) -> Result<()> {
    let bytes: Vec<u8> = channels.iter().flatten().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

pub(crate) fn read(path: &Path, channels: usize) -> Result<Vec<Vec<f32>>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    ensure!(channels > 0 && bytes.len() % (4 * channels) == 0, "{}: not {channels} channels", path.display());
    let (words, _) = bytes.as_chunks::<4>();
    let samples: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    Ok(samples.chunks((samples.len() / channels).max(1)).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("audiocloud-bench-samples-{}", std::process::id()));
        let channels = vec![vec![1.0, -0.5, 0.25], vec![0.0, 1e-9, 2.0]];
        write(&path, &channels).unwrap();
        let back = read(&path, 2).unwrap();
        let odd = read(&path, 4);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(back, channels);
        assert!(odd.is_err());
    }
}
