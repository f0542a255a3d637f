//! Pooling of a map that stands as one plane a filter, with lanes over the width.

use crate::activation::{Activation, activate};
use crate::pool::PoolShape;
use crate::simd::Simd;

/// A ring of rows of the map, each of one plane a filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Planes {
    /// Rows that are counted before the map's first one.
    pub(super) above: usize,
    /// Row y, those `above` counted, stands in slot `y % slots`.
    pub(super) slots: usize,
    /// Values from a slot to the next.
    pub(super) slot_len: usize,
    /// Values from a plane to the next.
    pub(super) plane_len: usize,
}

impl Planes {
    /// Writes V registers of pixels of F planes, from `to` on.
    ///
    /// # Safety
    /// They lie in the ring.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const F: usize, const V: usize>(
        &self,
        s: S,
        to: *mut f32,
        pixels: &[[S::F; V]; F],
    ) {
        for f in 0..F {
            for v in 0..V {
                // SAFETY: the caller's promise.
                unsafe {
                    s.store(to.add(f * self.plane_len + v * S::LANES), pixels[f][v]);
                }
            }
        }
    }

    /// The same with what stands at `other` added.
    ///
    /// # Safety
    /// Both lie in the ring.
    #[inline(always)]
    pub(super) unsafe fn store_sum<S: Simd, const F: usize, const V: usize>(
        &self,
        s: S,
        to: *mut f32,
        pixels: &[[S::F; V]; F],
        other: *const f32,
    ) {
        for f in 0..F {
            for v in 0..V {
                let at = f * self.plane_len + v * S::LANES;
                // SAFETY: the caller's promise.
                unsafe { s.store(to.add(at), s.add(pixels[f][v], s.load(other.add(at)))) }
            }
        }
    }

    /// Reads V registers of pixels of F planes.
    ///
    /// # Safety
    /// They lie in the ring.
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd, const F: usize, const V: usize>(
        &self,
        s: S,
        from: *const f32,
    ) -> [[S::F; V]; F] {
        let mut pixels = [[s.zero(); V]; F];
        for f in 0..F {
            for v in 0..V {
                // SAFETY: the caller's promise.
                pixels[f][v] = unsafe { s.load(from.add(f * self.plane_len + v * S::LANES)) };
            }
        }
        pixels
    }

    /// Pools row `oy` as `crate::pool::pool_row` does, up to four filters at a time: their pixels are interleaved in registers.
    ///
    /// # Safety
    /// `ring` holds the rows of `pool.rows(oy)`, whose windows stand side by side, 1, 2 or 4 columns each; `output` may be
    /// written for the row, `codes` too where there are CODES.
    #[inline(always)]
    pub(super) unsafe fn pool<S: Simd, const CODES: bool>(
        &self,
        s: S,
        pool: &PoolShape,
        oy: usize,
        ring: *const f32,
        bias: &[f32],
        activation: Activation,
        output: *mut f32,
        codes: *mut u8,
    ) {
        let (y0, y1) = pool.rows(oy);
        let first_code = (y0 + pool.pad_top - oy * pool.stride_height) * pool.window_width;
        let mut done = 0;
        for bias in bias.chunks(4) {
            // SAFETY: the planes, and the values of a pixel, from filter `done` on.
            unsafe {
                let row = PooledRow {
                    planes: self,
                    ring: ring.add(done * self.plane_len),
                    first_slot: (self.above + y0) % self.slots,
                    rows: y1 - y0,
                    first_code,
                    width: pool.out_width,
                    channels: pool.channels,
                    bias,
                    activation,
                    output: output.add(done),
                    codes: codes.wrapping_add(done),
                };
                match pool.window_width {
                    1 => row.pool::<S, 1, CODES>(s),
                    2 => row.pool::<S, 2, CODES>(s),
                    _ => row.pool::<S, 4, CODES>(s),
                }
            }
            done += bias.len();
        }
    }
}

/// A row of windows of up to four filters.
struct PooledRow<'a> {
    planes: &'a Planes,
    /// The first filter's plane in slot 0.
    ring: *const f32,
    /// Slot of the windows' first row, and their rows.
    first_slot: usize,
    rows: usize,
    /// Code of a window's first pixel inside the map.
    first_code: usize,
    /// Windows.
    width: usize,
    /// Values, and codes, from a window's to the next one's.
    channels: usize,
    bias: &'a [f32],
    activation: Activation,
    output: *mut f32,
    codes: *mut u8,
}

