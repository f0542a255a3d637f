//! Songs by genre: a folder, the built-in synthesiser, splits, the feature cache, batches.
//!
//! [`load`] turns a [`Source`] into a [`Dataset`] of log-mel segments in dB; [`split`] tells training from validation;
//! [`Normalisation`], [`epoch_order`] and [`fill`] make the batches that a model sees.

mod batches;
mod cache;
mod dataset;
mod fault_filtered;
mod features;
mod folder;
mod groups;
mod listing;
mod load;
mod split;
pub mod synth;

pub use batches::{Normalisation, epoch_order, fill};
pub use cache::default_cache;
pub use dataset::{Dataset, LeftOut, Song, SongFeatures, Stats};
pub use features::MemoryLimit;
pub use load::{LoadOptions, SILENCE_DBFS, Source, load};
pub use split::{Split, SplitKind, check_share, folds, split};
