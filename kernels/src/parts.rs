//! f32 values in bf16 parts: what `tiles.rs` multiplies, and how exact it is.
//!
//! With n parts the products whose parts' numbers add up to less than n are taken, the smallest ones first. A value and its
//! first part differ by 2^-8 at most, by 2^-17 with the second, by nothing with the third; with the products left out, the
//! sum errs by at most 2^-7 of its magnitude with one part, 2^-15 with two, and 2^-24 with three, which is half a unit of
//! f32's last place (Henry, Tang, Heinecke: Leveraging the bfloat16 artificial intelligence datatype for higher-precision
//! computations, 2019).

/// Which part of A meets which of B, the smallest products first.
pub(crate) fn products(parts: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..parts)
        .rev()
        .flat_map(|sum| (0..=sum).map(move |x| (x, sum - x)))
}

/// Cuts `x` into `N` bf16 values whose sum it is but for the last one's rounding.
///
/// Rounds half to even. An infinite or nearly infinite value becomes NaN where there is more than one part.
#[inline(always)]
pub(crate) fn parts_of<const N: usize>(x: f32) -> [u16; N] {
    let (mut rest, mut parts) = (x, [0; N]);
    for part in &mut parts {
        let bits = rest.to_bits();
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
        // A NaN stays one: rounding could carry it over into the sign.
        let kept = if rest.is_nan() {
            bits | 0x40_0000
        } else {
            rounded
        } & 0xFFFF_0000;
        *part = (kept >> 16) as u16;
        rest -= f32::from_bits(kept);
    }
    parts
}

/// Writes the parts of `count` values, each part `part_len` behind the one before.
///
/// # Safety
/// `from` may be read for the values, `to` written for as many at every part's distance.
#[inline(always)]
pub(crate) unsafe fn cut_values<const N: usize>(
    count: usize,
    from: *const f32,
    to: *mut u16,
    part_len: usize,
) {
    for i in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            let parts = parts_of::<N>(*from.add(i));
            for (part, value) in parts.into_iter().enumerate() {
                to.add(part * part_len + i).write(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{parts_of, products};

    #[test]
    fn parts_add_up() {
        let sum = |parts: &[u16]| -> f32 {
            parts
                .iter()
                .map(|&part| f32::from_bits(u32::from(part) << 16))
                .sum()
        };
        let mut x = 1.0e-20_f32;
        while x < 1.0e20 {
            for value in [x, -x] {
                let error = |parts: &[u16]| f64::from((sum(parts) - value) / value).abs();
                assert!(error(&parts_of::<1>(value)) <= f64::powi(2.0, -8));
                assert!(error(&parts_of::<2>(value)) <= f64::powi(2.0, -17));
                assert_eq!(sum(&parts_of::<3>(value)), value);
            }
            x *= 1.037;
        }
        // Halves to even, zeros, and what is no number.
        assert_eq!(parts_of::<1>(f32::from_bits(0x3F80_8000)), [0x3F80]);
        assert_eq!(parts_of::<1>(f32::from_bits(0x3F81_8000)), [0x3F82]);
        assert_eq!(parts_of::<2>(0.0), [0, 0]);
        assert!(
            f32::from_bits(u32::from(parts_of::<1>(f32::from_bits(0x7FFF_FFFF))[0]) << 16).is_nan()
        );
        assert_eq!(parts_of::<1>(f32::INFINITY), [0x7F80]);
    }

    #[test]
    fn small_products_come_first() {
        let list = |parts| products(parts).collect::<Vec<_>>();
        assert_eq!(list(1), [(0, 0)]);
        assert_eq!(list(2), [(0, 1), (1, 0), (0, 0)]);
        assert_eq!(list(3), [(0, 2), (1, 1), (2, 0), (0, 1), (1, 0), (0, 0)]);
    }
}
