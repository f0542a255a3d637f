//! Kernels without an operation between: normalisation, LSTM, optimisers, clipping.

use crate::cases::{Case, of};
use sonograd_kernels::{GemmAlgorithm, Kernels, LstmShape, NormGradient};

#[test]
fn batch_norm() {
    for case in of("batch_norm") {
        for kernels in Kernels::available() {
            norm(&case, kernels);
        }
    }
}

fn norm(case: &Case, kernels: &Kernels) {
    let (x, d_y) = (case.data("input"), case.data("grad_output"));
    let channels = case.data("gamma").len();
    let rows = x.len() / channels;
    let training = case.attributes["training"].as_bool().unwrap();
    let count = rows as f64;
    let what = |of: &str| format!("{of} on {kernels:?}");
    let wide = |tensor: &str| {
        case.data(tensor)
            .iter()
            .map(|&x| f64::from(x))
            .collect::<Vec<_>>()
    };
    let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let (mut mean, mut variance) = (wide("moving_mean"), wide("moving_variance"));
    if training {
        let mut sums = vec![f64::NAN; 2 * channels];
        kernels.norm_sums(rows, channels, x, &mut sums);
        let (sum, squares) = sums.split_at(channels);
        let (old_mean, old_variance) = (mean, variance);
        mean = sum.iter().map(|sum| sum / count).collect();
        let pairs = squares.iter().zip(&mean);
        variance = pairs
            .map(|(squares, mean)| (squares / count - mean * mean).max(0.0))
            .collect();
        let momentum = case.number("momentum");
        let mix = |old: &[f64], new: &[f64]| -> Vec<f32> {
            let pairs = old.iter().zip(new);
            pairs
                .map(|(old, new)| (momentum * old + (1.0 - momentum) * new) as f32)
                .collect()
        };
        let moved = mix(&old_mean, &mean);
        case.near(&what("mean"), &moved, "updated_moving_mean", 3e-6);
        let moved = mix(&old_variance, &variance);
        case.near(&what("variance"), &moved, "updated_moving_variance", 3e-6);
    }
    let epsilon = case.number("epsilon");
    let inverse: Vec<f64> = variance
        .iter()
        .map(|v| 1.0 / (v + epsilon).sqrt())
        .collect();
    let (mean, inverse) = (narrow(&mean), narrow(&inverse));
    let (gamma, beta) = (case.data("gamma"), case.data("beta"));
    let mut y = vec![f32::NAN; x.len()];
    kernels.norm_forward(rows, channels, x, &mean, &inverse, gamma, beta, &mut y);
    case.near(&what("output"), &y, "output", 3e-5);

    let mut sums = vec![f64::NAN; 2 * channels];
    kernels.norm_backward_sums(rows, channels, x, d_y, &mean, &inverse, &mut sums);
    let (d_beta, d_gamma) = sums.split_at(channels);
    case.near(&what("grad_beta"), &narrow(d_beta), "grad_beta", 1e-5);
    case.near(&what("grad_gamma"), &narrow(d_gamma), "grad_gamma", 1e-4);
    // With the moving statistics the mean and the deviation are no functions of x.
    let share = if training { 1.0 / count } else { 0.0 };
    let means: Vec<f64> = sums.iter().map(|sum| sum * share).collect();
    let (mean_d_y, mean_d_y_x_hat) = means.split_at(channels);
    let (first, second) = (narrow(mean_d_y), narrow(mean_d_y_x_hat));
    let mut d_x = vec![f32::NAN; x.len()];
    let gradient = NormGradient {
        mean: &mean,
        inverse_deviation: &inverse,
        gamma,
        mean_d_y: &first,
        mean_d_y_x_hat: &second,
    };
    kernels.norm_backward(rows, channels, x, d_y, gradient, &mut d_x);
    case.near(&what("grad_input"), &d_x, "grad_input", 1e-4);
}

#[test]
fn lstm() {
    for case in of("lstm") {
        let &[rows, steps, inputs] = case.shape("input") else {
            panic!("{}: an input is rows x steps x features", case.name);
        };
        let shape = LstmShape {
            steps,
            inputs,
            units: case.number("units") as usize,
            sequences: case.attributes["return_sequences"].as_bool().unwrap(),
            products: GemmAlgorithm::F32,
        };
        for kernels in Kernels::available() {
            let lanes = kernels.lanes();
            let nan = |len: usize| vec![f32::NAN; len];
            let (input, bias) = (case.data("input"), case.data("bias"));
            let (kernel, recurrent) = (case.data("kernel"), case.data("recurrent_kernel"));
            let mut packed = nan(shape.packed_len(lanes));
            kernels.lstm_pack(shape, kernel, recurrent, &mut packed);
            let mut output = nan(rows * shape.output_len());
            let mut workspace = nan(rows * shape.workspace_len(lanes));
            kernels.lstm_forward(
                shape,
                rows,
                input,
                &packed,
                bias,
                &mut output,
                &mut workspace,
            );
            let what = |of: &str| format!("{of} on {kernels:?}");
            case.near(&what("output"), &output, "output", 2e-6);
            let mut d_input = nan(input.len());
            let (mut d_kernel, mut d_recurrent) = (nan(kernel.len()), nan(recurrent.len()));
            let mut d_bias = nan(bias.len());
            kernels.lstm_backward(
                shape,
                rows,
                input,
                &output,
                case.data("grad_output"),
                &mut workspace,
                &packed,
                Some(&mut d_input),
                &mut d_kernel,
                &mut d_recurrent,
                &mut d_bias,
                &mut nan(shape.backward_scratch_len(rows, lanes)),
            );
            for (found, name) in [
                (d_input, "grad_input"),
                (d_kernel, "grad_kernel"),
                (d_recurrent, "grad_recurrent_kernel"),
                (d_bias, "grad_bias"),
            ] {
                case.near(&what(name), &found, name, 1e-5);
            }
        }
    }
}

