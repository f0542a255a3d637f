//! How sure a share or a mean is: 95 % intervals.

use serde::{Deserialize, Serialize};

/// The 0.975 quantile of the standard normal distribution.
pub const Z_975: f64 = 1.959_963_984_540_054;

/// The 0.975 quantiles of Student's t distribution with 1 to 30 degrees of freedom (SciPy 1.17, `scipy.stats.t.ppf`).
const T_975: [f64; 30] = [
    12.706204736175,
    4.302652729749,
    3.182446305284,
    2.776445105198,
    2.570581835636,
    2.446911851145,
    2.364624251593,
    2.306004135204,
    2.262157162798,
    2.228138851986,
    2.200985160092,
    2.178812829667,
    2.160368656463,
    2.144786687918,
    2.131449545560,
    2.119905299221,
    2.109815577833,
    2.100922040241,
    2.093024054408,
    2.085963447266,
    2.079613844728,
    2.073873067904,
    2.068657610419,
    2.063898561628,
    2.059538552753,
    2.055529438643,
    2.051830516480,
    2.048407141795,
    2.045229642133,
    2.042272456301,
];

/// The 0.975 quantile of Student's t distribution, to 2e-6; infinite with 0 degrees of freedom.
///
/// Beyond 30 degrees by the expansion of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
pub fn student_t_975(degrees: usize) -> f64 {
    match degrees {
        0 => f64::INFINITY,
        1..=30 => T_975[degrees - 1],
        _ => {
            let (n, z) = (degrees as f64, Z_975);
            z + (z.powi(3) + z) / (4.0 * n)
                + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
                + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z)
                    / (384.0 * n.powi(3))
        }
    }
}

/// The 95 % Wilson score interval of a share, `right` of `count` independent trials, within 0 to 1.
///
/// Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927); recommended for small
/// counts by Brown, Cai and DasGupta, Statistical Science 16 (2001). It has a width at 0 % and 100 % too; of no
/// trials it is (0, 1).
pub fn wilson(right: u64, count: u64) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    wilson_share(right as f64 / count as f64, count as f64)
}

/// [`wilson`] for a share and a number of trials that need not be whole.
fn wilson_share(share: f64, count: f64) -> (f64, f64) {
    let z2 = Z_975 * Z_975;
    let centre = (share + z2 / (2.0 * count)) / (1.0 + z2 / count);
    let half = Z_975 / (1.0 + z2 / count)
        * (share * (1.0 - share) / count + z2 / (4.0 * count * count)).sqrt();
    // The ends are exact at 0 % and 100 %, but not in floating point.
    let low = if share <= 0.0 {
        0.0
    } else {
        (centre - half).max(0.0)
    };
    let high = if share >= 1.0 {
        1.0
    } else {
        (centre + half).min(1.0)
    };
    (low, high)
}

/// The 95 % interval of the share of right segments where the segments come in songs: each song gives
/// `(right, segments)`; songs without segments do not count.
///
/// Segments of one song are alike, so that their number overstates what is known. The share is a ratio of two sums
/// over songs; its variance is the linearised one with songs as the sampling unit (Cochran, Sampling Techniques, 3rd
/// ed. 1977, 3.12 and 6.3): `k/(k-1) * sum (right_i - share * segments_i)^2 / (sum segments_i)^2`. It gives the number of
/// independent trials that would be as sure, at most the number of segments, reduced by `(z/t)^2` with `k - 1` degrees
/// of freedom (Korn and Graubard, Confidence intervals for proportions with small expected number of positive
/// counts, Survey Methodology 24, 1998), and this number goes into the Wilson interval, which stays within 0 to 1
/// (Dean and Pagano, Evaluating confidence interval methods for binomial proportions in clustered surveys, J. of Survey
/// Statistics and Methodology 3, 2015).
///
/// With one song, or at 0 % or 100 %, the likeness within songs cannot be estimated: then every song counts as one
/// trial, as if its segments were copies. Without songs it is (0, 1).
pub fn cluster_wilson(songs: &[(u64, u64)]) -> (f64, f64) {
    let songs: Vec<(f64, f64)> = songs
        .iter()
        .filter(|(_, segments)| *segments > 0)
        .map(|&(right, segments)| (right as f64, segments as f64))
        .collect();
    let k = songs.len() as f64;
    let right: f64 = songs.iter().map(|song| song.0).sum();
    let segments: f64 = songs.iter().map(|song| song.1).sum();
    if songs.is_empty() {
        return (0.0, 1.0);
    }
    let share = right / segments;
    if songs.len() == 1 || right == 0.0 || right == segments {
        return wilson_share(share, k);
    }
    let squares: f64 = songs.iter().map(|(r, n)| (r - share * n).powi(2)).sum();
    let variance = k / (k - 1.0) * squares / (segments * segments);
    let effective = (share * (1.0 - share) / variance).min(segments);
    let t = student_t_975(songs.len() - 1);
    wilson_share(share, effective * (Z_975 / t).powi(2))
}

/// Several runs of one thing, such as seeds or folds, as mean and spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The number of runs.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation (divided by `count - 1`); `None` with one run.
    pub deviation: Option<f64>,
    /// The 95 % interval of the mean by Student's t with `count - 1` degrees of freedom; `None` with one run. It is not
    /// cut to any range.
    pub interval: Option<(f64, f64)>,
}

