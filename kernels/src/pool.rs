//! Max pooling of NHWC maps.

use crate::activation::{Activation, activate};
use crate::simd::Simd;
use std::ops::Range;

/// The shape of a max pooling. Windows that reach over the image's edge are clipped to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolShape {
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input and of the output.
    pub channels: usize,
    /// Rows of a window; `window_height * window_width <= 255`.
    pub window_height: usize,
    /// Columns of a window.
    pub window_width: usize,
    /// Rows from a window to the next.
    pub stride_height: usize,
    /// Columns from a window to the next.
    pub stride_width: usize,
    /// Rows that the first window reaches over the top edge, below `window_height`.
    pub pad_top: usize,
    /// Columns that the first window reaches over the left edge, below `window_width`.
    pub pad_left: usize,
    /// Rows of the output.
    pub out_height: usize,
    /// Columns of the output.
    pub out_width: usize,
}

impl PoolShape {
    /// Values of one sample's input.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Values of one sample's output, and codes of one sample.
    pub fn output_len(&self) -> usize {
        self.out_height * self.out_width * self.channels
    }

    /// # Panics
    /// Where a size is 0, a window has over 255 pixels, or a window misses the image.
    pub(crate) fn check(&self) {
        assert!(self.height > 0 && self.width > 0 && self.channels > 0);
        assert!(self.out_height > 0 && self.out_width > 0);
        assert!(self.stride_height > 0 && self.stride_width > 0);
        assert!(self.window_height * self.window_width <= 255);
        assert!(self.pad_top < self.window_height && self.pad_left < self.window_width);
        assert!((self.out_height - 1) * self.stride_height < self.height + self.pad_top);
        assert!((self.out_width - 1) * self.stride_width < self.width + self.pad_left);
    }

    /// The input rows `first..end` of output row `oy`.
    #[inline(always)]
    pub(crate) fn rows(&self, oy: usize) -> (usize, usize) {
        let top = oy * self.stride_height;
        (
            top.saturating_sub(self.pad_top),
            (top + self.window_height - self.pad_top).min(self.height),
        )
    }

    /// The input columns `first..end` of output column `ox`.
    #[inline(always)]
    pub(crate) fn columns(&self, ox: usize) -> (usize, usize) {
        let left = ox * self.stride_width;
        (
            left.saturating_sub(self.pad_left),
            (left + self.window_width - self.pad_left).min(self.width),
        )
    }
}

/// Rows of an NHWC map that are kept in a ring, row `y` in slot `y % slots`, and where the pooled pixels go.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) start: *const f32,
    pub(crate) slots: usize,
    /// Values from a slot to the next.
    pub(crate) row_len: usize,
    /// Values from a pixel to the next.
    pub(crate) pixel_len: usize,
    /// Values, and codes, from a pixel of the pooled row to the next.
    pub(crate) out_pixel_len: usize,
    /// What is added to every maximum of a channel.
    pub(crate) bias: Bias,
}

impl Rows {
    /// Where N rows from `y0` on stand.
    ///
    /// # Safety
    /// The ring holds them.
    #[inline(always)]
    unsafe fn starts<const N: usize>(&self, y0: usize) -> [*const f32; N] {
        let mut starts = [self.start; N];
        for r in 0..N {
            // SAFETY: row y0 + r stands in its slot.
            starts[r] = unsafe { self.start.add(((y0 + r) % self.slots) * self.row_len) };
        }
        starts
    }
}

/// One value a channel, or 0 for all.
///
/// It is added after the maximum is known: before, two pixels that differ by less than the sum's last digit would
/// become a tie.
#[derive(Clone, Copy)]
pub(crate) struct Bias {
    values: *const f32,
    /// Values from a channel to the next: 1, or 0 for one register of zeros that serves all.
    step: usize,
}

impl Bias {
    /// 0 for every channel.
    const NONE: Self = {
        const ZEROS: &[f32; 16] = &[0.0; 16];
        Self {
            values: ZEROS.as_ptr(),
            step: 0,
        }
    };

