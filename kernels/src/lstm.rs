//! The long short-term memory layer of Keras: gates i, f, c, o in this order, sigmoid and tanh, zero initial state.
//!
//! ```text
//! z_t = x_t W + h_{t-1} U + b        W [inputs, 4 units]  U [units, 4 units]  b [4 units]
//! i, f, o = sigmoid(z^i, z^f, z^o)   g = tanh(z^c)
//! c_t = f c_{t-1} + i g              h_t = o tanh(c_t)
//! ```
//!
//! Forward, a step at a time: the weights are packed so that a tile (3 rows x 4 registers with 16 registers, 6 x 4 with
//! 32) has the four gates of the same units; input and recurrent products and the bias meet in its accumulators, and the
//! cell is updated there. The input product is not done for all steps ahead: z would travel to memory and back, and with few
//! inputs that costs more than the product.
//!
//! Backward: the gates are replaced in place by dz, so that every weight gradient is one product over all rows and
//! steps; d h_{t-1} = dz_t U^T is a product a step.

mod layer;

use crate::gemm::{gemm_scratch_len, packed_len};
use crate::math;
use crate::simd::Simd;

/// The sizes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmShape {
    /// Time steps, at least 1.
    pub steps: usize,
    /// Features of an input step.
    pub inputs: usize,
    /// Units: the size of h and c.
    pub units: usize,
    /// True where the output is every h_t, false where it is the last (Keras' `return_sequences`).
    pub sequences: bool,
}

impl LstmShape {
    fn gates(&self) -> usize {
        4 * self.units
    }

    /// Length of W and U by groups of LANES units: `[group][inputs + units][gate][LANES]`.
    pub(crate) fn forward_len(&self, lanes: usize) -> usize {
        self.units.div_ceil(lanes) * (self.inputs + self.units) * 4 * lanes
    }

    fn recurrent_len(&self, lanes: usize) -> usize {
        packed_len(self.gates(), self.units, lanes)
    }

    /// Length of the packed weights: for the forward pass, then U^T, then W^T.
    pub fn packed_len(&self, lanes: usize) -> usize {
        self.forward_len(lanes)
            + self.recurrent_len(lanes)
            + packed_len(self.gates(), self.inputs, lanes)
    }

    /// Values a row that the forward pass keeps for the backward pass: gates, cells and the state before each step. The
    /// same for any number of lanes.
    pub fn workspace_len(&self, _lanes: usize) -> usize {
        6 * self.units * self.steps
    }

    /// Values a row of a workspace in which nothing is kept for a backward pass: one cell, and the states before and behind a step.
    pub fn states_len(&self) -> usize {
        3 * self.units
    }

    /// Values of a row of the output.
    pub fn output_len(&self) -> usize {
        self.units * if self.sequences { self.steps } else { 1 }
    }

    /// Scratch of the backward pass: d h and d c of a step, and that of its products.
    pub fn backward_scratch_len(&self, rows: usize, lanes: usize) -> usize {
        let (gates, all) = (self.gates(), rows * self.steps);
        let products = [
            gemm_scratch_len(rows, self.units, gates, lanes),
            gemm_scratch_len(self.inputs, gates, all, lanes),
            gemm_scratch_len(self.units, gates, all, lanes),
            gemm_scratch_len(all, self.inputs, gates, lanes),
        ];
        2 * rows * self.units + products.into_iter().max().unwrap_or(0)
    }

    /// # Panics
    /// Where a slice has not the length that the shape says.
    pub(crate) fn check_forward(
        &self,
        rows: usize,
        lanes: usize,
        input: &[f32],
        packed: &[f32],
        bias: &[f32],
        output: &[f32],
        workspace: &[f32],
    ) {
        assert!(self.steps > 0, "an LSTM of no steps");
        assert_eq!(input.len(), rows * self.steps * self.inputs);
        assert_eq!(packed.len(), self.packed_len(lanes));
        assert_eq!(bias.len(), self.gates());
        assert_eq!(output.len(), rows * self.output_len());
        assert!(
            [self.workspace_len(lanes), self.states_len()]
                .map(|len| rows * len)
                .contains(&workspace.len())
        );
    }
}

