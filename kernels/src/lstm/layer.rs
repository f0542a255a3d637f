//! The whole layer: packing, all steps, and the backward pass as a composition of kernels.

use super::LstmShape;
use crate::activation::Activation;
use crate::gemm::Matrix;
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
        let lanes = self.lanes();
        assert_eq!(packed.len(), shape.packed_len(lanes));
        let gates = shape.gates();
        let (forward, rest) = packed.split_at_mut(shape.forward_len(lanes));
        let (recurrent, input) = rest.split_at_mut(shape.recurrent_len(lanes));
        self.lstm_pack_forward(shape, kernel, recurrent_kernel, forward);
        let transposed = Matrix::row_major(recurrent_kernel, gates).transposed();
        self.gemm_pack(gates, shape.units, transposed, recurrent);
        let transposed = Matrix::row_major(kernel, gates).transposed();
        self.gemm_pack(gates, shape.inputs, transposed, input);
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
            ..
        } = shape;
        let (gates, all) = (shape.gates(), rows * steps);
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
        let rest = &packed[shape.forward_len(lanes)..];
        let (recurrent_transposed, kernel_transposed) = rest.split_at(shape.recurrent_len(lanes));
        let (d_state, rest) = scratch.split_at_mut(rows * units);
        let (d_cell, scratch) = rest.split_at_mut(rows * units);
        for step in (0..steps).rev() {
            if step + 1 < steps && rows > 0 {
                let dz = Matrix {
                    data: &workspace[(step + 1) * gates..all * gates],
                    row_stride: steps * gates,
                    column_stride: 1,
                };
                self.gemm_packed(
                    rows,
                    units,
                    gates,
                    dz,
                    recurrent_transposed,
                    d_state,
                    units,
                    false,
                    None,
                    Activation::Linear,
                    scratch,
                );
            }
            self.lstm_cell_backward(shape, rows, step, d_output, d_state, d_cell, workspace);
        }
        let (dz, kept) = workspace.split_at(all * gates);
        let before = Matrix::row_major(&kept[all * units..], units).transposed();
        let x = Matrix::row_major(input, inputs).transposed();
        let d_z = Matrix::row_major(dz, gates);
        self.gemm(inputs, gates, all, x, d_z, d_kernel, gates, false, scratch);
        self.gemm(
            units,
            gates,
            all,
            before,
            d_z,
            d_recurrent_kernel,
            gates,
            false,
            scratch,
        );
        self.column_sums(all, gates, dz, d_bias);
        if let Some(d_input) = d_input {
            assert_eq!(d_input.len(), all * inputs);
            let linear = Activation::Linear;
            self.gemm_packed(
                all,
                inputs,
                gates,
                d_z,
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
