//! Every format that is read, held to a signal known in closed form (fixtures/make_audio.sh).

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec, WavWriter};
use sonograd::audio::{self, decode};

/// The fixtures' length in seconds.
const SECONDS: f64 = 0.5;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/audio")
        .join(name)
}

/// The sweep's left channel at `t` seconds; the right one is a third of it.
fn sweep(t: f64) -> f64 {
    if !(0.0..SECONDS).contains(&t) {
        return 0.0;
    }
    let phase = TAU * (200.0 * t + 2_800.0 * t * t / (2.0 * SECONDS));
    let fade = (t / 0.02).min((SECONDS - t) / 0.02).min(1.0);
    0.6 * fade * phase.sin()
}

/// Signal to error in dB against the sweep's mean over its channels, with the sound starting `delay` samples late.
fn snr(samples: &[f32], rate: u32, delay: usize) -> f64 {
    let (mut signal, mut error) = (0.0, 1e-30);
    for (n, sample) in samples.iter().skip(delay).enumerate() {
        let want = sweep(n as f64 / f64::from(rate)) * 2.0 / 3.0;
        signal += want * want;
        error += (f64::from(*sample) - want).powi(2);
    }
    10.0 * (signal / error).log10()
}

#[test]
fn lossless_files_are_exact_to_their_steps() {
    for (name, rate, db) in [("sweep.flac", 16_000, 60.0), ("sweep.aiff", 11_025, 60.0)] {
        let audio = decode::decode(&fixture(name)).unwrap();
        assert_eq!(audio.sample_rate, rate, "{name}");
        let exact = SECONDS * f64::from(rate);
        assert!((audio.samples.len() as f64 - exact).abs() <= 1.0, "{name}");
        let got = snr(&audio.samples, rate, 0);
        assert!(got > db, "{name}: {got} dB");
    }
}

#[test]
fn lossy_files_start_and_end_where_the_original_does() {
    for name in ["sweep.mp3", "sweep.ogg"] {
        let audio = decode::decode(&fixture(name)).unwrap();
        assert_eq!(audio.samples.len(), 11_025, "{name}");
        let got = snr(&audio.samples, 22_050, 0);
        assert!(got > 15.0, "{name}: {got} dB");
        // One sample off would be heard at 3 kHz: the alignment is exact.
        assert!(snr(&audio.samples, 22_050, 1) < got - 3.0, "{name} is late");
    }
}

