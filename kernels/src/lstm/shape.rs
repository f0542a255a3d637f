//! The sizes of a layer, and what its buffers have to hold.

use crate::gemm::GemmAlgorithm;

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
    /// How rows of products are multiplied.
    pub products: GemmAlgorithm,
}

impl LstmShape {
    pub(super) fn gates(&self) -> usize {
        4 * self.units
    }

    /// Length of W and U by groups of LANES units: `[group][inputs + units][gate][LANES]`.
    pub(crate) fn forward_len(&self, lanes: usize) -> usize {
        self.units.div_ceil(lanes) * (self.inputs + self.units) * 4 * lanes
    }

    /// The lengths of the packed weights' parts: for the forward pass, U^T, W^T, and where the products are not f32's W and U.
    pub(super) fn packed_lens(&self, lanes: usize) -> [usize; 5] {
        let (gates, products) = (self.gates(), self.products);
        let forward = |k| match products {
            GemmAlgorithm::F32 => 0,
            _ => products.packed_len(k, gates, lanes),
        };
        [
            self.forward_len(lanes),
            products.packed_len(gates, self.units, lanes),
            products.packed_len(gates, self.inputs, lanes),
            forward(self.inputs),
            forward(self.units),
        ]
    }

    /// Length of the packed weights.
    pub fn packed_len(&self, lanes: usize) -> usize {
        self.packed_lens(lanes).iter().sum()
    }

    /// True where the products of so many rows are left to tiles: [`Kernels::lstm_forward_tiles`](crate::Kernels::lstm_forward_tiles)
    /// then, in place of [`Kernels::lstm_forward`](crate::Kernels::lstm_forward). A row alone is exact and faster without, but for
    /// [`GemmAlgorithm::Bf16`], whose rows shall not differ by their number.
    pub fn uses_tiles(&self, rows: usize) -> bool {
        match self.products {
            GemmAlgorithm::F32 => false,
            GemmAlgorithm::Bf16 => true,
            GemmAlgorithm::Bf16x6 | GemmAlgorithm::Bf16x6x3 => rows > 1,
        }
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

    /// Scratch of the forward pass where it is left to tiles, see [`uses_tiles`](Self::uses_tiles).
    pub fn forward_scratch_len(&self, rows: usize, lanes: usize) -> usize {
        let (gates, products) = (self.gates(), self.products);
        let inputs = products.scratch_len(rows * self.steps, gates, self.inputs, lanes);
        inputs.max(products.scratch_len(rows, gates, self.units, lanes))
    }

    /// Scratch of the backward pass: d h and d c of a step, and that of its products.
    pub fn backward_scratch_len(&self, rows: usize, lanes: usize) -> usize {
        let (gates, all, products) = (self.gates(), rows * self.steps, self.products);
        let scratch = [
            products.scratch_len(rows, self.units, gates, lanes),
            self.gates_len(all, lanes) + products.scratch_len(self.inputs, gates, all, lanes),
            self.gates_len(all, lanes) + products.scratch_len(self.units, gates, all, lanes),
            products.scratch_len(all, self.inputs, gates, lanes),
        ];
        2 * rows * self.units + scratch.into_iter().max().unwrap_or(0)
    }

    /// Length of the gates' gradients of `all` rows and steps, packed for both weights' products; f32's pack for themselves.
    pub(super) fn gates_len(&self, all: usize, lanes: usize) -> usize {
        match self.products {
            GemmAlgorithm::F32 => 0,
            products => products.packed_len(all, self.gates(), lanes),
        }
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
