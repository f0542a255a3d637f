//! The gradient of a 3 x 3 kernel on one channel behind a small pool, lanes over the filters.
//!
//! All pixels that a window's codes can name, and the taps around them, are a patch of a few rows: 5 x 5 values behind a
//! pool of 3 x 3. What a tap meets is looked up there, for a register of filters at a time, by the pixels that their codes name:
//!
//! ```text
//! for each pooled row
//!   copy the patches of all its windows                     one behind the other, in L1
//!   for each register of filters, for each window
//!     pixels = where in the patch the codes point
//!     for each tap: sums[tap] += gradient * patch[pixels + tap]
//! ```

use super::{Conv2dShape, ConvBlock};
use crate::activation::activation_gradient;
use crate::norm::NormGradient;
use crate::pool::PoolShape;
use crate::simd::Simd;

/// Rows and columns of the kernel.
const KERNEL: usize = 3;
/// Values from a patch to the next.
const PATCH: usize = 32;
/// Values that a lookup chooses from.
const TABLE: usize = 16;
/// Values that are copied of a patch's row, as many as stand behind the image.
const COPIED: usize = 8;

/// Where the patches of a pooled row stand.
#[derive(Clone, Copy)]
pub(super) struct Patches {
    rows: usize,
    columns: usize,
    /// By column of the kernel, what it meets in the patch under the pixel that a code names: patterns of whole numbers.
    offsets: [[f32; TABLE]; KERNEL],
}

/// What one sample's gradients are read from and added to.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// What forward wrote, its gradient, and the codes.
    pub(super) output: *const f32,
    pub(super) d_output: *const f32,
    /// What has normalised the output before the gradient was taken.
    pub(super) norm: Option<NormGradient<'a>>,
    pub(super) codes: *const u8,
    /// The padded image and its row length.
    pub(super) image: *const f32,
    pub(super) row_len: usize,
    /// Room for the patches of a pooled row: [`scratch_len`].
    pub(super) patches: *mut f32,
    /// HWIO.
    pub(super) d_kernel: *mut f32,
    pub(super) d_bias: *mut f32,
}

/// Values of scratch for the patches of a pooled row.
pub(super) fn scratch_len(pool: &PoolShape) -> usize {
    pool.out_width * PATCH
}

impl Patches {
    /// `None` where the shape is not of this kind: the filters have to be whole registers, and these wide enough for a lookup to be an
    /// instruction or a few.
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Option<Self> {
        let (conv, pool) = (&block.conv, block.pool.as_ref()?);
        let columns = pool.window_width + KERNEL - 1;
        let rows = pool.window_height + KERNEL - 1;
        let last = (pool.window_height - 1) * columns + pool.window_width - 1;
        let fits = [conv.kernel_height, conv.kernel_width, conv.in_channels] == [KERNEL, KERNEL, 1]
            && conv.out_channels.is_multiple_of(lanes)
            && lanes >= 8
            && columns <= COPIED
            && last + KERNEL - 1 < TABLE
            && (rows - 1) * columns + COPIED <= PATCH
            && (KERNEL - 1) * (columns + 1) + TABLE <= PATCH;
        let mut offsets = [[0.0; TABLE]; KERNEL];
        for (kx, offsets) in offsets.iter_mut().enumerate() {
            for (code, offset) in offsets.iter_mut().enumerate() {
                let (y, x) = (code / pool.window_width, code % pool.window_width);
                *offset = f32::from_bits(((y * columns + x).min(last) + kx) as u32);
            }
        }
        fits.then_some(Self {
            rows,
            columns,
            offsets,
        })
    }

