//! AVX-512's code paths (16 lanes, 32 registers) in portable instructions, so that they are tested everywhere.

use super::Simd;
use super::portable::{Portable, Portable8};

/// Sixteen lanes as two of eight.
#[derive(Clone, Copy)]
pub(crate) struct Emulated512;

super::paired_simd!(Emulated512, Portable8, Portable, Portable8, 16, 32);
