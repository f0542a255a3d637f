//! How a scratch buffer is cut into parts that begin on cache lines.

/// Hands out sections of a scratch buffer, each a whole number of cache lines long.
#[derive(Default)]
pub(super) struct Sections {
    pub(super) len: usize,
}

impl Sections {
    /// The offset of a new section of `len` values.
    pub(super) fn take(&mut self, len: usize) -> usize {
        let at = self.len;
        self.len += len.next_multiple_of(16);
        at
    }
}

/// Parts of these lengths, each on a cache line where the scratch begins on one.
pub(super) fn split<const N: usize>(lens: [usize; N], mut scratch: &mut [f32]) -> [&mut [f32]; N] {
    lens.map(|len| {
        let (part, rest) = std::mem::take(&mut scratch).split_at_mut(len.next_multiple_of(16));
        scratch = rest;
        &mut part[..len]
    })
}

/// Values that [`split`] needs.
pub(super) fn split_len(lens: &[usize]) -> usize {
    lens.iter().map(|len| len.next_multiple_of(16)).sum()
}
