//! One step of one row, for some of the units: a row reads every weight for itself and waits for the second-level cache, so
//! several threads share the units of a wide layer. Each sum is added up as in `lstm_forward`, to the same bits.

use super::{LstmShape, gates_and_cell, get, multiply, put, state};
use crate::simd::Simd;

/// See [`crate::Kernels::lstm_step`].
///
/// # Safety
/// The slices have the lengths that the table checks.
#[inline(always)]
pub(crate) unsafe fn step<S: Simd>(
    s: S,
    shape: LstmShape,
    step: usize,
    first: usize,
    x: &[f32],
    before: &[f32],
    packed: &[f32],
    bias: &[f32],
    cells: &mut [f32],
    output: &mut [f32],
) {
    let LstmShape { inputs, units, .. } = shape;
    let count = output.len();
    for done in (0..count).step_by(S::LANES) {
        let (unit, width) = (first + done, S::LANES.min(count - done));
        // SAFETY: the units lie in the layer, and in cells and output; `first` is a whole number of packed groups.
        unsafe {
            let mut sums = [[s.zero(); 4]];
            for gate in 0..4 {
                sums[0][gate] = get(s, bias.as_ptr().add(gate * units + unit), width);
            }
            let packed = packed.as_ptr().add(unit * 4 * (inputs + units));
            let packed = multiply(s, &mut sums, inputs, x.as_ptr(), 0, packed);
            let cell = cells.as_mut_ptr().add(done);
            let mut old = None;
            if step > 0 {
                multiply(s, &mut sums, units, before.as_ptr(), 0, packed);
                old = Some(get(s, cell, width));
            }
            let ([.., o], c) = gates_and_cell(s, sums[0], old);
            put(s, cell, c, width);
            put(s, output.as_mut_ptr().add(done), state(s, o, c), width);
        }
    }
}
