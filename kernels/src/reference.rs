//! Naive `f64` versions of every kernel: the oracle. Loops as in the definition, nothing shared with the kernels.

mod gemm;
mod lstm;
mod norm;
mod softmax;
mod update;

pub use gemm::gemm;
pub use lstm::{LstmGradients, LstmTrace, LstmWeights, lstm_backward, lstm_forward};
pub use norm::{norm_backward, norm_forward, norm_moments};
pub use softmax::softmax_cross_entropy;
pub use update::{adadelta, adam, rmsprop, sgd_momentum};
