//! Dense layer: x W + b, and the activation that it absorbs.

use super::Activate;
use crate::op::{Backward, BatchView, Forward, Initializer, Needs, Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::activation::Activation;
use sonograd_kernels::gemm::{Matrix, gemm_scratch_len, packed_len};
use sonograd_kernels::{Kernels, reference};
use std::any::Any;
use std::ops::Range;

/// A kernel of this many elements or more gets its gradient over the whole batch: a copy a shard would cost more
/// memory traffic than the products themselves.
const WHOLE_BATCH: usize = 32_768;
/// Elements of such a gradient that one task computes.
const GRADIENT_BLOCK: usize = 8_192;
/// The fewest rows of the kernel in a task: fewer would read the batch again and again.
const GRADIENT_ROWS: usize = 64;

/// y = activation(x W + b) with W of inputs x units.
#[derive(Debug, Clone)]
pub struct Dense {
    inputs: usize,
    units: usize,
    activation: Activation,
}

impl Dense {
    /// For an input of one axis.
    ///
    /// # Errors
    /// A message where the input has another number of axes or there are 0 units.
    pub fn new(input: &Shape, units: usize) -> Result<Self, String> {
        let &[inputs] = input.extents() else {
            return Err(format!("its input is a row, not {input}: flatten it first"));
        };
        if units == 0 {
            return Err("0 units: it must have at least 1".into());
        }
        Ok(Self {
            inputs,
            units,
            activation: Activation::Linear,
        })
    }

    fn kernel_len(&self) -> usize {
        self.inputs * self.units
    }

    fn is_whole_batch(&self) -> bool {
        self.kernel_len() >= WHOLE_BATCH
    }

    /// Rows of the kernel that one task of the whole-batch gradient computes.
    fn block_rows(&self) -> usize {
        (GRADIENT_BLOCK / self.units).clamp(GRADIENT_ROWS, self.inputs.max(GRADIENT_ROWS))
    }

    /// The gradient before the activation: kept in the workspace where there is an activation.
    fn before_activation<'a>(&self, d_output: &'a [f32], workspace: &'a [f32]) -> &'a [f32] {
        if self.activation == Activation::Linear {
            d_output
        } else {
            workspace
        }
    }

    /// The same layer with an activation of its output.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

/// Row-major rows x columns.
fn rows(data: &[f32], columns: usize) -> Matrix<'_> {
    Matrix {
        data,
        row_stride: columns,
        column_stride: 1,
    }
}

/// The transpose of a row-major matrix of `columns` columns.
fn transposed(data: &[f32], columns: usize) -> Matrix<'_> {
    Matrix {
        data,
        row_stride: 1,
        column_stride: columns,
    }
}