impl PooledRow<'_> {
    /// Windows of W columns.
    ///
    /// # Safety
    /// As for [`Planes::pool`].
    #[inline(always)]
    unsafe fn pool<S: Simd, const W: usize, const CODES: bool>(&self, s: S) {
        // SAFETY: handed on from the caller.
        unsafe {
            match self.bias.len() {
                1 => self.filters::<S, W, CODES, 1>(s),
                2 => self.filters::<S, W, CODES, 2>(s),
                3 => self.filters::<S, W, CODES, 3>(s),
                _ => self.filters::<S, W, CODES, 4>(s),
            }
        }
    }

    /// F filters.
    ///
    /// # Safety
    /// As for [`Planes::pool`].
    #[inline(always)]
    unsafe fn filters<S: Simd, const W: usize, const CODES: bool, const F: usize>(&self, s: S) {
        debug_assert!(S::LANES <= 16);
        let mut first = 0;
        while first < self.width {
            let (mut values, mut codes) = ([s.zero(); 4], [s.zero(); 4]);
            let (mut pixels, mut bytes) = ([0.0; 4 * 16], [0; 4 * 16]);
            // SAFETY: filter f's plane and LANES windows of it, some of them behind the row's end but in the plane.
            unsafe {
                for f in 0..F {
                    let plane = self.ring.add(f * self.planes.plane_len + first * W);
                    let (best, code) = self.maximum::<S, W, CODES>(s, plane);
                    let value = s.add(best, s.splat(self.bias[f]));
                    values[f] = activate(s, self.activation, value);
                    codes[f] = code;
                }
                let (values, codes) = (s.transpose4(values), s.transpose4(codes));
                for row in 0..4 {
                    s.store(pixels.as_mut_ptr().add(row * S::LANES), values[row]);
                    if CODES {
                        s.store_u8(bytes.as_mut_ptr().add(row * S::LANES), codes[row]);
                    }
                }
                let left = self.width - first;
                for i in 0..S::LANES {
                    if i < left {
                        // Value f of lane i is now lane 4 * (i / 4) + f of row i % 4.
                        let lane = lane::<S, W>(i);
                        let from = lane % 4 * S::LANES + lane / 4 * 4;
                        let to = (first + i) * self.channels;
                        let pixel = pixels.as_ptr().add(from);
                        self.output.add(to).copy_from_nonoverlapping(pixel, F);
                        if CODES {
                            let pixel = bytes.as_ptr().add(from);
                            self.codes.add(to).copy_from_nonoverlapping(pixel, F);
                        }
                    }
                }
            }
            first += S::LANES;
        }
    }

    /// The maxima of the next LANES windows of a plane, and their codes.
    ///
    /// # Safety
    /// `plane` is one of slot 0 from the first window on.
    #[inline(always)]
    unsafe fn maximum<S: Simd, const W: usize, const CODES: bool>(
        &self,
        s: S,
        plane: *const f32,
    ) -> (S::F, S::F) {
        let mut code = s.splat(self.first_code as f32);
        let (mut best, mut best_code) = (s.zero(), code);
        let mut slot = self.first_slot;
        for row in 0..self.rows {
            // SAFETY: W registers of the row, which stands in its slot.
            let columns = unsafe { split::<S, W>(s, plane.add(slot * self.planes.slot_len)) };
            slot += 1;
            if slot == self.planes.slots {
                slot = 0;
            }
            if row == 0 {
                // The first pixel, whatever it is; it is no greater than itself below.
                best = columns[0];
            }
            for x in 0..W {
                if CODES {
                    // Strictly greater: the first maximum stays.
                    best_code = s.select(s.gt(columns[x], best), code, best_code);
                    code = s.add(code, s.splat(1.0));
                }
                // Equal or NaN: the second operand.
                best = s.max(columns[x], best);
            }
        }
        (best, best_code)
    }
}

/// Column x of the next LANES windows of W columns in register x; window i in lane [`lane`].
///
/// # Safety
/// `W * LANES` values may be read.
#[inline(always)]
unsafe fn split<S: Simd, const W: usize>(s: S, from: *const f32) -> [S::F; W] {
    let mut columns = [s.zero(); W];
    for x in 0..W {
        // SAFETY: the caller gives W registers.
        columns[x] = unsafe { s.load(from.add(x * S::LANES)) };
    }
    if W == 2 {
        (columns[0], columns[1]) = s.deinterleave(columns[0], columns[1]);
    }
    if W == 4 {
        let windows = s.transpose4([columns[0], columns[1], columns[2], columns[3]]);
        columns.copy_from_slice(&windows);
    }
    columns
}

/// The lane of window i: windows of four columns are groups of four lanes, which are transposed where they stand.
#[inline(always)]
fn lane<S: Simd, const W: usize>(i: usize) -> usize {
    let groups = S::LANES / 4;
    if W == 4 {
        4 * (i % groups) + i / groups
    } else {
        i
    }
}
