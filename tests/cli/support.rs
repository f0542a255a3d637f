//! A folder to work in, songs to work with, and the program.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const RATE: u32 = 22_050;

/// A folder that is gone after the test; the program runs in it, with a cache of its own.
pub(crate) struct Place(TempDir);

/// What the program said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let said = Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        assert!(!said.err.contains("panicked"), "{}", said.err);
        said
    }

    /// It did what it was asked to do.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    /// It refused with this exit code and named all of these on standard error.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, named: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for part in named {
            assert!(self.err.contains(part), "no '{part}' in: {}", self.err);
        }
        self
    }

    /// Standard output's lines, each a JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let lines: Vec<Value> = self.out.lines().map(parse).collect();
        assert!(lines.iter().all(Value::is_object), "{}", self.out);
        lines
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With two genres of four songs in `music`.
    pub(crate) fn with_music() -> Self {
        let place = Self::new();
        for number in 0..4 {
            place.song(
                &format!("music/low/{number}.wav"),
                90.0 + 15.0 * f64::from(number),
            );
            place.song(
                &format!("music/high/{number}.wav"),
                1500.0 + 300.0 * f64::from(number),
            );
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The place for a file, with its folder made.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// 4.1 s of a tone with overtones and noise: two segments.
    pub(crate) fn song(&self, name: &str, pitch: f64) {
        let step = std::f64::consts::TAU * pitch / f64::from(RATE);
        let mut noise = sonograd::random::Random::new(&[pitch.to_bits()]);
        let samples = (0..(4.1 * f64::from(RATE)) as usize).map(|i| {
            let phase = step * i as f64;
            let tone = 0.3 * phase.sin() + 0.1 * (2.0 * phase).sin();
            (tone + 0.02 * noise.normal()) as f32
        });
        self.samples(name, &samples.collect::<Vec<_>>());
    }

    /// A WAV of these samples, as 32-bit floats: whatever they are.
    pub(crate) fn samples(&self, name: &str, samples: &[f32]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: RATE,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        samples
            .iter()
            .for_each(|&sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonograd"));
        command
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .env("SONOGRAD_CACHE", self.path("cache"))
            .env_remove("SONOGRAD_ISA")
            .env_remove("SONOGRAD_CONV")
            .env_remove("SONOGRAD_GEMM");
        command
    }

    /// Runs a command line; arguments are set apart by blanks.
    pub(crate) fn run(&self, line: &str) -> Said {
        Said::of(&self.command(line).output().unwrap())
    }

    /// Trains for an epoch or two on `music` into a folder.
    pub(crate) fn train(&self, out: &str, more: &str) -> Said {
        self.run(&format!(
            "train parallel --data music --validation 0.5 --epochs 2 --batch-size 4 --out {out} {more}"
        ))
    }

    /// The names in a folder; none where it does not exist.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

/// Where the recorded models are.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}
