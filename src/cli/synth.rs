//! `sonograd synth`: the built-in songs as files to listen to.

use super::common::{BUILT_IN_SONGS, ThreadArguments};
use super::output::{Output, progress_bar};
use crate::data::synth;
use crate::error::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the built-in synthetic set as WAV files, to listen to
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sonograd synth songs --songs 3 --seed 0
      writes songs/<genre>/<genre>.00000.wav to .00002.wav: the first songs that `train` uses without --data")]
pub(super) struct Synth {
    /// A folder that is empty or does not exist
    dir: PathBuf,

    /// Songs of each genre
    #[arg(long, value_name = "N", default_value_t = BUILT_IN_SONGS as u32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    songs: u32,

    /// Another seed gives other songs
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    threads: ThreadArguments,
}

impl Synth {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let songs = self.songs as usize;
        let bar = progress_bar(
            songs * synth::GENRES.len(),
            "making music [{bar:30}] {pos}/{len} songs, {eta} left",
        );
        let progress = |done: usize, _: usize| bar.set_position(done as u64);
        let written = self
            .threads
            .pool()?
            .install(|| synth::write_folder(&self.dir, songs, self.seed, &progress));
        bar.finish_and_clear();
        written?;
        Output { json: false }.text(format!(
            "{} songs in {}",
            songs * synth::GENRES.len(),
            self.dir.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
