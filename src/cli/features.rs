//! `sonograd features`: what the models see of a song.

use super::common::features_of;
use super::output::{Output, note};
use crate::audio::{Extractor, FrontEnd};
use crate::error::{Error, Result};
use crate::io::{TensorFile, npy};
use crate::report::spectrogram;
use crate::shape::Shape;
use crate::tensor::Tensor;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a song's log-mel spectrograms in dB: numbers, or a picture
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd features song.mp3 --front-end segments --out song.png
      a picture with axes
  sonograd features song.wav --front-end windows --out song.npy
      [599, 5, 128] for a song of 30 s, for numpy.load")]
pub(super) struct Features {
    /// The song
    file: PathBuf,

    /// segments: 2 s, 80 frames x 80 mels; windows: 100 ms, 5 frames x 128 mels
    #[arg(long, default_value = "segments")]
    front_end: String,

    /// The file to write: .npy, .safetensors or .png
    #[arg(long, value_name = "F")]
    out: PathBuf,
}

impl Features {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let front_end: FrontEnd = self.front_end.parse()?;
        let kind = self
            .out
            .extension()
            .and_then(|kind| kind.to_str())
            .unwrap_or_default()
            .to_lowercase();
        if !["npy", "safetensors", "png"].contains(&kind.as_str()) {
            let out = self.out.display();
            return Err(Error::Usage(format!(
                "--out {out}: the file's name ends in .npy, .safetensors or .png"
            )));
        }
        let features = features_of(&self.file, &Extractor::new(front_end))?;
        let (frames, mels) = (front_end.frames(), front_end.mels());
        let count = features.len() / front_end.shape().len();
        match kind.as_str() {
            "npy" => npy::write(&self.out, &Shape::from([count, frames, mels]), &features)?,
            "png" => {
                let name = self.file.file_name().unwrap_or_default().to_string_lossy();
                spectrogram::png(&self.out, &features, front_end, &name)?;
            }
            _ => {
                let tensor = Tensor::new([count, frames, mels], features)?;
                let metadata = BTreeMap::from([("front_end".to_string(), front_end.constants())]);
                TensorFile {
                    metadata,
                    tensors: BTreeMap::from([(front_end.to_string(), tensor)]),
                }
                .write(&self.out)?;
            }
        }
        let out = self.out.display();
        Output { json: false }.text(out.to_string())?;
        note(format!(
            "{count} {front_end} of {frames} frames x {mels} mels, in dB"
        ));
        Ok(ExitCode::SUCCESS)
    }
}
