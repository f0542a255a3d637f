//! AVX-512 F, BW, DQ and VL: 16 lanes, 32 registers.

use super::Simd;
use super::avx2::{Avx2, Avx2Quad};
use std::arch::x86_64::*;

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token.
    ///
    /// # Safety
    /// Only inside a function that is compiled with `avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt` and that is only
    /// called where the CPU has them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// The mask whose first n of 16 lanes are set.
#[inline(always)]
fn prefix(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    type F = __m512;
    type Mask = __mmask16;
    type Index = __m512i;
    type Codes = __m128i;
    type Quad = Avx2Quad;
    type Oct = Avx2;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    const TILES: bool = true;

    #[inline(always)]
    fn quad(self) -> Avx2Quad {
        self.oct().quad()
    }
    #[inline(always)]
    fn oct(self) -> Avx2 {
        // SAFETY: the token proves AVX2 and FMA too.
        unsafe { Avx2::new() }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: the token proves AVX-512; the caller gives 16 readable values.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m512) {
        // SAFETY: the token proves AVX-512; the caller gives 16 writable values.
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, n: usize) -> __m512 {
        // SAFETY: masked-off lanes are not touched; the caller gives n readable values.
        unsafe { _mm512_maskz_loadu_ps(prefix(n), from) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, x: __m512, n: usize) {
        // SAFETY: masked-off lanes are not touched; the caller gives n writable values.
        unsafe { _mm512_mask_storeu_ps(to, prefix(n), x) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> __m512 {
        // SAFETY: the token proves AVX-512; the caller gives 16 readable bytes.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, x: __m512) {
        // SAFETY: the token proves AVX-512; the caller gives 16 writable bytes.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(x))) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn reciprocal(self, a: __m512) -> __m512 {
        // A division takes 16 cycles; the 14-bit estimate and one Newton step take 5: r + r (1 - a r).
        // SAFETY: the token proves AVX-512.
        unsafe {
            let estimate = _mm512_rcp14_ps(a);
            let error = _mm512_fnmadd_ps(a, estimate, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(estimate, error, estimate)
        }
    }
    #[inline(always)]
    fn gt(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_mask_blend_ps(mask, b, a) }
    }
    #[inline(always)]
    fn nonzero_bits(self, a: __m512) -> u32 {
        // SAFETY: the token proves AVX-512.
        unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, _mm512_setzero_ps())) }
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut f32, a: __m512, bits: u32) {
        // In a register: the instruction that writes to memory takes many times as long on Zen 4.
        // SAFETY: the token proves AVX-512; the caller gives 16 writable values.
        unsafe { _mm512_storeu_ps(to, _mm512_maskz_compress_ps(bits as __mmask16, a)) }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: *const u8) -> __m512i {
        // SAFETY: the token proves AVX-512; the caller gives 16 readable bytes. Whoever looks up reads four bits.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    fn low_bits(self, a: __m512) -> __m512i {
        // SAFETY: the token proves AVX-512. Whoever looks up reads four bits.
        unsafe { _mm512_castps_si512(a) }
    }
    #[inline(always)]
    fn add_shifted(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let shifted = _mm512_slli_epi32::<19>(_mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), shifted))
        }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: *const f32, index: __m512i) -> __m512 {
        // SAFETY: the token proves AVX-512; the caller gives 16 readable values, of an index four bits are read.
        unsafe { _mm512_permutexvar_ps(index, _mm512_loadu_ps(table)) }
    }
    #[inline(always)]
    fn codes(self, x: u8) -> __m128i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm_set1_epi8(x.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load_codes(self, from: *const u8) -> __m128i {
        // SAFETY: the token proves AVX-512; the caller gives 16 readable bytes.
        unsafe { _mm_loadu_si128(from.cast()) }
    }
    #[inline(always)]
    fn eq_codes(self, a: __m128i, b: __m128i) -> __mmask16 {
        // SAFETY: the token proves AVX-512 with BW and VL.
        unsafe { _mm_cmpeq_epi8_mask(a, b) }
    }
    #[inline(always)]
    fn add_codes(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm_add_epi8(a, b) }
    }
    #[inline(always)]
    fn select_codes(self, mask: __mmask16, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token proves AVX-512 with BW and VL.
        unsafe { _mm_mask_blend_epi8(mask, b, a) }
    }
    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, x: __m128i) {
        // SAFETY: the token proves AVX-512; the caller gives 16 writable bytes.
        unsafe { _mm_storeu_si128(to.cast(), x) }
    }
    #[inline(always)]
    fn reverse(self, a: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let last_first =
                _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            _mm512_permutexvar_ps(last_first, a)
        }
    }
    #[inline(always)]
    fn interleave(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: the token proves AVX-512.
        unsafe {
            // Index i < 16 names a's lane i, the others b's.
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            (
                _mm512_permutex2var_ps(a, low, b),
                _mm512_permutex2var_ps(a, high, b),
            )
        }
    }
    #[inline(always)]
    fn deinterleave(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: the token proves AVX-512.
        unsafe {
            // Index i < 16 names a's lane i, the others b's.
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            (
                _mm512_permutex2var_ps(a, even, b),
                _mm512_permutex2var_ps(a, odd, b),
            )
        }
    }
    #[inline(always)]
    fn transpose4(self, rows: [__m512; 4]) -> [__m512; 4] {
        let [a, b, c, d] = rows;
        // SAFETY: the token proves the instruction set.
        unsafe {
            let ab_low = _mm512_unpacklo_ps(a, b);
            let ab_high = _mm512_unpackhi_ps(a, b);
            let cd_low = _mm512_unpacklo_ps(c, d);
            let cd_high = _mm512_unpackhi_ps(c, d);
            [
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }
}
