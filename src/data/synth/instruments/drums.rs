//! Drum kits: every drum is synthesised once a song, then struck like a sample. Drums are named by their keys in
//! the General MIDI percussion map.

use super::{decay, tail, white};
use crate::data::synth::RATE;
use crate::data::synth::effects::Biquad;
use crate::data::synth::score::Note;
use crate::random::Random;

pub(crate) const KICK: f64 = 36.0;
pub(crate) const RIM: f64 = 37.0;
pub(crate) const SNARE: f64 = 38.0;
pub(crate) const CLAP: f64 = 39.0;
pub(crate) const LOW_TOM: f64 = 41.0;
pub(crate) const HAT: f64 = 42.0;
pub(crate) const PEDAL_HAT: f64 = 44.0;
pub(crate) const TOM: f64 = 45.0;
pub(crate) const OPEN_HAT: f64 = 46.0;
pub(crate) const CRASH: f64 = 49.0;
pub(crate) const HIGH_TOM: f64 = 50.0;
pub(crate) const RIDE: f64 = 51.0;
pub(crate) const TAMBOURINE: f64 = 54.0;
pub(crate) const COWBELL: f64 = 56.0;
pub(crate) const CONGA: f64 = 63.0;
pub(crate) const SHAKER: f64 = 70.0;
/// Not in the map: a brush swept over the snare.
pub(crate) const SWEEP: f64 = 71.0;

/// A kit: one sound a drum.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    sounds: Vec<(f64, Vec<f32>)>,
}

/// What a kit is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Make {
    /// Shells and skins.
    Acoustic,
    /// A drum machine: long sine kick, dry clap, square-wave metal.
    Machine,
    /// Sticks laid aside for brushes.
    Brushes,
}

impl Kit {
    /// Builds a kit; size, tuning, damping and metal differ from kit to kit.
    pub(crate) fn new(make: Make, r: &mut Random) -> Self {
        let machine = make == Make::Machine;
        let kick_ring = if machine {
            r.range(0.12, 0.7)
        } else {
            r.range(0.07, 0.22)
        };
        let kick_pitch = if machine {
            r.range(42.0, 60.0)
        } else {
            r.range(48.0, 78.0)
        };
        let click = if machine {
            r.range(0.0, 0.3)
        } else {
            r.range(0.05, 0.8)
        };
        let metal = r.range(0.75, 1.3);
        let hat = r.range(0.02, 0.06);
        let (snare_pitch, wires) = (r.range(150.0, 240.0), r.range(0.3, 1.0));
        let snare_ring = if make == Make::Brushes {
            0.05
        } else {
            r.range(0.06, 0.2)
        };
        let tom = r.range(70.0, 110.0);
        let mut sounds = vec![
            (
                KICK,
                skin(r, kick_pitch, fallen_octaves(machine), kick_ring, click),
            ),
            (SNARE, snare(r, snare_pitch, snare_ring, wires)),
            (RIM, rim(r)),
            (CLAP, clap(r)),
            (HAT, cymbal(r, metal, hat, 0.3, machine)),
            (PEDAL_HAT, cymbal(r, metal * 0.9, hat * 0.8, 0.1, machine)),
            (OPEN_HAT, cymbal(r, metal, hat * 7.0, 0.4, machine)),
            (RIDE, cymbal(r, metal * 0.7, 0.45, 0.9, false)),
            (CRASH, cymbal(r, metal * 0.6, 0.7, 0.5, false)),
            (LOW_TOM, skin(r, tom, 0.6, 0.25, 0.2)),
            (TOM, skin(r, tom * 1.35, 0.6, 0.2, 0.2)),
            (HIGH_TOM, skin(r, tom * 1.8, 0.6, 0.16, 0.2)),
            (CONGA, skin(r, tom * 2.6, 0.15, 0.09, 0.4)),
            (COWBELL, cowbell(r)),
        ];
        sounds.push((SHAKER, swish(r, 0.03, 0.03, 4_500.0)));
        sounds.push((TAMBOURINE, swish(r, 0.004, 0.06, 6_000.0)));
        sounds.push((SWEEP, swish(r, 0.12, 0.12, 1_800.0)));
        for (_, sound) in &mut sounds {
            let peak = sound.iter().fold(1e-6_f32, |peak, x| peak.max(x.abs()));
            for x in sound.iter_mut() {
                *x /= peak;
            }
        }
        Self { sounds }
    }

