//! Figures of a confusion matrix, `[true genre][predicted genre]`, as scikit-learn defines them.

use serde::{Deserialize, Serialize};

/// How well one genre is found. A share of nothing is 0, as with scikit-learn's `zero_division=0`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Score {
    /// Of what was given this name, the share that is it.
    pub precision: f64,
    /// Of what is it, the share that was given this name.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// How many there truly are.
    pub support: u64,
    /// How many were given this name.
    pub predicted: u64,
}

/// One score a genre of a square matrix of counts.
///
/// # Panics
/// Where a row is shorter than the matrix.
pub fn scores(confusion: &[Vec<u64>]) -> Vec<Score> {
    (0..confusion.len())
        .map(|genre| {
            let right = confusion[genre][genre];
            let support: u64 = confusion[genre].iter().sum();
            let predicted: u64 = confusion.iter().map(|row| row[genre]).sum();
            Score {
                precision: share(right, predicted),
                recall: share(right, support),
                f1: share(2 * right, support + predicted),
                support,
                predicted,
            }
        })
        .collect()
}

/// The mean F1 of the genres that are there or were named, each counting the same; 0 for an empty matrix.
///
/// # Panics
/// Where a row is shorter than the matrix.
pub fn macro_f1(confusion: &[Vec<u64>]) -> f64 {
    let present: Vec<f64> = scores(confusion)
        .iter()
        .filter(|score| score.support + score.predicted > 0)
        .map(|score| score.f1)
        .collect();
    present.iter().sum::<f64>() / present.len().max(1) as f64
}

/// The share on the diagonal; 0 for an empty matrix.
///
/// # Panics
/// Where a row is shorter than the matrix.
pub fn accuracy_of(confusion: &[Vec<u64>]) -> f64 {
    let right = (0..confusion.len())
        .map(|genre| confusion[genre][genre])
        .sum();
    share(right, confusion.iter().flatten().sum())
}

/// The accuracy of the one who always names the most frequent genre; 0 for an empty matrix.
pub fn chance_of(confusion: &[Vec<u64>]) -> f64 {
    let most = confusion.iter().map(|row| row.iter().sum()).max();
    share(most.unwrap_or(0), confusion.iter().flatten().sum())
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::close;
    use super::*;

    #[test]
    fn two_genres_by_hand() {
        let confusion = [vec![6, 2], vec![1, 1]];
        let [first, second] = scores(&confusion)[..] else {
            panic!()
        };
        close(first.precision, 6.0 / 7.0, 1e-15);
        close(first.recall, 0.75, 1e-15);
        close(first.f1, 0.8, 1e-15);
        assert_eq!((first.support, first.predicted), (8, 7));
        close(second.f1, 0.4, 1e-15);
        close(macro_f1(&confusion), 0.6, 1e-15);
        close(accuracy_of(&confusion), 0.7, 1e-15);
        close(chance_of(&confusion), 0.8, 1e-15);
    }

    #[test]
    fn nothing_at_all() {
        assert!(scores(&[]).is_empty());
        assert_eq!(
            (macro_f1(&[]), accuracy_of(&[]), chance_of(&[])),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(scores(&[vec![0]])[0], Score::default());
    }
}
