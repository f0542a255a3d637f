//! Counter-based random numbers: the same key gives the same numbers on every thread, in any order.
//!
//! The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
//! (SC 2011): a keyed bijection of a 128-bit counter. A stream is named by words, such as
//! `Random::new(&[seed, epoch, step, node, row])`, so nothing but the counters of the caller has to be saved or shared.

/// One block of Philox4x32-10: the counter, scrambled by ten rounds under the key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let first = MULTIPLIERS[0] * u64::from(counter[0]);
        let second = MULTIPLIERS[1] * u64::from(counter[2]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// A stream of random numbers named by a list of words.
///
/// Two streams of different words (or of a different number of words) share no block, but for an accident of
/// probability 2^-128 a pair. A stream holds 2^64 blocks of four 32-bit words.
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    /// Upper half of the counter, fixed for the stream.
    stream: [u32; 2],
    /// Lower half of the counter.
    block: u64,
    words: [u32; 4],
    /// How many of `words` are used up.
    used: usize,
}

impl Random {
    /// The stream that `words` name. The words are chained through the generator itself: each one is the key
    /// under which the digest of those before it is scrambled.
    pub fn new(words: &[u64]) -> Self {
        let mut digest = [words.len() as u32, 0, 0, 0];
        for &word in words {
            digest = philox4x32(digest, [word as u32, (word >> 32) as u32]);
        }
        Self {
            key: [digest[0], digest[1]],
            stream: [digest[2], digest[3]],
            block: 0,
            words: [0; 4],
            used: 4,
        }
    }

    /// A stream of its own, keyed by the next 128 bits of this one: what the child draws does not move the parent.
    pub fn split(&mut self) -> Self {
        let words = [self.next_u64(), self.next_u64()];
        Self::new(&words)
    }

    /// 32 random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [
                self.block as u32,
                (self.block >> 32) as u32,
                self.stream[0],
                self.stream[1],
            ];
            self.words = philox4x32(counter, self.key);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// 64 random bits: two 32-bit words, the lower half first.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-24.
    #[inline]
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    #[inline]
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in `[low, high)`; `low` where the range is empty.
    #[inline]
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform_f64()
    }

    /// Uniform in `0..bound`, without bias: Lemire, "Fast random integer generation in an interval" (TOMACS 2019).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "no integer is below 0");
        let bound = bound as u64;
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as usize;
            }
        }
    }

    /// Normal, mean 0 and standard deviation 1: Box and Muller (1958), two uniforms a draw.
    pub fn normal(&mut self) -> f64 {
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform_f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform_f64()).cos()
    }

    /// True with probability `p`; never for `p <= 0`, always for `p >= 1`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform_f64() < p
    }

    /// One of `items`, each as likely as the others.
    ///
    /// # Panics
    /// If `items` is empty.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Puts `items` into random order, every order as likely as the others (Fisher and Yates; Durstenfeld 1964).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors of Random123 (`kat_vectors`, lines `philox4x32 10`).
    #[test]
    fn philox_gives_the_published_answers() {
        let known = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, answer) in known {
            assert_eq!(philox4x32(counter, key), answer);
        }
    }

    #[test]
    fn words_name_the_stream() {
        let first = |words: &[u64]| Random::new(words).next_u64();
        assert_eq!(first(&[7, 1]), first(&[7, 1]));
        let mut seen: Vec<u64> = [
            &[][..],
            &[0],
            &[0, 0],
            &[1],
            &[1, 0],
            &[0, 1],
            &[1 << 32],
            &[1 << 63],
        ]
        .into_iter()
        .map(first)
        .collect();
        for seed in 0..1000 {
            seen.push(first(&[seed, 99]));
            seen.push(first(&[99, seed, 0]));
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn neighbouring_streams_do_not_correlate() {
        let n = 20_000;
        let (mut a, mut b) = (Random::new(&[5, 0]), Random::new(&[5, 1]));
        let dot: f64 = (0..n)
            .map(|_| (a.uniform_f64() - 0.5) * (b.uniform_f64() - 0.5))
            .sum();
        // The product has standard deviation 1/12.
        assert!(dot.abs() < 4.0 * (n as f64).sqrt() / 12.0, "{dot}");
    }

    /// Chi-squared over 64 cells: 63 degrees of freedom, below 110 but for one chance in 4,000.
    #[test]
    fn uniform_is_flat() {
        let n = 64_000;
        let mut random = Random::new(&[1]);
        let mut cells = [[0_u32; 64]; 3];
        for _ in 0..n {
            cells[0][(random.uniform_f32() * 64.0) as usize] += 1;
            cells[1][(random.uniform_f64() * 64.0) as usize] += 1;
            cells[2][random.below(64)] += 1;
        }
        for cells in cells {
            let chi: f64 = cells
                .iter()
                .map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0)
                .sum();
            assert!(chi < 110.0, "{chi}");
        }
    }

    #[test]
    fn below_an_odd_bound_is_flat_and_stays_below() {
        let mut random = Random::new(&[2]);
        let mut cells = [0_u32; 7];
        for _ in 0..70_000 {
            cells[random.below(7)] += 1;
        }
        let chi: f64 = cells
            .iter()
            .map(|&c| (f64::from(c) - 10_000.0).powi(2) / 10_000.0)
            .sum();
        // Six degrees of freedom: below 25 but for one chance in 3,000.
        assert!(chi < 25.0, "{chi}");
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn normal_has_its_moments() {
        let n = 100_000;
        let mut random = Random::new(&[3]);
        let draws: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let moment = |k: i32| draws.iter().map(|x| x.powi(k)).sum::<f64>() / f64::from(n);
        assert!(moment(1).abs() < 0.013, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.018, "{}", moment(2));
        assert!(moment(3).abs() < 0.05, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.13, "{}", moment(4));
    }

    /// All 24 orders of four items, 1,000 expected each: 23 degrees of freedom, below 52 but for one chance in 2,000.
    #[test]
    fn shuffle_reaches_every_order_alike() {
        let mut random = Random::new(&[4]);
        let mut counts = std::collections::BTreeMap::<[u8; 4], u32>::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            *counts.entry(items).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi: f64 = counts
            .values()
            .map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert!(chi < 52.0, "{chi}");
        random.shuffle::<u8>(&mut []);
    }

    #[test]
    fn edges() {
        let mut random = Random::new(&[]);
        assert!(!random.chance(0.0) && random.chance(1.0));
        assert_eq!(random.range(3.0, 3.0), 3.0);
        for _ in 0..1000 {
            let x = random.range(-2.0, 5.0);
            assert!((-2.0..5.0).contains(&x));
        }
        let (mut a, mut b) = (Random::new(&[9]), Random::new(&[9]));
        let (mut child, mut same) = (a.split(), b.split());
        child.next_u64();
        assert_eq!(a.next_u64(), b.next_u64());
        same.next_u64();
        assert_eq!(child.next_u64(), same.next_u64());
    }
}