    /// `values` may be read for all channels, padded to a whole register.
    pub(crate) fn of(values: *const f32) -> Self {
        Self { values, step: 1 }
    }

    /// # Safety
    /// Channels c.. up to a whole register stand in the values.
    #[inline(always)]
    unsafe fn add<S: Simd>(self, s: S, c: usize, x: S::F) -> S::F {
        // SAFETY: the caller's channels; or LANES <= 16 zeros.
        unsafe { s.add(x, s.load(self.values.add(c * self.step))) }
    }
}

/// Pools output rows of one sample whose map's rows stand in a ring: see `pool_row`.
///
/// # Panics
/// Where a length does not fit the shape, or the ring has fewer slots than a window rows.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn pool_ring<S: Simd>(
    s: S,
    pool: &PoolShape,
    rows: Range<usize>,
    ring: &[f32],
    slots: usize,
    bias: &[f32],
    activation: Activation,
    output: &mut [f32],
    codes: &mut [u8],
) {
    pool.check();
    let row_len = pool.width * pool.channels;
    assert!(rows.end <= pool.out_height);
    assert!(slots >= pool.window_height && ring.len() >= slots * row_len);
    assert!(bias.len() >= pool.channels.next_multiple_of(S::LANES));
    assert_eq!(output.len(), pool.output_len());
    assert!(codes.is_empty() || codes.len() == output.len());
    let ring = Rows {
        start: ring.as_ptr(),
        slots,
        row_len,
        pixel_len: pool.channels,
        out_pixel_len: pool.channels,
        bias: Bias::of(bias.as_ptr()),
    };
    let codes = match codes.is_empty() {
        true => std::ptr::null_mut(),
        false => codes.as_mut_ptr(),
    };
    for oy in rows {
        let at = oy * pool.out_width * pool.channels;
        // SAFETY: the lengths above.
        unsafe {
            let codes = if codes.is_null() {
                codes
            } else {
                codes.add(at)
            };
            let output = output.as_mut_ptr().add(at);
            pool_row(s, pool, oy, ring, activation, output, codes);
        }
    }
}

/// Pools one output row: `output[ox, c] = activation(max + bias[c])`, `codes[ox, c]` = where the maximum stood.
///
/// The activation is monotonic, so taking it after the maximum changes nothing but the number of times it is taken.
/// A NaN that is not a window's first pixel is passed over; without codes, so may be the pixels below it.
///
/// # Safety
/// `rows` holds the rows of `pool.rows(oy)`, each with `width` pixels of `channels` values that may be read;
/// `output` may be written for `out_width` pixels, `codes` too unless it is null.
#[inline(always)]
pub(crate) unsafe fn pool_row<S: Simd>(
    s: S,
    pool: &PoolShape,
    oy: usize,
    rows: Rows,
    activation: Activation,
    output: *mut f32,
    codes: *mut u8,
) {
    let (y0, y1) = pool.rows(oy);
    // The windows inside first..end are not clipped on the left or right.
    let mut first = pool
        .pad_left
        .div_ceil(pool.stride_width)
        .min(pool.out_width);
    let room = (pool.width + pool.pad_left).checked_sub(pool.window_width);
    let mut end = room
        .map_or(0, |room| room / pool.stride_width + 1)
        .clamp(first, pool.out_width);
    let mut whole = pool.channels - pool.channels % S::LANES;
    let relu = activation == Activation::Relu;
    let slope = s.splat(activation.slope());
    macro_rules! inner {
        ($rows:literal, $columns:literal) => {
            match (relu, codes.is_null()) {
                (true, true) => inner!($rows, $columns, true, false),
                (true, false) => inner!($rows, $columns, true, true),
                (false, true) => inner!($rows, $columns, false, false),
                (false, false) => inner!($rows, $columns, false, true),
            }
        };
        ($rows:literal, $columns:literal, $relu:literal, $codes:literal) => {
            inner_windows::<S, $rows, $columns, $relu, $codes>(
                s, pool, oy, rows, slope, output, codes, first, end,
            )
        };
    }
    // SAFETY: handed on from the caller; the windows of first..end have all their columns.
    unsafe {
        match (y1 - y0, pool.window_width) {
            (3, 3) if codes.is_null() && pool.stride_width == 2 && first < end => match relu {
                true => inner_maxima::<S, true>(s, pool, oy, rows, slope, output, first, end),
                false => inner_maxima::<S, false>(s, pool, oy, rows, slope, output, first, end),
            },
            (1, 1) => inner!(1, 1),
            (1, 2) => inner!(1, 2),
            (2, 2) => inner!(2, 2),
            (2, 3) => inner!(2, 3),
            (3, 3) => inner!(3, 3),
            // All of them below.
            _ => (first, end, whole) = (pool.out_width, pool.out_width, pool.channels),
        }
        // What is left: the channels that fill no register, and the windows at the edges.
        if whole < pool.channels {
            for ox in first..end {
                any_window(s, pool, oy, ox, whole, rows, activation, output, codes);
            }
        }
        for (from, to) in [(0, first), (end, pool.out_width)] {
            for ox in from..to {
                any_window(s, pool, oy, ox, 0, rows, activation, output, codes);
            }
        }
    }
}

