//! The sizes of a layer, and what its buffers have to hold.

use crate::gemm::{gemm_scratch_len, packed_len};

/// The sizes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmShape {
    /// Time steps, at least 1.
    pub steps: usize,
    /// Features of an input step.
    pub inputs: usize,
    /// Units: the size of h and c.
    pub units: usize,
    /// True where the output is every h_t, false where it is the last (Keras' `return_sequences`).
    pub sequences: bool,
}

impl LstmShape {
    pub(super) fn gates(&self) -> usize {
        4 * self.units
    }

    /// Length of W and U by groups of LANES units: `[group][inputs + units][gate][LANES]`.
    pub(crate) fn forward_len(&self, lanes: usize) -> usize {
        self.units.div_ceil(lanes) * (self.inputs + self.units) * 4 * lanes
    }

    pub(super) fn recurrent_len(&self, lanes: usize) -> usize {
        packed_len(self.gates(), self.units, lanes)
    }

    /// Length of the packed weights: for the forward pass, then U^T, then W^T.
    pub fn packed_len(&self, lanes: usize) -> usize {
        self.forward_len(lanes)
            + self.recurrent_len(lanes)
            + packed_len(self.gates(), self.inputs, lanes)
    }

    /// Values a row that the forward pass keeps for the backward pass: gates, cells and the state before each step. The
    /// same for any number of lanes.
    pub fn workspace_len(&self, _lanes: usize) -> usize {
        6 * self.units * self.steps
    }

    /// Values a row of a workspace in which nothing is kept for a backward pass: one cell, and the states before and behind a step. A
    /// single row is faster with [`workspace_len`](Self::workspace_len).
    pub fn states_len(&self) -> usize {
        3 * self.units
    }

    /// Values of a row of the output.
    pub fn output_len(&self) -> usize {
        self.units * if self.sequences { self.steps } else { 1 }
    }

    /// Scratch of the backward pass: d h and d c of a step, and that of its products.
    pub fn backward_scratch_len(&self, rows: usize, lanes: usize) -> usize {
        let (gates, all) = (self.gates(), rows * self.steps);
        let products = [
            gemm_scratch_len(rows, self.units, gates, lanes),
            gemm_scratch_len(self.inputs, gates, all, lanes),
            gemm_scratch_len(self.units, gates, all, lanes),
            gemm_scratch_len(all, self.inputs, gates, lanes),
        ];
        2 * rows * self.units + products.into_iter().max().unwrap_or(0)
    }

    /// # Panics
    /// Where a slice has not the length that the shape says.
    pub(crate) fn check_forward(
        &self,
        rows: usize,
        lanes: usize,
        input: &[f32],
        packed: &[f32],
        bias: &[f32],
        output: &[f32],
        workspace: &[f32],
    ) {
        assert!(self.steps > 0, "an LSTM of no steps");
        assert_eq!(input.len(), rows * self.steps * self.inputs);
        assert_eq!(packed.len(), self.packed_len(lanes));
        assert_eq!(bias.len(), self.gates());
        assert_eq!(output.len(), rows * self.output_len());
        assert!(
            [self.workspace_len(lanes), self.states_len()]
                .map(|len| rows * len)
                .contains(&workspace.len())
        );
    }

    /// # Panics
    /// Where a slice has not the length that the shape says, or the units are not the layer's.
    pub(crate) fn check_step(
        &self,
        lanes: usize,
        step: usize,
        first: usize,
        x: &[f32],
        before: &[f32],
        packed: &[f32],
        bias: &[f32],
        cells: &[f32],
        output: &[f32],
    ) {
        assert_eq!(x.len(), self.inputs);
        assert!(step == 0 || before.len() == self.units);
        assert_eq!(packed.len(), self.packed_len(lanes));
        assert_eq!(bias.len(), self.gates());
        assert_eq!(cells.len(), output.len());
        assert!(first.is_multiple_of(16) && first <= self.units);
        assert!(output.len() <= self.units - first);
    }
}