/// The parts of a workspace. To be kept: gates `[rows, steps, 4 units]`, cells and states `[rows, steps, units]`. Else: cells
/// `[rows, units]` and states `[2, rows, units]`.
struct Workspace {
    /// Null where they are not kept.
    gates: *mut f32,
    cells: *mut f32,
    /// h_{t-1}: the state that step t began with.
    before: *mut f32,
    units: usize,
    /// Values from a row's state to the next row's.
    row_len: usize,
    /// Values from a step's states to the next one's.
    step_len: usize,
}

impl Workspace {
    /// # Safety
    /// `workspace` has rows * workspace_len values, or rows * states_len.
    #[inline(always)]
    unsafe fn new(shape: LstmShape, rows: usize, workspace: &mut [f32]) -> Self {
        let LstmShape { steps, units, .. } = shape;
        let start = workspace.as_mut_ptr();
        if workspace.len() == rows * shape.states_len() {
            return Self {
                gates: std::ptr::null_mut(),
                cells: start,
                // SAFETY: 3 blocks of rows * units.
                before: unsafe { start.add(rows * units) },
                units,
                row_len: units,
                step_len: rows * units,
            };
        }
        let block = rows * steps * units;
        // SAFETY: 6 blocks, of which the gates take 4.
        unsafe {
            Self {
                gates: start,
                cells: start.add(4 * block),
                before: start.add(5 * block),
                units,
                row_len: steps * units,
                step_len: units,
            }
        }
    }

    /// The state that a step of a row began with.
    ///
    /// # Safety
    /// The workspace has that row and step.
    #[inline(always)]
    unsafe fn before(&self, row: usize, step: usize) -> *mut f32 {
        let step = if self.gates.is_null() { step % 2 } else { step };
        // SAFETY: the caller's promise; two steps take turns where they are not kept.
        unsafe { self.before.add(row * self.row_len + step * self.step_len) }
    }

    /// The cell of a step of a row; without gates every step's stands in one place.
    ///
    /// # Safety
    /// As for `before`.
    #[inline(always)]
    unsafe fn cell(&self, row: usize, step: usize) -> *mut f32 {
        let step = if self.gates.is_null() { 0 } else { step };
        // SAFETY: the caller's promise.
        unsafe { self.cells.add(row * self.row_len + step * self.units) }
    }
}

/// W and U for the forward pass, see the module.
///
/// # Safety
/// kernel has inputs * 4 units values, recurrent_kernel units * 4 units, packed at least `forward_len`.
#[inline(always)]
pub(crate) unsafe fn pack_forward<S: Simd>(
    _: S,
    shape: LstmShape,
    kernel: &[f32],
    recurrent_kernel: &[f32],
    packed: &mut [f32],
) {
    let LstmShape { inputs, units, .. } = shape;
    let depth = inputs + units;
    for group in 0..units.div_ceil(S::LANES) {
        let first = group * S::LANES;
        let width = S::LANES.min(units - first);
        for row in 0..depth {
            let from = if row < inputs {
                &kernel[row * 4 * units..][..4 * units]
            } else {
                &recurrent_kernel[(row - inputs) * 4 * units..][..4 * units]
            };
            for gate in 0..4 {
                let at = ((group * depth + row) * 4 + gate) * S::LANES;
                let to = &mut packed[at..at + S::LANES];
                to[..width].copy_from_slice(&from[gate * units + first..][..width]);
                to[width..].fill(0.0);
            }
        }
    }
}

