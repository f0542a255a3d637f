//! Where a step's samples come from.

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

    fn fill_input(&self, rows: Range<usize>, input: &mut [f32]) {
        input.copy_from_slice(rows_of(self.inputs, self.samples, rows));
    }

    fn fill_target(&self, rows: Range<usize>, target: &mut [f32]) {
        target.copy_from_slice(rows_of(self.targets, self.samples, rows));
    }
}

/// `rows` of `all`, which has `samples` rows.
fn rows_of(all: &[f32], samples: usize, rows: Range<usize>) -> &[f32] {
    let len = all.len() / samples;
    &all[rows.start * len..rows.end * len]
}
