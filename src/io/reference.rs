//! Answers recorded from Keras: a model's weights, a batch, and what Keras computed from them.
//!
//! The format `keras-reference-1`: `input`, `target`, `param/<layer>.<weight>`, `output`, `loss`,
//! `grad/<layer>.<weight>`, `trajectory/loss`, `trajectory/param/<layer>.<weight>`; the metadata names the model, the
//! optimiser and the number of its steps. `fixtures/record_keras.py` writes it.

use super::TensorFile;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::path::{Path, PathBuf};

const FORMAT: &str = "keras-reference-1";

/// One recorded model.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Where it was read, for messages.
    pub path: PathBuf,
    /// The model's name.
    pub model: String,
    /// How many classes it tells apart.
    pub classes: usize,
    /// What its filters and units were multiplied by.
    pub width: f64,
    /// The optimiser as text: `sgd lr=0.005`.
    pub optimizer: String,
    /// The batch, samples first.
    pub input: Tensor,
    /// One-hot, samples x classes.
    pub target: Tensor,
    file: TensorFile,
}

impl Reference {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] where it cannot be read or is not of the format.
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(TensorFile::read(path)?, path)
    }

    /// From a file's content; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] where it is not of the format.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::new(TensorFile::from_bytes(bytes, path)?, path)
    }

    fn new(file: TensorFile, path: &Path) -> Result<Self> {
        let format = file.text(path, "format")?;
        if format != FORMAT {
            return Err(Error::file(
                path,
                format!("its format is '{format}': '{FORMAT}' is wanted"),
            ));
        }
        let number = |name: &str, default: Option<f64>| -> Result<f64> {
            match (file.metadata.get(name), default) {
                (None, Some(default)) => Ok(default),
                _ => {
                    let text = file.text(path, name)?;
                    let refuse = || {
                        Error::file(
                            path,
                            format!("its metadata's {name} is '{text}', not a number"),
                        )
                    };
                    text.parse().map_err(|_| refuse())
                }
            }
        };
        let (input, target) = (
            file.tensor(path, "input")?.clone(),
            file.tensor(path, "target")?.clone(),
        );
        let samples = |tensor: &Tensor| tensor.shape().extents().first().copied().unwrap_or(0);
        let classes = number("classes", None)? as usize;
        if samples(&input) == 0 || *target.shape().extents() != [samples(&input), classes] {
            let (x, t) = (input.shape(), target.shape());
            return Err(Error::file(
                path,
                format!("input {x} and target {t} are not of one batch of {classes} classes"),
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            model: file.text(path, "model")?.to_string(),
            classes,
            width: number("width", Some(1.0))?,
            optimizer: file.text(path, "optimizer")?.to_string(),
            input,
            target,
            file,
        })
    }

    /// How many samples the batch has.
    pub fn samples(&self) -> usize {
        self.target.shape().extents()[0]
    }

    /// A recorded tensor by its full name.
    ///
    /// # Errors
    /// [`Error::File`] where it was not recorded.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.file.tensor(&self.path, name)
    }

    /// The recorded tensors `<prefix>/...`: the rest of the name, and the values.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Tensor)> {
        self.file.tensors.iter().filter_map(move |(name, tensor)| {
            Some((name.strip_prefix(prefix)?.strip_prefix('/')?, tensor))
        })
    }
}
