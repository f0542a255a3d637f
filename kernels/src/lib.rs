//! SIMD kernels of sonograd: slices in, slices out.
//!
//! The only crate of the project with `unsafe`. No threads, no allocation inside a kernel, no I/O.
