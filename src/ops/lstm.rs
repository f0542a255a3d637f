//! LSTM over all time steps, as one operation.

use crate::op::{Backward, Band, Forward, Initializer, Needs, Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::{GemmAlgorithm, Kernels, LstmShape, reference};
use std::ops::Range;

/// Weights, 64 KB, from which on they leave the first-level cache between two steps, and a step is more than its bands' overhead.
const BANDED: usize = 1 << 14;
/// Units of a band: whole registers of every instruction set.
const BAND_UNITS: usize = 16;

/// An LSTM as Keras': gates i f c o, sigmoid and tanh, states start at 0.
#[derive(Debug, Clone)]
pub struct Lstm {
    shape: LstmShape,
    /// The units that a band of a prediction computes, step by step; none where there are no bands.
    band: Option<Range<usize>>,
}

impl Lstm {
    /// `units` units over an input of steps x features; the output is every step's state, or the last one's.
    ///
    /// # Errors
    /// A message where the input has not two axes or there are 0 units.
    pub fn new(input: &Shape, units: usize, sequences: bool) -> Result<Self, String> {
        let &[steps, inputs] = input.extents() else {
            return Err(format!("its input is steps x features, not {input}"));
        };
        if units == 0 {
            return Err("0 units: it must have at least 1".into());
        }
        Ok(Self {
            shape: LstmShape {
                steps,
                inputs,
                units,
                sequences,
                products: GemmAlgorithm::F32,
            },
            band: None,
        })
    }

    /// Elements of the kernel and of the recurrent kernel.
    fn kernel_lens(&self) -> (usize, usize) {
        let LstmShape { inputs, units, .. } = self.shape;
        (inputs * 4 * units, units * 4 * units)
    }
}

impl Op for Lstm {
    fn kind(&self) -> &'static str {
        "LSTM"
    }

    fn output_shape(&self) -> Shape {
        let LstmShape {
            steps,
            units,
            sequences,
            ..
        } = self.shape;
        if sequences {
            Shape::from([steps, units])
        } else {
            Shape::from([units])
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let LstmShape { inputs, units, .. } = self.shape;
        vec![
            Parameter::new("kernel", [inputs, 4 * units], Initializer::GlorotUniform),
            Parameter::new(
                "recurrent_kernel",
                [units, 4 * units],
                Initializer::Orthogonal,
            ),
            Parameter::new("bias", [4 * units], Initializer::UnitForgetBias),
        ]
    }

    fn flops(&self) -> f64 {
        let (kernel, recurrent) = self.kernel_lens();
        2.0 * (self.shape.steps * (kernel + recurrent)) as f64
    }

    fn needs(&self, samples: usize, lanes: usize) -> Needs {
        let shape = &self.shape;
        Needs {
            workspace: shape.workspace_len(lanes),
            scratch: shape
                .forward_scratch_len(samples, lanes)
                .max(shape.backward_scratch_len(samples, lanes)),
            packed: shape.packed_len(lanes),
            reads_inputs: true,
            ..Needs::default()
        }
    }

    fn products(&mut self) -> Option<(String, &mut GemmAlgorithm)> {
        let LstmShape {
            steps,
            inputs,
            units,
            ..
        } = self.shape;
        let sizes = format!("lstm {steps} x {inputs} to {units}");
        Some((sizes, &mut self.shape.products))
    }

    fn pack(&self, kernels: &'static Kernels, _: usize, parameters: &[f32], packed: &mut [f32]) {
        let (kernel, recurrent) = self.kernel_lens();
        let (kernel, rest) = parameters.split_at(kernel);
        kernels.lstm_pack(self.shape, kernel, &rest[..recurrent], packed);
    }

    /// One sample reads all weights in every step: each thread those of its units. Only every step's output is the next one's state.
    fn bands(&self, count: usize) -> Vec<Band> {
        let LstmShape {
            steps,
            inputs,
            units,
            sequences,
            ..
        } = self.shape;
        let width = units.div_ceil(count).next_multiple_of(BAND_UNITS);
        let worth = width < units && 4 * units * (inputs + units) >= BANDED;
        if !worth || !sequences || self.shape.uses_tiles(1) {
            return Vec::new();
        }
        (0..units)
            .step_by(width)
            .map(|first| {
                let band = first..units.min(first + width);
                Band {
                    op: Box::new(Self {
                        band: Some(band.clone()),
                        ..self.clone()
                    }),
                    input: 0..steps * inputs,
                    output: band,
                }
            })
            .collect()
    }

    fn rounds(&self) -> usize {
        self.shape.steps
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let (kernel, recurrent) = self.kernel_lens();
        let bias = &call.parameters[kernel + recurrent..];
        if let Some(band) = &self.band {
            let inputs = self.shape.inputs;
            return call.kernels.lstm_step(
                self.shape,
                call.slice,
                band.start,
                &call.inputs[0][call.slice * inputs..][..inputs],
                call.inputs[1],
                call.packed,
                bias,
                &mut call.scratch[..band.len()],
                call.output,
            );
        }
        if self.shape.uses_tiles(call.samples) {
            return call.kernels.lstm_forward_tiles(
                self.shape,
                call.samples,
                call.training,
                call.inputs[0],
                call.packed,
                bias,
                call.output,
                call.workspace,
                call.scratch,
            );
        }
        // A row alone has its input product done ahead, in the gates' place.
        let kept = match call.training || call.samples == 1 {
            true => call.workspace.len(),
            false => call.samples * self.shape.states_len(),
        };
        call.kernels.lstm_forward(
            self.shape,
            call.samples,
            call.inputs[0],
            call.packed,
            bias,
            call.output,
            &mut call.workspace[..kept],
        );
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let (kernel, recurrent) = self.kernel_lens();
        let (d_kernel, rest) = call.d_parameters.split_at_mut(kernel);
        let (d_recurrent_kernel, d_bias) = rest.split_at_mut(recurrent);
        call.kernels.lstm_backward(
            self.shape,
            call.samples,
            call.inputs[0],
            call.output,
            call.d_output,
            call.workspace,
            call.packed,
            call.d_inputs[0].as_deref_mut(),
            d_kernel,
            d_recurrent_kernel,
            d_bias,
            call.scratch,
        );
    }

    fn oracle(&self, samples: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64> {
        let (kernel, recurrent) = self.kernel_lens();
        let (kernel, rest) = parameters.split_at(kernel);
        let (recurrent_kernel, bias) = rest.split_at(recurrent);
        let weights = reference::LstmWeights {
            kernel: kernel.to_vec(),
            recurrent_kernel: recurrent_kernel.to_vec(),
            bias: bias.to_vec(),
        };
        reference::lstm_forward(self.shape, samples, inputs[0], &weights, |x| x).output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients_of_sequences_and_of_the_last_state() {
        for (steps, inputs, units, samples) in
            [(1, 1, 1, 1), (5, 6, 9, 3), (4, 3, 32, 5), (7, 17, 5, 16)]
        {
            for sequences in [true, false] {
                let input = Shape::from([steps, inputs]);
                for products in [GemmAlgorithm::F32, GemmAlgorithm::Bf16x6] {
                    let mut lstm = Lstm::new(&input, units, sequences).unwrap();
                    lstm.shape.products = products;
                    check::op(&lstm, std::slice::from_ref(&input), samples);
                }
            }
        }
    }
}