    pub(super) fn render(&self, notes: &[Note], out: &mut [f32], r: &mut Random) {
        for note in notes {
            let Some((_, sound)) = self.sounds.iter().find(|(drum, _)| *drum == note.pitch) else {
                continue;
            };
            // No two strokes have quite the same weight or the same colour.
            let gain = (note.velocity * note.velocity * level(note.pitch)) as f32;
            let dull = (0.5 * (1.0 - note.velocity) + 0.1 * r.uniform_f64()) as f32;
            let mut before = 0.0;
            for (sample, &x) in tail(out, note.at).iter_mut().zip(sound) {
                before = x + (before - x) * dull;
                *sample += before * gain;
            }
        }
    }
}

/// How loud a drum is within its kit.
fn level(drum: f64) -> f64 {
    match drum {
        KICK => 1.0,
        SNARE | CLAP => 0.75,
        LOW_TOM | TOM | HIGH_TOM | CRASH => 0.6,
        RIM | CONGA => 0.5,
        RIDE => 0.45,
        OPEN_HAT | SWEEP | COWBELL => 0.35,
        _ => 0.28,
    }
}

/// How far the pitch of a kick falls, in octaves.
fn fallen_octaves(machine: bool) -> f64 {
    if machine { 1.6 } else { 1.1 }
}

/// A skin: a sine that falls by `octaves` to `pitch` Hz, and the noise of the stroke.
fn skin(r: &mut Random, pitch: f64, octaves: f64, ring: f64, click: f64) -> Vec<f32> {
    let n = (ring * 6.0 * RATE) as usize;
    let mut phase = 0.0_f64;
    (0..n)
        .map(|i| {
            let t = i as f64 / RATE;
            phase += pitch * (octaves * (-t / 0.03).exp()).exp2() / RATE;
            let stroke = click * (-t / 0.004).exp() * f64::from(white(r));
            ((std::f64::consts::TAU * phase).sin() * (-t / ring).exp() + stroke) as f32
        })
        .collect()
}

/// Two modes of the skin and the noise of the wires.
fn snare(r: &mut Random, pitch: f64, ring: f64, wires: f64) -> Vec<f32> {
    let mut filter = Biquad::high_pass(r.range(900.0, 2_500.0), 0.7);
    let n = (ring * 7.0 * RATE) as usize;
    (0..n)
        .map(|i| {
            let t = i as f64 / RATE;
            let tone = (std::f64::consts::TAU * pitch * t).sin()
                + 0.6 * (std::f64::consts::TAU * pitch * 1.78 * t).sin();
            let noise = f64::from(filter.next(white(r)));
            (0.7 * tone * (-t / (0.6 * ring)).exp() + 1.3 * wires * noise * (-t / ring).exp())
                as f32
        })
        .collect()
}

fn rim(r: &mut Random) -> Vec<f32> {
    let (low, high) = (r.range(420.0, 600.0), r.range(1_500.0, 2_100.0));
    (0..(0.08 * RATE) as usize)
        .map(|i| {
            let t = i as f64 / RATE;
            let tone =
                (std::f64::consts::TAU * low * t).sin() + (std::f64::consts::TAU * high * t).sin();
            (tone * (-t / 0.012).exp() + 0.3 * f64::from(white(r)) * (-t / 0.003).exp()) as f32
        })
        .collect()
}

