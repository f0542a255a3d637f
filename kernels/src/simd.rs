//! The small vector vocabulary that every kernel is written in.
//!
//! A value of a type that implements [`Simd`] is a token: it exists only inside a function that was compiled with
//! the instruction set's target features and is only called where the CPU has them (see `table`). Every method is
//! `#[inline(always)]`: a missed inline would silently compile the body without those features.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(feature = "emulated512")]
pub(crate) mod emulated512;
pub(crate) mod portable;

/// A vector of `LANES` f32 and what the kernels do with it.
///
/// # Safety of the pointer methods
/// `load*` and `store*` touch exactly the elements that they name; the caller guarantees that these lie inside one
/// allocation that may be read or written. No alignment is needed.
pub(crate) trait Simd: Copy {
    /// A vector register.
    type F: Copy;
    /// A comparison's result, one bit a lane.
    type Mask: Copy;
    /// A whole number of 0..16 a lane.
    type Index: Copy;
    /// A whole number of 0..=255 a lane.
    type Codes: Copy;
    /// Four lanes in the same instruction set, for rows of up to 4 values.
    type Quad: Simd;
    /// Eight lanes in the same instruction set, for rows of up to 8 values.
    type Oct: Simd;
    /// f32 values a register.
    const LANES: usize;
    /// True where matrix tiles may be used, if the CPU has any.
    const TILES: bool = false;
    /// Vector registers that the instruction set has: a tile's accumulators and operands must fit.
    const REGISTERS: usize;

    /// The four-lane token.
    fn quad(self) -> Self::Quad;
    /// The eight-lane token.
    fn oct(self) -> Self::Oct;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F;
    /// All lanes 0.
    #[inline(always)]
    fn zero(self) -> Self::F {
        self.splat(0.0)
    }
    /// Reads `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::F;
    /// Writes `LANES` values.
    unsafe fn store(self, to: *mut f32, x: Self::F);
    /// Reads the first `n <= LANES` values; the other lanes are 0.
    unsafe fn load_partial(self, from: *const f32, n: usize) -> Self::F;
    /// Writes the first `n <= LANES` lanes.
    unsafe fn store_partial(self, to: *mut f32, x: Self::F, n: usize);
    /// Asks for the cache line at `from`, any address, to be brought into the first-level cache; nothing where it cannot be asked.
    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing that the program sees and faults on no address; every x86-64 CPU has it.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(from.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = from;
    }
    /// Reads `LANES` bytes as whole numbers.
    unsafe fn load_u8(self, from: *const u8) -> Self::F;
    /// Writes `LANES` lanes that hold whole numbers of 0..=255 as bytes.
    unsafe fn store_u8(self, to: *mut u8, x: Self::F);

