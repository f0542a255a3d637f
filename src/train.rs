//! Training: what a run measures and keeps.

pub mod history;
pub mod metrics;
