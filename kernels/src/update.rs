//! One pass over flat slices: sums, dropout and optimiser updates.
//!
//! Moments that fade away would become subnormal, and arithmetic on subnormal numbers takes a slow path on many CPUs.
//! They are set to 0 before that: [`settle`] does so below 2^-110, far enough above the smallest normal number
//! (2^-126) that the products of the next step are normal too, and [`square`] takes values below 2^-58 for 0. What is
//! lost is far below any `epsilon` in use: the root of the largest square dropped is 3.5e-18, Keras adds 1e-7.

use crate::activation::{Activation, activate};
use crate::simd::Simd;
use crate::table::Kernels;

/// Where a fading moment becomes 0: 2^-110.
const SETTLED: f32 = 7.703_72e-34;
/// Where a square becomes 0: 2^-58, whose square times 2^-10 is the smallest normal number.
const SQUARE_SETTLED: f32 = 3.469_447e-18;

/// x, or 0 where it has faded; NaN stays.
#[inline(always)]
fn settle<S: Simd>(s: S, x: S::F) -> S::F {
    s.select(s.gt(s.splat(SETTLED), s.abs(x)), s.zero(), x)
}

/// x^2, or 0 where that nears the subnormal numbers; NaN stays.
#[inline(always)]
fn square<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.select(s.gt(s.splat(SQUARE_SETTLED), s.abs(x)), s.zero(), x);
    s.mul(x, x)
}

/// What a mean keeps of its new value: 1 - decay, rounded once. In f32 1 - 0.999 would be off by 1.3e-5.
#[inline(always)]
fn rest(decay: f64) -> f32 {
    (1.0 - decay) as f32
}

/// Calls a step on every register of slices of one length: `$load` binds slices that are read, `$store` names those
/// that the step's array of results goes to.
macro_rules! each_register {
    ($s:ident, $len:expr, [$($read:ident),*] -> [$($write:ident),*], $step:expr) => {{
        let len = $len;
        let mut i = 0;
        // SAFETY: the slices have `len` values each (checked by the caller); every access stays below `len`.
        unsafe {
            while i + S::LANES <= len {
                let results = {
                    $(let $read = $s.load($read.as_ptr().add(i));)*
                    $step
                };
                let mut result = 0;
                $($s.store($write.as_mut_ptr().add(i), results[result]); result += 1;)*
                let _ = result;
                i += S::LANES;
            }
            let rest = len - i;
            if rest > 0 {
                let results = {
                    $(let $read = $s.load_partial($read.as_ptr().add(i), rest);)*
                    $step
                };
                let mut result = 0;
                $($s.store_partial($write.as_mut_ptr().add(i), results[result], rest); result += 1;)*
                let _ = result;
            }
        }
    }};
}

/// `sum[i] += x[i]`
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
pub(crate) unsafe fn add_assign<S: Simd>(s: S, sum: &mut [f32], x: &[f32]) {
    each_register!(s, sum.len(), [sum, x] -> [sum], [s.add(sum, x)]);
}

/// `to[i] = activation(the sum of plus[..][i] - the sum of minus[..][i])`
///
/// # Safety
/// All slices have one length.
#[inline(always)]
pub(crate) unsafe fn combine<S: Simd>(
    s: S,
    plus: [&[f32]; 3],
    minus: [&[f32]; 2],
    activation: Activation,
    to: &mut [f32],
) {
    let ([a, b, c], [d, e]) = (plus, minus);
    each_register!(s, to.len(), [a, b, c, d, e] -> [to], {
        let sum = s.sub(s.add(s.add(a, b), c), s.add(d, e));
        [activate(s, activation, sum)]
    });
}

/// `x[i] *= a`
///
/// # Safety
/// None.
#[inline(always)]
pub(crate) unsafe fn scale<S: Simd>(s: S, x: &mut [f32], a: f32) {
    let a = s.splat(a);
    each_register!(s, x.len(), [x] -> [x], [s.mul(a, x)]);
}