/// Window `ox` of a row, clipped to the image, for the channels from `first` on.
///
/// # Safety
/// As for `pool_row`.
#[inline(always)]
unsafe fn any_window<S: Simd>(
    s: S,
    pool: &PoolShape,
    oy: usize,
    ox: usize,
    first: usize,
    rows: Rows,
    activation: Activation,
    output: *mut f32,
    codes: *mut u8,
) {
    let ((y0, y1), (x0, x1)) = (pool.rows(oy), pool.columns(ox));
    let first_code = (y0 + pool.pad_top - oy * pool.stride_height) * pool.window_width
        + (x0 + pool.pad_left - ox * pool.stride_width);
    let mut c = first;
    while c < pool.channels {
        let n = S::LANES.min(pool.channels - c);
        let at = ox * rows.out_pixel_len + c;
        let (mut best, mut best_code) = (s.zero(), s.codes(0));
        let mut row_code = first_code;
        for y in y0..y1 {
            // SAFETY: row y stands in its slot; columns x0..x1 and n channels from c lie inside it.
            unsafe {
                let row = rows.start.add((y % rows.slots) * rows.row_len + c);
                for x in x0..x1 {
                    let from = row.add(x * rows.pixel_len);
                    let value = if n == S::LANES {
                        s.load(from)
                    } else {
                        s.load_partial(from, n)
                    };
                    let code = s.codes((row_code + x - x0) as u8);
                    if y == y0 && x == x0 {
                        (best, best_code) = (value, code);
                    } else {
                        // Strictly greater: the first maximum stays.
                        let greater = s.gt(value, best);
                        best = s.select(greater, value, best);
                        best_code = s.select_codes(greater, code, best_code);
                    }
                }
            }
            row_code += pool.window_width;
        }
        // SAFETY: n channels from c of pixel ox lie inside output and codes, and the bias is padded.
        unsafe {
            let value = activate(s, activation, rows.bias.add(s, c, best));
            if n == S::LANES {
                s.store(output.add(at), value);
            } else {
                s.store_partial(output.add(at), value, n);
            }
            if !codes.is_null() {
                store_codes(s, codes.add(at), best_code, n);
            }
        }
        c += n;
    }
}

/// The windows `first..end` of a row, each of ROWS by COLUMNS pixels of the image, for the channels that fill
/// registers. The activation is relu or, in one formula without a branch, linear or leaky by `slope`.
///
/// # Safety
/// As for `pool_row`; the rows are ROWS, no window of these is clipped to fewer than COLUMNS, and `codes` is null
/// just where CODES is false.
#[inline(always)]
unsafe fn inner_windows<
    S: Simd,
    const ROWS: usize,
    const COLUMNS: usize,
    const RELU: bool,
    const CODES: bool,
