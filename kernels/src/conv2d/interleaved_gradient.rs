//! The gradient of a kernel whose runs are four values or fewer, few taps of a one-channel image, straight from the pooled map.
//!
//! With so little work an entry, listing would cost more than it saves. Each pooled gradient multiplies the input at the pixel that its code
//! names. Rows of the image stand interleaved with the row below, so that what it meets in two kernel rows is one register of eight:
//!
//! ```text
//! for each pooled row
//!   interleave the rows of the image that its windows begin to read          a few of them, in L1
//!   for each few channels
//!     for each window, for each channel: sums[channel][ky / 2] += gradient * pairs[row of the code + ky, column of the code ..]
//! ```

use super::narrow_gradient::code_offsets;
use super::{Conv2dShape, ConvBlock, split, split_len};
use crate::activation::activation_gradient;
use crate::pool::PoolShape;
use crate::simd::Simd;

/// Values of a run with its row below: a register.
const PAIR: usize = 8;
/// Interleaved rows that are kept, as multiples of what one pooled row reads: those that the next one reads too are moved when the room
/// is used up.
const KEPT: usize = 4;

/// True for runs that fit.
pub(super) fn applies(conv: &Conv2dShape) -> bool {
    2 * conv.run() <= PAIR
}

/// How the rows stand in the scratch.
#[derive(Clone, Copy)]
pub(super) struct InterleavedRows {
    /// Pairs of kernel rows.
    pairs: usize,
    /// Interleaved rows that one pooled row reads.
    read: usize,
    /// Values of one.
    row_len: usize,
    /// Lengths of the parts of the scratch: interleaved rows, zeros for rows outside the image, the gradient of a pooled row before the
    /// activation, and `[channel][pair][kx, i][2]` sums.
    lens: [usize; 4],
}

/// What one sample's gradients are read from, and the bias' that they are added to.
#[derive(Clone, Copy)]
pub(super) struct Sources {
    pub(super) image: *const f32,
    /// What forward wrote, and its gradient.
    pub(super) output: *const f32,
    pub(super) d_output: *const f32,
    /// Null without a pool.
    pub(super) codes: *const u8,
    pub(super) d_bias: *mut f32,
}

impl InterleavedRows {
    pub(super) fn new(conv: &Conv2dShape, pool: &PoolShape, lanes: usize) -> Self {
        let pairs = conv.kernel_height.div_ceil(2);
        let read = pool.window_height + 2 * pairs - 2;
        // A register more at both ends: of the last pixels read, and of those that are written.
        let row_len = 2 * (conv.padded_width() * conv.in_channels + 2 * lanes.max(PAIR));
        Self {
            pairs,
            read,
            row_len,
            lens: [
                KEPT * read * row_len,
                conv.width * conv.in_channels + lanes,
                pool.out_width * pool.channels,
                pool.channels * pairs * PAIR,
            ],
        }
    }

    pub(super) fn scratch_len(&self) -> usize {
        split_len(&self.lens)
    }

    /// The distance from a window's first pixel to the one that a code names.
    pub(super) fn code_offsets(&self, conv: &Conv2dShape, pool: &PoolShape) -> [u32; 256] {
        code_offsets(pool, self.row_len, 2 * conv.in_channels)
    }

    /// Before the first sample.
    pub(super) fn clear(&self, scratch: &mut [f32]) {
        let [rows, zeros, _, sums] = split(self.lens, scratch);
        for part in [rows, zeros, sums] {
            part.fill(0.0);
        }
    }

    /// Behind the last sample: the kernel's gradient, HWIO.
    pub(super) fn write(&self, conv: &Conv2dShape, scratch: &mut [f32], d_kernel: &mut [f32]) {
        let [.., sums] = split(self.lens, scratch);
        let run = conv.run();
        for (at, d_kernel) in d_kernel.chunks_exact_mut(conv.out_channels).enumerate() {
            let (ky, i) = (at / run, at % run);
            let place = ky / 2 * PAIR + 2 * i + ky % 2;
            for (d_kernel, sums) in d_kernel
                .iter_mut()
                .zip(sums.chunks_exact(self.pairs * PAIR))
            {
                *d_kernel = sums[place];
            }
        }
    }

