//! The command line as a person meets it: exit codes, what stands on which stream, and which files are there afterwards.

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/compare.rs"]
mod compare;
#[path = "cli/misuse.rs"]
mod misuse;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/runs.rs"]
mod runs;
#[path = "cli/songs.rs"]
mod songs;
#[path = "cli/support.rs"]
mod support;
