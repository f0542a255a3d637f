//! Max pooling from its definition.

use crate::pool::PoolShape;

/// Calls `visit(input index, code)` for the pixels of one window that lie in the image, in row-major order.
fn for_each_pixel(
    pool: &PoolShape,
    sample: usize,
    oy: usize,
    ox: usize,
    channel: usize,
    mut visit: impl FnMut(usize, usize),
) {
    for wy in 0..pool.window_height {
        for wx in 0..pool.window_width {
            let y = (oy * pool.stride_height + wy).checked_sub(pool.pad_top);
            let x = (ox * pool.stride_width + wx).checked_sub(pool.pad_left);
            let (Some(y), Some(x)) = (y, x) else { continue };
            if y < pool.height && x < pool.width {
                let pixel = (sample * pool.height + y) * pool.width + x;
                visit(pixel * pool.channels + channel, wy * pool.window_width + wx);
            }
        }
    }
}

/// Calls `visit(output index, sample, oy, ox, channel)` for every output.
fn for_each_output(
    pool: &PoolShape,
    samples: usize,
    mut visit: impl FnMut(usize, usize, usize, usize, usize),
) {
    let mut o = 0;
    for n in 0..samples {
        for oy in 0..pool.out_height {
            for ox in 0..pool.out_width {
                for channel in 0..pool.channels {
                    visit(o, n, oy, ox, channel);
                    o += 1;
                }
            }
        }
    }
}

/// The maximum of every window and its code: `row * window_width + column` inside the unclipped window. The first
/// maximum in row-major order wins a tie.
pub fn max_pool_forward(pool: &PoolShape, samples: usize, input: &[f64]) -> (Vec<f64>, Vec<u8>) {
    let mut output = vec![0.0; samples * pool.output_len()];
    let mut codes = vec![0; samples * pool.output_len()];
    for_each_output(pool, samples, |o, n, oy, ox, channel| {
        let mut best: Option<(f64, usize)> = None;
        for_each_pixel(pool, n, oy, ox, channel, |i, code| {
            if best.is_none_or(|(value, _)| input[i] > value) {
                best = Some((input[i], code));
            }
        });
        let (value, code) = best.expect("a window meets its image");
        output[o] = value;
        codes[o] = u8::try_from(code).expect("a window has at most 255 pixels");
    });
    (output, codes)
}

/// The gradient of the pool's input: every output's gradient goes to the pixel that its code names.
pub fn max_pool_backward(
    pool: &PoolShape,
    samples: usize,
    d_output: &[f64],
    codes: &[u8],
) -> Vec<f64> {
    let mut d_input = vec![0.0; samples * pool.input_len()];
    for_each_output(pool, samples, |o, n, oy, ox, channel| {
        for_each_pixel(pool, n, oy, ox, channel, |i, code| {
            if code == usize::from(codes[o]) {
                d_input[i] += d_output[o];
            }
        });
    });
    d_input
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: PoolShape = PoolShape {
        height: 5,
        width: 4,
        channels: 2,
        window_height: 3,
        window_width: 3,
        stride_height: 2,
        stride_width: 2,
        pad_top: 1,
        pad_left: 0,
        out_height: 3,
        out_width: 2,
    };

    #[test]
    fn the_first_maximum_in_row_major_order_wins() {
        let pool = PoolShape {
            height: 2,
            width: 3,
            channels: 1,
            window_height: 2,
            window_width: 3,
            pad_top: 0,
            out_height: 1,
            out_width: 1,
            ..POOL
        };
        // Equal maxima at (0, 1) and (1, 0).
        let (output, codes) = max_pool_forward(&pool, 1, &[0.0, 7.0, 1.0, 7.0, 2.0, 3.0]);
        assert_eq!((output, codes), (vec![7.0], vec![1]));
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let samples = 2;
        let x: Vec<f64> = (0..samples * POOL.input_len())
            .map(|i| (i as f64 * 12.9898).sin())
            .collect();
        let (y, codes) = max_pool_forward(&POOL, samples, &x);
        let g: Vec<f64> = (0..y.len()).map(|i| (i as f64 * 7.1).cos()).collect();
        let dx = max_pool_backward(&POOL, samples, &g, &codes);
        let loss = |x: &[f64]| -> f64 {
            let (y, _) = max_pool_forward(&POOL, samples, x);
            y.iter().zip(&g).map(|(y, g)| y * g).sum()
        };
        for i in 0..x.len() {
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += 1e-6;
            down[i] -= 1e-6;
            let slope = (loss(&up) - loss(&down)) / 2e-6;
            assert!((slope - dx[i]).abs() < 1e-6, "{i}: {slope} but {}", dx[i]);
        }
    }
}