    /// Adds one sample's part to the sums and to d_bias.
    ///
    /// # Safety
    /// The block is this one's, the sources hold a sample of it, and d_bias its filters.
    #[inline(always)]
    pub(super) unsafe fn add<S: Simd>(
        self,
        s: S,
        block: &ConvBlock,
        offsets: &[u32; 256],
        from: Sources,
        scratch: &mut [f32],
    ) {
        let (conv, pool) = (&block.conv, block.pool_or_identity());
        let [rows, zeros, gradient, sums] = split(self.lens, scratch);
        let room = KEPT * self.read;
        let mut d_bias = s.zero();
        // The first row of the padded image that is kept, and the one behind the last.
        let (mut base, mut end) = (0, 0);
        for oy in 0..pool.out_height {
            let first = (oy * pool.stride_height).saturating_sub(pool.pad_top);
            if first + self.read > base + room {
                if first < end {
                    rows.copy_within((first - base) * self.row_len.., 0);
                }
                (base, end) = (first, end.max(first));
            }
            for y in end..first + self.read {
                let to = &mut rows[(y - base) * self.row_len..][..self.row_len];
                // SAFETY: the caller's promise.
                unsafe { self.interleave(s, conv, from.image, y, zeros, to) }
            }
            end = end.max(first + self.read);
            let at = oy * pool.out_width * pool.channels;
            // SAFETY: the caller's promise, a pooled row on.
            unsafe {
                let row = Sources {
                    output: from.output.add(at),
                    d_output: from.d_output.add(at),
                    codes: from
                        .codes
                        .wrapping_add(if from.codes.is_null() { 0 } else { at }),
                    ..from
                };
                d_bias = s.add(d_bias, before_activation(s, block, row, gradient));
                // Left of or above the image this wraps; a true code's offset wraps it back.
                let window = (oy * pool.stride_height)
                    .wrapping_sub(pool.pad_top)
                    .wrapping_sub(base)
                    .wrapping_mul(self.row_len)
                    .wrapping_sub(2 * pool.pad_left * conv.in_channels);
                let step = 2 * pool.stride_width * conv.in_channels;
                let of = PooledRow {
                    layout: self,
                    pool: &pool,
                    offsets,
                    codes: row.codes,
                    window,
                    step,
                };
                of.add(s.oct(), rows, gradient, sums);
            }
        }
        if S::LANES.is_multiple_of(pool.channels) {
            // SAFETY: no register has more lanes, and d_bias holds the filters.
            unsafe {
                let mut lanes = [0.0; 16];
                s.store(lanes.as_mut_ptr(), d_bias);
                for (lane, g) in lanes[..S::LANES].iter().enumerate() {
                    *from.d_bias.add(lane % pool.channels) += g;
                }
            }
        }
    }

    /// Row `y` of the padded image and the row below, value by value. What stands beside the image stays: zeros.
    ///
    /// # Safety
    /// `image` holds a sample.
    #[inline(always)]
    unsafe fn interleave<S: Simd>(
        self,
        s: S,
        conv: &Conv2dShape,
        image: *const f32,
        y: usize,
        zeros: &[f32],
        to: &mut [f32],
    ) {
        let len = conv.visible().1 * conv.in_channels;
        let row = |y: usize| {
            let inside = y.checked_sub(conv.pad_top).filter(|&y| y < conv.height);
            inside.map_or(zeros.as_ptr(), |y| {
                image.wrapping_add(y * conv.width * conv.in_channels)
            })
        };
        let (upper, lower) = (row(y), row(y + 1));
        let to = &mut to[2 * conv.pad_left * conv.in_channels..];
        assert!(to.len() >= 2 * (len + S::LANES) && zeros.len() >= len);
        let to = to.as_mut_ptr();
        for x in (0..len).step_by(S::LANES) {
            let n = S::LANES.min(len - x);
            // SAFETY: `len` values of a row of the image, or of zeros, may be read; up to two registers behind them are written, with zeros.
            unsafe {
                let (upper, lower) = match n == S::LANES {
                    true => (s.load(upper.add(x)), s.load(lower.add(x))),
                    false => (
                        s.load_partial(upper.add(x), n),
                        s.load_partial(lower.add(x), n),
                    ),
                };
                let (low, high) = s.interleave(upper, lower);
                s.store(to.add(2 * x), low);
                s.store(to.add(2 * x + S::LANES), high);
            }
        }
    }
}

