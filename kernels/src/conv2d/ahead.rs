//! Asking for the lines of memory that the next pooled row will be written to, while one is computed.
//!
//! A core waits for about two dozen lines at once: a row's are asked for a few at a time, not all together, and in the order of memory, which
//! the second-level cache then goes on with by itself.

use crate::simd::Simd;

/// Codes, bytes, of a cache line.
pub(super) const LINE_CODES: usize = 64;
/// Values of a cache line.
pub(super) const LINE: usize = LINE_CODES / size_of::<f32>();

/// See [`Kernels::prefetch`](crate::Kernels::prefetch).
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn prefetch<S: Simd>(s: S, values: &[f32], codes: &[u8]) {
    for line in values.chunks(LINE) {
        s.prefetch(line.as_ptr());
    }
    for line in codes.chunks(LINE_CODES) {
        s.prefetch(line.as_ptr().cast());
    }
}

/// Pixels of a pooled row that are still to be asked for.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    output: *const f32,
    /// Null where none are written.
    codes: *const u8,
    pixels: usize,
    /// Pixels of one turn.
    share: usize,
    /// Values, and codes, from a pixel to the next.
    step: usize,
    /// Those of a pixel that will be written.
    channels: usize,
}

impl Ahead {
    /// For a row of `pixels`, which may lie anywhere, in so many turns; `codes` is null where none are written.
    pub(super) fn new(
        output: *const f32,
        codes: *const u8,
        pixels: usize,
        step: usize,
        channels: usize,
        turns: usize,
    ) -> Self {
        Self {
            output,
            codes,
            pixels,
            share: pixels.div_ceil(turns.max(1)),
            step,
            channels,
        }
    }

    /// A turn.
    #[inline(always)]
    pub(super) fn ask<S: Simd>(&mut self, s: S) {
        self.ask_for(s, self.share.min(self.pixels));
    }

    /// All that is left.
    #[inline(always)]
    pub(super) fn ask_for_rest<S: Simd>(&mut self, s: S) {
        self.ask_for(s, self.pixels);
    }

    #[inline(always)]
    fn ask_for<S: Simd>(&mut self, s: S, pixels: usize) {
        for _ in 0..pixels {
            let mut c = 0;
            while c < self.channels {
                s.prefetch(self.output.wrapping_add(c));
                c += LINE;
            }
            self.output = self.output.wrapping_add(self.step);
            if !self.codes.is_null() {
                s.prefetch(self.codes.cast());
                self.codes = self.codes.wrapping_add(self.step);
            }
        }
        self.pixels -= pixels;
    }
}
