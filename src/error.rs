//! The library's error: it names the file, the value and the way out.

use std::path::{Path, PathBuf};

/// What went wrong, worded for the person who can mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create`, `list`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file was read but is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A value that the caller chose cannot be used; the command line answers it with exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The data cannot be used: too little of it, one genre only, no split possible.
    #[error("{0}")]
    Data(String),
    /// A layer cannot take the shapes that it is given.
    #[error("layer '{layer}': {reason}")]
    Shape {
        /// The layer's path, `tower1.conv2`.
        layer: String,
        /// Both shapes and what does not fit.
        reason: String,
    },
    /// Training left the numbers: NaN or infinite loss.
    #[error("the loss became {loss} at step {step} (epoch {epoch}): try a smaller --learning-rate")]
    Diverged {
        /// Step counted from 1 over the whole run.
        step: u64,
        /// Epoch counted from 1.
        epoch: usize,
        /// The loss as computed: NaN or infinite.
        loss: f32,
    },
}

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] for use in `map_err`: `.map_err(Error::io("read", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// An [`Error::File`]: the file was read but is not what it should be.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::File {
            path: path.as_ref().to_path_buf(),
            reason: reason.into(),
        }
    }
}
