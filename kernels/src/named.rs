//! Choices that are named on the command line, in files and by variables.

use std::fmt::Display;
use std::str::FromStr;

/// The one of `all` that has this name.
pub(crate) fn parse<T: Copy + Display>(what: &str, name: &str, all: &[T]) -> Result<T, String> {
    let names: Vec<_> = all.iter().map(T::to_string).collect();
    match names.iter().position(|each| each == name) {
        Some(i) => Ok(all[i]),
        None => Err(format!(
            "unknown {what} '{name}': one of {}",
            names.join(", ")
        )),
    }
}

/// What an environment variable names, or `None` where it is not set or empty.
pub(crate) fn from_environment<T: FromStr<Err = String>>(
    variable: &str,
) -> Result<Option<T>, String> {
    match std::env::var_os(variable) {
        Some(name) if !name.is_empty() => name
            .to_string_lossy()
            .parse()
            .map(Some)
            .map_err(|reason| format!("{variable}: {reason}")),
        _ => Ok(None),
    }
}
