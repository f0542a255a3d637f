//! The gradient of the kernel: every listed gradient times the input under its window.
//!
//! ```text
//! for each block of kernel rows and of registers of the (kx, i) run      the input's band stays in L1
//!   for each channel
//!     accumulators = d_kernel[channel, block]
//!     for each of the channel's entries: accumulators += value * input[offset + block]
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
            ..=4 => add_runs(s.quad(), conv, lists, image, row_len, d_runs),
            5..=8 => add_runs(s.oct(), conv, lists, image, row_len, d_runs),
            _ => add_runs(s, conv, lists, image, row_len, d_runs),
        }
    }
}

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
    // Accumulators; the rest holds the broadcast value.
    let most = if S::REGISTERS >= 32 { 24 } else { 12 };
    let parts = registers.div_ceil(12);
    let mut first = 0;
    for part in 0..parts {
        let n = registers / parts + usize::from(part < registers % parts);
        let mut ky = 0;
        while ky < conv.kernel_height {
            let left = conv.kernel_height - ky;
            let rows = match (most / n).min(left) {
                8.. if n == 1 => 8,
                rows @ 0..4 => rows,
                _ => 4,
            };
            // SAFETY: rows ky..ky + rows and registers first..first + n lie in the kernel.
            unsafe {
                let image = image.add(ky * row_len + first * S::LANES);
                let d_runs = d_runs.add(ky * run_len + first * S::LANES);
                let channel_len = conv.kernel_height * run_len;
                macro_rules! channels {
                    ($rows:literal, $n:literal) => {
                        if const { $rows * $n <= if S::REGISTERS >= 32 { 24 } else { 12 } } {
                            channels::<S, $rows, $n>(
                                s,
                                conv,
                                lists,
                                image,
                                row_len,
                                d_runs,
                                run_len,
                                channel_len,
                            )
                        } else {
                            unreachable!("no more accumulators than registers")
                        }
                    };
                }
                macro_rules! of_rows {
                    ($n:literal) => {
                        match rows {
                            1 => channels!(1, $n),
                            2 => channels!(2, $n),
                            3 => channels!(3, $n),
                            _ => channels!(4, $n),
                        }
                    };
                }
                match n {
                    1 if rows == 8 => channels!(8, 1),
                    1 => of_rows!(1),
                    2 => of_rows!(2),
                    3 => of_rows!(3),
                    4 => of_rows!(4),
                    5 => of_rows!(5),
                    6 => of_rows!(6),
                    7 => of_rows!(7),
                    8 => of_rows!(8),
                    9 => of_rows!(9),
                    10 => of_rows!(10),
                    11 => of_rows!(11),
                    _ => of_rows!(12),
                }
            }
            ky += rows;
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
        // SAFETY: the channel's counted entries have been written.
        unsafe {
            let count = *lists.counts.add(c) as usize;
            if count == 0 {
                continue;
            }
            let entries = lists.by_channel.add(c * lists.capacity).cast_const();
            let to = d_runs.add(c * channel_len);
            if const { ROWS * N <= 6 } {
                accumulate::<S, ROWS, N, 2>(s, entries, count, image, row_len, to, run_len);
            } else {
                accumulate::<S, ROWS, N, 1>(s, entries, count, image, row_len, to, run_len);
            }
        }
    }
}

/// `to[row][n] += sum over the entries of value * image[offset + row][n]`, in SETS sums that do not wait for each
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
                let from = image.add(entry.offset as usize);
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
            let from = image.add(entry.offset as usize);
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