/// A pooled row's gradient before the activation. Its part of d_bias: the sum of its registers, where a lane is always the same
/// channel's, else added to d_bias.
///
/// # Safety
/// The sources hold the row, and d_bias the filters.
#[inline(always)]
unsafe fn before_activation<S: Simd>(
    s: S,
    block: &ConvBlock,
    from: Sources,
    gradient: &mut [f32],
) -> S::F {
    let channels = block.conv.out_channels;
    let mut sum = s.zero();
    for x in (0..gradient.len()).step_by(S::LANES) {
        let n = S::LANES.min(gradient.len() - x);
        // SAFETY: n values of the row.
        unsafe {
            let (y, d_y) = match n == S::LANES {
                true => (s.load(from.output.add(x)), s.load(from.d_output.add(x))),
                false => (
                    s.load_partial(from.output.add(x), n),
                    s.load_partial(from.d_output.add(x), n),
                ),
            };
            let g = activation_gradient(s, block.activation, y, d_y);
            sum = s.add(sum, g);
            match n == S::LANES {
                true => s.store(gradient.as_mut_ptr().add(x), g),
                false => s.store_partial(gradient.as_mut_ptr().add(x), g, n),
            }
        }
    }
    if !S::LANES.is_multiple_of(channels) {
        for (at, g) in gradient.iter().enumerate() {
            // SAFETY: d_bias holds the filters.
            unsafe { *from.d_bias.add(at % channels) += g }
        }
    }
    sum
}

/// One pooled row.
struct PooledRow<'a> {
    layout: InterleavedRows,
    pool: &'a PoolShape,
    /// Of `code_offsets`, for the interleaved rows.
    offsets: &'a [u32; 256],
    codes: *const u8,
    /// The first window's place in the rows.
    window: usize,
    /// To the next window's.
    step: usize,
}

impl PooledRow<'_> {
    /// All channels, up to four at a time.
    ///
    /// # Safety
    /// The codes, if there are any, are those of the row.
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, rows: &[f32], gradient: &[f32], sums: &mut [f32]) {
        let channels = self.pool.channels;
        let mut pair = 0;
        while pair < self.layout.pairs {
            let count = (self.layout.pairs - pair).min(2);
            let mut c = 0;
            while c < channels {
                // SAFETY: channels c.. and pairs from `pair` on are as many as the instance takes.
                unsafe {
                    match (count, channels - c) {
                        (2, 4..) => self.sum::<S, 2, 4>(s, pair, c, rows, gradient, sums),
                        (2, 2..) => self.sum::<S, 2, 2>(s, pair, c, rows, gradient, sums),
                        (2, _) => self.sum::<S, 2, 1>(s, pair, c, rows, gradient, sums),
                        (_, 4..) => self.sum::<S, 1, 4>(s, pair, c, rows, gradient, sums),
                        (_, 2..) => self.sum::<S, 1, 2>(s, pair, c, rows, gradient, sums),
                        (_, _) => self.sum::<S, 1, 1>(s, pair, c, rows, gradient, sums),
                    }
                }
                c += match channels - c {
                    4.. => 4,
                    left @ 2.. => left.min(2),
                    _ => 1,
                };
            }
            pair += count;
        }
    }

    /// CHANNELS channels from `c` on, PAIRS pairs of kernel rows from `pair` on.
    ///
    /// # Safety
    /// As for `add`.
    #[inline(always)]
    unsafe fn sum<S: Simd, const PAIRS: usize, const CHANNELS: usize>(
        &self,
        s: S,
        pair: usize,
        c: usize,
        rows: &[f32],
        gradient: &[f32],
        sums: &mut [f32],
    ) {
        let (layout, channels) = (self.layout, self.pool.channels);
        assert!(S::LANES == PAIR && c + CHANNELS <= channels);
        assert!(gradient.len() >= self.pool.out_width * channels);
        assert!(sums.len() >= channels * layout.pairs * PAIR);
        let below = 2 * layout.row_len;
        // A code that points outside must not make a wild pointer.
        let most = rows.len() - ((pair + PAIRS - 1) * below + PAIR);
        // SAFETY: the pixels lie below `most`, the positions in the row.
        unsafe {
            let rows = rows.as_ptr().add(pair * below);
            let gradient = gradient.as_ptr().add(c);
            let codes = self.codes.wrapping_add(c);
            let mut local = [[s.zero(); PAIRS]; CHANNELS];
            let mut window = self.window;
            for ox in 0..self.pool.out_width {
                for i in 0..CHANNELS {
                    let offset = match self.codes.is_null() {
                        true => 0,
                        false => self.offsets[usize::from(*codes.add(ox * channels + i))],
                    };
                    let pixel = rows.add(window.wrapping_add(offset as usize).min(most));
                    let g = s.splat(*gradient.add(ox * channels + i));
                    for pair in 0..PAIRS {
                        let x = s.load(pixel.add(pair * below));
                        local[i][pair] = s.mul_add(g, x, local[i][pair]);
                    }
                }
                window = window.wrapping_add(self.step);
            }
            for i in 0..CHANNELS {
                for (p, local) in local[i].into_iter().enumerate() {
                    let to = ((c + i) * layout.pairs + pair + p) * PAIR;
                    let to = sums.as_mut_ptr().add(to);
                    s.store(to, s.add(s.load(to), local));
                }
            }
        }
    }
}
