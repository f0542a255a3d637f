//! AVX2 with FMA: 8 lanes, and 4 lanes in the lower halves.

use super::{Simd, codes_as_values};
use std::arch::x86_64::*;

/// Eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Quad(());

impl Avx2 {
    /// The token.
    ///
    /// # Safety
    /// Only inside a function that is compiled with `avx2,fma,popcnt` and that is only called where the CPU has them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Sliding window over this table gives a lane mask whose first n lanes are set.
static PREFIX: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The places of the bits that are set in a byte, in order.
static SET_LANES: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut bits = 0;
    while bits < table.len() {
        let (mut lane, mut place) = (0, 0);
        while lane < 8 {
            if bits >> lane & 1 == 1 {
                table[bits][place] = lane;
                place += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
};

impl Simd for Avx2 {
    type F = __m256;
    type Mask = __m256;
    /// The number, and its fourth bit as the sign.
    type Index = [__m256i; 2];
    type Quad = Avx2Quad;
    type Oct = Avx2;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    codes_as_values!();

    #[inline(always)]
    fn quad(self) -> Avx2Quad {
        Avx2Quad(())
    }
    #[inline(always)]
    fn oct(self) -> Avx2 {
        self
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the token proves AVX2; the caller gives 8 readable values.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m256) {
        // SAFETY: the token proves AVX2; the caller gives 8 writable values.
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, n: usize) -> __m256 {
        debug_assert!(n <= 8);
        // SAFETY: masked-off lanes are not touched; the table has 8 entries from 8 - n on, n <= 8.
        unsafe {
            let mask = _mm256_loadu_si256(PREFIX.as_ptr().add(8 - n).cast());
            _mm256_maskload_ps(from, mask)
        }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, x: __m256, n: usize) {
        debug_assert!(n <= 8);
        // SAFETY: as in load_partial, for writing.
        unsafe {
            let mask = _mm256_loadu_si256(PREFIX.as_ptr().add(8 - n).cast());
            _mm256_maskstore_ps(to, mask, x)
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> __m256 {
        // SAFETY: the token proves AVX2; the caller gives 8 readable bytes.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, x: __m256) {
        // SAFETY: the token proves AVX2; the caller gives 8 writable bytes.
        unsafe {
            let whole = _mm256_cvttps_epi32(x);
            let low = _mm256_castsi256_si128(whole);
            let high = _mm256_extracti128_si256::<1>(whole);
            let words = _mm_packus_epi32(low, high);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words))
        }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn gt(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_cmp_ps::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_blendv_ps(b, a, mask) }
    }
    #[inline(always)]
    fn nonzero_bits(self, a: __m256) -> u32 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a, _mm256_setzero_ps())) as u32 }
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut f32, a: __m256, bits: u32) {
        // SAFETY: the token proves AVX2; there is an order for every eight bits; the caller gives 8 writable values.
        unsafe {
            let order = SET_LANES.as_ptr().add((bits & 255) as usize);
            let order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(order.cast()));
            _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(a, order));
        }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: *const u8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; the caller gives 8 readable bytes. Whoever looks up reads three bits and a sign.
        unsafe {
            let index = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            [index, _mm256_slli_epi32::<28>(index)]
        }
    }
    #[inline(always)]
    fn low_bits(self, a: __m256) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2. Whoever looks up reads three bits and a sign.
        unsafe {
            let index = _mm256_castps_si256(a);
            [index, _mm256_slli_epi32::<28>(index)]
        }
    }
    #[inline(always)]
    fn add_shifted(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let shifted = _mm256_slli_epi32::<19>(_mm256_castps_si256(b));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), shifted))
        }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: *const f32, index: [__m256i; 2]) -> __m256 {
        let [index, is_high] = index;
        // SAFETY: the token proves AVX2; the caller gives 16 readable values. Of an index three bits are read, of a sign one.
        unsafe {
            let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index);
            let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.add(8)), index);
            _mm256_blendv_ps(low, high, _mm256_castsi256_ps(is_high))
        }
    }
    #[inline(always)]
    fn reverse(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0)) }
    }
    #[inline(always)]
    fn interleave(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: the token proves AVX2. Inside 128-bit halves first, then the halves in order.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            (
                _mm256_permute2f128_ps::<0x20>(low, high),
                _mm256_permute2f128_ps::<0x31>(low, high),
            )
        }
    }
    #[inline(always)]
    fn deinterleave(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: the token proves AVX2. The shuffles work inside 128-bit halves: the 64-bit pieces come out in
        // the order 0 2 1 3 and are put right.
        unsafe {
            let even = _mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
            let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
            (
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(even)),
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(odd)),
            )
        }
    }
    #[inline(always)]
    fn transpose4(self, rows: [__m256; 4]) -> [__m256; 4] {
        let [a, b, c, d] = rows;
        // SAFETY: the token proves the instruction set.
        unsafe {
            let ab_low = _mm256_unpacklo_ps(a, b);
            let ab_high = _mm256_unpackhi_ps(a, b);
            let cd_low = _mm256_unpacklo_ps(c, d);
            let cd_high = _mm256_unpackhi_ps(c, d);
            [
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }
}

impl Simd for Avx2Quad {
    type F = __m128;
    type Mask = __m128;
    type Index = __m128i;
    type Quad = Avx2Quad;
    type Oct = Avx2;
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    codes_as_values!();

    #[inline(always)]
    fn quad(self) -> Avx2Quad {
        self
    }
    #[inline(always)]
    fn oct(self) -> Avx2 {
        Avx2(())
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m128 {
        // SAFETY: the caller gives 4 readable values.
        unsafe { _mm_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m128) {
        // SAFETY: the caller gives 4 writable values.
        unsafe { _mm_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, n: usize) -> __m128 {
        debug_assert!(n <= 4);
        // SAFETY: masked-off lanes are not touched; the table has 4 entries from 8 - n on.
        unsafe {
            let mask = _mm_loadu_si128(PREFIX.as_ptr().add(8 - n).cast());
            _mm_maskload_ps(from, mask)
        }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, x: __m128, n: usize) {
        debug_assert!(n <= 4);
        // SAFETY: as in load_partial, for writing.
        unsafe {
            let mask = _mm_loadu_si128(PREFIX.as_ptr().add(8 - n).cast());
            _mm_maskstore_ps(to, mask, x)
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> __m128 {
        // SAFETY: the token proves AVX2; the caller gives 4 readable bytes.
        unsafe {
            let bytes = _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned());
            _mm_cvtepi32_ps(_mm_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, x: __m128) {
        // SAFETY: the token proves AVX2; the caller gives 4 writable bytes.
        unsafe {
            let whole = _mm_cvttps_epi32(x);
            let words = _mm_packus_epi32(whole, whole);
            let bytes = _mm_packus_epi16(words, words);
            to.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(bytes))
        }
    }
    #[inline(always)]
    fn add(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m128, b: __m128, c: __m128) -> __m128 {
        // SAFETY: the token proves FMA.
        unsafe { _mm_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_sqrt_ps(a) }
    }
    #[inline(always)]
    fn max(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_andnot_ps(_mm_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn gt(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_cmp_ps::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_cmp_ps::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: __m128, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_blendv_ps(b, a, mask) }
    }
    #[inline(always)]
    fn nonzero_bits(self, a: __m128) -> u32 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_movemask_ps(_mm_cmp_ps::<_CMP_NEQ_UQ>(a, _mm_setzero_ps())) as u32 }
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut f32, a: __m128, bits: u32) {
        // SAFETY: the token proves AVX2; there is an order for every four bits; the caller gives 4 writable values.
        unsafe {
            let order = SET_LANES.as_ptr().add((bits & 15) as usize);
            let order = _mm_cvtepu8_epi32(_mm_loadl_epi64(order.cast()));
            _mm_storeu_ps(to, _mm_permutevar_ps(a, order));
        }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: *const u8) -> __m128i {
        // SAFETY: the token proves AVX2; the caller gives 4 readable bytes.
        unsafe {
            let bytes = _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned());
            _mm_and_si128(_mm_cvtepu8_epi32(bytes), _mm_set1_epi32(15))
        }
    }
    #[inline(always)]
    fn low_bits(self, a: __m128) -> __m128i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_and_si128(_mm_castps_si128(a), _mm_set1_epi32(15)) }
    }
    #[inline(always)]
    fn add_shifted(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let shifted = _mm_slli_epi32::<19>(_mm_castps_si128(b));
            _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(a), shifted))
        }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: *const f32, index: __m128i) -> __m128 {
        // SAFETY: the token proves AVX2; the caller gives 16 readable values, an index is below 16.
        unsafe { _mm_i32gather_ps::<4>(table, index) }
    }
    #[inline(always)]
    fn reverse(self, a: __m128) -> __m128 {
        // SAFETY: the token proves AVX2. 0x1b = lanes 3, 2, 1, 0.
        unsafe { _mm_shuffle_ps::<0x1b>(a, a) }
    }
    #[inline(always)]
    fn interleave(self, a: __m128, b: __m128) -> (__m128, __m128) {
        // SAFETY: the token proves AVX2.
        unsafe { (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b)) }
    }
    #[inline(always)]
    fn deinterleave(self, a: __m128, b: __m128) -> (__m128, __m128) {
        // SAFETY: the token proves AVX2.
        unsafe {
            (
                _mm_shuffle_ps::<0b10_00_10_00>(a, b),
                _mm_shuffle_ps::<0b11_01_11_01>(a, b),
            )
        }
    }
    #[inline(always)]
    fn transpose4(self, rows: [__m128; 4]) -> [__m128; 4] {
        let [a, b, c, d] = rows;
        // SAFETY: the token proves the instruction set.
        unsafe {
            let ab_low = _mm_unpacklo_ps(a, b);
            let ab_high = _mm_unpackhi_ps(a, b);
            let cd_low = _mm_unpacklo_ps(c, d);
            let cd_high = _mm_unpackhi_ps(c, d);
            [
                _mm_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }
}
