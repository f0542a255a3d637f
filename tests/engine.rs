//! The executor from outside: the same seed gives the same bits on any number of threads.

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

use sonograd::Error;
use sonograd::exec::{Executor, SliceBatch, thread_pool};
use sonograd::models::{Model, Size};
use sonograd::optim::Optimizer;
use sonograd::random::Random;
use sonograd_kernels::Isa;

const SIZE: Size = Size {
    classes: 5,
    width: 1.0,
    dropout: false,
};

/// Random samples and their targets.
fn samples(model: Model, count: usize) -> (Vec<f32>, Vec<f32>) {
    let len = model.compile(SIZE).unwrap().input_shape().len();
    let mut random = Random::new(&[count as u64]);
    let inputs = (0..count * len).map(|_| random.normal() as f32).collect();
    let mut targets = vec![0.0; count * SIZE.classes];
    let rows = targets.chunks_mut(SIZE.classes);
    rows.for_each(|row| row[random.below(SIZE.classes)] = 1.0);
    (inputs, targets)
}

/// Two epochs in batches, the last of each cut short; every weight, loss and probability as bits.
fn trained(
    model: Model,
    count: usize,
    batch: usize,
    threads: usize,
    seed: u64,
    isa: Isa,
) -> Vec<u64> {
    let (inputs, targets) = samples(model, count);
    let plan = model.compile(SIZE).unwrap();
    let (len, trainable) = (plan.input_shape().len(), plan.trainable_len());
    let names: Vec<String> = plan.weights().iter().map(|w| w.name.clone()).collect();
    let mut executor = Executor::new(plan, batch, thread_pool(threads).unwrap(), isa).unwrap();
    executor.initialize(seed);
    let (rule, learning_rate) = model.optimizer();
    let mut optimizer = Optimizer::new(rule, learning_rate, trainable);
    let mut bits = Vec::new();
    for _ in 0..2 {
        let batches = inputs
            .chunks(batch * len)
            .zip(targets.chunks(batch * SIZE.classes));
        for (inputs, targets) in batches {
            let samples = inputs.len() / len;
            let batch = SliceBatch {
                inputs,
                targets,
                samples,
            };
            let outcome = executor.train_step(&batch, &mut optimizer).unwrap();
            assert!(outcome.loss.is_finite());
            bits.push(outcome.loss.to_bits());
            let mut probabilities = vec![0.0; targets.len()];
            executor.predict(&batch, &mut probabilities).unwrap();
            bits.extend(probabilities.iter().map(|p| u64::from(p.to_bits())));
        }
    }
    for name in &names {
        let weights = executor.weight(name).unwrap();
        bits.extend(weights.iter().map(|w| u64::from(w.to_bits())));
    }
    bits
}

#[test]
fn a_seed_is_the_same_bits_on_any_number_of_threads() {
    for &model in Model::ALL {
        // Batches of 1, of 7 with a rest of 5, of 128 with a rest of 37; and of 16 shards' worth of one.
        for (count, batch) in [(2, 1), (19, 7), (165, 128), (16, 16)] {
            let one = trained(model, count, batch, 1, 4, Isa::best());
            for threads in [2, 5] {
                let more = trained(model, count, batch, threads, 4, Isa::best());
                assert!(
                    one == more,
                    "{model}: batches of {batch} on {threads} threads"
                );
            }
        }
    }
}

#[test]
fn a_prediction_is_the_same_bits_in_any_batch_on_any_number_of_threads() {
    const MOST: usize = 9;
    for &model in Model::ALL {
        let (inputs, _) = samples(model, MOST);
        let len = inputs.len() / MOST;
        let predict = |capacity: usize, batch: usize, threads: usize| {
            let plan = model.compile(SIZE).unwrap();
            let pool = thread_pool(threads).unwrap();
            let mut executor = Executor::new(plan, capacity, pool, Isa::best()).unwrap();
            executor.initialize(3);
            let mut bits = Vec::new();
            for inputs in inputs.chunks(batch * len) {
                let samples = inputs.len() / len;
                let mut probabilities = vec![0.0; samples * SIZE.classes];
                let batch = SliceBatch {
                    inputs,
                    targets: &[],
                    samples,
                };
                executor.predict(&batch, &mut probabilities).unwrap();
                bits.extend(probabilities.iter().map(|p| p.to_bits()));
            }
            bits
        };
        let expected = predict(MOST, MOST, 1);
        for (capacity, batch, threads) in [
            (1, 1, 1),
            (1, 1, 2),
            (1, 1, 5),
            (MOST, 1, 2),
            (MOST, 8, 2),
            (128, 4, 2),
            (200, MOST, 3),
        ] {
            let found = predict(capacity, batch, threads);
            assert!(
                found == expected,
                "{model}: {batch} of {capacity} on {threads} threads"
            );
        }
    }
}

