//! The LSTM layer, a unit at a time.

use crate::lstm::LstmShape;

/// Weights in Keras' layout: [inputs, 4 units], [units, 4 units], [4 units], gates i f c o.
#[derive(Debug, Clone)]
pub struct LstmWeights {
    /// W
    pub kernel: Vec<f64>,
    /// U
    pub recurrent_kernel: Vec<f64>,
    /// b
    pub bias: Vec<f64>,
}

/// What [`lstm_forward`] computed.
#[derive(Debug, Clone)]
pub struct LstmTrace {
    /// [rows, steps, units] or [rows, units].
    pub output: Vec<f64>,
    /// i, f, g, o at [row, step, gate, unit].
    gates: Vec<f64>,
    /// c at [row, step, unit].
    cells: Vec<f64>,
    /// h at [row, step, unit].
    states: Vec<f64>,
}

/// The gradients of [`lstm_backward`].
#[derive(Debug, Clone)]
pub struct LstmGradients {
    /// [rows, steps, inputs]
    pub input: Vec<f64>,
    /// As the weights.
    pub weights: LstmWeights,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// All steps of `rows` rows; `input` is [rows, steps, inputs]. A matrix product reads its factors by `factor`: as they are, or rounded.
pub fn lstm_forward(
    shape: LstmShape,
    rows: usize,
    input: &[f64],
    weights: &LstmWeights,
    factor: fn(f64) -> f64,
) -> LstmTrace {
    let LstmShape {
        steps,
        inputs,
        units,
        sequences,
        ..
    } = shape;
    let mut gates = vec![0.0; rows * steps * 4 * units];
    let mut cells = vec![0.0; rows * steps * units];
    let mut states = vec![0.0; rows * steps * units];
    let mut output = Vec::new();
    for row in 0..rows {
        for step in 0..steps {
            let at = row * steps + step;
            for column in 0..4 * units {
                let mut z = weights.bias[column];
                for k in 0..inputs {
                    let w = weights.kernel[k * 4 * units + column];
                    z += factor(input[at * inputs + k]) * factor(w);
                }
                if step > 0 {
                    for k in 0..units {
                        let u = weights.recurrent_kernel[k * 4 * units + column];
                        z += factor(states[(at - 1) * units + k]) * factor(u);
                    }
                }
                let is_candidate = column / units == 2;
                gates[at * 4 * units + column] = if is_candidate { z.tanh() } else { sigmoid(z) };
            }
            for unit in 0..units {
                let gate = |gate: usize| gates[at * 4 * units + gate * units + unit];
                let before = if step > 0 {
                    cells[(at - 1) * units + unit]
                } else {
                    0.0
                };
                let cell = gate(1) * before + gate(0) * gate(2);
                cells[at * units + unit] = cell;
                states[at * units + unit] = gate(3) * cell.tanh();
            }
            if sequences || step + 1 == steps {
                output.extend_from_slice(&states[at * units..][..units]);
            }
        }
    }
    LstmTrace {
        output,
        gates,
        cells,
        states,
    }
}

/// Back-propagation through time of `sum(output * d_output)`, with the factors of [`lstm_forward`].
pub fn lstm_backward(
    shape: LstmShape,
    rows: usize,
    input: &[f64],
    weights: &LstmWeights,
    trace: &LstmTrace,
    d_output: &[f64],
    factor: fn(f64) -> f64,
) -> LstmGradients {
    let LstmShape {
        steps,
        inputs,
        units,
        sequences,
        ..
    } = shape;
    let mut d = LstmGradients {
        input: vec![0.0; input.len()],
        weights: LstmWeights {
            kernel: vec![0.0; weights.kernel.len()],
            recurrent_kernel: vec![0.0; weights.recurrent_kernel.len()],
            bias: vec![0.0; weights.bias.len()],
        },
    };
    for row in 0..rows {
        let (mut d_state, mut d_cell) = (vec![0.0; units], vec![0.0; units]);
        for step in (0..steps).rev() {
            let at = row * steps + step;
            let mut dz = vec![0.0; 4 * units];
            for unit in 0..units {
                let gate = |gate: usize| trace.gates[at * 4 * units + gate * units + unit];
                let before = if step > 0 {
                    trace.cells[(at - 1) * units + unit]
                } else {
                    0.0
                };
                let squashed = trace.cells[at * units + unit].tanh();
                let mut dh = d_state[unit];
                if sequences {
                    dh += d_output[at * units + unit];
                } else if step + 1 == steps {
                    dh += d_output[row * units + unit];
                }
                let dc = d_cell[unit] + dh * gate(3) * (1.0 - squashed * squashed);
                dz[unit] = dc * gate(2) * gate(0) * (1.0 - gate(0));
                dz[units + unit] = dc * before * gate(1) * (1.0 - gate(1));
                dz[2 * units + unit] = dc * gate(0) * (1.0 - gate(2) * gate(2));
                dz[3 * units + unit] = dh * squashed * gate(3) * (1.0 - gate(3));
                d_cell[unit] = dc * gate(1);
            }
            d_state.fill(0.0);
            for column in 0..4 * units {
                d.weights.bias[column] += dz[column];
                let dz = factor(dz[column]);
                for k in 0..inputs {
                    let weight = k * 4 * units + column;
                    d.weights.kernel[weight] += factor(input[at * inputs + k]) * dz;
                    d.input[at * inputs + k] += factor(weights.kernel[weight]) * dz;
                }
                for k in 0..units {
                    let weight = k * 4 * units + column;
                    if step > 0 {
                        d.weights.recurrent_kernel[weight] +=
                            factor(trace.states[(at - 1) * units + k]) * dz;
                    }
                    d_state[k] += factor(weights.recurrent_kernel[weight]) * dz;
                }
            }
        }
    }
    d
}
