//! Whether a probability of 80 % is right 80 times in 100.

use serde::{Deserialize, Serialize};

/// Expected calibration error over 10 bins of equal width.
///
/// Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017: an answer's confidence is the
/// highest of its probabilities; the error is the mean over the answers of the distance between confidence and accuracy
/// of their bin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The expected calibration error, 0 to 1; 0 without answers.
    pub ece: f64,
    /// The bins, from 0 to 1.
    pub bins: Vec<CalibrationBin>,
}

/// The answers of one range of confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// The lower end, not within the bin.
    pub lo: f64,
    /// The upper end, within the bin.
    pub hi: f64,
    /// The number of answers.
    pub count: u64,
    /// Their mean confidence; 0 where there are none.
    pub confidence: f64,
    /// The share that is right; 0 where there are none.
    pub accuracy: f64,
}

impl Calibration {
    /// From each answer's confidence, 0 to 1, and whether it is right. NaN counts as no confidence at all.
    pub fn of(answers: impl IntoIterator<Item = (f32, bool)>) -> Self {
        const BINS: usize = 10;
        let edge = |bin: usize| bin as f64 / BINS as f64;
        let mut sums = [(0u64, 0.0f64, 0u64); BINS];
        for (confidence, right) in answers {
            let confidence = if confidence.is_nan() { 0.0 } else { confidence };
            // Compared in f32, in which the confidence is: 0.3 belongs to the bin that ends with 0.3.
            let bin = (1..BINS)
                .filter(|&bin| confidence > edge(bin) as f32)
                .count();
            sums[bin].0 += 1;
            sums[bin].1 += f64::from(confidence);
            sums[bin].2 += u64::from(right);
        }
        let total: u64 = sums.iter().map(|sum| sum.0).sum();
        let bins: Vec<CalibrationBin> = (0..BINS)
            .map(|bin| {
                let (count, confidence, right) = sums[bin];
                let each = count.max(1) as f64;
                CalibrationBin {
                    lo: edge(bin),
                    hi: edge(bin + 1),
                    count,
                    confidence: confidence / each,
                    accuracy: right as f64 / each,
                }
            })
            .collect();
        let ece = bins
            .iter()
            .map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs())
            .sum::<f64>()
            / total.max(1) as f64;
        Self { ece, bins }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::close;
    use super::*;

    #[test]
    fn by_hand() {
        // Three answers of 0.75 of which two are right, one of 0.95 that is wrong: (3 * 0.0833 + 1 * 0.95) / 4.
        let answers = [(0.75, true), (0.75, true), (0.75, false), (0.95, false)];
        let calibration = Calibration::of(answers);
        close(
            calibration.ece,
            (3.0 * (0.75 - 2.0 / 3.0) + 0.95) / 4.0,
            1e-7,
        );
        assert_eq!(calibration.bins[7].count, 3);
        assert_eq!(calibration.bins[9].count, 1);
    }

    #[test]
    fn an_edge_belongs_to_the_bin_that_it_ends() {
        for tenth in 1..=10u8 {
            let calibration = Calibration::of([(f32::from(tenth) / 10.0, true)]);
            assert_eq!(calibration.bins[usize::from(tenth) - 1].count, 1, "{tenth}");
        }
        assert_eq!(
            Calibration::of([(0.0, true), (f32::NAN, false)]).bins[0].count,
            2
        );
        assert_eq!(Calibration::of([]).ece, 0.0);
    }
}
