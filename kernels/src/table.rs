//! The one list of kernels: a name, what it checks, and the body that every instruction set instantiates.
//!
//! `kernels!` (`shells.rs`) turns the list into the struct [`Kernels`] (a function pointer an entry), a safe method an entry
//! (checks, then calls), and a `#[target_feature]` shell an instruction set around the generic body.

mod available;
mod shells;

use crate::activation::{self, Activation};
use crate::conv2d::ahead;
use crate::conv2d::few_filters::{self, FewFilters};
use crate::conv2d::winograd::{self, Tiles};
use crate::conv2d::winograd_pack;
use crate::conv2d::{self, Conv2dShape, ConvBlock};
use crate::gemm::{self, Matrix, Panels};
use crate::isa::Isa;
use crate::lstm::{self, LstmShape};
use crate::norm::{self, NormGradient};
use crate::pool::{self, PoolShape};
use crate::simd::portable::Portable;
use crate::{math, softmax, spectrum, update};
use num_complex::Complex;
use shells::kernels;
use std::ops::Range;

kernels! {
    /// `sum[i] += x[i]`.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn add_assign(sum: &mut [f32], x: &[f32]) = update::add_assign, where {
        assert_eq!(sum.len(), x.len());
    }
    /// `to[i] = activation(plus[0][i] + plus[1][i] + plus[2][i] - (minus[0][i] + minus[1][i]))`.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn combine(plus: [&[f32]; 3], minus: [&[f32]; 2], activation: Activation, to: &mut [f32])
        = update::combine, where {
        assert!(plus.iter().chain(&minus).all(|x| x.len() == to.len()));
    }
    /// Stochastic gradient descent: `parameters[i] -= learning_rate * gradients[i]`.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn sgd(parameters: &mut [f32], gradients: &[f32], learning_rate: f32) = update::sgd, where {
        assert_eq!(parameters.len(), gradients.len());
    }
    /// `x[i] *= a`.
    fn scale(x: &mut [f32], a: f32) = update::scale, where {}
    /// The sum of squares, added up in f64 in an order that is the same on every instruction set.
    fn squared_norm(x: &[f32]) -> f64 = update::squared_norm, where {}
    /// `sums[c] = sum over rows of x[row, c]`: the gradient of a bias.
    ///
    /// # Panics
    /// Where a length is not rows * columns, or `columns`.
    fn column_sums(rows: usize, columns: usize, x: &[f32], sums: &mut [f32])
        = update::column_sums, where {
        assert_eq!(x.len(), rows * columns);
        assert_eq!(sums.len(), columns);
    }
    /// Dropout: `y[i] = x[i] * keep_scale` with probability 1 - `rate`, else 0 (also where x is not finite).
    ///
    /// `rate` is rounded to a multiple of 2^-24; `keep_scale` is 1 / (1 - rate) in Keras. Whether element i stays depends on
    /// `key` and `offset + i` alone (a counter-based generator), so the mask is the same on every instruction set and for
    /// any cut into shards that passes each its offset, and none has to be kept for the backward pass.
    ///
    /// # Panics
    /// Where the lengths differ, or `rate` is not in 0..=1.
    fn dropout_forward(
        x: &[f32],
        y: &mut [f32],
        keep_scale: f32,
        rate: f32,
        key: u64,
        offset: u64,
    ) = update::dropout, where {
        assert_eq!(x.len(), y.len());
        assert!((0.0..=1.0).contains(&rate), "a dropout rate of {rate}");
    }
    /// Momentum as in Keras: `velocity = momentum * velocity - learning_rate * g`, then `parameters += velocity`, or with
    /// `nesterov` `parameters += momentum * velocity - learning_rate * g`. Fading velocities become 0.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn sgd_momentum(
        parameters: &mut [f32],
        gradients: &[f32],
        velocity: &mut [f32],
        learning_rate: f32,
        momentum: f32,
        nesterov: bool,
    ) = update::sgd_momentum, where {
        assert_eq!(parameters.len(), gradients.len());
        assert_eq!(parameters.len(), velocity.len());
    }
    /// Adam as in Keras: `m += (1 - beta_1)(g - m)`, `v += (1 - beta_2)(g^2 - v)`,
    /// `parameters -= learning_rate * m / (sqrt(v) + epsilon)`.
    ///
    /// `learning_rate` is the corrected one of the t-th step, `lr * sqrt(1 - beta_2^t) / (1 - beta_1^t)`. `decay` is
    /// AdamW's, `lr * weight_decay` with the uncorrected rate, applied to the parameters before the step; 0 for Adam.
    /// Fading moments become 0.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn adam(
        parameters: &mut [f32],
        gradients: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        learning_rate: f32,
        beta_1: f64,
        beta_2: f64,
        epsilon: f32,
        decay: f32,
    ) = update::adam, where {
        assert_eq!(parameters.len(), gradients.len());
        assert_eq!(parameters.len(), m.len());
        assert_eq!(parameters.len(), v.len());
    }
    /// Adadelta as in Keras, G and D the accumulators: `G = rho G + (1 - rho) g^2`,
    /// `delta = -sqrt(D + epsilon) g / sqrt(G + epsilon)`, `D = rho D + (1 - rho) delta^2`,
    /// `parameters += learning_rate * delta`. Fading accumulators become 0.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn adadelta(
        parameters: &mut [f32],
        gradients: &[f32],
        accumulated_gradient: &mut [f32],
        accumulated_delta: &mut [f32],
        learning_rate: f32,
        rho: f64,
        epsilon: f32,
    ) = update::adadelta, where {
        assert_eq!(parameters.len(), gradients.len());
        assert_eq!(parameters.len(), accumulated_gradient.len());
        assert_eq!(parameters.len(), accumulated_delta.len());
    }
    /// RMSprop as in Keras: `velocity = rho * velocity + (1 - rho) g^2`, `step = learning_rate * g / sqrt(velocity +
    /// epsilon)`, then `parameters -= step`; with a momentum buffer b `b = momentum * b + step`, `parameters -= b`.
    /// Fading moments become 0.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn rmsprop(
        parameters: &mut [f32],
        gradients: &[f32],
        velocity: &mut [f32],
        momentum_buffer: Option<&mut [f32]>,
        learning_rate: f32,
        rho: f64,
        momentum: f32,
        epsilon: f32,
    ) = update::rmsprop, where {
        assert_eq!(parameters.len(), gradients.len());
        assert_eq!(parameters.len(), velocity.len());
        assert!(momentum_buffer.as_ref().is_none_or(|buffer| buffer.len() == parameters.len()));
    }
    /// `y[i] = e^x[i]` within 2 ULP.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn exp(x: &[f32], y: &mut [f32]) = math::exp_slice, where {
        assert_eq!(x.len(), y.len());
    }
    /// `y[i] = 1 / (1 + e^-x[i])` with a relative error below 3.6e-7; 1.65e-38 below x = -87.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn sigmoid(x: &[f32], y: &mut [f32]) = math::sigmoid_slice, where {
        assert_eq!(x.len(), y.len());
    }
    /// `y[i] = tanh(x[i])` with a relative error below 3.6e-7.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn tanh(x: &[f32], y: &mut [f32]) = math::tanh_slice, where {
        assert_eq!(x.len(), y.len());
    }
    /// Two frames times their window, as the real and the imaginary part of one row of complex numbers: every fourth of them from r on
    /// in quarter r.
    ///
    /// # Panics
    /// Where the lengths differ, or are no multiple of 128.
    fn window_quarters(frames: [&[f32]; 2], window: &[f32], quarters: &mut [Complex<f32>])
        = spectrum::window_quarters, where {
        assert!(window.len().is_multiple_of(spectrum::STEP) && quarters.len() == window.len());
        assert!(frames.iter().all(|frame| frame.len() == window.len()));
    }
    /// The powers |X|^2 of two frames of N samples in bins 0..=N / 2, from the transforms of their
    /// [quarters](Kernels::window_quarters). `twiddles` are exp(-2 pi i r k / N) for r = 1, 2 and 3 and k < N / 4: of each r the real
    /// parts, then the imaginary ones.
    ///
    /// # Panics
    /// Where N is not a multiple of 128 and above 0, the twiddles are not 6 N / 4, or a slice of powers is shorter than its bins.
    fn power_pair(quarters: &[Complex<f32>], twiddles: &[f32], powers: [&mut [f32]; 2])
        = spectrum::power_pair, where {
        let n = quarters.len();
        assert!(n > 0 && n.is_multiple_of(spectrum::STEP) && twiddles.len() == 6 * (n / 4));
        assert!(powers.iter().all(|powers| powers.len() > n / 2));
    }
    /// Writes B [k, n] in column panels, for [`Kernels::gemm_packed`]: [`gemm::packed_len`] values.
    ///
    /// # Panics
    /// Where `packed` is shorter, or B does not hold k x n values.
    fn gemm_pack(k: usize, n: usize, b: Matrix<'_>, packed: &mut [f32]) = gemm::pack, where |kernels| {
        b.check(k, n);
        assert!(packed.len() >= gemm::packed_len(k, n, kernels.lanes()));
    }
    /// Cuts A [m, k] into bf16 `parts`, 1 to 3, for [`Kernels::gemm_bf16_multiply`].
    ///
    /// # Panics
    /// Where `cut` is too short, or A does not hold m x k values.
    fn gemm_bf16_cut(parts: usize, m: usize, k: usize, a: Matrix<'_>, cut: &mut [f32]) = gemm::cut, where {
        gemm::check_parts(parts, k);
        a.check(m, k);
        assert!(cut.len() >= gemm::parts_len(parts, m, k));
    }
    /// Writes B [k, n] in bf16 `parts`, 1 to 3, as tiles, for [`Kernels::gemm_bf16_multiply`].
    ///
    /// # Panics
    /// Where `packed` is too short, or B does not hold k x n values.
    fn gemm_bf16_pack(parts: usize, k: usize, n: usize, b: Matrix<'_>, packed: &mut [f32]) = gemm::bf16_pack, where {
        gemm::check_parts(parts, k);
        b.check(k, n);
        assert!(packed.len() >= gemm::parts_len(parts, n, k));
    }
    /// [`Kernels::gemm_packed`] with A cut into bf16 `parts` and B packed in `stored` ones, as many or more.
    ///
    /// # Panics
    /// Where a slice is too short for its matrix, or rows of C overlap.
    fn gemm_bf16_multiply(
        stored: usize,
        parts: usize,
        m: usize,
        n: usize,
        k: usize,
        cut: &[f32],
        packed: &[f32],
        c: &mut [f32],
        c_stride: usize,
        accumulate: bool,
        bias: Option<&[f32]>,
        activation: Activation,
        scratch: &mut [f32],
    ) = gemm::multiply, where {
        gemm::check_multiply(stored, parts, (m, n, k), cut, packed, bias, scratch);
        gemm::check_output(m, n, c, c_stride);
    }
    /// [`Kernels::gemm_packed`] with B in either form.
    ///
    /// # Panics
    /// Where a slice is too short for its matrix, or rows of C overlap.
    fn gemm_panels(
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Panels<'_>,
        c: &mut [f32],
        c_stride: usize,
        accumulate: bool,
        bias: Option<&[f32]>,
        activation: Activation,
        scratch: &mut [f32],
    ) = gemm::panels, where |kernels| {
        gemm::check_panels(kernels, (m, n, k), a, b, c, c_stride, bias, scratch);
    }
    /// The probabilities of each row of `logits`, and where there are targets the cross-entropy summed over the rows (else 0).
    ///
    /// All are [rows, classes]. `d_logits`, set where there are targets, is the loss' gradient times `scale`:
    /// `(p - t) * scale` for targets that add up to 1; a row of zeros adds neither loss nor gradient. The loss is taken from
    /// the logits, `log(sum(e^z)) - z`; Keras without `from_logits` clips the probabilities to 1e-7..1 - 1e-7 first and
    /// so never reports more than 16.118 a row. Any finite logits are fine; NaN gives NaN.
    ///
    /// # Panics
    /// Where a length is not rows * classes.
    fn softmax_cross_entropy(
        rows: usize,
        classes: usize,
        logits: &[f32],
        targets: Option<&[f32]>,
        probabilities: &mut [f32],
        d_logits: Option<&mut [f32]>,
        scale: f32,
    ) -> f64 = softmax::softmax_cross_entropy, where {
        let len = rows * classes;
        assert_eq!(logits.len(), len);
        assert_eq!(probabilities.len(), len);
        assert!(targets.is_none_or(|targets| targets.len() == len));
        assert!(d_logits.as_ref().is_none_or(|d_logits| d_logits.len() == len));
    }
    /// Batch normalisation, sums of x [rows, channels]: `sums` = [sum of x | sum of x^2], 2 * channels.
    ///
    /// `variance = (sum x^2) / n - mean^2` in f64 keeps 6 digits where the mean is 10,000 deviations from 0. Values that lie 1e19 and
    /// further from one another overflow.
    ///
    /// # Panics
    /// Where a length differs.
    fn norm_sums(rows: usize, channels: usize, x: &[f32], sums: &mut [f64])
        = norm::norm_sums, where {
        assert_eq!(x.len(), rows * channels);
        assert_eq!(sums.len(), 2 * channels);
    }
    /// `y = (x - mean) * inverse_deviation * gamma + beta` over the last axis of x [rows, channels].
    ///
    /// `inverse_deviation` is `1 / sqrt(variance + epsilon)`.
    ///
    /// # Panics
    /// Where a length differs.
    fn norm_forward(
        rows: usize,
        channels: usize,
        x: &[f32],
        mean: &[f32],
        inverse_deviation: &[f32],
        gamma: &[f32],
        beta: &[f32],
        y: &mut [f32],
    ) = norm::norm_forward, where {
        assert_eq!(x.len(), rows * channels);
        assert_eq!(y.len(), rows * channels);
        for each in [mean, inverse_deviation, gamma, beta] {
            assert_eq!(each.len(), channels);
        }
    }
    /// Sums for the backward pass: `sums` = [sum of d_y (that is d beta) | sum of d_y * x_hat (d gamma)], 2 * channels,
    /// with `x_hat = (x - mean) * inverse_deviation`.
    ///
    /// # Panics
    /// Where a length differs.
    fn norm_backward_sums(
        rows: usize,
        channels: usize,
        x: &[f32],
        d_y: &[f32],
        mean: &[f32],
        inverse_deviation: &[f32],
        sums: &mut [f64],
    ) = norm::norm_backward_sums, where {
        assert_eq!(x.len(), rows * channels);
        assert_eq!(d_y.len(), rows * channels);
        assert_eq!(mean.len(), channels);
        assert_eq!(inverse_deviation.len(), channels);
        assert_eq!(sums.len(), 2 * channels);
    }
    /// For a convolution of `y = scale * x + shift`, channel by channel, from `d_kernel`, its gradient by a kernel that reads x, and
    /// `d_bias`: `sums` = [sum of the gradient by y | sum of its product with x] by channel, and `d_kernel` as that by one that reads
    /// y. Rows of `d_bias.len()` filters; a row's channel is its number modulo the channels.
    ///
    /// # Panics
    /// Where a length differs, or the kernel has not whole rows.
    fn norm_kernel_gradient(
        kernel: &[f32], d_bias: &[f32], scale: &[f32], shift: &[f32], d_kernel: &mut [f32], sums: &mut [f64],
    ) = norm::norm_kernel_gradient, where {
        assert_eq!(kernel.len(), d_kernel.len());
        assert!(kernel.len().is_multiple_of(d_bias.len() * scale.len()));
        assert_eq!((shift.len(), sums.len()), (scale.len(), 2 * scale.len()));
    }
    /// `d_x = gamma * inverse_deviation * (d_y - mean_d_y - x_hat * mean_d_y_x_hat)`, the means being the sums of
    /// [`Kernels::norm_backward_sums`] over the whole batch, divided by its rows.
    ///
    /// # Panics
    /// Where a length differs.
    fn norm_backward(
        rows: usize,
        channels: usize,
        x: &[f32],
        d_y: &[f32],
        gradient: NormGradient<'_>,
        d_x: &mut [f32],
    ) = norm::norm_backward, where {
        for each in [x, d_y, &*d_x] {
            assert_eq!(each.len(), rows * channels);
        }
        gradient.check(channels);
    }
    /// [`Kernels::norm_backward`] where `d` holds d_y before and d_x after.
    ///
    /// # Panics
    /// Where a length differs.
    fn norm_backward_in_place(
        rows: usize,
        channels: usize,
        x: &[f32],
        gradient: NormGradient<'_>,
        d: &mut [f32],
    ) = norm::norm_backward_in_place, where {
        for each in [x, &*d] {
            assert_eq!(each.len(), rows * channels);
        }
        gradient.check(channels);
    }
    /// The forward part of [`Kernels::lstm_pack`].
    ///
    /// # Panics
    /// Where a length is not the shape's.
    fn lstm_pack_forward(
        shape: LstmShape,
        kernel: &[f32],
        recurrent_kernel: &[f32],
        packed: &mut [f32],
    ) = lstm::pack_forward, where |kernels| {
        assert_eq!(kernel.len(), shape.inputs * 4 * shape.units);
        assert_eq!(recurrent_kernel.len(), shape.units * 4 * shape.units);
        assert_eq!(packed.len(), shape.forward_len(kernels.lanes()));
    }
    /// The output of all steps: `input` is [rows, steps, inputs], `packed` [`Kernels::lstm_pack`]'s, `bias` [4 units], `output`
    /// [rows, steps, units], or [rows, units] without sequences. `workspace` takes what the backward pass needs, rows *
    /// [`LstmShape::workspace_len`], or in a prediction, for which nothing is kept, rows * [`LstmShape::states_len`], of any content.
    ///
    /// # Panics
    /// Where a slice has another length, or the layer no steps.
    fn lstm_forward(
        shape: LstmShape,
        rows: usize,
        input: &[f32],
        packed: &[f32],
        bias: &[f32],
        output: &mut [f32],
        workspace: &mut [f32],
    ) = lstm::forward, where |kernels| {
        shape.check_forward(rows, kernels.lanes(), input, packed, bias, output, workspace);
    }
    /// One `step` of one row, for the units `first..first + output.len()`, `first` a multiple of 16: from `x`, the step's inputs, and
    /// `before`, the state of all units, to `output`; `cells` from the last step's to this one's. At step 0 neither `before` nor `cells` is read.
    ///
    /// # Panics
    /// Where a slice has another length.
    fn lstm_step(
        shape: LstmShape,
        step: usize,
        first: usize,
        x: &[f32],
        before: &[f32],
        packed: &[f32],
        bias: &[f32],
        cells: &mut [f32],
        output: &mut [f32],
    ) = lstm::step, where |kernels| {
        shape.check_step(kernels.lanes(), step, first, x, before, packed, bias, cells, output);
    }
    /// One step of [`Kernels::lstm_forward_tiles`]: replaces z of `step` in the workspace by the gates, and sets the cell, the state
    /// behind the step and what there is of it in `output`.
    ///
    /// # Panics
    /// Where a length is not the shape's.
    fn lstm_cell_forward(shape: LstmShape, rows: usize, step: usize, output: &mut [f32], workspace: &mut [f32])
        = lstm::cell_forward, where |kernels| {
        assert!(step < shape.steps);
        assert_eq!(output.len(), rows * shape.output_len());
        assert_eq!(workspace.len(), rows * shape.workspace_len(kernels.lanes()));
    }
    /// One step of [`Kernels::lstm_backward`]: replaces the gates of `step` in the workspace by dz, and in `d_cell` the
    /// gradient of c_t by that of c_{t-1}. `d_state` is that of h_t from the step after; both are [rows, units] and are
    /// not read at the last step.
    ///
    /// # Panics
    /// Where a length is not the shape's.
    fn lstm_cell_backward(
        shape: LstmShape,
        rows: usize,
        step: usize,
        d_output: &[f32],
        d_state: &[f32],
        d_cell: &mut [f32],
        workspace: &mut [f32],
    ) = lstm::cell_backward, where |kernels| {
        assert!(step < shape.steps);
        assert_eq!(d_output.len(), rows * shape.output_len());
        assert_eq!(d_state.len(), rows * shape.units);
        assert_eq!(d_cell.len(), rows * shape.units);
        assert_eq!(workspace.len(), rows * shape.workspace_len(kernels.lanes()));
    }
    /// `output[i] = activation(input[i])`.
    ///
    /// # Panics
    /// Where the lengths differ, or a leaky slope is not above 0.
    fn activation_forward(activation: Activation, input: &[f32], output: &mut [f32])
        = activation::forward, where {
        activation.check();
        assert_eq!(input.len(), output.len());
    }
    /// `d_input[i] = activation'(x) * d_output[i]`, the derivative read from the sign of `output[i]`.
    ///
    /// # Panics
    /// Where the lengths differ, or a leaky slope is not above 0.
    fn activation_backward(activation: Activation, output: &[f32], d_output: &[f32], d_input: &mut [f32])
        = activation::backward, where {
        activation.check();
        assert_eq!(output.len(), d_output.len());
        assert_eq!(output.len(), d_input.len());
    }
    /// Max pooling of `samples` NHWC maps: the maxima and their codes (see [`ConvBlock::codes_len`]). Empty codes:
    /// none are written.
    ///
    /// # Panics
    /// Where a length does not fit the shape.
    fn max_pool_forward(
        pool: &PoolShape, samples: usize, input: &[f32], output: &mut [f32], codes: &mut [u8],
    ) = pool::max_pool_forward, where {}
    /// The gradient of [`max_pool_forward`](Kernels::max_pool_forward)'s input; `d_input` is set.
    ///
    /// # Panics
    /// Where a length does not fit the shape, or a code points outside the image.
    fn max_pool_backward(
        pool: &PoolShape, samples: usize, d_output: &[f32], codes: &[u8], d_input: &mut [f32],
    ) = pool::max_pool_backward, where {}
    /// Rows of [`max_pool_forward`](Kernels::max_pool_forward)'s output of one sample, whose map's row y stands in slot
    /// `y % slots` of a ring: `activation(maximum + bias)`. The bias is padded to whole registers.
    ///
    /// # Panics
    /// Where a length does not fit the shape, or a window has more rows than the ring.
    fn pool_ring(
        pool: &PoolShape, rows: Range<usize>, ring: &[f32], slots: usize, bias: &[f32], activation: Activation,
        output: &mut [f32], codes: &mut [u8],
    ) = pool::pool_ring, where { activation.check(); }
    /// Asks for what is about to be written to be brought into the first-level cache.
    fn prefetch(values: &[f32], codes: &[u8]) = ahead::prefetch, where {}
    /// Winograd's transform of the image for tile rows `first..first + rows`.
    ///
    /// # Panics
    /// Where a length does not fit the tiles.
    fn winograd_input(tiles: &Tiles, first: usize, rows: usize, image: &[f32], v: &mut [f32])
        = winograd::input, where {}
    /// Winograd's transform of the products of tile rows `first..first + rows` to rows of the map, row y in slot
    /// `y % slots`.
    ///
    /// # Panics
    /// Where a length does not fit the tiles.
    fn winograd_output(tiles: &Tiles, first: usize, rows: usize, m: &[f32], ring: &mut [f32], slots: usize)
        = winograd::output, where {}
    /// Few filters by Winograd: row `row` of the sums that the products read.
    ///
    /// # Panics
    /// Where a length does not fit the layout, or it has no such row.
    fn few_filters_sums(layout: &FewFilters, row: usize, padded: &[f32], sums: &mut [f32])
        = few_filters::sums, where {}
    /// The map's rows of a step by Winograd, from `row` on, into the ring.
    ///
    /// # Panics
    /// Where a length does not fit the layout, or no step begins at the row.
    fn few_filters_rows(layout: &FewFilters, row: usize, sums: &[f32], packed: &[f32], ring: &mut [f32])
        = few_filters::rows, where {}
    /// The map's row `row` by the direct kernel, into the ring.
    ///
    /// # Panics
    /// Where a length does not fit the layout, or it has no such row.
    fn few_filters_row(layout: &FewFilters, row: usize, padded: &[f32], packed: &[f32], ring: &mut [f32])
        = few_filters::row, where {}
    /// Row `oy` of the pooled map from the rows in the ring, with its codes unless there are none.
    ///
    /// # Panics
    /// Where a length does not fit the layout, or it has no such row.
    fn few_filters_pool(
        layout: &FewFilters, oy: usize, ring: &[f32], bias: &[f32], output: &mut [f32], codes: &mut [u8],
    ) = few_filters::pool, where {}
    /// [`Kernels::conv_block_pack`] by [`ConvAlgorithm::Direct`](conv2d::ConvAlgorithm::Direct), whatever the block asks for.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    fn conv_direct_pack(block: &ConvBlock, kernel: &[f32], packed: &mut [f32]) = conv2d::pack, where {}
    /// [`Kernels::conv_block_forward`] of a block that is computed row by row, or by pairs of rows.
    ///
    /// # Panics
    /// Where a length does not fit the block, or its algorithm is another.
    fn conv_direct_forward(
        block: &ConvBlock, samples: usize, input: &[f32], packed: &[f32], bias: &[f32], output: &mut [f32],
        codes: &mut [u8], scratch: &mut [f32],
    ) = conv2d::forward, where {}
    /// [`Kernels::conv_block_forward`] of a block that is computed by bf16 parts.
    ///
    /// # Panics
    /// Where a length does not fit the block, or its algorithm is another.
    fn conv_bf16_forward(
        block: &ConvBlock, samples: usize, input: &[f32], packed: &[f32], bias: &[f32], output: &mut [f32],
        codes: &mut [u8], scratch: &mut [f32],
    ) = conv2d::forward_bf16, where {}
    /// `G g G'` of every pair of channels of a 3 x 3 kernel, as B of Winograd's 25 products.
    ///
    /// # Panics
    /// Where a length does not fit the convolution.
    fn conv_winograd_pack(
        conv: &Conv2dShape, kernel: &[f32], packed: &mut [f32],
    ) = winograd_pack::pack_points, where {
        assert_eq!(kernel.len(), conv.kernel_len());
    }
    /// [`Kernels::conv_block_backward`] with what [`Kernels::conv_direct_pack`] wrote.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    fn conv_direct_backward(
        block: &ConvBlock, samples: usize, input: &[f32], output: &[f32], codes: &[u8], d_output: &[f32],
        norm: Option<NormGradient<'_>>, packed: &[f32], d_input: Option<&mut [f32]>, d_kernel: &mut [f32], d_bias: &mut [f32], scratch: &mut [f32],
    ) = conv2d::backward, where {}
}
