//! The data side as a caller sees it: folders of small songs, splits, the cache, batches.
#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

#[path = "data/batches.rs"]
mod batches;
#[path = "data/cache.rs"]
mod cache;
#[path = "data/folder.rs"]
mod folder;
#[path = "data/split.rs"]
mod split;
#[path = "data/support.rs"]
mod support;
