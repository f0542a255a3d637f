//! Effects, each a pass over a mono buffer in place.

mod biquad;
mod dynamics;
mod echo;
mod tape;

pub(crate) use biquad::Biquad;
pub(crate) use dynamics::{compress, drive, limit, rms};
pub(crate) use echo::{chorus, echo, reverb};
pub(crate) use tape::{crackle, crush, hiss, hum, wow};

use super::RATE;

/// An effect on one part.
#[derive(Clone, Debug)]
pub(crate) enum Insert {
    Filter(Biquad),
    /// Overdrive: gain into a soft clipper.
    Drive(f64),
    /// Rate in Hz, depth 0 to 1.
    Tremolo(f64, f64),
    /// A band-pass that opens and shuts at a rate in Hz.
    Wah(f64),
    /// Rate in Hz, depth in seconds.
    Chorus(f64, f64),
    /// Delay in seconds, feedback, level of the repeats, cutoff of the tape in Hz.
    Echo(f64, f64, f64, f64),
    /// Bits, and samples that are held: an early sampler.
    Crush(u32, usize),
}

impl Insert {
    pub(crate) fn apply(&self, x: &mut [f32]) {
        match self {
            Self::Filter(filter) => filter.clone().apply(x),
            Self::Drive(gain) => drive(x, *gain as f32),
            Self::Tremolo(rate, depth) => {
                let turn = std::f64::consts::TAU * rate / RATE;
                for (n, x) in x.iter_mut().enumerate() {
                    *x *= (1.0 - depth * (0.5 + 0.5 * (turn * n as f64).sin())) as f32;
                }
            }
            Self::Wah(rate) => wah(x, *rate),
            Self::Chorus(rate, depth) => chorus(x, *rate, *depth),
            Self::Echo(delay, feedback, level, cutoff) => {
                echo(x, *delay, *feedback, *level, *cutoff)
            }
            Self::Crush(bits, hold) => crush(x, *bits, *hold),
        }
    }
}

/// A band-pass swept from 400 Hz to 2 kHz and back; its coefficients are renewed every 64 samples.
fn wah(x: &mut [f32], rate: f64) {
    let mut filter = Biquad::band_pass(400.0, 2.5);
    for (block, chunk) in x.chunks_mut(64).enumerate() {
        let turn = std::f64::consts::TAU * rate * (block * 64) as f64 / RATE;
        filter.retune(&Biquad::band_pass(900.0 * (1.15 * turn.sin()).exp2(), 2.5));
        for x in chunk {
            *x = 0.25 * *x + filter.next(*x);
        }
    }
}
