//! Where a step's samples come from.

use crate::error::{Error, Result};
use std::ops::Range;

/// Samples and their targets. A shard asks for its rows from its own thread.
pub trait Batch: Sync {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// True where there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All samples one after another, where they stand in memory so; `None` where [`fill_input`](Self::fill_input) has to write them.
    fn input(&self) -> Option<&[f32]> {
        None
    }

    /// All one-hot targets one after another, where they stand in memory so: their number is checked before
    /// [`fill_target`](Self::fill_target) takes them.
    fn targets(&self) -> Option<&[f32]> {
        None
    }

    /// Writes the samples `rows`, one after another.
    fn fill_input(&self, rows: Range<usize>, input: &mut [f32]);

    /// Writes the one-hot targets of `rows`. Not called for a prediction.
    fn fill_target(&self, rows: Range<usize>, target: &mut [f32]);
}

/// A batch that lies in memory as the model wants it.
#[derive(Debug, Clone, Copy)]
pub struct SliceBatch<'a> {
    /// Samples one after another.
    pub inputs: &'a [f32],
    /// One-hot targets one after another; may be empty for a prediction.
    pub targets: &'a [f32],
    /// How many samples there are.
    pub samples: usize,
}

impl Batch for SliceBatch<'_> {
    fn len(&self) -> usize {
        self.samples
    }

    fn input(&self) -> Option<&[f32]> {
        Some(self.inputs)
    }

    fn targets(&self) -> Option<&[f32]> {
        Some(self.targets)
    }

    fn fill_input(&self, rows: Range<usize>, input: &mut [f32]) {
        input.copy_from_slice(rows_of(self.inputs, self.samples, rows));
    }

    fn fill_target(&self, rows: Range<usize>, target: &mut [f32]) {
        target.copy_from_slice(rows_of(self.targets, self.samples, rows));
    }
}

/// Refuses values in memory that are not `samples` times `len`.
pub(super) fn check(what: &str, values: Option<&[f32]>, samples: usize, len: usize) -> Result<()> {
    match values {
        Some(values) if values.len() != samples * len => Err(Error::Usage(format!(
            "{} values of {what}: {samples} samples of {len} are {}",
            values.len(),
            samples * len
        ))),
        _ => Ok(()),
    }
}

/// `rows` of `all`, which has `samples` rows.
fn rows_of(all: &[f32], samples: usize, rows: Range<usize>) -> &[f32] {
    let len = all.len() / samples;
    &all[rows.start * len..rows.end * len]
}
