//! The whole layer: packing, all steps, and the backward pass as a composition of kernels.

use super::LstmShape;
use crate::activation::Activation;
use crate::gemm::{GemmAlgorithm, Matrix};
use crate::table::Kernels;

impl Kernels {
    /// Packs W `[inputs, 4 units]` and U `[units, 4 units]` for both directions, once a step.
    ///
    /// # Panics
    /// Where a slice has another length; `packed` has [`LstmShape::packed_len`].
    pub fn lstm_pack(
        &self,
        shape: LstmShape,
        kernel: &[f32],
        recurrent_kernel: &[f32],
        packed: &mut [f32],
    ) {
        let [forward, recurrent_back, input_back, input, _] = shape.packed_lens(self.lanes());
        assert_eq!(packed.len(), shape.packed_len(self.lanes()));
        let (gates, LstmShape { inputs, units, .. }) = (shape.gates(), shape);
        let (forward, rest) = packed.split_at_mut(forward);
        self.lstm_pack_forward(shape, kernel, recurrent_kernel, forward);
        let (recurrent_back, rest) = rest.split_at_mut(recurrent_back);
        let (input_back, rest) = rest.split_at_mut(input_back);
        let (w, u) = (
            Matrix::row_major(kernel, gates),
            Matrix::row_major(recurrent_kernel, gates),
        );
        let products = shape.products;
        self.product_pack(products, gates, units, u.transposed(), recurrent_back);
        self.product_pack(products, gates, inputs, w.transposed(), input_back);
        if products != GemmAlgorithm::F32 {
            let (input, recurrent) = rest.split_at_mut(input);
            self.product_pack(products, inputs, gates, w, input);
            self.product_pack(products, units, gates, u, recurrent);
        }
    }

    /// [`Kernels::lstm_forward`] of several rows by tiles of bf16 parts, in prediction fewer where the algorithm says so: `workspace`
    /// has rows * [`LstmShape::workspace_len`] values in any case, `scratch` [`LstmShape::forward_scratch_len`] of any content.
    ///
    /// # Panics
    /// Where a slice has another length, the layer no steps, or its products are f32's.
    pub fn lstm_forward_tiles(
        &self,
        shape: LstmShape,
        rows: usize,
        training: bool,
        input: &[f32],
        packed: &[f32],
        bias: &[f32],
        output: &mut [f32],
        workspace: &mut [f32],
        scratch: &mut [f32],
    ) {
        let lanes = self.lanes();
        assert_ne!(shape.products, GemmAlgorithm::F32);
        shape.check_forward(rows, lanes, input, packed, bias, output, workspace);
        assert_eq!(workspace.len(), rows * shape.workspace_len(lanes));
        let LstmShape {
            steps,
            inputs,
            units,
            products,
            ..
        } = shape;
        let (gates, all) = (shape.gates(), rows * steps);
        let [.., input_len, recurrent_len] = shape.packed_lens(lanes);
        let weights = &packed[packed.len() - input_len - recurrent_len..];
        let (kernel, recurrent_kernel) = weights.split_at(input_len);
        let linear = Activation::Linear;
        self.product(
            products,
            training,
            (all, 0..gates, inputs),
            Matrix::row_major(input, inputs),
            false,
            kernel,
            &mut workspace[..all * gates],
            gates,
            false,
            Some(bias),
            linear,
            scratch,
        );
        for step in 0..steps {
            if step > 0 && rows > 0 {
                let (z, kept) = workspace.split_at_mut(all * gates);
                let before = Matrix {
                    data: &kept[all * units + step * units..],
                    row_stride: steps * units,
                    column_stride: 1,
                };
                self.product(
                    products,
                    training,
                    (rows, 0..gates, units),
                    before,
                    false,
                    recurrent_kernel,
                    &mut z[step * gates..],
                    steps * gates,
                    true,
                    None,
                    linear,
                    scratch,
                );
            }
            self.lstm_cell_forward(shape, rows, step, output, workspace);
        }
    }

