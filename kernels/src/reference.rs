//! Naive `f64` versions of every kernel: the oracle. Loops as in the definition, nothing shared with the kernels.

mod activation;
mod conv2d;
mod gemm;
mod lstm;
mod norm;
mod pool;
mod softmax;
mod update;

pub use activation::{activation_backward, activation_forward};
pub use conv2d::{conv2d_backward, conv2d_forward};
pub use gemm::gemm;
pub use lstm::{LstmGradients, LstmTrace, LstmWeights, lstm_backward, lstm_forward};
pub use norm::{norm_backward, norm_forward, norm_moments};
pub use pool::{max_pool_backward, max_pool_forward};
pub use softmax::softmax_cross_entropy;
pub use update::{adadelta, adam, rmsprop, sgd_momentum};
