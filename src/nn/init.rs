//! How weights start, as Keras' initialisers of the same names.

use crate::op::Initializer;
use crate::random::Random;

/// Fills a weight of the given extents (Keras' layout).
pub fn fill(initializer: Initializer, extents: &[usize], random: &mut Random, values: &mut [f32]) {
    match initializer {
        Initializer::Zeros => values.fill(0.0),
        Initializer::Ones => values.fill(1.0),
        Initializer::GlorotUniform => {
            let (fan_in, fan_out) = fans(extents);
            let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
            values
                .iter_mut()
                .for_each(|value| *value = random.range(-limit, limit) as f32);
        }
        Initializer::Orthogonal => orthogonal(extents, random, values),
        Initializer::UnitForgetBias => {
            values.fill(0.0);
            let units = values.len() / 4;
            values[units..2 * units].fill(1.0);
        }
    }
}

/// Keras' fans: the last two extents times the receptive field before them.
fn fans(extents: &[usize]) -> (usize, usize) {
    match extents {
        [] => (1, 1),
        &[len] => (len, len),
        [field @ .., inputs, outputs] => {
            let field: usize = field.iter().product();
            (field * inputs, field * outputs)
        }
    }
}

/// The Q of a random normal matrix by modified Gram-Schmidt in `f64`, with R's diagonal positive: uniform over the
/// orthogonal matrices (Mezzadri, "How to generate random matrices from the classical compact groups", 2007).
fn orthogonal(extents: &[usize], random: &mut Random, values: &mut [f32]) {
    let columns = extents.last().copied().unwrap_or(1).max(1);
    let rows = values.len() / columns;
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut vector: Vec<f64> = (0..len).map(|_| random.normal()).collect();
        // Twice is enough (Kahan; Parlett, "The Symmetric Eigenvalue Problem", 6.9).
        for _ in 0..2 {
            for other in &basis {
                let dot: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector
                    .iter_mut()
                    .zip(other)
                    .for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > 1e-8 {
            vector.iter_mut().for_each(|x| *x /= norm);
            basis.push(vector);
        }
    }
    for (row, values) in values.chunks_mut(columns).enumerate() {
        for (column, value) in values.iter_mut().enumerate() {
            *value = if rows >= columns {
                basis[column][row]
            } else {
                basis[row][column]
            } as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glorot_uniform_has_its_bounds_and_its_spread() {
        let extents = [3, 3, 32, 64];
        let mut values = vec![0.0; 9 * 32 * 64];
        fill(
            Initializer::GlorotUniform,
            &extents,
            &mut Random::new(&[1]),
            &mut values,
        );
        let limit = (6.0f32 / (9 * (32 + 64)) as f32).sqrt();
        assert!(values.iter().all(|x| x.abs() <= limit));
        let variance = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        // Uniform in +-a has variance a^2 / 3; 18,432 draws give it to about 0.7 %.
        assert!((variance / (limit * limit / 3.0) - 1.0).abs() < 0.03);
    }

    #[test]
    fn orthogonal_has_orthonormal_rows_or_columns() {
        for (rows, columns) in [(128, 512), (7, 7), (9, 4)] {
            let mut values = vec![0.0; rows * columns];
            fill(
                Initializer::Orthogonal,
                &[rows, columns],
                &mut Random::new(&[2]),
                &mut values,
            );
            let at = |i: usize, j: usize| {
                let (row, column) = if rows >= columns { (j, i) } else { (i, j) };
                f64::from(values[row * columns + column])
            };
            for a in 0..rows.min(columns) {
                for b in 0..=a {
                    let dot: f64 = (0..rows.max(columns)).map(|j| at(a, j) * at(b, j)).sum();
                    let expected = if a == b { 1.0 } else { 0.0 };
                    assert!(
                        (dot - expected).abs() < 1e-5,
                        "{rows}x{columns}: {a}.{b} = {dot}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_forget_gate_starts_open() {
        let mut values = [9.0; 8];
        fill(
            Initializer::UnitForgetBias,
            &[8],
            &mut Random::new(&[]),
            &mut values,
        );
        assert_eq!(values, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
