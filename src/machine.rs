//! What machine this is, for records of runs and measurements.

use sonograd_kernels::gemm::{gemm_scratch_len, packed_len};
use sonograd_kernels::{Activation, Kernels, Matrix};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The processor's name and its number of cores, as the system tells them.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let name = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
    let name = name.unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH));
    format!("{name}, {cores} cores")
}

/// The best rate of a matrix product that stays in the first-level cache, on one core in GFLOP/s; takes 0.2 s.
pub fn peak_gflops(kernels: &Kernels) -> f64 {
    let (m, n, k) = (96, 64, 64);
    let (a, b, mut c) = (vec![1.0; m * k], vec![1.0; k * n], vec![0.0; m * n]);
    let mut packed = vec![0.0; packed_len(k, n, kernels.lanes())];
    let mut scratch = vec![0.0; gemm_scratch_len(m, n, k, kernels.lanes())];
    kernels.gemm_pack(k, n, Matrix::row_major(&b, n), &mut packed);
    let flop = 2.0 * (m * n * k) as f64;
    let mut best: f64 = 0.0;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(200) {
        let start = Instant::now();
        for _ in 0..20 {
            let a = Matrix::row_major(black_box(&a), k);
            let linear = Activation::Linear;
            kernels.gemm_packed(
                m,
                n,
                k,
                a,
                &packed,
                &mut c,
                n,
                false,
                None,
                linear,
                &mut scratch,
            );
        }
        best = best.max(20.0 * flop / start.elapsed().as_secs_f64() / 1e9);
    }
    black_box(c);
    best
}
