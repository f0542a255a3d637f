//! Softmax over the last axis: the head of a classifier, trained by categorical cross-entropy.

use crate::op::{Backward, Forward, LossCall, Needs, Op};
use crate::shape::Shape;

/// exp(x) / sum exp(x) of each row.
#[derive(Debug, Clone)]
pub struct Softmax {
    classes: usize,
}

impl Softmax {
    /// For an input of one axis.
    ///
    /// # Errors
    /// A message where the input has another number of axes or fewer than two classes.
    pub fn new(input: &Shape) -> Result<Self, String> {
        match input.extents() {
            &[classes] if classes >= 2 => Ok(Self { classes }),
            _ => Err(format!(
                "its input is a row of two classes or more, not {input}"
            )),
        }
    }
}

impl Op for Softmax {
    fn kind(&self) -> &'static str {
        "Softmax"
    }

    fn output_shape(&self) -> Shape {
        Shape::from([self.classes])
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs {
            reads_output: true,
            ..Needs::default()
        }
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let (logits, classes) = (call.inputs[0], self.classes);
        call.kernels.softmax_cross_entropy(
            call.samples,
            classes,
            logits,
            None,
            call.output,
            None,
            1.0,
        );
    }

    /// d_x = p (d_p - sum d_p p). Plain loops: a model's head is differentiated by [`Op::loss`], in one pass.
    fn backward(&self, call: &mut Backward<'_>) {
        let Some(d_input) = &mut call.d_inputs[0] else {
            return;
        };
        let rows = d_input
            .chunks_exact_mut(self.classes)
            .zip(call.output.chunks_exact(self.classes));
        for ((d_x, p), d_p) in rows.zip(call.d_output.chunks_exact(self.classes)) {
            let mean: f32 = p.iter().zip(d_p).map(|(p, d)| p * d).sum();
            d_x.iter_mut()
                .zip(p)
                .zip(d_p)
                .for_each(|((d_x, p), d_p)| *d_x = p * (d_p - mean));
        }
    }

    fn is_head(&self) -> bool {
        true
    }

    fn loss(&self, call: &mut LossCall<'_>) -> f64 {
        call.kernels.softmax_cross_entropy(
            call.samples,
            self.classes,
            call.logits,
            Some(call.targets),
            call.probabilities,
            Some(call.d_logits),
            call.scale,
        )
    }

    fn oracle(&self, _: usize, inputs: &[&[f64]], _: &[f64]) -> Vec<f64> {
        let mut output = inputs[0].to_vec();
        for row in output.chunks_mut(self.classes) {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|x| *x = (*x - most).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum);
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;
    use sonograd_kernels::Kernels;

    #[test]
    fn gradients() {
        check::op(
            &Softmax::new(&Shape::from([7])).unwrap(),
            &[Shape::from([7])],
            5,
        );
    }

    #[test]
    fn the_loss_and_its_gradient_are_those_of_the_definition() {
        let (samples, classes) = (3, 5);
        let op = Softmax::new(&Shape::from([classes])).unwrap();
        let logits: Vec<f32> = (0..15).map(|i| ((i * 7) % 11) as f32 / 3.0 - 1.5).collect();
        let mut targets = vec![0.0; 15];
        [2, 5 + 4, 10].iter().for_each(|&i| targets[i] = 1.0);
        let loss = |logits: &[f64]| -> f64 {
            let p = op.oracle(samples, &[logits], &[]);
            p.iter()
                .zip(&targets)
                .filter(|(_, t)| **t == 1.0)
                .map(|(p, _)| -p.ln())
                .sum()
        };
        let wide: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        for kernels in Kernels::available() {
            let (mut probabilities, mut d_logits) = ([f32::NAN; 15], [f32::NAN; 15]);
            let mut call = LossCall {
                kernels,
                samples,
                logits: &logits,
                targets: &targets,
                probabilities: &mut probabilities,
                d_logits: &mut d_logits,
                scale: 0.25,
            };
            let found = op.loss(&mut call);
            assert!((found - loss(&wide)).abs() < 1e-5, "{kernels:?}: {found}");
            for i in 0..15 {
                let mut moved = wide.clone();
                moved[i] += 1e-6;
                let up = loss(&moved);
                moved[i] -= 2e-6;
                let slope = 0.25 * (up - loss(&moved)) / 2e-6;
                assert!(
                    (f64::from(d_logits[i]) - slope).abs() < 1e-6,
                    "{kernels:?} {i}"
                );
            }
        }
    }
}
