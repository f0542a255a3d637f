//! Instruments: what turns notes into sound.
//!
//! `tone` is a harmonic oscillator with formants for everything blown, bowed, sung or electric; `pluck` a
//! Karplus-Strong string; `drums` a kit of one-shots; `palette` the named instruments that the genres share.

pub(crate) mod drums;
pub(crate) mod palette;
mod pluck;
mod tone;

pub(crate) use drums::Kit;
pub(crate) use pluck::Pluck;
pub(crate) use tone::{Envelope, Spectrum, Tone};

use super::score::Note;
use crate::random::Random;

/// What makes the sound of a part.
#[derive(Clone, Debug)]
pub(crate) enum Sound {
    Tone(Tone),
    Pluck(Pluck),
    Kit(Kit),
}

impl Sound {
    /// Renders `notes` into a buffer of `samples`.
    pub(crate) fn render(&self, notes: &[Note], samples: usize, r: &mut Random) -> Vec<f32> {
        let mut out = vec![0.0; samples];
        match self {
            Self::Tone(tone) => tone.render(notes, &mut out, r),
            Self::Pluck(pluck) => pluck.render(notes, &mut out, r),
            Self::Kit(kit) => kit.render(notes, &mut out, r),
        }
        out
    }
}

/// The part of `out` from `seconds` on; empty past the end.
fn tail(out: &mut [f32], seconds: f64) -> &mut [f32] {
    let start = ((seconds * super::RATE).max(0.0) as usize).min(out.len());
    &mut out[start..]
}

/// White noise in [-1, 1).
fn white(r: &mut Random) -> f32 {
    r.uniform_f32() * 2.0 - 1.0
}

/// The factor a sample by which something falls to 1/e in `seconds`.
fn decay(seconds: f64) -> f32 {
    (-1.0 / (seconds.max(1e-4) * super::RATE)).exp() as f32
}
