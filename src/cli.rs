//! The command line: one command a file. Exit code 0 is done, 1 failed, 2 misused.

mod bench;
mod common;
mod compare;
mod evaluate;
mod features;
mod models;
mod output;
mod predict;
mod progress;
mod recipe;
mod run_folder;
mod synth;
mod train;
mod tune;
mod verify;

use crate::error::Error;
use clap::{Parser, Subcommand};

use std::process::ExitCode;

/// Learns to name the genre of music, on a CPU.
#[derive(Debug, Parser)]
#[command(name = "sonograd", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Train),
    Compare(compare::Compare),
    Evaluate(evaluate::Evaluate),
    Predict(predict::Predict),
    Features(features::Features),
    Models(models::Models),
    Synth(synth::Synth),
    Verify(verify::Verify),
    Bench(bench::Bench),
    Tune(tune::Tune),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Train(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Predict(command) => command.run(),
        Command::Features(command) => command.run(),
        Command::Models(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Tune(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        // The reader of a pipe has all it wants.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sonograd: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}
