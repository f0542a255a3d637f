//! The command line of sonograd.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    sonograd::cli::main()
}