>(
    s: S,
    pool: &PoolShape,
    oy: usize,
    rows: Rows,
    slope: S::F,
    output: *mut f32,
    codes: *mut u8,
    first: usize,
    end: usize,
) {
    let (y0, _) = pool.rows(oy);
    let first_code = (y0 + pool.pad_top - oy * pool.stride_height) * pool.window_width;
    let first_code = s.codes(first_code as u8);
    // SAFETY: the rows are ROWS.
    let starts = unsafe { rows.starts::<ROWS>(y0) };
    let step = pool.stride_width * rows.pixel_len;
    let mut c = 0;
    while c + S::LANES <= pool.channels {
        let mut from = (first * pool.stride_width - pool.pad_left) * rows.pixel_len + c;
        let mut at = first * rows.out_pixel_len + c;
        for _ in first..end {
            // SAFETY: the window's pixels lie in the rows; LANES channels from c lie inside each, and inside its pixel
            // of output and codes.
            unsafe {
                let mut best = s.load(starts[0].add(from));
                let mut best_code = s.codes(0);
                for r in 0..ROWS {
                    for x in 0..COLUMNS {
                        if r + x > 0 {
                            let value = s.load(starts[r].add(from + x * rows.pixel_len));
                            if CODES {
                                // Strictly greater: the first maximum stays.
                                let code = s.codes((r * COLUMNS + x) as u8);
                                let greater = s.gt(value, best);
                                best_code = s.select_codes(greater, code, best_code);
                            }
                            // Equal or NaN: the second operand.
                            best = s.max(value, best);
                        }
                    }
                }
                let value = activate_by::<S, RELU>(s, slope, rows.bias.add(s, c, best));
                s.store(output.add(at), value);
                if CODES {
                    s.store_codes(codes.add(at), s.add_codes(first_code, best_code));
                }
            }
            from += step;
            at += rows.out_pixel_len;
        }
        c += S::LANES;
    }
}

/// The windows `first..end` of a row of 3 x 3 windows, every second pixel, without codes: a window's last column is the next one's
/// first, so that each column's maximum is taken once.
///
/// # Safety
/// As for `inner_windows`; there is a window.
#[inline(always)]
unsafe fn inner_maxima<S: Simd, const RELU: bool>(
    s: S,
    pool: &PoolShape,
    oy: usize,
    rows: Rows,
    slope: S::F,
    output: *mut f32,
    first: usize,
    end: usize,
) {
    let (y0, _) = pool.rows(oy);
    // SAFETY: the rows are three.
    let starts = unsafe { rows.starts::<3>(y0) };
    let mut c = 0;
    while c + S::LANES <= pool.channels {
        // SAFETY: the windows' pixels lie in the rows; LANES channels from c lie inside each, and inside pixel ox of output.
        unsafe {
            let mut left = column(s, starts, (2 * first - pool.pad_left) * rows.pixel_len + c);
            for ox in first..end {
                let at = (2 * ox - pool.pad_left) * rows.pixel_len + c;
                let middle = column(s, starts, at + rows.pixel_len);
                let right = column(s, starts, at + 2 * rows.pixel_len);
                let best = s.max(right, s.max(middle, left));
                left = right;
                let value = activate_by::<S, RELU>(s, slope, rows.bias.add(s, c, best));
                s.store(output.add(ox * rows.out_pixel_len + c), value);
            }
        }
        c += S::LANES;
    }
}

/// The maximum of three rows' registers at `at`.
///
/// # Safety
/// LANES values may be read there.
#[inline(always)]
unsafe fn column<S: Simd>(s: S, rows: [*const f32; 3], at: usize) -> S::F {
    // SAFETY: the caller's promise.
    unsafe {
        let best = s.max(s.load(rows[1].add(at)), s.load(rows[0].add(at)));
        s.max(s.load(rows[2].add(at)), best)
    }
}

