//! The rounds of one operation for one sample by several threads: each band of a round reads what all bands of the last one wrote.
//!
//! A step of an LSTM takes a microsecond, too little to be handed out band by band. The threads come once instead: each takes the next band
//! that can be computed, and looks again until all are. A band that is taken is being computed, so that no thread waits for one that has
//! not come.

use super::bands::Worker;
use rayon::prelude::*;
use sonograd_kernels::AlignedVec;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// In cache lines of its own: those beside it would go from core to core with it.
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

/// The bands of an operation that comes in rounds.
pub(super) struct Rounds {
    rounds: usize,
    /// Values of a round's output.
    len: usize,
    bands: Vec<Apart<Mutex<Turns>>>,
    /// Each band's next round.
    next: Vec<Apart<AtomicUsize>>,
    /// The rounds that each band has finished.
    finished: Vec<Apart<AtomicUsize>>,
    /// The bits of the outputs of the round before and of this one, which take turns.
    outputs: [Vec<AtomicU32>; 2],
}

/// One band, and what its thread works on.
struct Turns {
    worker: Worker,
    /// The output of the round before.
    before: AlignedVec,
    /// The band's outputs of all rounds.
    written: AlignedVec,
}

/// Looks of a thread that finds nothing to do until it looks at the other threads' bands: what it reads there has to be fetched again
/// by the thread that writes it.
const PATIENCE: u32 = 256;

/// Ends the others' wait where a kernel panics.
struct Finished<'a>(&'a Rounds);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for finished in &self.0.finished {
                finished.0.store(usize::MAX, Ordering::Release);
            }
        }
    }
}

impl Rounds {
    /// For bands that together write `len` values a round.
    pub(super) fn new(workers: Vec<Worker>, rounds: usize, len: usize) -> Self {
        let bands = workers.into_iter().map(|worker| Turns {
            before: AlignedVec::zeros(len),
            written: AlignedVec::zeros(rounds * worker.band.output.len()),
            worker,
        });
        let bands: Vec<_> = bands.map(|turns| Apart(Mutex::new(turns))).collect();
        Self {
            rounds,
            len,
            next: bands.iter().map(|_| Apart(AtomicUsize::new(0))).collect(),
            finished: bands.iter().map(|_| Apart(AtomicUsize::new(0))).collect(),
            bands,
            outputs: [(); 2].map(|()| (0..len).map(|_| AtomicU32::new(0)).collect()),
        }
    }

    /// The bands that one round has.
    pub(super) fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Computes all rounds: `forward` a worker's band of a round from the output of the round before, of which the first has none.
    pub(super) fn run<F>(&mut self, forward: F, output: &mut [f32])
    where
        F: Fn(&mut Worker, usize, &[f32], &mut [f32]) + Sync,
    {
        for count in self.next.iter().chain(&self.finished) {
            count.0.store(0, Ordering::Relaxed);
        }
        let (this, own) = (&*self, 0..self.bands());
        own.into_par_iter()
            .with_max_len(1)
            .for_each(|own| this.work(own, &forward));
        for Apart(turns) in &mut self.bands {
            let turns = turns.get_mut().unwrap_or_else(PoisonError::into_inner);
            let band = &turns.worker.band.output;
            let rows = turns.written.chunks_exact(band.len().max(1));
            for (output, row) in output.chunks_exact_mut(self.len).zip(rows) {
                output[band.clone()].copy_from_slice(row);
            }
        }
    }

    /// Takes bands, `own` before others, until all rounds are finished.
    fn work<F>(&self, own: usize, forward: &F)
    where
        F: Fn(&mut Worker, usize, &[f32], &mut [f32]),
    {
        let _end = Finished(self);
        let mut idle = 0_u32;
        loop {
            let counts = self
                .finished
                .iter()
                .map(|count| count.0.load(Ordering::Acquire));
            let round = counts.min().unwrap_or(usize::MAX);
            if round >= self.rounds {
                return;
            }
            let looked_at = if idle < PATIENCE { 1 } else { self.bands() };
            let ready = (own..self.bands())
                .chain(0..own)
                .take(looked_at)
                .find(|&band| self.take(band, round));
            if let Some(band) = ready {
                self.compute(band, round, forward);
                self.finished[band].0.store(round + 1, Ordering::Release);
                idle = 0;
                continue;
            }
            idle = idle.wrapping_add(1);
            std::hint::spin_loop();
            // Of more threads than cores one may stand in the way of the one that is waited for.
            if idle.is_multiple_of(64) {
                std::thread::yield_now();
            }
        }
    }

    /// True for the one thread that is to compute a band's round.
    fn take(&self, band: usize, round: usize) -> bool {
        let (next, relaxed) = (&self.next[band].0, Ordering::Relaxed);
        next.load(relaxed) == round
            && next
                .compare_exchange(round, round + 1, relaxed, relaxed)
                .is_ok()
    }

    /// One band of a round, all bands of the round before being finished.
    fn compute<F>(&self, band: usize, round: usize, forward: &F)
    where
        F: Fn(&mut Worker, usize, &[f32], &mut [f32]),
    {
        let turns = &self.bands[band].0;
        let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        let Turns {
            worker,
            before,
            written,
        } = &mut *turns;
        let own = worker.band.output.clone();
        let output = &mut written[round * own.len()..][..own.len()];
        // `finished` orders these accesses: a round's outputs are read when all of it is finished, and overwritten two rounds later.
        let [this, last] = [round, round + 1].map(|turn| &self.outputs[turn % 2]);
        let before = match round {
            0 => &mut [],
            _ => &mut before[..],
        };
        for (before, bits) in before.iter_mut().zip(last) {
            *before = f32::from_bits(bits.load(Ordering::Relaxed));
        }
        forward(worker, round, before, output);
        for (bits, output) in this[own].iter().zip(output) {
            bits.store(output.to_bits(), Ordering::Relaxed);
        }
    }
}
