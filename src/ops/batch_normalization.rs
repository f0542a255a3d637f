//! Batch normalisation over the last axis.
//!
//! In training by the batch's own mean and (biased) variance, which the moving ones follow; in inference by the moving
//! ones. As Keras keeps them: moving = momentum * moving + (1 - momentum) * batch, with the biased variance here too
//! (docs/parity.md).

use super::{Conv2d, NormConv2d};
use crate::op::{Backward, Forward, Initializer, Needs, Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::{NormGradient, reference};
use std::any::Any;

/// Keras' defaults.
const MOMENTUM: f64 = 0.99;
const EPSILON: f64 = 1e-3;

/// (x - mean) / sqrt(variance + epsilon) * gamma + beta, channel by channel.
#[derive(Debug, Clone)]
pub struct BatchNormalization {
    shape: Shape,
    channels: usize,
}

impl BatchNormalization {
    /// For inputs of this shape; the last axis is the channels.
    ///
    /// # Errors
    /// A message where the input has no axis.
    pub fn new(input: &Shape) -> Result<Self, String> {
        let channels = *input.extents().last().ok_or("its input has no axis")?;
        Ok(Self {
            shape: input.clone(),
            channels,
        })
    }

    /// Values of a channel in so many samples.
    fn rows(&self, samples: usize) -> usize {
        samples * self.shape.len() / self.channels
    }

    /// Mean and 1 / sqrt(variance + epsilon) of a channel: of the batch by its combined `sums`, or the moving ones.
    pub(super) fn channel_statistics(
        &self,
        state: &[f32],
        sums: Option<&[f64]>,
        c: usize,
    ) -> (f64, f64) {
        match sums {
            Some(sums) => (sums[c], sums[self.channels + c]),
            None => {
                let variance = f64::from(state[self.channels + c]);
                (f64::from(state[c]), 1.0 / (variance + EPSILON).sqrt())
            }
        }
    }

    /// What backward turns the gradient by the output by. The combined sums are narrowed into `scratch`, 4 values a channel.
    pub(super) fn gradient<'a>(
        &self,
        parameters: &'a [f32],
        sums: &[f64],
        backward_sums: &[f64],
        scratch: &'a mut [f32],
    ) -> NormGradient<'a> {
        let channels = self.channels;
        let (first, rest) = scratch.split_at_mut(2 * channels);
        let second = &mut rest[..2 * channels];
        narrow(sums, first);
        narrow(backward_sums, second);
        let (mean, inverse_deviation) = first.split_at(channels);
        let (mean_d_y, mean_d_y_x_hat) = second.split_at(channels);
        NormGradient {
            mean,
            inverse_deviation,
            gamma: &parameters[..channels],
            mean_d_y,
            mean_d_y_x_hat,
        }
    }
}

/// Adds the shards' sums, in order, channel by channel.
fn add_shards(shards: &[f64], sums: &mut [f64]) {
    sums.fill(0.0);
    for shard in shards.chunks_exact(sums.len()) {
        sums.iter_mut().zip(shard).for_each(|(sum, x)| *sum += x);
    }
}

fn narrow(from: &[f64], to: &mut [f32]) {
    to.iter_mut()
        .zip(from)
        .for_each(|(to, &from)| *to = from as f32);
}

