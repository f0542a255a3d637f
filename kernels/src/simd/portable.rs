//! What the compiler targets by default, through the crate `wide`: SSE2 on stock x86-64, NEON on Arm.

use super::{Simd, codes_as_values};
use wide::f32x4;

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Eight lanes as two of four.
#[derive(Clone, Copy)]
pub(crate) struct Portable8;

impl Simd for Portable {
    type F = f32x4;
    type Mask = f32x4;
    type Index = [u8; 4];
    type Quad = Portable;
    type Oct = Portable8;
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    codes_as_values!();

    #[inline(always)]
    fn quad(self) -> Portable {
        self
    }
    #[inline(always)]
    fn oct(self) -> Portable8 {
        Portable8
    }
    #[inline(always)]
    fn splat(self, x: f32) -> f32x4 {
        f32x4::splat(x)
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> f32x4 {
        // SAFETY: the caller gives 4 readable values; read_unaligned asks for no alignment.
        f32x4::new(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: f32x4) {
        // SAFETY: the caller gives 4 writable values.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(x.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, n: usize) -> f32x4 {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller gives n <= 4 readable values.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n) }
        f32x4::new(lanes)
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, x: f32x4, n: usize) {
        // SAFETY: the caller gives n <= 4 writable values.
        unsafe { std::ptr::copy_nonoverlapping(x.to_array().as_ptr(), to, n) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> f32x4 {
        // SAFETY: the caller gives 4 readable bytes.
        f32x4::new(unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(f32::from))
    }
    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, x: f32x4) {
        // SAFETY: the caller gives 4 writable bytes.
        unsafe {
            to.cast::<[u8; 4]>()
                .write_unaligned(x.to_array().map(|lane| lane as u8))
        }
    }
    #[inline(always)]
    fn add(self, a: f32x4, b: f32x4) -> f32x4 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x4, b: f32x4) -> f32x4 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x4, b: f32x4) -> f32x4 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x4, b: f32x4) -> f32x4 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        a * b + c
    }
    #[inline(always)]
    fn sqrt(self, a: f32x4) -> f32x4 {
        a.sqrt()
    }
    #[inline(always)]
    fn max(self, a: f32x4, b: f32x4) -> f32x4 {
        self.select(self.gt(a, b), a, b)
    }
    #[inline(always)]
    fn min(self, a: f32x4, b: f32x4) -> f32x4 {
        self.select(self.gt(b, a), a, b)
    }
    #[inline(always)]
    fn abs(self, a: f32x4) -> f32x4 {
        a.abs()
    }
    #[inline(always)]
    fn gt(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_gt(b)
    }
    #[inline(always)]
    fn eq(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_eq(b)
    }
    #[inline(always)]
    fn select(self, mask: f32x4, a: f32x4, b: f32x4) -> f32x4 {
        mask.bitselect(a, b)
    }
    #[inline(always)]
    fn nonzero_bits(self, a: f32x4) -> u32 {
        let lanes = a.to_array();
        (0..4).fold(0, |bits, i| bits | (u32::from(lanes[i] != 0.0) << i))
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut f32, a: f32x4, bits: u32) {
        let mut place = 0;
        for (i, lane) in a.to_array().into_iter().enumerate() {
            // SAFETY: the caller gives 4 writable values, and `place` is at most i.
            unsafe { *to.add(place) = lane }
            place += (bits >> i & 1) as usize;
        }
    }
    #[inline(always)]
    unsafe fn load_index(self, from: *const u8) -> [u8; 4] {
        // SAFETY: the caller gives 4 readable bytes.
        unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(|byte| byte & 15)
    }
    #[inline(always)]
    fn low_bits(self, a: f32x4) -> [u8; 4] {
        a.to_array().map(|lane| lane.to_bits() as u8 & 15)
    }
    #[inline(always)]
    fn add_shifted(self, a: f32x4, b: f32x4) -> f32x4 {
        let (a, b) = (a.to_array(), b.to_array());
        let sum = |i: usize| f32::from_bits(a[i].to_bits().wrapping_add(b[i].to_bits() << 19));
        f32x4::new([sum(0), sum(1), sum(2), sum(3)])
    }
    #[inline(always)]
    unsafe fn lookup(self, table: *const f32, index: [u8; 4]) -> f32x4 {
        let mut lanes = [0.0; 4];
        for i in 0..4 {
            // SAFETY: the caller gives 16 readable values, an index is below 16.
            lanes[i] = unsafe { *table.add(usize::from(index[i])) };
        }
        f32x4::new(lanes)
    }
    #[inline(always)]
    fn reverse(self, a: f32x4) -> f32x4 {
        let [a, b, c, d] = a.to_array();
        f32x4::new([d, c, b, a])
    }
    #[inline(always)]
    fn interleave(self, a: f32x4, b: f32x4) -> (f32x4, f32x4) {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_array(), b.to_array());
        (f32x4::new([a0, b0, a1, b1]), f32x4::new([a2, b2, a3, b3]))
    }
    #[inline(always)]
    fn deinterleave(self, a: f32x4, b: f32x4) -> (f32x4, f32x4) {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_array(), b.to_array());
        (f32x4::new([a0, a2, b0, b2]), f32x4::new([a1, a3, b1, b3]))
    }
    #[inline(always)]
    fn transpose4(self, rows: [f32x4; 4]) -> [f32x4; 4] {
        f32x4::transpose(rows)
    }
}

super::paired_simd!(Portable8, Portable, Portable, Portable8, 8, 16);