/// See [`crate::Kernels::lstm_forward`].
///
/// # Safety
/// `LstmShape::check_forward` holds.
#[inline(always)]
pub(crate) unsafe fn forward<S: Simd>(
    s: S,
    shape: LstmShape,
    rows: usize,
    input: &[f32],
    packed: &[f32],
    bias: &[f32],
    output: &mut [f32],
    workspace: &mut [f32],
) {
    let LstmShape {
        steps,
        inputs,
        units,
        ..
    } = shape;
    let most = if S::REGISTERS >= 32 { 6 } else { 3 };
    let tiles = rows.div_ceil(most);
    // SAFETY: the caller's promise; rows, steps and units stay below their sizes.
    unsafe {
        let workspace = Workspace::new(shape, rows, workspace);
        for row in 0..rows {
            workspace.before(row, 0).write_bytes(0, units);
        }
        for step in 0..steps {
            for group in 0..units.div_ceil(S::LANES) {
                let first = group * S::LANES;
                let packed = packed.as_ptr().add(first * 4 * (inputs + units));
                let width = S::LANES.min(units - first);
                for tile in 0..tiles {
                    let top = rows * tile / tiles;
                    let count = rows * (tile + 1) / tiles - top;
                    let cell = Cell {
                        shape,
                        step,
                        top,
                        first,
                        width,
                    };
                    let (input, bias) = (input.as_ptr(), bias.as_ptr());
                    let output = output.as_mut_ptr();
                    match count {
                        1 => cell.forward::<S, 1>(s, input, packed, bias, output, &workspace),
                        2 => cell.forward::<S, 2>(s, input, packed, bias, output, &workspace),
                        3 => cell.forward::<S, 3>(s, input, packed, bias, output, &workspace),
                        4 if most > 3 => {
                            cell.forward::<S, 4>(s, input, packed, bias, output, &workspace);
                        }
                        5 if most > 3 => {
                            cell.forward::<S, 5>(s, input, packed, bias, output, &workspace);
                        }
                        _ if most > 3 => {
                            cell.forward::<S, 6>(s, input, packed, bias, output, &workspace);
                        }
                        _ => unreachable!("a tile of {count} rows"),
                    }
                }
            }
        }
    }
}

/// `width` units from `first` on, in rows from `top` on, at one step.
#[derive(Clone, Copy)]
struct Cell {
    shape: LstmShape,
    step: usize,
    top: usize,
    first: usize,
    width: usize,
}

impl Cell {
    /// One step of R rows.
    ///
    /// # Safety
    /// The pointers hold what the shape and R rows from `top` on reach; `packed` is this group of units.
    #[inline(always)]
    unsafe fn forward<S: Simd, const R: usize>(
        self,
        s: S,
        input: *const f32,
        packed: *const f32,
        bias: *const f32,
        output: *mut f32,
        workspace: &Workspace,
    ) {
        let Cell {
            shape,
            step,
            top,
            first,
            width,
        } = self;
        let LstmShape {
            steps,
            inputs,
            units,
            sequences,
        } = shape;
        let full = width == S::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[s.zero(); 4]; R];
            for gate in 0..4 {
                let from = bias.add(gate * units + first);
                let bias = if full {
                    s.load(from)
                } else {
                    s.load_partial(from, width)
                };
                for r in 0..R {
                    sums[r][gate] = bias;
                }
            }
            let x = input.add((top * steps + step) * inputs);
            let packed = multiply(s, &mut sums, inputs, x, steps * inputs, packed);
            if step > 0 {
                let h = workspace.before(top, step);
                multiply(s, &mut sums, units, h, workspace.row_len, packed);
            }
            for r in 0..R {
                let at = (top + r) * steps + step;
                let i = math::sigmoid(s, sums[r][0]);
                let f = math::sigmoid(s, sums[r][1]);
                let g = math::tanh(s, sums[r][2]);
                let o = math::sigmoid(s, sums[r][3]);
                let gates = [i, f, g, o];
                let cell_at = workspace.cell(top + r, step).add(first);
                let mut c = s.mul(i, g);
                if step > 0 {
                    let from = workspace.cell(top + r, step - 1).add(first);
                    let old = if full {
                        s.load(from)
                    } else {
                        s.load_partial(from, width)
                    };
                    c = s.mul_add(f, old, c);
                }
                let h = s.mul(o, math::tanh(s, c));
                if !workspace.gates.is_null() {
                    for gate in 0..4 {
                        let to = workspace.gates.add(at * 4 * units + gate * units + first);
                        put(s, to, gates[gate], width);
                    }
                }
                put(s, cell_at, c, width);
                if step + 1 < steps {
                    put(s, workspace.before(top + r, step + 1).add(first), h, width);
                }
                if sequences {
                    put(s, output.add(at * units + first), h, width);
                } else if step + 1 == steps {
                    put(s, output.add((top + r) * units + first), h, width);
                }
            }
        }
    }
}

/// # Safety
/// `width <= LANES` values may be written.
#[inline(always)]
unsafe fn put<S: Simd>(s: S, to: *mut f32, x: S::F, width: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if width == S::LANES {
            s.store(to, x);
        } else {
            s.store_partial(to, x, width);
        }
    }
}