#[test]
fn files_without_a_delay_tag_keep_their_whole_sound() {
    for (name, most) in [
        ("untagged.mp3", 2_400),
        ("sweep.m4a", 2_100),
        ("sweep.aac", 2_100),
        ("sweep.mka", 600),
    ] {
        let audio = decode::decode(&fixture(name)).unwrap();
        assert_eq!(audio.sample_rate, 22_050, "{name}");
        let (delay, db) = (0..most)
            .map(|delay| (delay, snr(&audio.samples, 22_050, delay)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        eprintln!(
            "{name}: {} samples, {delay} late, {db:.1} dB",
            audio.samples.len()
        );
        assert!(db > 15.0, "{name}: {db} dB at {delay}");
        assert!(
            audio.samples.len() >= 11_025 + delay - 1,
            "{name} lost its end"
        );
    }
}

#[test]
fn loading_gives_22050_hz_whatever_the_file() {
    for name in ["sweep.flac", "sweep.aiff", "sweep.mp3"] {
        let samples = audio::load(&fixture(name)).unwrap();
        assert!(
            (samples.len() as i64 - 11_025).abs() <= 1,
            "{name}: {}",
            samples.len()
        );
        let got = snr(&samples, audio::SAMPLE_RATE, 0);
        assert!(got > 15.0, "{name}: {got} dB");
    }
    let samples = audio::load(&fixture("sweep.flac")).unwrap();
    assert!(snr(&samples, audio::SAMPLE_RATE, 0) > 55.0);
}

/// Writes the stereo sweep in a WAV format and gives back what is read.
fn through_wav(folder: &Path, bits: u16, format: SampleFormat) -> decode::Audio {
    let path = folder.join(format!("{bits}.wav"));
    let spec = WavSpec {
        channels: 2,
        sample_rate: 22_050,
        bits_per_sample: bits,
        sample_format: format,
    };
    let mut writer = WavWriter::create(&path, spec).unwrap();
    for n in 0..11_025 {
        let left = sweep(f64::from(n) / 22_050.0);
        for value in [left, left / 3.0] {
            if format == SampleFormat::Float {
                writer.write_sample(value as f32).unwrap();
            } else {
                let scale = f64::from(bits - 1).exp2();
                writer.write_sample((value * scale).round() as i32).unwrap();
            }
        }
    }
    writer.finalize().unwrap();
    decode::decode(&path).unwrap()
}

#[test]
fn every_wav_format_is_read_to_its_precision() {
    let folder = tempfile::tempdir().unwrap();
    for (bits, format, db) in [
        (8, SampleFormat::Int, 35.0),
        (16, SampleFormat::Int, 80.0),
        (24, SampleFormat::Int, 125.0),
        (32, SampleFormat::Int, 135.0),
        (32, SampleFormat::Float, 135.0),
    ] {
        let audio = through_wav(folder.path(), bits, format);
        assert_eq!(audio.samples.len(), 11_025, "{bits} bits");
        let got = snr(&audio.samples, 22_050, 0);
        assert!(got > db, "{bits} bits {format:?}: {got} dB");
    }
}

/// A WAV file by hand, for what hound does not write.
fn wav(format: u16, bits: u16, channels: u16, data: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    for word in [format, channels] {
        file.extend(word.to_le_bytes());
    }
    file.extend(22_050u32.to_le_bytes());
    file.extend((22_050 * u32::from(frame)).to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

#[test]
fn wavs_of_doubles_and_of_many_channels_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("double.wav");
    let data: Vec<u8> = [0.5f64, -0.25, 0.125, 1.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    std::fs::write(&path, wav(3, 64, 2, &data)).unwrap();
    assert_eq!(decode::decode(&path).unwrap().samples, [0.125, 0.5625]);

    // Of unknown length, as a pipe leaves it: to the end of the file, less a frame that is not whole.
    let mut piped = wav(1, 16, 1, &[0, 0x40, 0, 0xc0, 0]);
    piped[4..8].fill(0xff);
    piped[40..44].fill(0xff);
    std::fs::write(&path, piped).unwrap();
    assert_eq!(decode::decode(&path).unwrap().samples, [0.5, -0.5]);

    std::fs::write(&path, wav(7, 8, 1, &[0x80, 0xff])).unwrap();
    let samples = decode::decode(&path).unwrap().samples;
    assert_eq!(samples, [32_124.0 / 32_768.0, 0.0], "mu-law");

    let data: Vec<u8> = [16_384i16, 16_384, -16_384, 0, 0, 8_192]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    std::fs::write(&path, wav(1, 16, 6, &data)).unwrap();
    assert_eq!(decode::decode(&path).unwrap().samples, [0.125]);
}

#[test]
fn a_written_wav_reads_as_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.wav");
    let samples: Vec<f32> = (-32_768..32_768)
        .step_by(7)
        .map(|n| n as f32 / 32_768.0)
        .collect();
    audio::write_wav(&path, &samples, 22_050).unwrap();
    assert_eq!(audio::load(&path).unwrap(), samples);
    audio::write_wav(&path, &[2.0, -2.0, 0.4 / 32_768.0], 22_050).unwrap();
    assert_eq!(
        audio::load(&path).unwrap(),
        [32_767.0 / 32_768.0, -1.0, 0.0]
    );
    assert!(audio::write_wav(&path, &[f32::NAN], 22_050).is_err());
    assert_eq!(
        audio::load(&path).unwrap().len(),
        3,
        "the old file was touched"
    );
}

#[test]
fn au_is_read_by_content_and_every_extension_is_lower_case() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("song.au");
    let mut file = b".snd".to_vec();
    for word in [24u32, u32::MAX, 3, 11_025, 1] {
        file.extend(word.to_be_bytes());
    }
    for n in 0..5_512 {
        let value = sweep(f64::from(n) / 11_025.0) * 2.0 / 3.0;
        file.extend(((value * 32_768.0).round() as i16).to_be_bytes());
    }
    std::fs::write(&path, &file).unwrap();
    let samples = audio::load(&path).unwrap();
    assert_eq!(samples.len(), 11_024);
    assert!(snr(&samples, 22_050, 0) > 60.0);
    for extension in audio::EXTENSIONS {
        assert_eq!(*extension, extension.to_lowercase());
    }
}