    /// The gradients, all set, not added to: `d_input` [rows, steps, inputs] where it is asked for, `d_kernel`,
    /// `d_recurrent_kernel` and `d_bias` as the weights.
    ///
    /// `workspace` is the forward pass' and is used up. `scratch` has [`LstmShape::backward_scratch_len`] values and
    /// any content. `output` is not needed: the workspace holds the states.
    ///
    /// # Panics
    /// Where a slice has another length, or the layer no steps.
    pub fn lstm_backward(
        &self,
        shape: LstmShape,
        rows: usize,
        input: &[f32],
        _output: &[f32],
        d_output: &[f32],
        workspace: &mut [f32],
        packed: &[f32],
        d_input: Option<&mut [f32]>,
        d_kernel: &mut [f32],
        d_recurrent_kernel: &mut [f32],
        d_bias: &mut [f32],
        scratch: &mut [f32],
    ) {
        let lanes = self.lanes();
        let LstmShape {
            steps,
            inputs,
            units,
            products,
            ..
        } = shape;
        let (gates, all) = (shape.gates(), rows * steps);
        let linear = Activation::Linear;
        assert_eq!(input.len(), all * inputs);
        assert_eq!(d_output.len(), rows * shape.output_len());
        assert_eq!(packed.len(), shape.packed_len(lanes));
        assert_eq!(d_kernel.len(), inputs * gates);
        assert_eq!(d_recurrent_kernel.len(), units * gates);
        assert_eq!(d_bias.len(), gates);
        assert!(
            scratch.len() >= shape.backward_scratch_len(rows, lanes),
            "scratch is too short"
        );
        let [forward, recurrent, kernel, ..] = shape.packed_lens(lanes);
        let (recurrent_transposed, rest) = packed[forward..].split_at(recurrent);
        let kernel_transposed = &rest[..kernel];
        let (d_state, rest) = scratch.split_at_mut(rows * units);
        let (d_cell, scratch) = rest.split_at_mut(rows * units);
        for step in (0..steps).rev() {
            if step + 1 < steps && rows > 0 {
                let dz = Matrix {
                    data: &workspace[(step + 1) * gates..all * gates],
                    row_stride: steps * gates,
                    column_stride: 1,
                };
                self.product(
                    products,
                    true,
                    (rows, 0..units, gates),
                    dz,
                    false,
                    recurrent_transposed,
                    d_state,
                    units,
                    false,
                    None,
                    linear,
                    scratch,
                );
            }
            self.lstm_cell_backward(shape, rows, step, d_output, d_state, d_cell, workspace);
        }
        let (dz, kept) = workspace.split_at(all * gates);
        let before = Matrix::row_major(&kept[all * units..], units).transposed();
        let x = Matrix::row_major(input, inputs).transposed();
        let d_z = Matrix::row_major(dz, gates);
        let (packed_z, rest) = scratch.split_at_mut(shape.gates_len(all, lanes));
        if products != GemmAlgorithm::F32 {
            self.product_pack(products, all, gates, d_z, packed_z);
        }
        for (a, n, gradient) in [(x, inputs, d_kernel), (before, units, d_recurrent_kernel)] {
            match products {
                GemmAlgorithm::F32 => {
                    self.gemm(n, gates, all, a, d_z, gradient, gates, false, rest);
                }
                _ => self.product(
                    products,
                    true,
                    (n, 0..gates, all),
                    a,
                    false,
                    packed_z,
                    gradient,
                    gates,
                    false,
                    None,
                    linear,
                    rest,
                ),
            }
        }
        self.column_sums(all, gates, dz, d_bias);
        if let Some(d_input) = d_input {
            assert_eq!(d_input.len(), all * inputs);
            self.product(
                products,
                true,
                (all, 0..inputs, gates),
                d_z,
                false,
                kernel_transposed,
                d_input,
                inputs,
                false,
                None,
                linear,
                scratch,
            );
        }
    }
}
