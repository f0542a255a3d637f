//! Matrix products.

/// `C[m, n] = A[m, k] * B[k, n] (+ C)`; strides are (from a row to the next, from a column to the next).
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    a: &[f64],
    a_strides: (usize, usize),
    b: &[f64],
    b_strides: (usize, usize),
    c: &mut [f64],
    c_stride: usize,
    accumulate: bool,
) {
    for row in 0..m {
        for column in 0..n {
            let mut sum = if accumulate {
                c[row * c_stride + column]
            } else {
                0.0
            };
            for depth in 0..k {
                sum += a[row * a_strides.0 + depth * a_strides.1]
                    * b[depth * b_strides.0 + column * b_strides.1];
            }
            c[row * c_stride + column] = sum;
        }
    }
}