/// The sum of squares, in f64: 16 sums, added in order.
///
/// # Safety
/// None.
#[inline(always)]
pub(crate) unsafe fn squared_norm<S: Simd>(_: S, x: &[f32]) -> f64 {
    let mut sums = [0.0f64; 16];
    let (blocks, rest) = x.as_chunks::<16>();
    for block in blocks {
        for lane in 0..16 {
            let x = f64::from(block[lane]);
            sums[lane] += x * x;
        }
    }
    let mut total = 0.0;
    for lane in 0..16 {
        total += sums[lane];
    }
    for &x in rest {
        total += f64::from(x) * f64::from(x);
    }
    total
}

/// `sums[c] = sum over rows of x[row, c]`
///
/// # Safety
/// x has rows * columns values, sums has `columns`.
#[inline(always)]
pub(crate) unsafe fn column_sums<S: Simd>(
    s: S,
    rows: usize,
    columns: usize,
    x: &[f32],
    sums: &mut [f32],
) {
    /// Values of a band of rows: 16 KB, which stay in L1 while the columns are walked.
    const BAND: usize = 4096;
    sums.fill(0.0);
    let band = (BAND / columns.max(1)).max(1);
    let mut top = 0;
    // SAFETY: rows below `rows`, columns below `columns`.
    unsafe {
        while top < rows {
            let count = band.min(rows - top);
            let x = x.as_ptr().add(top * columns);
            let mut column = 0;
            while column < columns {
                let width = S::LANES.min(columns - column);
                let (x, to) = (x.add(column), sums.as_mut_ptr().add(column));
                let mut sum = [s.zero(); 4];
                if width == S::LANES {
                    let mut row = 0;
                    while row + 4 <= count {
                        for i in 0..4 {
                            sum[i] = s.add(sum[i], s.load(x.add((row + i) * columns)));
                        }
                        row += 4;
                    }
                    while row < count {
                        sum[0] = s.add(sum[0], s.load(x.add(row * columns)));
                        row += 1;
                    }
                    let sum = s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3]));
                    s.store(to, s.add(s.load(to), sum));
                } else {
                    for row in 0..count {
                        sum[0] = s.add(sum[0], s.load_partial(x.add(row * columns), width));
                    }
                    s.store_partial(to, s.add(s.load_partial(to, width), sum[0]), width);
                }
                column += width;
            }
            top += count;
        }
    }
}

/// 32 random bits of element `counter` under `keys`.
///
/// Two rounds of the 32-bit finaliser `lowbias32` (C. Wellons, "Prospecting for hash functions", 2018) with a key
/// before each; its multiplications are what a vector unit has.
#[inline(always)]
fn random_bits(counter: u32, keys: [u32; 2]) -> u32 {
    let mut x = counter ^ keys[0];
    for round in 0..2 {
        x ^= x >> 16;
        x = x.wrapping_mul(0x7feb_352d);
        x ^= x >> 15;
        x = x.wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        if round == 0 {
            x = x.wrapping_add(keys[1]);
        }
    }
    x
}

/// The keys of a run of 2^32 elements: SplitMix64 (Steele, Lea and Flood, 2014) of the key and the run's number.
#[inline(always)]
fn run_keys(key: u64, run: u64) -> [u32; 2] {
    let mut x = key;
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        x ^= run;
    }
    [x as u32, (x >> 32) as u32]
}