/// Relu or, in one formula without a branch, linear or leaky by `slope`.
#[inline(always)]
pub(crate) fn activate_by<S: Simd, const RELU: bool>(s: S, slope: S::F, x: S::F) -> S::F {
    if RELU {
        activate(s, Activation::Relu, x)
    } else {
        s.select(s.gt(x, s.zero()), x, s.mul(slope, x))
    }
}

/// Writes the first `n <= LANES` lanes as bytes.
///
/// # Safety
/// `n` bytes may be written.
#[inline(always)]
unsafe fn store_codes<S: Simd>(s: S, to: *mut u8, codes: S::Codes, n: usize) {
    debug_assert!(S::LANES <= 16);
    // SAFETY: LANES bytes fit the array; the caller gives n <= LANES bytes.
    unsafe {
        if n == S::LANES {
            s.store_codes(to, codes);
        } else {
            let mut bytes = [0; 16];
            s.store_codes(bytes.as_mut_ptr(), codes);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
        }
    }
}

/// # Panics
/// Where a slice's length does not fit the shape.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn max_pool_forward<S: Simd>(
    s: S,
    pool: &PoolShape,
    samples: usize,
    input: &[f32],
    output: &mut [f32],
    codes: &mut [u8],
) {
    pool.check();
    assert_eq!(input.len(), samples * pool.input_len());
    assert_eq!(output.len(), samples * pool.output_len());
    assert!(codes.is_empty() || codes.len() == output.len());
    let row = pool.out_width * pool.channels;
    for n in 0..samples {
        let rows = Rows {
            start: input[n * pool.input_len()..].as_ptr(),
            slots: pool.height,
            row_len: pool.width * pool.channels,
            pixel_len: pool.channels,
            out_pixel_len: pool.channels,
            bias: Bias::NONE,
        };
        for oy in 0..pool.out_height {
            let at = n * pool.output_len() + oy * row;
            let row_codes = match codes.get_mut(at..) {
                Some(codes) if !codes.is_empty() => codes.as_mut_ptr(),
                _ => std::ptr::null_mut(),
            };
            // SAFETY: the whole map stands in `rows`; the row lies inside output, and inside codes if any.
            unsafe {
                pool_row(
                    s,
                    pool,
                    oy,
                    rows,
                    Activation::Linear,
                    output[at..].as_mut_ptr(),
                    row_codes,
                );
            }
        }
    }
}

/// # Panics
/// Where a slice's length does not fit the shape, or a code points outside the image.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn max_pool_backward<S: Simd>(
    _: S,
    pool: &PoolShape,
    samples: usize,
    d_output: &[f32],
    codes: &[u8],
    d_input: &mut [f32],
) {
    pool.check();
    assert_eq!(d_input.len(), samples * pool.input_len());
    assert_eq!(d_output.len(), samples * pool.output_len());
    assert_eq!(codes.len(), d_output.len());
    d_input.fill(0.0);
    let channels = pool.channels;
    for n in 0..samples {
        let d_input = &mut d_input[n * pool.input_len()..][..pool.input_len()];
        for oy in 0..pool.out_height {
            for ox in 0..pool.out_width {
                let at = ((n * pool.out_height + oy) * pool.out_width + ox) * channels;
                for c in 0..channels {
                    let code = usize::from(codes[at + c]);
                    // Below the padding this wraps and the assertion fails.
                    let y = (oy * pool.stride_height + code / pool.window_width)
                        .wrapping_sub(pool.pad_top);
                    let x = (ox * pool.stride_width + code % pool.window_width)
                        .wrapping_sub(pool.pad_left);
                    assert!(
                        y < pool.height && x < pool.width,
                        "code {code} of output {ox}"
                    );
                    d_input[(y * pool.width + x) * channels + c] += d_output[at + c];
                }
            }
        }
    }
}
