//! Softmax with cross-entropy.

/// (loss summed over the rows, probabilities, gradient of the loss with respect to the logits), all [rows, classes].
pub fn softmax_cross_entropy(
    classes: usize,
    logits: &[f64],
    targets: &[f64],
) -> (f64, Vec<f64>, Vec<f64>) {
    let (mut loss, mut probabilities, mut gradient) = (0.0, Vec::new(), Vec::new());
    for (logits, targets) in logits.chunks(classes).zip(targets.chunks(classes)) {
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        let total: f64 = targets.iter().sum();
        for (&logit, &target) in logits.iter().zip(targets) {
            let probability = (logit - highest).exp() / sum;
            loss -= target * (logit - highest - sum.ln());
            probabilities.push(probability);
            gradient.push(probability * total - target);
        }
    }
    (loss, probabilities, gradient)
}
