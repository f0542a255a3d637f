//! 2-D convolution (cross-correlation, as every network library means it) from its definition.

use crate::conv2d::Conv2dShape;

/// The image's row or column that tap `k` of output `o` reads, or `None` in the padding.
fn source(o: usize, k: usize, pad: usize, len: usize) -> Option<usize> {
    (o + k).checked_sub(pad).filter(|&i| i < len)
}

/// Calls `visit(output index, input index, kernel index)` for every product of the convolution.
fn for_each_product(
    shape: &Conv2dShape,
    samples: usize,
    mut visit: impl FnMut(usize, usize, usize),
) {
    let c = shape;
    for n in 0..samples {
        for oy in 0..c.out_height {
            for ox in 0..c.out_width {
                for ky in 0..c.kernel_height {
                    let Some(iy) = source(oy, ky, c.pad_top, c.height) else {
                        continue;
                    };
                    for kx in 0..c.kernel_width {
                        let Some(ix) = source(ox, kx, c.pad_left, c.width) else {
                            continue;
                        };
                        for i in 0..c.in_channels {
                            for o in 0..c.out_channels {
                                visit(
                                    ((n * c.out_height + oy) * c.out_width + ox) * c.out_channels
                                        + o,
                                    ((n * c.height + iy) * c.width + ix) * c.in_channels + i,
                                    ((ky * c.kernel_width + kx) * c.in_channels + i)
                                        * c.out_channels
                                        + o,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `output[n, oy, ox, o] = bias[o] + sum over ky, kx, i of input[n, oy + ky - pad_top, ox + kx - pad_left, i] * kernel[ky, kx, i, o]`,
/// with 0 outside the image.
pub fn conv2d_forward(
    shape: &Conv2dShape,
    samples: usize,
    input: &[f64],
    kernel: &[f64],
    bias: &[f64],
) -> Vec<f64> {
    let mut output = bias.repeat(samples * shape.out_height * shape.out_width);
    for_each_product(shape, samples, |o, i, k| output[o] += input[i] * kernel[k]);
    output
}

/// The gradients `(d_input, d_kernel, d_bias)`, the last two summed over the samples.
pub fn conv2d_backward(
    shape: &Conv2dShape,
    samples: usize,
    input: &[f64],
    kernel: &[f64],
    d_output: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut d_input = vec![0.0; input.len()];
    let mut d_kernel = vec![0.0; kernel.len()];
    let mut d_bias = vec![0.0; shape.out_channels];
    for (o, g) in d_output.iter().enumerate() {
        d_bias[o % shape.out_channels] += g;
    }
    for_each_product(shape, samples, |o, i, k| {
        d_input[i] += d_output[o] * kernel[k];
        d_kernel[k] += d_output[o] * input[i];
    });
    (d_input, d_kernel, d_bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in -1..1 without a pattern that a wrong index would keep.
    fn noise(len: usize, seed: f64) -> Vec<f64> {
        (0..len)
            .map(|i| ((i as f64 + seed) * 12.9898).sin())
            .collect()
    }

    #[test]
    fn a_hand_computed_convolution() {
        // One row, two taps, `same`: the even kernel pads only on the right.
        let shape = Conv2dShape {
            height: 1,
            width: 3,
            in_channels: 1,
            out_channels: 1,
            kernel_height: 1,
            kernel_width: 2,
            pad_top: 0,
            pad_left: 0,
            out_height: 1,
            out_width: 3,
        };
        let output = conv2d_forward(&shape, 1, &[1.0, 2.0, 3.0], &[10.0, 1.0], &[0.5]);
        assert_eq!(output, [12.5, 23.5, 30.5]);
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let shape = Conv2dShape {
            height: 4,
            width: 5,
            in_channels: 2,
            out_channels: 3,
            kernel_height: 3,
            kernel_width: 2,
            pad_top: 1,
            pad_left: 0,
            out_height: 4,
            out_width: 5,
        };
        let samples = 2;
        let x = noise(samples * shape.input_len(), 0.1);
        let w = noise(shape.kernel_len(), 0.2);
        let b = noise(shape.out_channels, 0.3);
        let g = noise(samples * shape.output_len(), 0.4);
        let loss = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
            let y = conv2d_forward(&shape, samples, x, w, b);
            y.iter().zip(&g).map(|(y, g)| y * g).sum()
        };
        let (dx, dw, db) = conv2d_backward(&shape, samples, &x, &w, &g);
        // The loss is linear in each argument: differences have no truncation error, only rounding's.
        let h = 1e-3;
        let check = |analytic: &[f64], shifted: &dyn Fn(usize, f64) -> f64| {
            for (i, &slope) in analytic.iter().enumerate() {
                let numeric = (shifted(i, h) - shifted(i, -h)) / (2.0 * h);
                assert!((numeric - slope).abs() < 1e-9, "{i}: {numeric} but {slope}");
            }
        };
        let add = |values: &[f64], i: usize, d: f64| {
            let mut values = values.to_vec();
            values[i] += d;
            values
        };
        check(&dx, &|i, d| loss(&add(&x, i, d), &w, &b));
        check(&dw, &|i, d| loss(&x, &add(&w, i, d), &b));
        check(&db, &|i, d| loss(&x, &w, &add(&b, i, d)));
    }
}
