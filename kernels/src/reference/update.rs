//! Optimisers, a parameter at a time, as Keras 3 writes them.

/// `parameter - learning_rate * gradient` by way of a velocity.
pub fn sgd_momentum(
    parameter: &mut f64,
    gradient: f64,
    velocity: &mut f64,
    learning_rate: f64,
    momentum: f64,
    nesterov: bool,
) {
    *velocity = momentum * *velocity - learning_rate * gradient;
    *parameter += if nesterov {
        momentum * *velocity - learning_rate * gradient
    } else {
        *velocity
    };
}

/// Adam's step number `step`, from 1 on; AdamW where `weight_decay` is not 0.
pub fn adam(
    parameter: &mut f64,
    gradient: f64,
    (m, v): (&mut f64, &mut f64),
    step: i32,
    learning_rate: f64,
    (beta_1, beta_2): (f64, f64),
    epsilon: f64,
    weight_decay: f64,
) {
    *parameter -= *parameter * weight_decay * learning_rate;
    let alpha = learning_rate * (1.0 - beta_2.powi(step)).sqrt() / (1.0 - beta_1.powi(step));
    *m += (gradient - *m) * (1.0 - beta_1);
    *v += (gradient * gradient - *v) * (1.0 - beta_2);
    *parameter -= *m * alpha / (v.sqrt() + epsilon);
}

/// Adadelta's step.
pub fn adadelta(
    parameter: &mut f64,
    gradient: f64,
    (accumulated_gradient, accumulated_delta): (&mut f64, &mut f64),
    learning_rate: f64,
    rho: f64,
    epsilon: f64,
) {
    *accumulated_gradient = rho * *accumulated_gradient + (1.0 - rho) * gradient * gradient;
    let delta = -(*accumulated_delta + epsilon).sqrt() * gradient
        / (*accumulated_gradient + epsilon).sqrt();
    *accumulated_delta = rho * *accumulated_delta + (1.0 - rho) * delta * delta;
    *parameter += learning_rate * delta;
}

/// RMSprop's step; `buffer` stays 0 without momentum.
pub fn rmsprop(
    parameter: &mut f64,
    gradient: f64,
    (velocity, buffer): (&mut f64, &mut f64),
    learning_rate: f64,
    rho: f64,
    momentum: f64,
    epsilon: f64,
) {
    *velocity = rho * *velocity + (1.0 - rho) * gradient * gradient;
    let step = learning_rate * gradient / (*velocity + epsilon).sqrt();
    *buffer = momentum * *buffer + step;
    *parameter -= if momentum > 0.0 { *buffer } else { step };
}
