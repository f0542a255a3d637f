//! Files that are not what they should be: an error that names the file, never a panic.

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

use std::path::{Path, PathBuf};

use sonograd::Error;
use sonograd::audio;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/audio")
        .join(name)
}

/// The message of loading a file of these bytes, which must name it.
fn message(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = audio::load(&path).expect_err(name);
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(name), "{text}");
    text
}

fn wav(samples: &[f32]) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 22_050,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    samples
        .iter()
        .for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

#[test]
fn what_is_no_sound_is_refused() {
    assert!(message("empty.wav", b"").contains("empty"));
    assert!(
        message("notes.wav", &b"These are notes about a song. ".repeat(999)).contains("no sound")
    );
    assert!(message("short.wav", b"RIFF").contains("convert"));
    assert!(message("none.wav", &wav(&[])).contains("no samples"));
    message("zeros.mp3", &[0; 100_000]);
    message("page.mp3", b"<!DOCTYPE html><html><body>404</body></html>");
    let text = message("opus.ogg", &std::fs::read(fixture("opus.ogg")).unwrap());
    assert!(
        text.contains("codec") || text.contains("no audio track"),
        "{text}"
    );
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        folder.path().join("absent.wav"),
        folder.path().to_path_buf(),
    ] {
        let error = audio::load(&path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}

#[test]
fn samples_that_are_no_numbers_are_told() {
    let mut samples = vec![0.25; 3_000];
    samples[1_234] = f32::NAN;
    let text = message("nan.wav", &wav(&samples));
    assert!(text.contains("1234") && text.contains("NaN"), "{text}");
    samples[1_234] = f32::NEG_INFINITY;
    assert!(message("inf.wav", &wav(&samples)).contains("-inf"));
    samples[1_234] = 32_767.0;
    assert!(message("integers.wav", &wav(&samples)).contains("32767"));
}

#[test]
fn odd_rates_are_refused() {
    for rate in [999u32, 384_001, 1, u32::MAX] {
        let mut file = wav(&[0.5; 100]);
        file[24..28].copy_from_slice(&rate.to_le_bytes());
        assert!(message("rate.wav", &file).contains("Hz"), "{rate}");
    }
    let mut file = wav(&[0.5; 100]);
    file[24..28].copy_from_slice(&0u32.to_le_bytes());
    message("zero.wav", &file);
}

#[test]
fn a_file_cut_off_is_told_by_both_counts() {
    let whole = wav(&[0.5; 22_050]);
    for keep in [0.3, 0.9] {
        let text = message("cut.wav", &whole[..(whole.len() as f64 * keep) as usize]);
        assert!(text.contains("cut off") && text.contains("22050"), "{text}");
    }
    let text = message("tail.wav", &whole[..whole.len() - 3]);
    assert!(text.contains("22050"), "{text}");
    for name in ["sweep.flac", "sweep.aiff", "sweep.mp3", "sweep.m4a"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let text = message(name, &whole[..whole.len() / 2]);
        eprintln!("{text}");
    }
    let whole = std::fs::read(fixture("sweep.ogg")).unwrap();
    for cut in [1, 100, whole.len() / 2] {
        assert!(message("cut.ogg", &whole[..whole.len() - cut]).contains("cut off"));
    }
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "sweep.flac",
        "sweep.aiff",
        "sweep.mp3",
        "sweep.m4a",
        "sweep.ogg",
        "sweep.aac",
        "sweep.mka",
    ] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name);
        for cut in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let _ = audio::load(&path);
            let mut damaged = whole.clone();
            damaged[cut..]
                .iter_mut()
                .take(3)
                .for_each(|byte| *byte ^= 0xa5);
            std::fs::write(&path, &damaged).unwrap();
            if let Ok(samples) = audio::load(&path) {
                assert!(
                    samples.iter().all(|sample| sample.is_finite()),
                    "{name} at {cut}"
                );
            }
        }
    }
}

#[test]
fn a_damaged_packet_costs_no_more_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mp3");
    let mut file = std::fs::read(fixture("sweep.mp3")).unwrap();
    let whole = audio::load(&fixture("sweep.mp3")).unwrap();
    let middle = file.len() / 2;
    file[middle..middle + 40].fill(0);
    std::fs::write(&path, &file).unwrap();
    let rest = audio::load(&path).unwrap();
    assert!(
        rest.len() + 3 * 576 >= whole.len(),
        "{} of {}",
        rest.len(),
        whole.len()
    );
}
