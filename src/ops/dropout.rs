//! Inverted dropout: in training each value is dropped with a probability, and the others are scaled up.

use crate::op::{Backward, Forward, Needs, Op, RandomKey};
use crate::shape::Shape;

/// Drops values with probability `rate` in training; the identity otherwise.
///
/// Which ones is told by counters (seed, step, layer, row, element), so nothing is kept for backward, and the shards
/// do not matter.
#[derive(Debug, Clone)]
pub struct Dropout {
    rate: f32,
    shape: Shape,
}

impl Dropout {
    /// For inputs of this shape.
    ///
    /// # Errors
    /// A message where the rate is not in [0, 1).
    pub fn new(input: &Shape, rate: f32) -> Result<Self, String> {
        if !(0.0..1.0).contains(&rate) {
            return Err(format!(
                "a dropout rate of {rate}: it is at least 0 and below 1"
            ));
        }
        Ok(Self {
            rate,
            shape: input.clone(),
        })
    }

    fn keep_scale(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    fn offset(&self, random: RandomKey) -> u64 {
        (random.first_row * self.shape.len()) as u64
    }
}

impl Op for Dropout {
    fn kind(&self) -> &'static str {
        "Dropout"
    }

    fn output_shape(&self) -> Shape {
        self.shape.clone()
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs::default()
    }

    fn forward(&self, call: &mut Forward<'_>) {
        if !call.training || self.rate == 0.0 {
            call.output.copy_from_slice(call.inputs[0]);
            return;
        }
        let (key, offset) = (call.random.key, self.offset(call.random));
        let scale = self.keep_scale();
        call.kernels
            .dropout_forward(call.inputs[0], call.output, scale, self.rate, key, offset);
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let Some(d_input) = &mut call.d_inputs[0] else {
            return;
        };
        if self.rate == 0.0 {
            d_input.copy_from_slice(call.d_output);
            return;
        }
        let (key, offset) = (call.random.key, self.offset(call.random));
        let scale = self.keep_scale();
        call.kernels
            .dropout_backward(call.d_output, d_input, scale, self.rate, key, offset);
    }

    /// The expectation, which is what the layer computes when nothing is dropped.
    fn oracle(&self, _: usize, inputs: &[&[f64]], _: &[f64]) -> Vec<f64> {
        inputs[0].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;
    use sonograd_kernels::Kernels;

    #[test]
    fn gradients_where_nothing_is_dropped() {
        let shape = Shape::from([3, 7]);
        check::op(&Dropout::new(&shape, 0.0).unwrap(), &[shape], 3);
    }

    fn forward(
        op: &Dropout,
        kernels: &'static Kernels,
        input: &[f32],
        random: RandomKey,
        training: bool,
    ) -> Vec<f32> {
        let mut output = vec![f32::NAN; input.len()];
        op.forward(&mut Forward {
            slice: 0,
            kernels,
            samples: input.len() / op.shape.len(),
            training,
            inputs: &[input],
            parameters: &[],
            state: &[],
            packed: &[],
            sums: &[],
            output: &mut output,
            codes: &mut [],
            workspace: &mut [],
            scratch: &mut [],
            random,
        });
        output
    }

    /// y = m x with a mask m that does not depend on x: the gradient is the same mask, and it is linear.
    #[test]
    fn backward_has_forwards_mask_on_any_shard_and_instruction_set() {
        let op = Dropout::new(&Shape::from([37]), 0.3).unwrap();
        let input = vec![1.0; 37 * 20];
        let random = RandomKey {
            key: 99,
            first_row: 0,
        };
        let mask = forward(
            &op,
            Kernels::of(sonograd_kernels::Isa::Portable).unwrap(),
            &input,
            random,
            true,
        );
        let kept = mask.iter().filter(|&&m| m != 0.0).count() as f64 / mask.len() as f64;
        // 740 draws of probability 0.7: a standard deviation of 0.017.
        assert!((kept - 0.7).abs() < 0.07, "{kept}");
        assert!(
            mask.iter()
                .all(|&m| m == 0.0 || (m - 1.0 / 0.7).abs() < 1e-6)
        );
        for kernels in Kernels::available() {
            for (first_row, rows) in [(0, 20), (3, 17), (19, 1)] {
                let part = &input[first_row * 37..(first_row + rows) * 37];
                let random = RandomKey { key: 99, first_row };
                assert_eq!(
                    forward(&op, kernels, part, random, true),
                    mask[first_row * 37..][..rows * 37]
                );
                assert_eq!(forward(&op, kernels, part, random, false), part);
                let mut d_input = vec![f32::NAN; part.len()];
                op.backward(&mut Backward {
                    slice: 0,
                    kernels,
                    samples: rows,
                    inputs: &[&[]],
                    output: &[],
                    d_output: part,
                    norm: None,
                    parameters: &[],
                    packed: &[],
                    sums: &[],
                    backward_sums: &[],
                    codes: &[],
                    workspace: &mut [],
                    scratch: &mut [],
                    d_inputs: &mut [Some(&mut d_input)],
                    d_parameters: &mut [],
                    random,
                });
                assert_eq!(d_input, mask[first_row * 37..][..rows * 37]);
            }
        }
        let other = RandomKey {
            key: 100,
            first_row: 0,
        };
        assert_ne!(
            forward(
                &op,
                Kernels::available().last().unwrap(),
                &input,
                other,
                true
            ),
            mask
        );
    }
}
