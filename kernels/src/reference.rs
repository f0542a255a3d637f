//! Naive `f64` versions of every kernel: the oracle. Loops as in the definition, nothing shared with the kernels.
