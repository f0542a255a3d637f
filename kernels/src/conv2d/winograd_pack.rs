//! The kernel as the products of [`winograd`](super::winograd) read it: `u = G g G'` of every pair of channels, 25 packed matrices.

use super::Conv2dShape;
use super::winograd::PATCH;
use crate::gemm::{packed_len, panel_width};
use crate::simd::Simd;

/// See [`Kernels::conv_winograd_pack`](crate::Kernels::conv_winograd_pack).
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn pack_points<S: Simd>(
    _: S,
    conv: &Conv2dShape,
    kernel: &[f32],
    packed: &mut [f32],
) {
    /// The widest panel.
    const WIDEST: usize = 32;
    /// G: the point's powers over the product of its distances from the other points.
    const G: [[f64; 3]; PATCH] = [
        [1.0, 0.0, 0.0],
        [2.0 / 9.0, 2.0 / 9.0, 2.0 / 9.0],
        [8.0 / 9.0, -4.0 / 9.0, 2.0 / 9.0],
        [-1.0 / 9.0, 2.0 / 9.0, -4.0 / 9.0],
        [0.0, 0.0, 1.0],
    ];
    let (depth, filters) = (conv.in_channels, conv.out_channels);
    let point_len = packed_len(depth, filters, S::LANES);
    // In f64, so that u is rounded once. Loops over a panel's filters, which the compiler turns into vectors.
    let mut taps = [[0.0f64; WIDEST]; 9];
    let mut lines = [[[0.0f64; WIDEST]; 3]; PATCH];
    let mut panel = 0;
    while panel < filters {
        let width = panel_width(filters - panel, S::LANES);
        let used = width.min(filters - panel);
        for i in 0..depth {
            for (tap, values) in taps.iter_mut().enumerate() {
                let row = &kernel[(tap * depth + i) * filters + panel..][..used];
                for (value, &g) in values.iter_mut().zip(row) {
                    *value = f64::from(g);
                }
                values[used..].fill(0.0);
            }
            for (line, g) in lines.iter_mut().zip(&G) {
                for (x, values) in line.iter_mut().enumerate() {
                    let rows = [&taps[x], &taps[3 + x], &taps[6 + x]];
                    for (j, value) in values[..width].iter_mut().enumerate() {
                        *value = g[0] * rows[0][j] + g[1] * rows[1][j] + g[2] * rows[2][j];
                    }
                }
            }
            let at = panel * depth + i * width;
            for (y, [a, b, c]) in lines.iter().enumerate() {
                for (x, g) in G.iter().enumerate() {
                    let u = &mut packed[(y * PATCH + x) * point_len + at..][..width];
                    for (j, u) in u.iter_mut().enumerate() {
                        *u = (g[0] * a[j] + g[1] * b[j] + g[2] * c[j]) as f32;
                    }
                }
            }
        }
        panel += width;
    }
}
