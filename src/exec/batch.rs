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

    fn fill_input(&self, rows: Range<usize>, input: &mut [f32]) {
        copy_rows(self.inputs, self.samples, rows, input);
    }

    fn fill_target(&self, rows: Range<usize>, target: &mut [f32]) {
        copy_rows(self.targets, self.samples, rows, target);
    }
}

/// Copies `rows` of `from`, which has `samples` rows.
fn copy_rows(from: &[f32], samples: usize, rows: Range<usize>, to: &mut [f32]) {
    let len = from.len() / samples;
    to.copy_from_slice(&from[rows.start * len..rows.end * len]);
}
