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
//! cell is updated there. The input product is done for all steps ahead where there is one row, which then reads W once for several
//! steps; of more rows z would travel to memory and back, and with few inputs that costs more than the product.
//!
//! Where the products are left to tiles of bf16 parts, z of all steps comes from one product, a step adds h U to it, and the cell is
//! updated from there (`cell.rs`).
//!
//! Backward: the gates are replaced in place by dz, so that every weight gradient is one product over all rows and
//! steps; d h_{t-1} = dz_t U^T is a product a step.

mod cell;
mod layer;
mod shape;
mod step;

use crate::math;
use crate::simd::Simd;
pub(crate) use cell::{cell_backward, cell_forward};
pub use shape::LstmShape;
pub(crate) use step::step;

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
        let ahead = rows == 1 && !workspace.gates.is_null();
        if ahead {
            let z = workspace.gates;
            multiply_inputs(s, shape, input.as_ptr(), packed.as_ptr(), bias, z);
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
                        ahead,
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

/// `z[step][4 units] = bias + x_t W` for all steps of one row, several of which share what is read of W.
///
/// # Safety
/// The pointers hold what the shape reaches in one row.
#[inline(always)]
unsafe fn multiply_inputs<S: Simd>(
    s: S,
    shape: LstmShape,
    input: *const f32,
    packed: *const f32,
    bias: &[f32],
    z: *mut f32,
) {
    let LstmShape { inputs, units, .. } = shape;
    for first in (0..units).step_by(S::LANES) {
        let width = S::LANES.min(units - first);
        let mut step = 0;
        while step < shape.steps {
            // SAFETY: the caller's promise; steps and units stay below their sizes.
            unsafe {
                let x = input.add(step * inputs);
                let packed = packed.add(first * 4 * (inputs + units));
                let z = z.add(step * 4 * units + first);
                let mut start = [s.zero(); 4];
                for gate in 0..4 {
                    start[gate] = get(s, bias.as_ptr().add(gate * units + first), width);
                }
                if S::REGISTERS >= 32 && shape.steps - step >= 2 * AHEAD {
                    multiply_steps::<S, { 2 * AHEAD }>(s, shape, start, x, packed, z, width);
                    step += 2 * AHEAD;
                } else if shape.steps - step >= AHEAD {
                    multiply_steps::<S, AHEAD>(s, shape, start, x, packed, z, width);
                    step += AHEAD;
                } else {
                    multiply_steps::<S, 1>(s, shape, start, x, packed, z, width);
                    step += 1;
                }
            }
        }
    }
}

/// N steps' input product of `width` units, on top of `start`.
///
/// # Safety
/// As for `multiply_inputs`, from the pointers' step and unit on.
#[inline(always)]
unsafe fn multiply_steps<S: Simd, const N: usize>(
    s: S,
    shape: LstmShape,
    start: [S::F; 4],
    x: *const f32,
    packed: *const f32,
    z: *mut f32,
    width: usize,
) {
    let mut sums = [start; N];
    // SAFETY: the caller's promise.
    unsafe {
        multiply(s, &mut sums, shape.inputs, x, shape.inputs, packed);
        for step in 0..N {
            for gate in 0..4 {
                let to = z.add((step * 4 + gate) * shape.units);
                put(s, to, sums[step][gate], width);
            }
        }
    }
}

/// Steps that share what is read of W: with 4 gates, as many as 16 registers hold; twice as many with 32.
const AHEAD: usize = 3;

/// `width` units from `first` on, in rows from `top` on, at one step.
#[derive(Clone, Copy)]
struct Cell {
    shape: LstmShape,
    step: usize,
    top: usize,
    first: usize,
    width: usize,
    /// True where bias and input product stand in the gates' place.
    ahead: bool,
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
            ahead,
        } = self;
        let LstmShape {
            steps,
            inputs,
            units,
            ..
        } = shape;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[s.zero(); 4]; R];
            let start = match ahead {
                true => workspace.gates.add(step * 4 * units).cast_const(),
                false => bias,
            };
            for gate in 0..4 {
                let start = get(s, start.add(gate * units + first), width);
                for r in 0..R {
                    sums[r][gate] = start;
                }
            }
            let packed = if ahead {
                packed.add(inputs * 4 * S::LANES)
            } else {
                let x = input.add((top * steps + step) * inputs);
                multiply(s, &mut sums, inputs, x, steps * inputs, packed)
            };
            if step > 0 {
                let h = workspace.before(top, step);
                multiply(s, &mut sums, units, h, workspace.row_len, packed);
            }
            self.update(s, sums, output, workspace);
        }
    }

    /// Gates, cells and states of R rows from z.
    ///
    /// # Safety
    /// As for [`forward`](Self::forward).
    #[inline(always)]
    unsafe fn update<S: Simd, const R: usize>(
        self,
        s: S,
        z: [[S::F; 4]; R],
        output: *mut f32,
        workspace: &Workspace,
    ) {
        let Cell {
            shape,
            step,
            top,
            first,
            width,
            ..
        } = self;
        let LstmShape {
            steps,
            units,
            sequences,
            ..
        } = shape;
        // SAFETY: the caller's promise.
        unsafe {
            let mut kept = [[s.zero(); 2]; R];
            for r in 0..R {
                let at = (top + r) * steps + step;
                let cell_at = workspace.cell(top + r, step).add(first);
                let old = match step {
                    0 => None,
                    _ => {
                        let from = workspace.cell(top + r, step - 1).add(first);
                        Some(get(s, from, width))
                    }
                };
                let (gates, c) = gates_and_cell(s, z[r], old);
                if !workspace.gates.is_null() {
                    for gate in 0..4 {
                        let to = workspace.gates.add(at * 4 * units + gate * units + first);
                        put(s, to, gates[gate], width);
                    }
                }
                put(s, cell_at, c, width);
                kept[r] = [gates[3], c];
            }
            // The states of all rows behind the cells of all rows: a row's chain of dependences is too long for the next row to
            // begin before it ends.
            for r in 0..R {
                let [o, c] = kept[r];
                let h = state(s, o, c);
                if step + 1 < steps {
                    put(s, workspace.before(top + r, step + 1).add(first), h, width);
                }
                if sequences {
                    let at = (top + r) * steps + step;
                    put(s, output.add(at * units + first), h, width);
                } else if step + 1 == steps {
                    put(s, output.add((top + r) * units + first), h, width);
                }
            }
        }
    }
}

/// The gates i, f, g, o and the cell from z and the cell before, if there was one.
#[inline(always)]
fn gates_and_cell<S: Simd>(s: S, z: [S::F; 4], old: Option<S::F>) -> ([S::F; 4], S::F) {
    let i = math::sigmoid(s, z[0]);
    let f = math::sigmoid(s, z[1]);
    let g = math::tanh(s, z[2]);
    let o = math::sigmoid(s, z[3]);
    let mut c = s.mul(i, g);
    if let Some(old) = old {
        c = s.mul_add(f, old, c);
    }
    ([i, f, g, o], c)
}

/// h from the gate o and the cell.
#[inline(always)]
fn state<S: Simd>(s: S, o: S::F, c: S::F) -> S::F {
    s.mul(o, math::tanh(s, c))
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
