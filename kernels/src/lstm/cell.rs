//! The cell's update on its own, forward from z and backward to it.

use super::{Cell, LstmShape, Workspace, get, put};
use crate::math;
use crate::simd::Simd;

/// Rows whose chains of dependences run side by side, see `Cell::update`.
const ROWS: usize = 3;

/// Replaces z of one step by its gates, see [`crate::Kernels::lstm_cell_forward`].
///
/// # Safety
/// The slices have the lengths that the table checks.
#[inline(always)]
pub(crate) unsafe fn cell_forward<S: Simd>(
    s: S,
    shape: LstmShape,
    rows: usize,
    step: usize,
    output: &mut [f32],
    workspace: &mut [f32],
) {
    // SAFETY: the caller's promise; rows, the step and units stay below their sizes.
    unsafe {
        let workspace = Workspace::new(shape, rows, workspace);
        let output = output.as_mut_ptr();
        if step == 0 {
            for row in 0..rows {
                workspace.before(row, 0).write_bytes(0, shape.units);
            }
        }
        for first in (0..shape.units).step_by(S::LANES) {
            let mut cell = Cell {
                shape,
                step,
                top: 0,
                first,
                width: S::LANES.min(shape.units - first),
                ahead: true,
            };
            while rows - cell.top >= ROWS {
                let z = read::<S, ROWS>(s, cell, &workspace);
                cell.update(s, z, output, &workspace);
                cell.top += ROWS;
            }
            while cell.top < rows {
                let z = read::<S, 1>(s, cell, &workspace);
                cell.update(s, z, output, &workspace);
                cell.top += 1;
            }
        }
    }
}

/// z of R rows, from the gates' place.
///
/// # Safety
/// The workspace keeps gates, and has the cell's rows, step and units.
#[inline(always)]
unsafe fn read<S: Simd, const R: usize>(s: S, cell: Cell, workspace: &Workspace) -> [[S::F; 4]; R] {
    let LstmShape { steps, units, .. } = cell.shape;
    let mut z = [[s.zero(); 4]; R];
    for r in 0..R {
        for gate in 0..4 {
            let at = ((cell.top + r) * steps + cell.step) * 4 * units + gate * units + cell.first;
            // SAFETY: the caller's promise.
            z[r][gate] = unsafe { get(s, workspace.gates.add(at), cell.width) };
        }
    }
    z
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