#[test]
fn sigmoid_and_tanh() {
    for kernels in Kernels::available() {
        for case in of("sigmoid") {
            let mut y = vec![f32::NAN; case.data("input").len()];
            kernels.sigmoid(case.data("input"), &mut y);
            case.near("output", &y, "output", 5e-7);
        }
        for case in of("tanh") {
            let mut y = vec![f32::NAN; case.data("input").len()];
            kernels.tanh(case.data("input"), &mut y);
            case.near("output", &y, "output", 5e-7);
        }
    }
}

/// Every recorded optimiser but centred RMSprop, which there is no kernel for.
#[test]
fn optimizers() {
    for kernels in Kernels::available() {
        let mut checked = 0;
        for case in of("optimizer") {
            if case.text("optimizer").contains("centered") {
                continue;
            }
            let found = optimize(&case, kernels);
            // The moves, not the weights: a move is small beside its weight.
            let len = case.data("weights").len();
            let start = case.data("weights");
            let recorded = case.data("weights_after_step");
            for (i, (found, recorded)) in found.iter().zip(recorded).enumerate() {
                let move_found = f64::from(found - start[i % len]);
                let move_recorded = f64::from(recorded - start[i % len]);
                // Half a unit in the weight's last place is lost at each of up to five steps.
                let rounding = 5.0 * f64::from(f32::EPSILON) * f64::from(recorded.abs());
                assert!(
                    (move_found - move_recorded).abs() <= 2e-5 * move_recorded.abs() + rounding,
                    "{} '{}' on {kernels:?}: weight {} after step {} is {found}, Keras has {recorded}",
                    case.name,
                    case.text("optimizer"),
                    i % len,
                    i / len + 1
                );
            }
            checked += 1;
        }
        assert_eq!(checked, 11);
    }
}

/// The weights after each step, one after another.
fn optimize(case: &Case, kernels: &Kernels) -> Vec<f32> {
    let mut words = case.text("optimizer").split(' ');
    let rule = words.next().unwrap();
    let options: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
    let option = |name: &str| {
        let found = options.iter().find(|(key, _)| *key == name);
        found.map_or(0.0, |(_, value)| value.parse::<f64>().unwrap())
    };
    let nesterov = options.contains(&("nesterov", "true"));
    let (rate, momentum, epsilon) = (option("lr"), option("momentum"), option("eps") as f32);
    let (decay, rho) = (rate * option("weight_decay"), option("rho"));
    let mut weights = case.data("weights").to_vec();
    let (mut first, mut second) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
    let mut after = Vec::new();
    for (step, gradients) in case.data("gradients").chunks(weights.len()).enumerate() {
        let (w, m, v) = (&mut weights[..], &mut first[..], &mut second[..]);
        if rule != "adamw" && decay > 0.0 {
            kernels.scale(w, (1.0 - decay) as f32);
        }
        match rule {
            "sgd" if momentum == 0.0 => kernels.sgd(w, gradients, rate as f32),
            "sgd" => kernels.sgd_momentum(w, gradients, m, rate as f32, momentum as f32, nesterov),
            "adam" | "adamw" => {
                let (one, two, t) = (option("beta1"), option("beta2"), step as i32 + 1);
                let corrected = rate * (1.0 - two.powi(t)).sqrt() / (1.0 - one.powi(t));
                kernels.adam(
                    w,
                    gradients,
                    m,
                    v,
                    corrected as f32,
                    one,
                    two,
                    epsilon,
                    decay as f32,
                );
            }
            "adadelta" => kernels.adadelta(w, gradients, m, v, rate as f32, rho, epsilon),
            "rmsprop" => {
                let buffer = (momentum > 0.0).then_some(v);
                let (rate, momentum) = (rate as f32, momentum as f32);
                kernels.rmsprop(w, gradients, m, buffer, rate, rho, momentum, epsilon);
            }
            other => panic!("no kernel for {other}"),
        }
        after.extend_from_slice(&weights);
    }
    after
}

/// Clipping by norm: the kernels give the norm and the scaling. There is none for clipping by value.
#[test]
fn clipping_by_norm() {
    let mut checked = 0;
    for case in of("clip").into_iter().chain(of("clip_by_global_norm")) {
        let together = match case.attributes["rule"].as_str() {
            Some("clipvalue") => continue,
            Some("clipnorm") => false,
            _ => true,
        };
        let limit = case.attributes["limit"].as_f64();
        let limit = limit.unwrap_or_else(|| case.number("clip_norm"));
        for kernels in Kernels::available() {
            let squares = ["a", "b"].map(|name| kernels.squared_norm(case.data(name)));
            let whole = squares[0] + squares[1];
            for (name, square) in ["a", "b"].into_iter().zip(squares) {
                let norm = if together { whole } else { square }.sqrt();
                let mut clipped = case.data(name).to_vec();
                kernels.scale(&mut clipped, (limit / norm).min(1.0) as f32);
                case.near(name, &clipped, &format!("clipped_{name}"), 1e-6);
            }
            if case.has("norm") {
                case.near("norm", &[whole.sqrt() as f32], "norm", 1e-6);
            }
        }
        checked += 1;
    }
    assert_eq!(checked, 9);
}
