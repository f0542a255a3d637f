//! The differentiable operations, one a file: shape rule, forward, backward and gradient check.

pub mod activation;
pub mod batch_normalization;
pub mod concatenate;
pub mod conv2d;
pub mod dense;
pub mod dropout;
pub mod flatten;
pub mod lstm;
pub mod max_pool;
pub mod norm_conv2d;
pub mod softmax;
pub mod window;

#[cfg(test)]
pub(crate) mod check;

pub use activation::Activate;
pub use batch_normalization::BatchNormalization;
pub use concatenate::Concatenate;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use lstm::Lstm;
pub use max_pool::MaxPool2d;
pub use norm_conv2d::NormConv2d;
pub use softmax::Softmax;
