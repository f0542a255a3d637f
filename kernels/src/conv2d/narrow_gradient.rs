//! The gradient of a kernel whose runs fit one register: few taps of a one-channel image.
//!
//! With so little work an entry, listing would cost more than it saves. Channel after channel, each pooled gradient
//! multiplies the input at the pixel that its code names, straight from the pooled map:
//!
//! ```text
//! for each pooled row                          its gradients and codes stay in L1
//!   for each channel
//!     for each pooled position: sums[ky] += gradient * input[pixel of the code, row ky]
//! ```

use super::Conv2dShape;
use crate::pool::PoolShape;
use crate::simd::Simd;

/// What one sample's gradients are read from and added to.
#[derive(Clone, Copy)]
pub(super) struct Sources {
    /// The gradient before the activation on the pooled grid.
    pub(super) gradient: *const f32,
    /// Codes, or null without a pool.
    pub(super) codes: *const u8,
    /// Values, and codes, from a pooled position to the next.
    pub(super) channels: usize,
    /// The padded image and its row length.
    pub(super) image: *const f32,
    pub(super) row_len: usize,
    /// `[channel][ky][run padded to the narrow register]`
    pub(super) d_runs: *mut f32,
}

/// True where the runs fit the lanes that these kernels use.
pub(super) fn applies(conv: &Conv2dShape) -> bool {
    conv.run() <= 8
}

/// The distance from a window's first pixel to the one that a code names, for every code.
#[inline(always)]
pub(super) fn code_offsets(conv: &Conv2dShape, pool: &PoolShape, row_len: usize) -> [u32; 256] {
    let mut offsets = [0; 256];
    for code in 0..pool.window_height * pool.window_width {
        let (y, x) = (code / pool.window_width, code % pool.window_width);
        offsets[code] = (y * row_len + x * conv.in_channels) as u32;
    }
    offsets
}

/// Adds one sample's part to `d_runs`.
///
/// # Safety
/// The sources hold one sample; `image` may be read for one narrow register behind its end where the run does not
/// fill it; `offsets` are of `code_offsets`.
#[inline(always)]
pub(super) unsafe fn add_sample<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    pool: &PoolShape,
    offsets: &[u32; 256],
    from: Sources,
) {
    for oy in 0..pool.out_height {
        for c in 0..conv.out_channels {
            let mut ky = 0;
            while ky < conv.kernel_height {
                macro_rules! rows {
                    ($token:expr, $rows:literal) => {{
                        // SAFETY: rows ky.. lie in the kernel; the rest is handed on.
                        unsafe {
                            add_rows::<_, $rows>($token, conv, pool, offsets, from, oy, c, ky)
                        }
                        ky += $rows;
                    }};
                }
                match conv.kernel_height - ky {
                    8.. if conv.run() > 4 => rows!(s.oct(), 8),
                    1 if conv.run() > 4 => rows!(s.oct(), 1),
                    _ if conv.run() > 4 => rows!(s.oct(), 2),
                    4.. => rows!(s.quad(), 4),
                    3 => rows!(s.quad(), 3),
                    _ => rows!(s.quad(), 1),
                }
            }
        }
    }
}

/// One pooled row, one channel, ROWS kernel rows from `ky` on.
///
/// # Safety
/// As for `add_sample`.
#[inline(always)]
unsafe fn add_rows<S: Simd, const ROWS: usize>(
    s: S,
    conv: &Conv2dShape,
    pool: &PoolShape,
    offsets: &[u32; 256],
    from: Sources,
    oy: usize,
    c: usize,
    ky: usize,
) {
    // A code that points outside the image must not make a wild pointer.
    let most = (conv.out_height - 1) * from.row_len + (conv.out_width - 1) * conv.in_channels;
    let step = pool.stride_width * conv.in_channels;
    // Left of or above the image this wraps; a true code's offset wraps it back.
    let mut window = (oy * pool.stride_height)
        .wrapping_sub(pool.pad_top)
        .wrapping_mul(from.row_len)
        .wrapping_sub(pool.pad_left * conv.in_channels);
    // SAFETY: positions of row oy lie in the pooled map; every pixel is at most `most`, and `ky + ROWS` rows of its
    // window lie in the image.
    unsafe {
        let image = from.image.add(ky * from.row_len);
        let to = from.d_runs.add((c * conv.kernel_height + ky) * S::LANES);
        let mut at = oy * pool.out_width * from.channels + c;
        let end = at + pool.out_width * from.channels;
        let mut sums = [[s.zero(); ROWS]; 2];
        while at < end {
            // Two sums, so that one addition does not wait for the last.
            for set in 0..2 {
                if at < end {
                    let offset = if from.codes.is_null() {
                        0
                    } else {
                        offsets[usize::from(*from.codes.add(at))] as usize
                    };
                    let pixel = image.add(window.wrapping_add(offset).min(most));
                    let g = s.splat(*from.gradient.add(at));
                    for row in 0..ROWS {
                        let x = s.load(pixel.add(row * from.row_len));
                        sums[set][row] = s.mul_add(g, x, sums[set][row]);
                    }
                    at += from.channels;
                    window = window.wrapping_add(step);
                }
            }
        }
        for row in 0..ROWS {
            let to = to.add(row * S::LANES);
            let sum = s.add(sums[0][row], sums[1][row]);
            s.store(to, s.add(s.load(to), sum));
        }
    }
}
