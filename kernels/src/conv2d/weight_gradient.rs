//! The gradient of the kernel: every listed gradient times the input under its window.
//!
//! ```text
//! for each block of kernel rows and of registers of the (kx, i) run      the input's band stays in L1
//!   for each channel
//!     accumulators = d_kernel[channel, block]
//!     for each of the channel's entries: accumulators += value * input[pixel + block]
//! ```

use super::Conv2dShape;
use super::lists::{Entry, Lists};
use crate::simd::Simd;

/// The lanes that hold a run of `run` values: narrow ones for the few taps of a one-channel kernel.
pub(super) fn run_lanes(run: usize, lanes: usize) -> usize {
    match run {
        ..=4 => 4,
        5..=8 => 8,
        _ => lanes,
    }
}

/// Adds a band's part to `d_runs`, `[channel][ky][(kx, i) run padded to run_len]`.
///
/// # Safety
/// `lists` holds the band; `image` may be read for the padded image in rows of `row_len`, and for one register of
/// [`run_lanes`] behind it where the run is not whole registers; `d_runs` may be read and written.
#[inline(always)]
pub(super) unsafe fn add_band<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    lists: Lists,
    image: *const f32,
    row_len: usize,
    d_runs: *mut f32,
) {
    // SAFETY: handed on.
    unsafe {
        match conv.run() {
            ..=4 => add_narrow_runs(s.quad(), conv, lists, image, row_len, d_runs),
            5..=8 => add_narrow_runs(s.oct(), conv, lists, image, row_len, d_runs),
            _ => add_runs(s, conv, lists, image, row_len, d_runs),
        }
    }
}

/// One register holds the run: 1, 3 or 8 kernel rows at a time.
///
/// # Safety
/// As for `add_band`.
#[inline(always)]
unsafe fn add_narrow_runs<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    lists: Lists,
    image: *const f32,
    row_len: usize,
    d_runs: *mut f32,
) {
    let channel_len = conv.kernel_height * S::LANES;
    let mut ky = 0;
    while ky < conv.kernel_height {
        // SAFETY: rows ky.. lie in the kernel.
        unsafe {
            let (image, d_runs) = (image.add(ky * row_len), d_runs.add(ky * S::LANES));
            macro_rules! rows {
                ($rows:literal) => {{
                    channels::<S, $rows, 1>(
                        s,
                        conv,
                        lists,
                        image,
                        row_len,
                        d_runs,
                        S::LANES,
                        channel_len,
                    );
                    ky += $rows;
                }};
            }
            match conv.kernel_height - ky {
                8.. => rows!(8),
                4.. => rows!(4),
                3 => rows!(3),
                _ => rows!(1),
            }
        }
    }
}

/// A run of several registers: up to 12 of them at a time, and as many kernel rows as the accumulators allow.
///
/// # Safety
/// As for `add_band`.
#[inline(always)]
unsafe fn add_runs<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    lists: Lists,
    image: *const f32,
    row_len: usize,
    d_runs: *mut f32,
) {
    let registers = conv.run().div_ceil(S::LANES);
    let run_len = registers * S::LANES;
    let channel_len = conv.kernel_height * run_len;
    let mut first = 0;
    while first < registers {
        let n = match registers - first {
            12.. => 12,
            8.. => 8,
            6.. => 6,
            n @ (3 | 4) => n,
            5 => 3,
            n => n,
        };
        let mut ky = 0;
        while ky < conv.kernel_height {
            let left = conv.kernel_height - ky;
            // SAFETY: rows ky.. and registers first..first + n lie in the kernel.
            unsafe {
                let image = image.add(ky * row_len + first * S::LANES);
                let d_runs = d_runs.add(ky * run_len + first * S::LANES);
                macro_rules! rows {
                    ($rows:literal, $n:literal) => {{
                        channels::<S, $rows, $n>(
                            s,
                            conv,
                            lists,
                            image,
                            row_len,
                            d_runs,
                            run_len,
                            channel_len,
                        );
                        ky += $rows;
                    }};
                }
                // 12 accumulators of 16 registers, 24 of 32.
                match n {
                    1 if left >= 3 => rows!(3, 1),
                    1 => rows!(1, 1),
                    2 if left >= 3 => rows!(3, 2),
                    2 => rows!(1, 2),
                    3 if left >= 3 => rows!(3, 3),
                    3 => rows!(1, 3),
                    4 if left >= 3 => rows!(3, 4),
                    4 => rows!(1, 4),
                    6 if S::REGISTERS >= 32 && left >= 3 => rows!(3, 6),
                    6 if left >= 2 => rows!(2, 6),
                    6 => rows!(1, 6),
                    8 if S::REGISTERS >= 32 && left >= 3 => rows!(3, 8),
                    8 => rows!(1, 8),
                    _ if S::REGISTERS >= 32 && left >= 2 => rows!(2, 12),
                    _ => rows!(1, 12),
                }
            }
        }
        first += n;
    }
}