impl Op for BatchNormalization {
    fn kind(&self) -> &'static str {
        "BatchNormalization"
    }

    fn output_shape(&self) -> Shape {
        self.shape.clone()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let channels = [self.channels];
        let kept = |name, initializer| Parameter {
            trainable: false,
            ..Parameter::new(name, channels, initializer)
        };
        vec![
            Parameter::new("gamma", channels, Initializer::Ones),
            Parameter::new("beta", channels, Initializer::Zeros),
            kept("moving_mean", Initializer::Zeros),
            kept("moving_variance", Initializer::Ones),
        ]
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs {
            scratch: 4 * self.channels,
            reads_inputs: true,
            forward_sums: 2 * self.channels,
            backward_sums: 2 * self.channels,
            ..Needs::default()
        }
    }

    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        let next: &dyn Any = next;
        let conv = next.downcast_ref::<Conv2d>()?;
        Some(Box::new(NormConv2d::new(self, conv)?))
    }

    fn forward_sums(&self, call: &mut Forward<'_>, sums: &mut [f64]) {
        call.kernels
            .norm_sums(self.rows(call.samples), self.channels, call.inputs[0], sums);
    }

    fn combine_forward(&self, samples: usize, shards: &[f64], sums: &mut [f64], state: &mut [f32]) {
        add_shards(shards, sums);
        let rows = self.rows(samples) as f64;
        let (mean, second) = sums.split_at_mut(self.channels);
        let (moving_mean, moving_variance) = state.split_at_mut(self.channels);
        for c in 0..self.channels {
            mean[c] /= rows;
            let variance = (second[c] / rows - mean[c] * mean[c]).max(0.0);
            second[c] = 1.0 / (variance + EPSILON).sqrt();
            let follow = |moving: f32, batch: f64| {
                (MOMENTUM * f64::from(moving) + (1.0 - MOMENTUM) * batch) as f32
            };
            moving_mean[c] = follow(moving_mean[c], mean[c]);
            moving_variance[c] = follow(moving_variance[c], variance);
        }
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let channels = self.channels;
        let (mean, rest) = call.scratch.split_at_mut(channels);
        let inverse_deviation = &mut rest[..channels];
        let sums = call.training.then_some(call.sums);
        for c in 0..channels {
            let (of_mean, of_inverse) = self.channel_statistics(call.state, sums, c);
            (mean[c], inverse_deviation[c]) = (of_mean as f32, of_inverse as f32);
        }
        let (gamma, beta) = call.parameters.split_at(channels);
        let (rows, x) = (self.rows(call.samples), call.inputs[0]);
        call.kernels.norm_forward(
            rows,
            channels,
            x,
            mean,
            inverse_deviation,
            gamma,
            beta,
            call.output,
        );
    }

    fn backward_sums(&self, call: &mut Backward<'_>, sums: &mut [f64]) {
        let channels = self.channels;
        let statistics = &mut call.scratch[..2 * channels];
        narrow(call.sums, statistics);
        let (mean, inverse_deviation) = statistics.split_at(channels);
        let (rows, x) = (self.rows(call.samples), call.inputs[0]);
        call.kernels.norm_backward_sums(
            rows,
            channels,
            x,
            call.d_output,
            mean,
            inverse_deviation,
            sums,
        );
        let (d_beta_sums, d_gamma_sums) = sums.split_at(channels);
        let (d_gamma, d_beta) = call.d_parameters.split_at_mut(channels);
        narrow(d_gamma_sums, d_gamma);
        narrow(d_beta_sums, d_beta);
    }

    fn combine_backward(&self, samples: usize, shards: &[f64], sums: &mut [f64]) {
        add_shards(shards, sums);
        let rows = self.rows(samples) as f64;
        sums.iter_mut().for_each(|sum| *sum /= rows);
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let Some(d_input) = &mut call.d_inputs[0] else {
            return;
        };
        let gradient = self.gradient(call.parameters, call.sums, call.backward_sums, call.scratch);
        call.kernels.norm_backward(
            self.rows(call.samples),
            self.channels,
            call.inputs[0],
            call.d_output,
            gradient,
            d_input,
        );
    }

    fn oracle(&self, _: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64> {
        let (gamma, beta) = parameters.split_at(self.channels);
        reference::norm_forward(inputs[0], gamma, beta, EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients() {
        for (shape, samples) in [
            (Shape::from([3, 4, 5]), 3),
            (Shape::from([1, 1, 33]), 7),
            (Shape::from([2]), 9),
        ] {
            check::op(&BatchNormalization::new(&shape).unwrap(), &[shape], samples);
        }
    }

    #[test]
    fn the_moving_statistics_follow_by_a_hundredth_with_the_biased_variance() {
        let op = BatchNormalization::new(&Shape::from([1])).unwrap();
        // Values 1, 2 in one shard and 6 in another: mean 3, variance (4 + 1 + 9) / 3.
        let (mut sums, mut state) = ([0.0; 2], [10.0, 20.0]);
        op.combine_forward(3, &[3.0, 5.0, 6.0, 36.0], &mut sums, &mut state);
        assert!((sums[0] - 3.0).abs() < 1e-12);
        assert!((state[0] - (0.99 * 10.0 + 0.01 * 3.0)).abs() < 1e-5);
        assert!((state[1] - (0.99 * 20.0 + 0.01 * 14.0 / 3.0)).abs() < 1e-5);
    }
}