/// See [`Kernels::dropout_forward`](crate::Kernels::dropout_forward).
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
pub(crate) unsafe fn dropout<S: Simd>(
    s: S,
    x: &[f32],
    y: &mut [f32],
    keep_scale: f32,
    rate: f32,
    key: u64,
    offset: u64,
) {
    const BLOCK: usize = 16;
    let threshold = (f64::from(rate) * f64::from(1 << 24)).round() as u32;
    let len = x.len();
    let mut i = 0;
    while i < len {
        // A block ends where a run does, so that its elements share their keys.
        let first = offset.wrapping_add(i as u64);
        let keys = run_keys(key, first >> 32);
        let in_run = (1u64 << 32) - (first & 0xffff_ffff);
        let end = i + in_run.min((len - i) as u64) as usize;
        let mut counter = first as u32;
        while i < end {
            let count = BLOCK.min(end - i);
            let mut factors = [0.0f32; BLOCK];
            for lane in 0..BLOCK {
                let bits = random_bits(counter.wrapping_add(lane as u32), keys) >> 8;
                factors[lane] = if bits < threshold { 0.0 } else { keep_scale };
            }
            // SAFETY: i + count <= len, the length of both slices; 16 factors.
            unsafe {
                let mut done = 0;
                while done < count {
                    let width = S::LANES.min(count - done);
                    let (x, y) = (x.as_ptr().add(i + done), y.as_mut_ptr().add(i + done));
                    let factor = s.load(factors.as_ptr().add(done));
                    // A select, not a product: a dropped NaN or infinity is 0.
                    let kept = s.gt(factor, s.zero());
                    if width == S::LANES {
                        s.store(y, s.select(kept, s.mul(s.load(x), factor), s.zero()));
                    } else {
                        let product = s.mul(s.load_partial(x, width), factor);
                        s.store_partial(y, s.select(kept, product, s.zero()), width);
                    }
                    done += width;
                }
            }
            i += count;
            counter = counter.wrapping_add(count as u32);
        }
    }
}

/// `parameters[i] -= learning_rate * gradients[i]`
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
pub(crate) unsafe fn sgd<S: Simd>(
    s: S,
    parameters: &mut [f32],
    gradients: &[f32],
    learning_rate: f32,
) {
    let rate = s.splat(-learning_rate);
    each_register!(s, parameters.len(), [parameters, gradients] -> [parameters], [
        s.mul_add(rate, gradients, parameters)
    ]);
}

/// See [`Kernels::sgd_momentum`](crate::Kernels::sgd_momentum).
///
/// # Safety
/// All slices have one length.
#[inline(always)]
pub(crate) unsafe fn sgd_momentum<S: Simd>(
    s: S,
    parameters: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
    learning_rate: f32,
    momentum: f32,
    nesterov: bool,
) {
    let (rate, momentum) = (s.splat(-learning_rate), s.splat(momentum));
    let len = parameters.len();
    if nesterov {
        each_register!(s, len, [parameters, gradients, velocity] -> [parameters, velocity], {
            let step = s.mul(rate, settle(s, gradients));
            let velocity = settle(s, s.mul_add(momentum, velocity, step));
            [s.add(parameters, s.mul_add(momentum, velocity, step)), velocity]
        });
    } else {
        each_register!(s, len, [parameters, gradients, velocity] -> [parameters, velocity], {
            let step = s.mul(rate, settle(s, gradients));
            let velocity = settle(s, s.mul_add(momentum, velocity, step));
            [s.add(parameters, velocity), velocity]
        });
    }
}

/// See [`Kernels::adam`](crate::Kernels::adam).
///
/// # Safety
/// All slices have one length.
#[inline(always)]
pub(crate) unsafe fn adam<S: Simd>(
    s: S,
    parameters: &mut [f32],
    gradients: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    learning_rate: f32,
    beta_1: f64,
    beta_2: f64,
    epsilon: f32,
    decay: f32,
) {
    let rate = s.splat(-learning_rate);
    let (rest_1, rest_2) = (s.splat(rest(beta_1)), s.splat(rest(beta_2)));
    let (epsilon, decay) = (s.splat(epsilon), s.splat(-decay));
    each_register!(s, parameters.len(), [parameters, gradients, m, v] -> [parameters, m, v], {
        let m = settle(s, s.mul_add(s.sub(settle(s, gradients), m), rest_1, m));
        let v = settle(s, s.mul_add(s.sub(square(s, gradients), v), rest_2, v));
        let kept = s.mul_add(parameters, decay, parameters);
        let step = s.div(s.mul(rate, m), s.add(s.sqrt(v), epsilon));
        [s.add(kept, step), m, v]
    });
}

