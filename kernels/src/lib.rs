//! SIMD kernels of sonograd: slices in, slices out.
//!
//! The only crate of the project with `unsafe`. No threads, no allocation and no I/O inside a kernel; [`mapped`]
//! stands here for its `unsafe` alone.
//!
//! A kernel is written once, generic over `simd::Simd`, and instantiated for every instruction set in
//! [`table`]. A `&'static` [`Kernels`] exists only for an instruction set that this CPU has, so holding one is
//! the proof that its functions may be called; each checks its slices' lengths before it touches a pointer.
//! [`reference`](mod@reference) holds the naive `f64` versions that every kernel is tested against.

pub mod activation;
pub mod align;
pub mod compute;
pub mod conv2d;
pub mod gemm;
pub mod isa;
pub mod lstm;
pub mod mapped;
mod math;
mod named;
pub mod norm;
mod parts;
pub mod pool;
pub mod reference;
mod simd;
mod softmax;
mod spectrum;
pub mod table;
mod tiles;
mod update;

pub use activation::Activation;
pub use align::AlignedVec;
pub use compute::{Compute, Precision, Tuned};
pub use conv2d::{Conv2dShape, ConvAlgorithm, ConvBlock};
pub use gemm::{GemmAlgorithm, Matrix};
pub use isa::Isa;
pub use lstm::LstmShape;
pub use norm::NormGradient;
pub use pool::PoolShape;
pub use table::Kernels;
