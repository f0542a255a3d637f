//! A fixed-length buffer of `f32` that starts on a cache line.

use std::ops::{Deref, DerefMut};

/// One cache line, and one AVX-512 register.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
struct Line([f32; 16]);

/// Zero-initialised `f32` values whose first element stands on a 64-byte boundary. Its length never changes.
#[derive(Debug, Clone, Default)]
pub struct AlignedVec {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedVec {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            lines: vec![Line([0.0; 16]); len.div_ceil(16)],
            len,
        }
    }
}

impl From<&[f32]> for AlignedVec {
    fn from(values: &[f32]) -> Self {
        let mut vec = Self::zeros(values.len());
        vec.copy_from_slice(values);
        vec
    }
}

impl Deref for AlignedVec {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` contiguous f32 (Line is repr(C), 16 floats, no padding).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for AlignedVec {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the borrow of self is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::AlignedVec;

    #[test]
    fn starts_on_a_cache_line_and_keeps_its_length() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let vec = AlignedVec::zeros(len);
            assert_eq!(vec.len(), len);
            assert_eq!(vec.as_ptr() as usize % 64, 0);
            assert!(vec.iter().all(|&x| x == 0.0));
        }
        assert_eq!(&*AlignedVec::from(&[1.0, 2.0][..]), &[1.0, 2.0]);
    }
}