/// ROWS kernel rows by N registers, channel after channel.
///
/// # Safety
/// As for `add_band`.
#[inline(always)]
unsafe fn channels<S: Simd, const ROWS: usize, const N: usize>(
    s: S,
    conv: &Conv2dShape,
    lists: Lists,
    image: *const f32,
    row_len: usize,
    d_runs: *mut f32,
    run_len: usize,
    channel_len: usize,
) {
    for c in 0..conv.out_channels {
        // SAFETY: the channel's entries have been written.
        unsafe {
            let first = c * lists.capacity;
            let count = *lists.ends.add(c) as usize - first;
            if count == 0 {
                continue;
            }
            let entries = lists.by_channel.add(first).cast_const();
            let to = d_runs.add(c * channel_len);
            if const { ROWS * N <= 6 } {
                accumulate::<S, ROWS, N, 2>(s, entries, count, image, row_len, to, run_len);
            } else {
                accumulate::<S, ROWS, N, 1>(s, entries, count, image, row_len, to, run_len);
            }
        }
    }
}

/// `to[row][n] += sum over the entries of value * image[pixel + row][n]`, in SETS sums that do not wait for each
/// other.
///
/// # Safety
/// As for `add_band`.
#[inline(always)]
unsafe fn accumulate<S: Simd, const ROWS: usize, const N: usize, const SETS: usize>(
    s: S,
    entries: *const Entry,
    count: usize,
    image: *const f32,
    row_len: usize,
    to: *mut f32,
    run_len: usize,
) {
    // SAFETY: handed on from the caller.
    unsafe {
        let mut sums = [[[s.zero(); N]; ROWS]; SETS];
        for row in 0..ROWS {
            for n in 0..N {
                sums[0][row][n] = s.load(to.add(row * run_len + n * S::LANES));
            }
        }
        let mut e = 0;
        while e + SETS <= count {
            for set in 0..SETS {
                let entry = *entries.add(e + set);
                let g = s.splat(entry.value);
                let from = image.add(entry.pixel as usize);
                for row in 0..ROWS {
                    for n in 0..N {
                        let x = s.load(from.add(row * row_len + n * S::LANES));
                        sums[set][row][n] = s.mul_add(g, x, sums[set][row][n]);
                    }
                }
            }
            e += SETS;
        }
        if SETS == 2 && e < count {
            let entry = *entries.add(e);
            let g = s.splat(entry.value);
            let from = image.add(entry.pixel as usize);
            for row in 0..ROWS {
                for n in 0..N {
                    let x = s.load(from.add(row * row_len + n * S::LANES));
                    sums[0][row][n] = s.mul_add(g, x, sums[0][row][n]);
                }
            }
        }
        for row in 0..ROWS {
            for n in 0..N {
                let mut sum = sums[0][row][n];
                for set in 1..SETS {
                    sum = s.add(sum, sums[set][row][n]);
                }
                s.store(to.add(row * run_len + n * S::LANES), sum);
            }
        }
    }
}
