//! Convolution of one row of a one-channel image by 3 x 3 kernels, with the weights held in registers.
//!
//! ```text
//! for each block of output channels                      9 weights a register of channels stay in registers
//!   for each tile of pixels
//!     for each of the tile's input values: broadcast it once, fused multiply-add for each pixel that it reaches
//! ```

use super::Conv2dShape;
use super::pack::BLOCK;
use crate::simd::Simd;

/// Pixels of a tile.
pub(super) const TILE: usize = 5;

/// True where this kernel takes the convolution: 9 weights and a tile's sums fit the registers.
pub(super) fn applies(conv: &Conv2dShape) -> bool {
    conv.in_channels == 1
        && conv.kernel_height == 3
        && conv.kernel_width == 3
        && conv.out_width >= TILE
}

/// One output row without its bias.
///
/// # Safety
/// As for `direct::convolve_row`, of a convolution that `applies` accepts.
#[inline(always)]
pub(super) unsafe fn convolve_row<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    channels: usize,
    image: *const f32,
    row_len: usize,
    weights: *const f32,
    out: *mut f32,
) {
    let mut c = 0;
    while c < channels {
        let registers = BLOCK.min((channels - c) / S::LANES);
        // SAFETY: block c starts at weights + 9 * c; its registers stand beside each other.
        unsafe {
            let weights = weights.add(9 * c);
            let stride = registers * S::LANES;
            if S::REGISTERS >= 32 && registers == 2 {
                let out = out.add(c);
                pixels::<S, 2>(s, conv, image, row_len, weights, stride, out, channels);
            } else {
                for r in 0..registers {
                    let weights = weights.add(r * S::LANES);
                    let out = out.add(c + r * S::LANES);
                    pixels::<S, 1>(s, conv, image, row_len, weights, stride, out, channels);
                }
            }
        }
        c += registers * S::LANES;
    }
}

/// All pixels of a row for C registers of channels. The last tile overlaps the one before: it writes the same again.
///
/// # Safety
/// As for `convolve_row`; `weights` has `stride` values from a tap to the next.
#[inline(always)]
unsafe fn pixels<S: Simd, const C: usize>(
    s: S,
    conv: &Conv2dShape,
    image: *const f32,
    row_len: usize,
    weights: *const f32,
    stride: usize,
    out: *mut f32,
    channels: usize,
) {
    // SAFETY: tap t's registers lie in the block; a tile's pixels lie in the row, its values in the three rows.
    unsafe {
        let mut w = [[[s.zero(); C]; 3]; 3];
        for c in 0..C {
            for ky in 0..3 {
                for kx in 0..3 {
                    w[ky][kx][c] = s.load(weights.add((3 * ky + kx) * stride + c * S::LANES));
                }
            }
        }
        let mut x = 0;
        while x < conv.out_width {
            let first = x.min(conv.out_width - TILE);
            let mut sums = [[s.zero(); C]; TILE];
            for ky in 0..3 {
                let row = image.add(ky * row_len + first);
                for i in 0..TILE + 2 {
                    let value = s.splat(*row.add(i));
                    for kx in 0..3 {
                        if i >= kx && i - kx < TILE {
                            for c in 0..C {
                                sums[i - kx][c] = s.mul_add(value, w[ky][kx][c], sums[i - kx][c]);
                            }
                        }
                    }
                }
            }
            for p in 0..TILE {
                for c in 0..C {
                    s.store(out.add((first + p) * channels + c * S::LANES), sums[p][c]);
                }
            }
            x = first + TILE;
        }
    }
}