impl Op for Dense {
    fn kind(&self) -> &'static str {
        "Dense"
    }

    fn output_shape(&self) -> Shape {
        Shape::from([self.units])
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::new(
                "kernel",
                [self.inputs, self.units],
                Initializer::GlorotUniform,
            ),
            Parameter::new("bias", [self.units], Initializer::Zeros),
        ]
    }

    fn flops(&self) -> f64 {
        2.0 * self.kernel_len() as f64
    }

    fn needs(&self, samples: usize, lanes: usize) -> Needs {
        let (inputs, units) = (self.inputs, self.units);
        let scratch = [
            (samples, units, inputs),
            (samples, inputs, units),
            (inputs, units, samples),
        ]
        .map(|(m, n, k)| gemm_scratch_len(m, n, k, lanes));
        let linear = self.activation == Activation::Linear;
        Needs {
            workspace: if linear { 0 } else { units },
            scratch: scratch.into_iter().max().unwrap_or(0),
            packed: packed_len(inputs, units, lanes) + packed_len(units, inputs, lanes),
            reads_inputs: true,
            reads_output: !linear,
            gradient_block: if self.is_whole_batch() {
                self.block_rows() * units
            } else {
                0
            },
            ..Needs::default()
        }
    }

    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        let next: &dyn Any = next;
        let next = next.downcast_ref::<Activate>()?;
        (self.activation == Activation::Linear).then(|| {
            Box::new(Self {
                activation: next.activation,
                ..self.clone()
            }) as Box<dyn Op>
        })
    }

    fn pack(&self, kernels: &'static Kernels, parameters: &[f32], packed: &mut [f32]) {
        let (inputs, units, kernel) = (self.inputs, self.units, &parameters[..self.kernel_len()]);
        let (forward, backward) = packed.split_at_mut(packed_len(inputs, units, kernels.lanes()));
        kernels.gemm_pack(inputs, units, rows(kernel, units), forward);
        kernels.gemm_pack(units, inputs, transposed(kernel, units), backward);
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let (inputs, units) = (self.inputs, self.units);
        call.kernels.gemm_packed(
            call.samples,
            units,
            inputs,
            rows(call.inputs[0], inputs),
            &call.packed[..packed_len(inputs, units, call.kernels.lanes())],
            call.output,
            units,
            false,
            Some(&call.parameters[self.kernel_len()..]),
            self.activation,
            call.scratch,
        );
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let (inputs, units, samples, kernels) =
            (self.inputs, self.units, call.samples, call.kernels);
        if self.activation != Activation::Linear {
            kernels.activation_backward(
                self.activation,
                call.output,
                call.d_output,
                call.workspace,
            );
        }
        let d_output = self.before_activation(call.d_output, call.workspace);
        if !self.is_whole_batch() {
            let (d_kernel, d_bias) = call.d_parameters.split_at_mut(self.kernel_len());
            let x = transposed(call.inputs[0], inputs);
            let d_y = rows(d_output, units);
            kernels.gemm(
                inputs,
                units,
                samples,
                x,
                d_y,
                d_kernel,
                units,
                false,
                call.scratch,
            );
            kernels.column_sums(samples, units, d_output, d_bias);
        }
        if let Some(d_input) = &mut call.d_inputs[0] {
            kernels.gemm_packed(
                samples,
                inputs,
                units,
                rows(d_output, units),
                &call.packed[packed_len(inputs, units, kernels.lanes())..],
                d_input,
                inputs,
                false,
                None,
                Activation::Linear,
                call.scratch,
            );
        }
    }

    /// The kernel with the bias as its last row; a block is whole rows.
    fn batch_gradient(
        &self,
        kernels: &'static Kernels,
        part: Range<usize>,
        batch: &dyn BatchView,
        d_parameters: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (inputs, units) = (self.inputs, self.units);
        let (first, last) = (part.start / units, (part.end / units).min(inputs));
        let (d_kernel, d_bias) = d_parameters.split_at_mut((last - first) * units);
        for i in 0..batch.shards() {
            let shard = batch.shard(i);
            let d_output = self.before_activation(shard.d_output, shard.workspace);
            let x = Matrix {
                data: &shard.input[first..],
                row_stride: 1,
                column_stride: inputs,
            };
            let d_y = rows(d_output, units);
            let accumulate = i > 0;
            kernels.gemm(
                last - first,
                units,
                shard.samples,
                x,
                d_y,
                d_kernel,
                units,
                accumulate,
                scratch,
            );
            if !d_bias.is_empty() && i == 0 {
                kernels.column_sums(shard.samples, units, d_output, d_bias);
            } else if !d_bias.is_empty() {
                d_output
                    .chunks_exact(units)
                    .for_each(|row| kernels.add_assign(d_bias, row));
            }
        }
    }

    fn batch_gradient_scratch(&self, lanes: usize) -> usize {
        // A shard's samples are the products' inner extent; more than the largest shard never come.
        gemm_scratch_len(self.block_rows(), self.units, 64, lanes)
    }

    fn oracle(&self, samples: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64> {
        let (kernel, bias) = parameters.split_at(self.kernel_len());
        let mut output = Vec::with_capacity(samples * self.units);
        for x in inputs[0].chunks_exact(self.inputs) {
            output.extend((0..self.units).map(|j| {
                bias[j]
                    + x.iter()
                        .zip(kernel[j..].iter().step_by(self.units))
                        .map(|(x, w)| x * w)
                        .sum::<f64>()
            }));
        }
        reference::activation_forward(self.activation, &output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients_alone_fused_and_over_the_whole_batch() {
        for (inputs, units, samples) in [
            (1, 1, 1),
            (7, 3, 5),
            (33, 17, 16),
            (4100, 8, 3),
            (300, 110, 5),
        ] {
            let input = Shape::from([inputs]);
            let plain = Dense::new(&input, units).unwrap();
            let relu = Activate::new(Activation::Relu, &plain.output_shape());
            check::op(
                &*plain.absorb(&relu).unwrap(),
                std::slice::from_ref(&input),
                samples,
            );
            check::op(&plain, &[input], samples);
        }
    }
}
