//! Held to what Keras computed: whole models by `verify`, operations and kernels by `fixtures/keras/ops.safetensors`.
//!
//! `SONOGRAD_REQUIRE_ISA=avx2,avx512` says which instruction sets must be there to be tested: a machine that lacks one
//! fails instead of testing less.

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

#[path = "references/cases.rs"]
mod cases;
#[path = "references/kernels.rs"]
mod kernels;
#[path = "references/models.rs"]
mod models;
#[path = "references/ops.rs"]
mod ops;