impl Spread {
    /// Mean and spread of `values`; `None` without values. A NaN among them makes every figure NaN.
    ///
    /// The interval takes the runs for independent draws. Seeds are; folds share training songs, so that theirs is
    /// somewhat too narrow (Bengio and Grandvalet, No unbiased estimator of the variance of K-fold
    /// cross-validation, JMLR 5, 2004).
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let deviation = (count > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count as f64 - 1.0)).sqrt()
        });
        let interval = deviation.map(|deviation| {
            let half = student_t_975(count - 1) * deviation / (count as f64).sqrt();
            (mean - half, mean + half)
        });
        Some(Self {
            count,
            mean,
            deviation,
            interval,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{close, recorded};
    use super::*;

    #[test]
    fn t_quantiles_are_scipys() {
        for (degrees, expected) in recorded()["student_t_975"].as_object().unwrap() {
            let ours = student_t_975(degrees.parse().unwrap());
            close(ours, expected.as_f64().unwrap(), 2e-6);
        }
        assert_eq!(student_t_975(0), f64::INFINITY);
    }

    #[test]
    fn wilson_by_hand() {
        // 8 of 10, z = 1.96: centre (0.8 + 0.192073) / 1.384146, half 1.416042 * sqrt(0.016 + 0.009604).
        let (low, high) = wilson(8, 10);
        close(low, 0.490162, 1e-5);
        close(high, 0.943318, 1e-5);
        // 0 of n ends at z^2 / (n + z^2) and n of n begins at n / (n + z^2).
        let z2 = Z_975 * Z_975;
        assert_eq!(wilson(0, 7).0, 0.0);
        close(wilson(0, 7).1, z2 / (7.0 + z2), 1e-12);
        assert_eq!(wilson(7, 7).1, 1.0);
        close(wilson(7, 7).0, 7.0 / (7.0 + z2), 1e-12);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn cluster_interval_falls_back_to_songs_as_trials() {
        assert_eq!(cluster_wilson(&[]), (0.0, 1.0));
        assert_eq!(cluster_wilson(&[(0, 0)]), (0.0, 1.0));
        assert_eq!(cluster_wilson(&[(15, 15), (15, 15), (0, 0)]), wilson(2, 2));
        assert_eq!(cluster_wilson(&[(0, 15), (0, 15)]), wilson(0, 2));
        // One song: as wide as one trial with that share.
        let (low, high) = cluster_wilson(&[(9, 15)]);
        assert!(low < 0.15 && high > 0.9, "{low} {high}");
        // Songs that are exactly alike make the estimated variance 0: the interval still has a width, that of at
        // most as many trials as there are segments.
        let (low, high) = cluster_wilson(&[(9, 15); 4]);
        let (tight_low, tight_high) = wilson(36, 60);
        assert!(low < tight_low && high > tight_high, "{low} {high}");
    }

    /// Draws sets of songs whose segments share most of their fate, and counts how often the interval holds the truth.
    #[test]
    fn cluster_interval_covers_where_the_naive_one_does_not() {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut x = state;
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let (draws, mut cluster, mut naive) = (4000, 0, 0);
        for _ in 0..draws {
            // Half of the songs have a share of 0.95, half of 0.35: 0.65 in the mean.
            let songs: Vec<(u64, u64)> = (0..30)
                .map(|_| {
                    let share = if uniform() < 0.5 { 0.95 } else { 0.35 };
                    let count = 5 + (uniform() * 11.0) as u64;
                    (
                        (0..count).filter(|_| uniform() < share).count() as u64,
                        count,
                    )
                })
                .collect();
            let holds = |(low, high): (f64, f64)| u32::from(low <= 0.65 && 0.65 <= high);
            cluster += holds(cluster_wilson(&songs));
            naive += holds(wilson(
                songs.iter().map(|song| song.0).sum(),
                songs.iter().map(|song| song.1).sum(),
            ));
        }
        let (cluster, naive) = (cluster as f64 / draws as f64, naive as f64 / draws as f64);
        assert!((0.935..0.975).contains(&cluster), "{cluster}");
        assert!(naive < 0.75, "{naive}");
    }

    #[test]
    fn spread_is_numpys_and_scipys() {
        let recorded = &recorded()["spread"];
        let values: Vec<f64> = serde_json::from_value(recorded["values"].clone()).unwrap();
        let spread = Spread::of(&values).unwrap();
        close(spread.mean, recorded["mean"].as_f64().unwrap(), 1e-12);
        close(
            spread.deviation.unwrap(),
            recorded["deviation"].as_f64().unwrap(),
            1e-12,
        );
        let (low, high) = spread.interval.unwrap();
        close(low, recorded["interval"][0].as_f64().unwrap(), 1e-9);
        close(high, recorded["interval"][1].as_f64().unwrap(), 1e-9);

        assert_eq!(Spread::of(&[]), None);
        let one = Spread::of(&[0.5]).unwrap();
        assert_eq!((one.mean, one.deviation, one.interval), (0.5, None, None));
        assert!(Spread::of(&[0.5, f64::NAN]).unwrap().mean.is_nan());
    }
}
