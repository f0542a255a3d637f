//! Songs by genre: a folder, the built-in synthesiser, splits, the feature cache, batches.

pub mod synth;
