//! Where the features of all songs stand: in memory, or above a limit in a mapped file.

use crate::error::{Error, Result};
use sonograd_kernels::mapped::{MappedSlice, MappedWriter};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

/// When features leave memory, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes of features that are kept in memory.
    pub bytes: u64,
    /// The folder of the file that takes all of them where they are more; it is made where it is not there. The file has no
    /// name and ends with the process.
    pub folder: PathBuf,
}

/// The features of all songs, one after another.
#[derive(Debug, Clone)]
pub(super) enum Features {
    Memory(Vec<f32>),
    Mapped(Arc<MappedSlice>),
}

impl Deref for Features {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Features::Memory(values) => values,
            Features::Mapped(values) => values,
        }
    }
}

/// [`Features`] in the making.
#[derive(Debug, Default)]
pub(super) struct FeaturesWriter {
    limit: Option<MemoryLimit>,
    memory: Vec<f32>,
    file: Option<MappedWriter>,
}

impl FeaturesWriter {
    pub(super) fn new(limit: Option<MemoryLimit>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Appends a song's features.
    pub(super) fn push(&mut self, values: &[f32]) -> Result<()> {
        let bytes = size_of_val(&*self.memory) + size_of_val(values);
        if let (Some(limit), None) = (&self.limit, &self.file)
            && bytes as u64 > limit.bytes
        {
            let started = std::fs::create_dir_all(&limit.folder).and_then(|()| {
                let mut file = MappedWriter::in_folder(&limit.folder)?;
                file.write(&self.memory)?;
                Ok(file)
            });
            self.file = Some(started.map_err(Error::io("keep features in", &limit.folder))?);
            self.memory = Vec::new();
        }
        match (&mut self.file, &self.limit) {
            (Some(file), Some(limit)) => {
                let written = file.write(values);
                written.map_err(Error::io("keep features in", &limit.folder))
            }
            _ => {
                self.memory.extend_from_slice(values);
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> Result<Features> {
        match (self.file, self.limit) {
            (Some(file), Some(limit)) => {
                let mapped = file.finish();
                let mapped = mapped.map_err(Error::io("keep features in", &limit.folder))?;
                Ok(Features::Mapped(Arc::new(mapped)))
            }
            _ => Ok(Features::Memory(self.memory)),
        }
    }
}
