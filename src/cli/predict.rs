//! `sonograd predict`: the genre of a song, second by second.

use super::common::{ThreadArguments, compute_of, features_of, percent};
use super::output::{Output, note};
use crate::audio::Extractor;
use crate::error::Result;
use crate::exec::{Executor, SliceBatch};
use crate::train::fit::PREDICT_BATCH;
use crate::train::metrics::argmax;
use crate::train::model_file::ModelFile;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Name the genre of songs, as a whole and second by second
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd predict runs/parallel-1/model.safetensors song.mp3
  sonograd predict model.safetensors *.flac --top 1
  sonograd predict model.safetensors song.wav --json")]
pub(super) struct Predict {
    /// The model's file
    #[arg(value_name = "MODEL.safetensors")]
    model: PathBuf,

    /// Songs: WAV, MP3, FLAC, Ogg Vorbis, AAC/M4A, AIFF, AU
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How many genres to name for the whole song
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,

    #[command(flatten)]
    threads: ThreadArguments,

    /// One JSON object a file on standard output
    #[arg(long)]
    json: bool,
}

/// The answer for one file.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    file: &'a Path,
    genre: &'a str,
    probabilities: serde_json::Map<String, serde_json::Value>,
    segments: Vec<SegmentAnswer<'a>>,
}

/// The answer for one segment; times in seconds from the song's start.
#[derive(Debug, Serialize)]
struct SegmentAnswer<'a> {
    start: f64,
    end: f64,
    genre: &'a str,
    probability: f32,
}

impl Predict {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let model = ModelFile::read(&self.model)?;
        let mut executor =
            model.executor(PREDICT_BATCH, self.threads.pool()?, compute_of(&model)?)?;
        let extractor = Extractor::new(model.description.front_end);
        let mut failed = false;
        for file in &self.files {
            match answer(&model, &mut executor, &extractor, file) {
                Ok((answer, ranked)) => self.print(output, &answer, &ranked)?,
                // The other files are answered all the same.
                Err(error) => {
                    failed = true;
                    note(format!("sonograd: {error}"));
                }
            }
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn print(&self, output: Output, answer: &Answer<'_>, ranked: &[(&str, f64)]) -> Result<()> {
        output.object(answer)?;
        output.text(format!("{}: {}", answer.file.display(), answer.genre))?;
        for (genre, probability) in ranked.iter().take(usize::from(self.top)) {
            output.text(format!("  {:>7}  {genre}", percent(*probability)))?;
        }
        // Neighbours of one genre are one line, so that a song of 599 windows stays readable.
        for run in answer.segments.chunk_by(|a, b| a.genre == b.genre) {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            let mean = run
                .iter()
                .map(|segment| f64::from(segment.probability))
                .sum::<f64>()
                / run.len() as f64;
            output.text(format!(
                "  {} to {}  {} ({})",
                clock(first.start),
                clock(last.end),
                first.genre,
                percent(mean)
            ))?;
        }
        Ok(())
    }
}

/// Seconds as `m:ss.s`.
fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

/// The answer, and the genres with their probabilities, most likely first.
fn answer<'a>(
    model: &'a ModelFile,
    executor: &mut Executor,
    extractor: &Extractor,
    file: &'a Path,
) -> Result<(Answer<'a>, Vec<(&'a str, f64)>)> {
    let description = &model.description;
    let (genres, front_end) = (&description.genres, description.front_end);
    let features = features_of(file, extractor)?;
    let len = front_end.shape().len();
    let mut inputs = vec![0.0; features.len()];
    description.normalisation.apply(&features, &mut inputs);
    let count = features.len() / len;
    let mut probabilities = vec![0.0; count * genres.len()];
    let parts = inputs
        .chunks(PREDICT_BATCH * len)
        .zip(probabilities.chunks_mut(PREDICT_BATCH * genres.len()));
    for (inputs, probabilities) in parts {
        let batch = SliceBatch {
            inputs,
            targets: &[],
            samples: inputs.len() / len,
        };
        executor.predict(&batch, probabilities)?;
    }
    let rows = probabilities.chunks_exact(genres.len());
    let mut mean = vec![0.0; genres.len()];
    rows.clone().for_each(|row| {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, &p)| *sum += f64::from(p))
    });
    mean.iter_mut().for_each(|sum| *sum /= count as f64);
    let segments = rows
        .enumerate()
        .map(|(i, row)| {
            let (start, end) = front_end.slice_seconds(i);
            let best = argmax(row);
            SegmentAnswer {
                start,
                end,
                genre: &genres[best],
                probability: row[best],
            }
        })
        .collect();
    let mut ranked: Vec<(&str, f64)> = genres
        .iter()
        .map(String::as_str)
        .zip(mean.iter().copied())
        .collect();
    let probabilities = ranked
        .iter()
        .map(|&(genre, p)| (genre.to_string(), p.into()))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let answer = Answer {
        file,
        genre: ranked[0].0,
        probabilities,
        segments,
    };
    Ok((answer, ranked))
}