    /// `a + b`
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the set has FMA.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The square root.
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a > b ? a : b`: `b` where either is NaN, and `b` where they are equal.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`: `b` where either is NaN, and `b` where they are equal.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `|a|`
    fn abs(self, a: Self::F) -> Self::F;
    /// `1 / a` within 1 ULP, for a whose magnitude is in 2^-126..2^126; NaN stays NaN.
    #[inline(always)]
    fn reciprocal(self, a: Self::F) -> Self::F {
        self.div(self.splat(1.0), a)
    }
    /// Lanes where `a > b`; false where either is NaN.
    fn gt(self, a: Self::F, b: Self::F) -> Self::Mask;
    /// Lanes where `a == b`; false where either is NaN.
    fn eq(self, a: Self::F, b: Self::F) -> Self::Mask;
    /// `mask ? a : b`
    fn select(self, mask: Self::Mask, a: Self::F, b: Self::F) -> Self::F;
    /// Bit i is set where lane i is not 0 (NaN counts as not 0).
    fn nonzero_bits(self, a: Self::F) -> u32;
    /// Writes the lanes whose bits are set one after another, patterns as they are. All `LANES` values may be written.
    unsafe fn compress(self, to: *mut f32, a: Self::F, bits: u32);
    /// `LANES` bytes, of which the lowest four bits count.
    unsafe fn load_index(self, from: *const u8) -> Self::Index;
    /// The four lowest bits of each lane's pattern.
    fn low_bits(self, a: Self::F) -> Self::Index;
    /// The sum of two patterns, as whole numbers modulo 2^32, of which `b`'s is shifted up by 19 bits before.
    fn add_shifted(self, a: Self::F, b: Self::F) -> Self::F;
    /// Lane i is that of 16 values from `table` on which lane i of `index` names.
    unsafe fn lookup(self, table: *const f32, index: Self::Index) -> Self::F;
    /// All lanes `x`.
    fn codes(self, x: u8) -> Self::Codes;
    /// Reads `LANES` bytes.
    unsafe fn load_codes(self, from: *const u8) -> Self::Codes;
    /// Lanes where `a == b`.
    fn eq_codes(self, a: Self::Codes, b: Self::Codes) -> Self::Mask;
    /// `a + b`, which is below 256.
    fn add_codes(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// `mask ? a : b`
    fn select_codes(self, mask: Self::Mask, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Writes `LANES` lanes as bytes.
    unsafe fn store_codes(self, to: *mut u8, x: Self::Codes);
    /// The lanes in the opposite order.
    fn reverse(self, a: Self::F) -> Self::F;
    /// `a0 b0 a1 b1 ..`, the first half of the lanes and the second.
    fn interleave(self, a: Self::F, b: Self::F) -> (Self::F, Self::F);
    /// Splits `a` followed by `b` into the values of even and of odd index.
    fn deinterleave(self, a: Self::F, b: Self::F) -> (Self::F, Self::F);
    /// Transposes the 4 x 4 block that every group of four lanes holds across the four rows.
    fn transpose4(self, rows: [Self::F; 4]) -> [Self::F; 4];
}

/// [`Simd`]'s codes as values, for the sets whose comparisons give masks of values.
macro_rules! codes_as_values {
    () => {
        type Codes = Self::F;

        #[inline(always)]
        fn codes(self, x: u8) -> Self::Codes {
            self.splat(f32::from(x))
        }
        #[inline(always)]
        unsafe fn load_codes(self, from: *const u8) -> Self::Codes {
            // SAFETY: the caller's promise.
            unsafe { self.load_u8(from) }
        }
        #[inline(always)]
        fn eq_codes(self, a: Self::Codes, b: Self::Codes) -> Self::Mask {
            self.eq(a, b)
        }
        #[inline(always)]
        fn add_codes(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
            self.add(a, b)
        }
        #[inline(always)]
        fn select_codes(self, mask: Self::Mask, a: Self::Codes, b: Self::Codes) -> Self::Codes {
            self.select(mask, a, b)
        }
        #[inline(always)]
        unsafe fn store_codes(self, to: *mut u8, x: Self::Codes) {
            // SAFETY: the caller's promise.
            unsafe { self.store_u8(to, x) }
        }
    };
}
pub(crate) use codes_as_values;

/// Implements [`Simd`] for a token whose register is two registers of `$half`.
macro_rules! paired_simd {
    ($token:ident, $half:ident, $quad:ident, $oct:ident, $lanes:literal, $registers:literal) => {
        impl $crate::simd::Simd for $token {
            type F = [<$half as Simd>::F; 2];
            type Mask = [<$half as Simd>::Mask; 2];
            type Index = [<$half as Simd>::Index; 2];
            type Quad = $quad;
            type Oct = $oct;
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;

            $crate::simd::codes_as_values!();

            #[inline(always)]
            fn quad(self) -> $quad {
                $half.quad()
            }
            #[inline(always)]
            fn oct(self) -> $oct {
                $half.oct()
            }
            #[inline(always)]
            fn splat(self, x: f32) -> Self::F {
                [$half.splat(x); 2]
            }
            #[inline(always)]
            unsafe fn load(self, from: *const f32) -> Self::F {
                // SAFETY: the caller gives LANES readable values, half for each.
                unsafe { [$half.load(from), $half.load(from.add($half::LANES))] }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32, x: Self::F) {
                // SAFETY: the caller gives LANES writable values, half for each.
                unsafe {
                    $half.store(to, x[0]);
                    $half.store(to.add($half::LANES), x[1]);
                }
            }
            #[inline(always)]
            unsafe fn load_partial(self, from: *const f32, n: usize) -> Self::F {
                let low = n.min($half::LANES);
                // SAFETY: the caller gives n readable values; `low` of them and the rest.
                unsafe {
                    [
                        $half.load_partial(from, low),
                        $half.load_partial(from.wrapping_add(low), n - low),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn store_partial(self, to: *mut f32, x: Self::F, n: usize) {
                let low = n.min($half::LANES);
                // SAFETY: the caller gives n writable values; `low` of them and the rest.
                unsafe {
                    $half.store_partial(to, x[0], low);
                    $half.store_partial(to.wrapping_add(low), x[1], n - low);
                }
            }
            #[inline(always)]
            unsafe fn load_u8(self, from: *const u8) -> Self::F {
                // SAFETY: the caller gives LANES readable bytes, half for each.
                unsafe { [$half.load_u8(from), $half.load_u8(from.add($half::LANES))] }
            }
            #[inline(always)]
            unsafe fn store_u8(self, to: *mut u8, x: Self::F) {
                // SAFETY: the caller gives LANES writable bytes, half for each.
                unsafe {
                    $half.store_u8(to, x[0]);
                    $half.store_u8(to.add($half::LANES), x[1]);
                }
            }
            #[inline(always)]
            fn add(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.add(a[0], b[0]), $half.add(a[1], b[1])]
            }
            #[inline(always)]
            fn sub(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.sub(a[0], b[0]), $half.sub(a[1], b[1])]
            }
            #[inline(always)]
            fn mul(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.mul(a[0], b[0]), $half.mul(a[1], b[1])]
            }
            #[inline(always)]
            fn div(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.div(a[0], b[0]), $half.div(a[1], b[1])]
            }
            #[inline(always)]
            fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
                [
                    $half.mul_add(a[0], b[0], c[0]),
                    $half.mul_add(a[1], b[1], c[1]),
                ]
            }
            #[inline(always)]
            fn sqrt(self, a: Self::F) -> Self::F {
                [$half.sqrt(a[0]), $half.sqrt(a[1])]
            }
            #[inline(always)]
            fn max(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.max(a[0], b[0]), $half.max(a[1], b[1])]
            }
            #[inline(always)]
            fn min(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.min(a[0], b[0]), $half.min(a[1], b[1])]
            }
            #[inline(always)]
            fn abs(self, a: Self::F) -> Self::F {
                [$half.abs(a[0]), $half.abs(a[1])]
            }
            #[inline(always)]
            fn gt(self, a: Self::F, b: Self::F) -> Self::Mask {
                [$half.gt(a[0], b[0]), $half.gt(a[1], b[1])]
            }
            #[inline(always)]
            fn eq(self, a: Self::F, b: Self::F) -> Self::Mask {
                [$half.eq(a[0], b[0]), $half.eq(a[1], b[1])]
            }
            #[inline(always)]
            fn select(self, mask: Self::Mask, a: Self::F, b: Self::F) -> Self::F {
                [
                    $half.select(mask[0], a[0], b[0]),
                    $half.select(mask[1], a[1], b[1]),
                ]
            }
            #[inline(always)]
            fn nonzero_bits(self, a: Self::F) -> u32 {
                $half.nonzero_bits(a[0]) | ($half.nonzero_bits(a[1]) << $half::LANES)
            }
            #[inline(always)]
            unsafe fn compress(self, to: *mut f32, a: Self::F, bits: u32) {
                let (low, high) = (bits & ((1 << $half::LANES) - 1), bits >> $half::LANES);
                // SAFETY: the caller gives LANES writable values; at most half of them lie before the second half's.
                unsafe {
                    $half.compress(to, a[0], low);
                    $half.compress(to.add(low.count_ones() as usize), a[1], high);
                }
            }
            #[inline(always)]
            unsafe fn load_index(self, from: *const u8) -> Self::Index {
                // SAFETY: the caller gives LANES readable bytes, half for each.
                unsafe {
                    [
                        $half.load_index(from),
                        $half.load_index(from.add($half::LANES)),
                    ]
                }
            }
            #[inline(always)]
            fn low_bits(self, a: Self::F) -> Self::Index {
                [$half.low_bits(a[0]), $half.low_bits(a[1])]
            }
            #[inline(always)]
            fn add_shifted(self, a: Self::F, b: Self::F) -> Self::F {
                [$half.add_shifted(a[0], b[0]), $half.add_shifted(a[1], b[1])]
            }
            #[inline(always)]
            unsafe fn lookup(self, table: *const f32, index: Self::Index) -> Self::F {
                // SAFETY: the caller gives 16 readable values.
                unsafe { [$half.lookup(table, index[0]), $half.lookup(table, index[1])] }
            }
            #[inline(always)]
            fn reverse(self, a: Self::F) -> Self::F {
                [$half.reverse(a[1]), $half.reverse(a[0])]
            }
            #[inline(always)]
            fn interleave(self, a: Self::F, b: Self::F) -> (Self::F, Self::F) {
                let (first, second) = $half.interleave(a[0], b[0]);
                let (third, fourth) = $half.interleave(a[1], b[1]);
                ([first, second], [third, fourth])
            }
            #[inline(always)]
            fn deinterleave(self, a: Self::F, b: Self::F) -> (Self::F, Self::F) {
                let (even_a, odd_a) = $half.deinterleave(a[0], a[1]);
                let (even_b, odd_b) = $half.deinterleave(b[0], b[1]);
                ([even_a, even_b], [odd_a, odd_b])
            }
            #[inline(always)]
            fn transpose4(self, rows: [Self::F; 4]) -> [Self::F; 4] {
                let [a, b, c, d] = rows;
                let low = $half.transpose4([a[0], b[0], c[0], d[0]]);
                let high = $half.transpose4([a[1], b[1], c[1], d[1]]);
                [
                    [low[0], high[0]],
                    [low[1], high[1]],
                    [low[2], high[2]],
                    [low[3], high[3]],
                ]
            }
        }
    };
}
pub(crate) use paired_simd;
