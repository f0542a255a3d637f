//! sonograd learns to name the genre of music on a CPU: a small tensor engine with its own autograd,
//! hand-written SIMD kernels, the five models of two published comparisons and their audio front end.
#![forbid(unsafe_code)]

pub mod audio;
pub mod cli;
pub mod data;
pub mod error;
pub mod exec;
pub mod graph;
pub mod io;
pub mod machine;
pub mod models;
pub mod names;
pub mod nn;
pub mod op;
pub mod ops;
pub mod optim;
pub mod random;
pub mod report;
pub mod shape;
pub mod tensor;
pub mod train;
pub mod verify;

pub use error::{Error, Result};
pub use shape::Shape;
pub use tensor::Tensor;