/// See [`Kernels::adadelta`](crate::Kernels::adadelta).
///
/// # Safety
/// All slices have one length.
#[inline(always)]
pub(crate) unsafe fn adadelta<S: Simd>(
    s: S,
    parameters: &mut [f32],
    gradients: &[f32],
    accumulated_gradient: &mut [f32],
    accumulated_delta: &mut [f32],
    learning_rate: f32,
    rho: f64,
    epsilon: f32,
) {
    let (rate, epsilon) = (s.splat(-learning_rate), s.splat(epsilon));
    let (rest, rho) = (s.splat(rest(rho)), s.splat(rho as f32));
    each_register!(
        s,
        parameters.len(),
        [parameters, gradients, accumulated_gradient, accumulated_delta]
            -> [parameters, accumulated_gradient, accumulated_delta],
        {
            let gradients = settle(s, gradients);
            let new = s.mul(rest, square(s, gradients));
            let gradient = settle(s, s.mul_add(rho, accumulated_gradient, new));
            // One root of the quotient instead of a quotient of roots.
            let ratio = s.div(s.add(accumulated_delta, epsilon), s.add(gradient, epsilon));
            let delta = s.mul(s.sqrt(ratio), gradients);
            let new = s.mul(rest, square(s, delta));
            let delta_squared = settle(s, s.mul_add(rho, accumulated_delta, new));
            [s.mul_add(rate, delta, parameters), gradient, delta_squared]
        }
    );
}

/// See [`Kernels::rmsprop`](crate::Kernels::rmsprop).
///
/// # Safety
/// All slices have one length.
#[inline(always)]
pub(crate) unsafe fn rmsprop<S: Simd>(
    s: S,
    parameters: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
    momentum_buffer: Option<&mut [f32]>,
    learning_rate: f32,
    rho: f64,
    momentum: f32,
    epsilon: f32,
) {
    let (rate, epsilon) = (s.splat(learning_rate), s.splat(epsilon));
    let (rest, rho) = (s.splat(rest(rho)), s.splat(rho as f32));
    let momentum = s.splat(momentum);
    let len = parameters.len();
    if let Some(buffer) = momentum_buffer {
        each_register!(
            s,
            len,
            [parameters, gradients, velocity, buffer] -> [parameters, velocity, buffer],
            {
                let gradients = settle(s, gradients);
                let new = s.mul(rest, square(s, gradients));
                let velocity = settle(s, s.mul_add(rho, velocity, new));
                let step = s.div(s.mul(rate, gradients), s.sqrt(s.add(velocity, epsilon)));
                let buffer = settle(s, s.mul_add(momentum, buffer, step));
                [s.sub(parameters, buffer), velocity, buffer]
            }
        );
    } else {
        each_register!(s, len, [parameters, gradients, velocity] -> [parameters, velocity], {
            let gradients = settle(s, gradients);
            let new = s.mul(rest, square(s, gradients));
            let velocity = settle(s, s.mul_add(rho, velocity, new));
            let step = s.div(s.mul(rate, gradients), s.sqrt(s.add(velocity, epsilon)));
            [s.sub(parameters, step), velocity]
        });
    }
}

impl Kernels {
    /// The gradient of [`Kernels::dropout_forward`]: the same mask (same `rate`, `key` and `offset`) applied to `d_y`.
    ///
    /// # Panics
    /// Where the lengths differ, or `rate` is not in 0..=1.
    pub fn dropout_backward(
        &self,
        d_y: &[f32],
        d_x: &mut [f32],
        keep_scale: f32,
        rate: f32,
        key: u64,
        offset: u64,
    ) {
        self.dropout_forward(d_y, d_x, keep_scale, rate, key, offset);
    }
}
