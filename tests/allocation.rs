//! A training step allocates nothing once it has run: counted by the allocator itself.
//!
//! A binary of its own with one test, so that no other test allocates while the steps are counted.

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

use sonograd::exec::{Executor, SliceBatch, thread_pool};
use sonograd::models::{Model, Size};
use sonograd::optim::Optimizer;
use sonograd::random::Random;
use sonograd_kernels::Isa;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Allocations of all threads since the program started.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is the system allocator's own; counting touches nothing that it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BATCH: usize = 128;
/// An epoch's last batch: what is left.
const REST: usize = 37;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Allocations of two epochs of full batches and a rest, after one epoch of them, as a run trains.
fn in_two_epochs(model: Model, threads: usize) -> usize {
    let size = Size {
        classes: 8,
        width: 1.0,
        dropout: false,
    };
    let plan = model.compile(size).unwrap();
    let (len, trainable) = (plan.input_shape().len(), plan.trainable_len());
    let pool = thread_pool(threads).unwrap();
    let mut executor = Executor::new(plan, BATCH, pool.clone(), Isa::best()).unwrap();
    executor.initialize(1);
    let (rule, learning_rate) = model.optimizer();
    let mut optimizer = Optimizer::new(rule, learning_rate, trainable);
    let mut random = Random::new(&[1]);
    let inputs: Vec<f32> = (0..BATCH * len).map(|_| random.normal() as f32).collect();
    let mut targets = vec![0.0; BATCH * 8];
    (0..BATCH).for_each(|i| targets[i * 8 + i % 8] = 1.0);
    let mut probabilities = vec![0.0; BATCH * 8];
    let mut epoch = || {
        for samples in [BATCH, BATCH, REST] {
            let batch = SliceBatch {
                inputs: &inputs[..samples * len],
                targets: &targets[..samples * 8],
                samples,
            };
            executor.train_step(&batch, &mut optimizer).unwrap();
        }
        for samples in [BATCH, REST] {
            let batch = SliceBatch {
                inputs: &inputs[..samples * len],
                targets: &[],
                samples,
            };
            let probabilities = &mut probabilities[..samples * 8];
            executor.predict(&batch, probabilities).unwrap();
        }
    };
    pool.install(|| {
        epoch();
        allocations(|| {
            epoch();
            epoch();
        })
    })
}

#[test]
fn a_step_allocates_nothing_after_the_first() {
    let noticed = allocations(|| drop(black_box(Vec::<u8>::with_capacity(black_box(1)))));
    assert_eq!(noticed, 1, "the counter sees an allocation");
    let elsewhere = allocations(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(black_box(vec![0_u8; black_box(4096)])));
        });
    });
    assert!(elsewhere >= 1, "the counter sees other threads");

    for &model in Model::ALL {
        for threads in [1, 2] {
            let found = in_two_epochs(model, threads);
            assert_eq!(found, 0, "{model} on {threads} threads: allocations");
        }
    }
}
