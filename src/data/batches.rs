//! From segments to batches: normalisation, the order of an epoch, filling a batch's buffers.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::dataset::Dataset;
use crate::error::{Error, Result};
use crate::random::Random;

/// The first word of the random key that shuffles an epoch.
const EPOCH: u64 = 0x65706f;

/// One mean and one standard deviation for all features, in dB: a model sees `(x - mean) / deviation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// The mean of all values of the training segments.
    pub mean: f32,
    /// Their standard deviation (of the population), above 0.
    pub deviation: f32,
}

impl Normalisation {
    /// From the training segments alone, summed in `f64` in the order of `train`: the same bits on any number of
    /// threads.
    ///
    /// # Errors
    /// [`Error::Data`] where `train` is empty, or all values are equal or not finite.
    ///
    /// # Panics
    /// Where an index is not below [`Dataset::segment_count`].
    pub fn of(dataset: &Dataset, train: &[u32]) -> Result<Self> {
        let count = (train.len() * dataset.segment_len()) as f64;
        // Sums of segments in parallel, then one after the other: the order never depends on the threads.
        let sum = |value: &(dyn Fn(f64) -> f64 + Sync)| -> f64 {
            let sums: Vec<f64> = train
                .par_iter()
                .map(|segment| {
                    dataset
                        .segment(*segment as usize)
                        .iter()
                        .map(|x| value(f64::from(*x)))
                        .sum()
                })
                .collect();
            sums.iter().sum()
        };
        let mean = sum(&|x| x) / count;
        let deviation = (sum(&|x| (x - mean) * (x - mean)) / count).sqrt();
        let normalisation = Self {
            mean: mean as f32,
            deviation: deviation as f32,
        };
        if !mean.is_finite() || !deviation.is_finite() || normalisation.deviation <= 0.0 {
            return Err(Error::Data(format!(
                "the {} training segments cannot be normalised (mean {mean} dB, deviation {deviation} dB): \
                 train on songs that differ",
                train.len()
            )));
        }
        Ok(normalisation)
    }

    /// `(x - mean) / deviation` for each value.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub fn apply(&self, decibels: &[f32], normalised: &mut [f32]) {
        assert_eq!(decibels.len(), normalised.len(), "as many values out as in");
        for (x, y) in decibels.iter().zip(normalised) {
            *y = (x - self.mean) / self.deviation;
        }
    }
}

/// The training segments in the order of an epoch: a permutation of `train` that depends on seed and epoch alone.
pub fn epoch_order(train: &[u32], seed: u64, epoch: usize) -> Vec<u32> {
    let mut order = train.to_vec();
    Random::new(&[EPOCH, seed, epoch as u64]).shuffle(&mut order);
    order
}

/// Writes one batch: the normalised segments to `inputs`, [indices, frames, mels], and their genres one-hot to
/// `targets`, [indices, genres]. Every value of both is written; nothing is allocated.
///
/// # Panics
/// Where a buffer is not exactly as long as the batch, or an index is not below [`Dataset::segment_count`].
pub fn fill(
    dataset: &Dataset,
    indices: &[u32],
    normalisation: Normalisation,
    inputs: &mut [f32],
    targets: &mut [f32],
) {
    let (length, classes) = (dataset.segment_len(), dataset.genres.len());
    assert_eq!(
        inputs.len(),
        indices.len() * length,
        "inputs as long as the batch"
    );
    assert_eq!(
        targets.len(),
        indices.len() * classes,
        "targets as long as the batch"
    );
    targets.fill(0.0);
    let rows = inputs
        .chunks_exact_mut(length)
        .zip(targets.chunks_exact_mut(classes));
    for (index, (input, target)) in indices.iter().zip(rows) {
        normalisation.apply(dataset.segment(*index as usize), input);
        target[dataset.label(*index as usize)] = 1.0;
    }
}