/// `sums[r][gate] += sum over k of a[r * row_stride + k] * packed[k][gate]`; the weights behind those read.
///
/// # Safety
/// A holds R rows of k values, `packed` k rows of 4 registers.
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize>(
    s: S,
    sums: &mut [[S::F; 4]; R],
    k: usize,
    a: *const f32,
    row_stride: usize,
    packed: *const f32,
) -> *const f32 {
    // A copy, so that the accumulators stay in registers.
    let mut local = *sums;
    let mut packed = packed;
    // SAFETY: the caller's promise.
    unsafe {
        for step in 0..k {
            // The rows' values are held and the weights pass by: 12 + 3 + 1 of 16 registers.
            let mut values = [s.zero(); R];
            for r in 0..R {
                values[r] = s.splat(*a.add(r * row_stride + step));
            }
            for gate in 0..4 {
                let weights = s.load(packed.add(gate * S::LANES));
                for r in 0..R {
                    local[r][gate] = s.mul_add(values[r], weights, local[r][gate]);
                }
            }
            packed = packed.add(4 * S::LANES);
        }
    }
    *sums = local;
    packed
}

/// Replaces the gates of one step by dz and d c_t by d c_{t-1}, see [`crate::Kernels::lstm_cell_backward`].
///
/// # Safety
/// The slices have the lengths that the table checks.
#[inline(always)]
pub(crate) unsafe fn cell_backward<S: Simd>(
    s: S,
    shape: LstmShape,
    rows: usize,
    step: usize,
    d_output: &[f32],
    d_state: &[f32],
    d_cell: &mut [f32],
    workspace: &mut [f32],
) {
    let LstmShape {
        steps,
        units,
        sequences,
        ..
    } = shape;
    let one = s.splat(1.0);
    let last = step + 1 == steps;
    // SAFETY: the caller's promise; rows, the step and units stay below their sizes.
    unsafe {
        let workspace = Workspace::new(shape, rows, workspace);
        for row in 0..rows {
            let at = row * steps + step;
            let mut unit = 0;
            while unit < units {
                let width = S::LANES.min(units - unit);
                let cell_at = workspace.cells.add(at * units + unit);
                let gates_at = workspace.gates.add(at * 4 * units + unit);
                let carried = row * units + unit;
                let mut dh = s.zero();
                if sequences {
                    dh = get(s, d_output.as_ptr().add(at * units + unit), width);
                } else if last {
                    dh = get(s, d_output.as_ptr().add(carried), width);
                }
                let mut dc = s.zero();
                if !last {
                    dh = s.add(dh, get(s, d_state.as_ptr().add(carried), width));
                    dc = get(s, d_cell.as_ptr().add(carried), width);
                }
                let i = get(s, gates_at, width);
                let f = get(s, gates_at.add(units), width);
                let g = get(s, gates_at.add(2 * units), width);
                let o = get(s, gates_at.add(3 * units), width);
                let squashed = math::tanh(s, get(s, cell_at, width));
                let before = if step > 0 {
                    get(s, cell_at.sub(units), width)
                } else {
                    s.zero()
                };
                let slope = s.sub(one, s.mul(squashed, squashed));
                dc = s.mul_add(s.mul(dh, o), slope, dc);
                let di = s.mul(s.mul(dc, g), s.mul(i, s.sub(one, i)));
                let df = s.mul(s.mul(dc, before), s.mul(f, s.sub(one, f)));
                let dg = s.mul(s.mul(dc, i), s.sub(one, s.mul(g, g)));
                let d_o = s.mul(s.mul(dh, squashed), s.mul(o, s.sub(one, o)));
                put(s, gates_at, di, width);
                put(s, gates_at.add(units), df, width);
                put(s, gates_at.add(2 * units), dg, width);
                put(s, gates_at.add(3 * units), d_o, width);
                put(s, d_cell.as_mut_ptr().add(carried), s.mul(dc, f), width);
                unit += width;
            }
        }
    }
}

/// # Safety
/// `width <= LANES` values may be read.
#[inline(always)]
unsafe fn get<S: Simd>(s: S, from: *const f32, width: usize) -> S::F {
    // SAFETY: the caller's promise.
    unsafe {
        if width == S::LANES {
            s.load(from)
        } else {
            s.load_partial(from, width)
        }
    }
}
