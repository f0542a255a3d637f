//! Batch normalisation over the last axis.

/// Mean and variance (divided by the rows) of each channel of x [rows, channels].
pub fn norm_moments(channels: usize, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let rows = (x.len() / channels) as f64;
    let mut mean = vec![0.0; channels];
    for (i, x) in x.iter().enumerate() {
        mean[i % channels] += x / rows;
    }
    let mut variance = vec![0.0; channels];
    for (i, x) in x.iter().enumerate() {
        variance[i % channels] += (x - mean[i % channels]).powi(2) / rows;
    }
    (mean, variance)
}

/// `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta` with the moments of x itself.
pub fn norm_forward(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    let channels = gamma.len();
    let (mean, variance) = norm_moments(channels, x);
    let normalise = |(i, x): (usize, &f64)| {
        let c = i % channels;
        (x - mean[c]) / (variance[c] + epsilon).sqrt() * gamma[c] + beta[c]
    };
    x.iter().enumerate().map(normalise).collect()
}

/// (d_x, d_gamma, d_beta) of [`norm_forward`], the moments' dependence on x included.
pub fn norm_backward(
    x: &[f64],
    d_y: &[f64],
    gamma: &[f64],
    epsilon: f64,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let channels = gamma.len();
    let rows = (x.len() / channels) as f64;
    let (mean, variance) = norm_moments(channels, x);
    let inverse: Vec<f64> = variance
        .iter()
        .map(|v| 1.0 / (v + epsilon).sqrt())
        .collect();
    let x_hat = |i: usize| (x[i] - mean[i % channels]) * inverse[i % channels];
    let (mut d_gamma, mut d_beta) = (vec![0.0; channels], vec![0.0; channels]);
    for i in 0..x.len() {
        d_gamma[i % channels] += d_y[i] * x_hat(i);
        d_beta[i % channels] += d_y[i];
    }
    let d_x = (0..x.len())
        .map(|i| {
            let c = i % channels;
            gamma[c] * inverse[c] * (d_y[i] - d_beta[c] / rows - x_hat(i) * d_gamma[c] / rows)
        })
        .collect();
    (d_x, d_gamma, d_beta)
}