/// Several hands within 30 ms, then the room.
fn clap(r: &mut Random) -> Vec<f32> {
    let mut filter = Biquad::band_pass(r.range(900.0, 1_700.0), 1.2);
    let hands: Vec<f64> = (0..4)
        .map(|i| f64::from(i) * r.range(0.007, 0.012))
        .collect();
    let room = r.range(0.05, 0.12);
    (0..(0.4 * RATE) as usize)
        .map(|i| {
            let t = i as f64 / RATE;
            let bursts: f64 = hands
                .iter()
                .filter(|&&h| t >= h)
                .map(|h| (-(t - h) / 0.005).exp())
                .sum();
            let tail = if t > hands[3] {
                0.7 * (-(t - hands[3]) / room).exp()
            } else {
                0.0
            };
            filter.next(white(r)) * (bursts + tail) as f32
        })
        .collect()
}

/// Inharmonic partials and noise above some kHz: `size` scales the pitch, `ping` is the stick against the wash.
fn cymbal(r: &mut Random, size: f64, ring: f64, ping: f64, squares: bool) -> Vec<f32> {
    let partials: Vec<(f64, f64)> = [
        2_050.0, 2_730.0, 3_370.0, 4_210.0, 5_110.0, 6_290.0, 7_370.0,
    ]
    .iter()
    .map(|f| (f * size * r.range(0.94, 1.06), r.range(0.3, 1.0)))
    .collect();
    let mut filter = Biquad::high_pass((4_200.0 * size).min(7_000.0), 0.8);
    let n = (ring * 5.0 * RATE) as usize + 200;
    let (fall, quick) = (decay(ring), decay(ring * 0.35));
    let (mut wash, mut stick) = (1.0_f32, 1.0_f32);
    (0..n)
        .map(|i| {
            let t = i as f64 / RATE;
            let tone: f64 = partials
                .iter()
                .map(|(f, a)| {
                    let wave = (std::f64::consts::TAU * f * t).sin();
                    a * if squares { wave.signum() } else { wave }
                })
                .sum();
            wash *= fall;
            stick *= quick;
            let x = filter.next(white(r) * 1.2 + 0.25 * tone as f32);
            x * wash + (ping * 0.25 * tone) as f32 * (0.3 * wash + 0.7 * stick)
        })
        .collect()
}

fn cowbell(r: &mut Random) -> Vec<f32> {
    let low = r.range(500.0, 620.0);
    let mut filter = Biquad::band_pass(low * 1.5, 1.5);
    (0..(0.3 * RATE) as usize)
        .map(|i| {
            let t = i as f64 / RATE;
            let wave = |f: f64| (std::f64::consts::TAU * f * t).sin().signum();
            filter.next(((wave(low) + wave(low * 1.48)) * (-t / 0.07).exp()) as f32)
        })
        .collect()
}

/// Noise that swells and falls: shaker, tambourine, brush.
fn swish(r: &mut Random, rise: f64, fall: f64, pitch: f64) -> Vec<f32> {
    let mut filter = Biquad::high_pass(pitch * r.range(0.8, 1.2), 0.9);
    (0..((rise + fall * 5.0) * RATE) as usize)
        .map(|i| {
            let t = i as f64 / RATE;
            let shape = if t < rise {
                t / rise
            } else {
                (-(t - rise) / fall).exp()
            };
            filter.next(white(r)) * shape as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drum_sounds_and_an_unknown_key_does_not() {
        let mut r = Random::new(&[1]);
        for make in [Make::Acoustic, Make::Machine, Make::Brushes] {
            let kit = Kit::new(make, &mut r);
            for drum in [
                KICK, RIM, SNARE, CLAP, LOW_TOM, HAT, PEDAL_HAT, TOM, OPEN_HAT, CRASH, HIGH_TOM,
                RIDE, TAMBOURINE, COWBELL, CONGA, SHAKER, SWEEP, 99.0,
            ] {
                let note = Note {
                    at: 0.1,
                    length: 0.1,
                    pitch: drum,
                    velocity: 0.9,
                    bend: 0.0,
                };
                let mut out = vec![0.0; 11_025];
                kit.render(&[note], &mut out, &mut r);
                let loud = out.iter().any(|x| x.abs() > 0.1);
                assert_eq!(loud, drum != 99.0, "{drum}");
                assert!(out.iter().all(|x| x.is_finite() && x.abs() <= 1.0));
            }
        }
    }
}