#[test]
fn another_seed_is_another_model() {
    let of = |seed| trained(Model::Parallel, 19, 7, 2, seed, Isa::best());
    assert!(of(1) == of(1));
    assert!(of(1) != of(2));
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let plan = || Model::Parallel.compile(SIZE).unwrap();
    let len = plan().input_shape().len();
    let pool = thread_pool(1).unwrap();
    let none = Executor::new(plan(), 0, pool.clone(), Isa::best());
    assert!(matches!(none.err(), Some(Error::Usage(_))));
    let mut executor = Executor::new(plan(), 3, pool, Isa::best()).unwrap();
    executor.initialize(0);
    let mut optimizer = Optimizer::new(Model::Parallel.optimizer().0, 0.1, 0);
    let (inputs, targets) = (vec![0.0; 4 * len], vec![0.0; 4 * SIZE.classes]);
    for samples in [0, 4] {
        let batch = SliceBatch {
            inputs: &inputs[..samples * len],
            targets: &targets[..samples * SIZE.classes],
            samples,
        };
        let refused = executor.train_step(&batch, &mut optimizer);
        assert!(matches!(refused, Err(Error::Usage(_))), "{samples} samples");
        let refused = executor.predict(&batch, &mut vec![0.0; samples * SIZE.classes]);
        assert!(matches!(refused, Err(Error::Usage(_))), "{samples} samples");
    }
    let batch = SliceBatch {
        inputs: &inputs[..3 * len],
        targets: &[],
        samples: 3,
    };
    let refused = executor.predict(&batch, &mut [0.0; 14]);
    assert!(matches!(refused, Err(Error::Usage(_))), "too little room");
    let batch = SliceBatch {
        inputs: &inputs[..2 * len],
        targets: &targets[..3 * SIZE.classes],
        samples: 3,
    };
    let refused = executor.predict(&batch, &mut [0.0; 3 * SIZE.classes]);
    assert!(
        matches!(refused, Err(Error::Usage(_))),
        "two samples of three"
    );
    let refused = executor.train_step(&batch, &mut optimizer);
    assert!(
        matches!(refused, Err(Error::Usage(_))),
        "two samples of three"
    );
    let batch = SliceBatch {
        inputs: &inputs[..3 * len],
        targets: &targets[..2 * SIZE.classes],
        samples: 3,
    };
    let refused = executor.train_step(&batch, &mut optimizer);
    assert!(
        matches!(refused, Err(Error::Usage(_))),
        "two targets of three"
    );
    // Who predicts needs none.
    let predicted = executor.predict(&batch, &mut [0.0; 3 * SIZE.classes]);
    assert!(predicted.is_ok());
    assert!(executor.set_weight("nobody.kernel", &[]).is_err());
    assert!(executor.set_weight("classifier.bias", &[0.0; 4]).is_err());
}

/// Each prediction of one sample asks the pool's other threads for help, and neither may wait for the other's end.
#[test]
fn single_predictions_share_a_pool() {
    let pool = thread_pool(2).unwrap();
    let predict = &|model: Model| {
        let plan = model.compile(SIZE).unwrap();
        let inputs = vec![0.5; plan.input_shape().len()];
        let mut executor = Executor::new(plan, 1, pool.clone(), Isa::best()).unwrap();
        executor.initialize(0);
        for _ in 0..2000 {
            let batch = SliceBatch {
                inputs: &inputs,
                targets: &[],
                samples: 1,
            };
            executor.predict(&batch, &mut [0.0; SIZE.classes]).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for model in [Model::Parallel, Model::CnnRnn, Model::CnnRnn] {
            scope.spawn(move || predict(model));
        }
    });
}