    /// Adds one sample's part to `d_kernel` and `d_bias`.
    ///
    /// # Safety
    /// The block is this one's; the sources hold its sample, the image with [`COPIED`] values behind it.
    #[inline(always)]
    pub(super) unsafe fn add<S: Simd>(self, s: S, block: &ConvBlock, from: Sources<'_>) {
        let pool = block.pool_or_identity();
        for oy in 0..pool.out_height {
            let at = oy * pool.out_width * pool.channels;
            // SAFETY: the caller's promise, a pooled row on.
            unsafe {
                self.copy(s, &block.conv, &pool, from, oy);
                let row = Sources {
                    output: from.output.add(at),
                    d_output: from.d_output.add(at),
                    codes: from.codes.add(at),
                    ..from
                };
                for c in (0..pool.channels).step_by(S::LANES) {
                    self.add_filters(s, block, row, c);
                }
            }
        }
    }

    /// Copies the patches of pooled row `oy`. What lies outside the image is looked up by no code of forward's, and is any of its values.
    ///
    /// # Safety
    /// As for `add`.
    #[inline(always)]
    unsafe fn copy<S: Simd>(
        self,
        s: S,
        conv: &Conv2dShape,
        pool: &PoolShape,
        from: Sources<'_>,
        oy: usize,
    ) {
        let s = s.oct();
        for r in 0..self.rows {
            let y = (oy * pool.stride_height + r).saturating_sub(pool.pad_top);
            let y = y.min(conv.padded_height() - 1);
            // SAFETY: row y lies in the image, and a window begins left of its last kernel; the next row's copy overwrites what one
            // row's has too many.
            unsafe {
                let row = from.image.add(y * from.row_len);
                let to = from.patches.add(r * self.columns);
                for ox in 0..pool.out_width {
                    let (x, to) = (ox * pool.stride_width, to.add(ox * PATCH));
                    if x >= pool.pad_left {
                        s.store(to, s.load(row.add(x - pool.pad_left)));
                    } else {
                        for i in 0..self.columns {
                            *to.add(i) = *row.add((x + i).saturating_sub(pool.pad_left));
                        }
                    }
                }
            }
        }
    }

    /// A register of filters from `c` on, for one pooled row.
    ///
    /// # Safety
    /// As for `add`, with the row's sources.
    #[inline(always)]
    unsafe fn add_filters<S: Simd>(self, s: S, block: &ConvBlock, from: Sources<'_>, c: usize) {
        let (filters, windows) = (block.conv.out_channels, block.pool_or_identity().out_width);
        let mut sums = [[s.zero(); KERNEL]; KERNEL];
        let mut d_bias = s.zero();
        // SAFETY: the filters of every window lie in the row; a lookup stays in its patch.
        unsafe {
            let mut register = None;
            if let Some(norm) = from.norm {
                register = Some(norm.register(s, c, S::LANES));
            }
            for ox in 0..windows {
                let at = ox * filters + c;
                // The next row, in the order of memory.
                let next = windows * filters + windows * c + ox * S::LANES;
                s.prefetch(from.output.wrapping_add(next));
                s.prefetch(from.d_output.wrapping_add(next));
                let y = s.load(from.output.add(at));
                let mut g = s.load(from.d_output.add(at));
                if let Some(norm) = register {
                    g = norm.turn(s, y, g);
                }
                let g = activation_gradient(s, block.activation, y, g);
                d_bias = s.add(d_bias, g);
                let code = s.load_index(from.codes.add(at));
                let patch = from.patches.add(ox * PATCH).cast_const();
                for kx in 0..KERNEL {
                    // With registers to spare a row's taps look into the same values.
                    let (named, first) = match S::REGISTERS {
                        32.. => (kx, 0),
                        _ => (0, kx),
                    };
                    let pixel = s.low_bits(s.lookup(self.offsets[named].as_ptr(), code));
                    for ky in 0..KERNEL {
                        let x = s.lookup(patch.add(ky * self.columns + first), pixel);
                        sums[ky][kx] = s.mul_add(g, x, sums[ky][kx]);
                    }
                }
            }
            let to = from.d_bias.add(c);
            s.store(to, s.add(s.load(to), d_bias));
            for ky in 0..KERNEL {
                for kx in 0..KERNEL {
                    let to = from.d_kernel.add((ky * KERNEL + kx) * filters + c);
                    s.store(to, s.add(s.load(to), sums[ky][kx]));
                }
            }
        }
    }
}
