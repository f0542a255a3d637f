//! Naive `f64` versions of every kernel: the oracle. Loops as in the definition, nothing shared with the kernels.

mod activation;
mod conv2d;
mod pool;

pub use activation::{activation_backward, activation_forward};
pub use conv2d::{conv2d_backward, conv2d_forward};
pub use pool::{max_pool_backward, max_pool_forward};
