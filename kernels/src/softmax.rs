//! Softmax with cross-entropy.

use crate::simd::Simd;

/// See [`Kernels::softmax_cross_entropy`](crate::Kernels::softmax_cross_entropy).
///
/// In f64 and without vectors: a batch has as many exponentials here as one row of an LSTM step, and the loss is what
/// gradients are checked against. So it is the same number on every instruction set.
///
/// # Safety
/// All slices have rows * classes values.
#[inline(always)]
pub(crate) unsafe fn softmax_cross_entropy<S: Simd>(
    _: S,
    rows: usize,
    classes: usize,
    logits: &[f32],
    targets: Option<&[f32]>,
    probabilities: &mut [f32],
    mut d_logits: Option<&mut [f32]>,
    scale: f32,
) -> f64 {
    let mut loss = 0.0;
    for row in 0..rows {
        let at = row * classes..(row + 1) * classes;
        let logits = &logits[at.clone()];
        let probabilities = &mut probabilities[at.clone()];
        let mut highest = f64::NEG_INFINITY;
        for &logit in logits {
            highest = highest.max(f64::from(logit));
        }
        let mut sum = 0.0;
        for &logit in logits {
            sum += (f64::from(logit) - highest).exp();
        }
        for class in 0..classes {
            let power = (f64::from(logits[class]) - highest).exp();
            probabilities[class] = (power / sum) as f32;
        }
        let Some(targets) = targets else { continue };
        let targets = &targets[at.clone()];
        let log_sum = highest + sum.ln();
        let mut total = 0.0;
        for class in 0..classes {
            let target = f64::from(targets[class]);
            total += target;
            // A class that cannot be (logit -infinity) and is not asked for adds nothing.
            if target != 0.0 {
                loss += target * (log_sum - f64::from(logits[class]));
            }
        }
        // log_sum is NaN where a logit is, also where no target asks for anything.
        loss += log_sum * 0.0;
        if let Some(d_logits) = d_logits.as_deref_mut() {
            let d_logits = &mut d_logits[at];
            for class in 0..classes {
                let power = (f64::from(logits[class]) - highest).exp();
                let difference = power / sum * total - f64::from(targets[class]);
                d_logits[class] = (difference * f64::from(scale)) as f32;
            }
        }
    }
    loss
}
