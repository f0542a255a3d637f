//! `sonograd evaluate`: how good a trained model is.

use super::common::{
    DataArguments, ThreadArguments, compute_of, describe, percent, print_accuracies,
};
use super::output::Output;
use crate::data::{Dataset, Source, split};
use crate::error::{Error, Result};
use crate::train::fit::PREDICT_BATCH;
use crate::train::metrics::{Evaluation, Vote};
use crate::train::model_file::ModelFile;
use crate::train::run::{Origin, evaluate};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Judge a trained model on its validation songs, or on another folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd evaluate runs/parallel-1/model.safetensors
      the validation part of the data it was trained on, with the figures that training ended with
  sonograd evaluate model.safetensors --data other-music --json
      all songs of another folder that has the same genres")]
pub(super) struct Evaluate {
    /// The model's file
    #[arg(value_name = "MODEL.safetensors")]
    model: PathBuf,

    #[command(flatten)]
    data: DataArguments,

    /// Which songs [default: validation where the data are those it was trained on, else all]
    #[arg(long)]
    part: Option<Part>,

    /// How segments answer for their song: mean (of probabilities), majority, maximum
    #[arg(long, default_value = "mean")]
    vote: String,

    #[command(flatten)]
    threads: ThreadArguments,

    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Validation,
    All,
}

impl Evaluate {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let vote: Vote = self.vote.parse()?;
        let file = ModelFile::read(&self.model)?;
        let pool = self.threads.pool()?;
        let source = self.source(&file)?;
        let dataset = self.data.load(&source, file.description.front_end, &pool)?;
        let dataset = same_genres(dataset, &file)?;
        let (part, indices) = self.indices(&file, &dataset)?;
        output.text(describe(&source, &dataset))?;
        output.text(format!("judged: {part}"))?;
        let mut executor = file.executor(PREDICT_BATCH, pool, compute_of(&file)?)?;
        let evaluation = evaluate(
            &mut executor,
            &dataset,
            &indices,
            file.description.normalisation,
            vote,
        )?;
        print_accuracies(output, &evaluation)?;
        print_genres(output, &evaluation)?;
        output.text(format!(
            "expected calibration error: {} by song, {} by segment",
            percent(evaluation.song_calibration.ece),
            percent(evaluation.calibration.ece)
        ))?;
        output.object(&json!({
            "model": self.model,
            "part": part,
            "vote": evaluation.vote,
            "segment_accuracy": evaluation.segment_accuracy,
            "segment_interval": evaluation.segment_interval,
            "song_accuracy": evaluation.song_accuracy,
            "song_interval": evaluation.song_interval,
            "macro_f1": evaluation.macro_f1,
            "loss": evaluation.segment_loss,
            "calibration_error": evaluation.calibration.ece,
            "song_calibration_error": evaluation.song_calibration.ece,
            "segments": evaluation.segments,
            "songs": evaluation.songs,
            "genres": evaluation.genres,
            "confusion": evaluation.confusion_songs,
            "confusion_segments": evaluation.confusion_segments,
            "wrong_songs": evaluation.wrong_songs,
        }))?;
        Ok(ExitCode::SUCCESS)
    }

    /// The data asked for, or those that the model was trained on.
    fn source(&self, file: &ModelFile) -> Result<Source> {
        let genres = self.data.genres.clone();
        if self.data.data.is_some() || self.data.songs.is_some() {
            return Ok(self.data.source());
        }
        match file.description.made.origin {
            Origin::BuiltIn {
                songs_per_genre,
                seed,
            } => {
                let own = file.description.genres.clone();
                Ok(Source::BuiltIn {
                    songs_per_genre,
                    seed,
                    genres: Some(genres.unwrap_or(own)),
                })
            }
            Origin::Folder => {
                let run = self.model.with_file_name("run.json");
                let place = std::fs::read_to_string(&run)
                    .ok()
                    .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
                    .and_then(|json| Some(PathBuf::from(json["data"]["folder"].as_str()?)));
                let Some(path) = place else {
                    let reason = "it was trained on a folder that is not recorded beside it: name it by --data DIR";
                    return Err(Error::Usage(format!("{}: {reason}", self.model.display())));
                };
                let own = file.description.genres.clone();
                Ok(Source::Folder {
                    path,
                    genres: Some(genres.unwrap_or(own)),
                })
            }
        }
    }

    /// Which segments are judged, and what to call them.
    fn indices(&self, file: &ModelFile, dataset: &Dataset) -> Result<(&'static str, Vec<u32>)> {
        let recipe = &file.description.made;
        let own = recipe.fingerprint == dataset.fingerprint;
        match self.part {
            None | Some(Part::Validation) if own => {
                let split = split(dataset, recipe.split, recipe.validation, recipe.seed)?;
                let name = if split.leaks { "the validation segments (the model has heard their songs)" } else { "the validation songs" };
                Ok((name, split.validation))
            }
            Some(Part::Validation) => Err(Error::Usage(
                "--part validation: these are not the songs that the model was trained on, so they have no \
                 validation part; leave --part out to judge all of them"
                    .into(),
            )),
            _ => {
                let name = if own { "all songs (those trained on too)" } else { "all songs" };
                Ok((name, (0..dataset.segment_count() as u32).collect()))
            }
        }
    }
}

/// The set with the model's genres in the model's order; a set with other genres cannot be judged.
fn same_genres(dataset: Dataset, file: &ModelFile) -> Result<Dataset> {
    let genres = &file.description.genres;
    if let Some(other) = dataset.genres.iter().find(|genre| !genres.contains(genre)) {
        return Err(Error::Usage(format!(
            "the model does not know the genre '{other}': it tells apart {}; choose from them by --genres",
            genres.join(", ")
        )));
    }
    if dataset.genres == *genres {
        return Ok(dataset);
    }
    dataset.with_genres(genres)
}

fn print_genres(output: Output, evaluation: &Evaluation) -> Result<()> {
    let width = evaluation
        .genres
        .iter()
        .map(|genre| genre.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    output.text(format!(
        "{:width$}  songs  precision  recall     F1",
        "genre"
    ))?;
    for (genre, row) in evaluation.per_genre.iter().zip(&evaluation.confusion_songs) {
        let songs: u64 = row.iter().sum();
        let score = &genre.songs;
        output.text(format!(
            "{:width$}  {songs:5}  {:>9}  {:>6}  {:.3}",
            genre.genre,
            percent(score.precision),
            percent(score.recall),
            score.f1
        ))?;
    }
    Ok(())
}
