//! Training: the loop, what it measures, what it keeps.

pub mod fit;
pub mod history;
pub mod metrics;
pub mod model_file;
pub mod problem;
pub mod run;
