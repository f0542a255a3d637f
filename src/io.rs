//! Files of other formats than sound: safetensors, NumPy arrays, recorded references.

pub mod atomic;
