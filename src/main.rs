//! The command line of sonograd.
#![forbid(unsafe_code)]

fn main() {}
