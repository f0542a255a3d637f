//! A plucked string: Karplus and Strong, "Digital synthesis of plucked-string and drum timbres" (Computer Music
//! Journal 1983), with the fractional tuning, the pluck position and the decay of Jaffe and Smith (same volume).

use super::{decay, tail, white};
use crate::data::synth::RATE;
use crate::data::synth::score::Note;
use crate::data::synth::theory::hertz;
use crate::random::Random;

/// A string and the hand on it.
#[derive(Clone, Debug)]
pub(crate) struct Pluck {
    /// 0 (felt, thumb) to 1 (steel, plectrum): how bright the pluck is.
    pub(crate) brightness: f64,
    /// Seconds in which middle C falls by 60 dB.
    pub(crate) ring: f64,
    /// Where it is plucked, as a fraction of the string.
    pub(crate) position: f64,
    /// Notes softer than this are palm-muted; 0 never.
    pub(crate) mute_below: f64,
    /// Seconds in which the finger ends a note.
    pub(crate) release: f64,
    /// Seconds that a bend takes.
    pub(crate) slide: f64,
    /// Vibrato of held notes, in semitones.
    pub(crate) vibrato: f64,
}

impl Pluck {
    pub(super) fn render(&self, notes: &[Note], out: &mut [f32], r: &mut Random) {
        for note in notes {
            self.play(note, tail(out, note.at), r);
        }
    }

    fn play(&self, note: &Note, out: &mut [f32], r: &mut Random) {
        let muted = note.velocity < self.mute_below;
        let frequency = hertz(note.pitch);
        let period = RATE / frequency;
        // The loop's filter, y = (1 - s) x[n] + s x[n-1], delays by s samples at low frequencies.
        let smooth = if muted {
            0.5
        } else {
            0.5 - 0.42 * self.brightness
        } as f32;
        let ring = if muted {
            0.25
        } else {
            self.ring * (261.6 / frequency).powf(0.4).min(1.6)
        };
        let gain = (0.001_f64.ln() / (ring * frequency)).exp() as f32;

        // The longest delay that a downward bend needs.
        let lowest = RATE / hertz(note.pitch - note.bend.abs() - self.vibrato - 0.1);
        let mut line = vec![0.0_f32; lowest as usize + 4];
        let length = period as usize;
        let softness = decay((1.0 - self.brightness * (0.4 + 0.6 * note.velocity)) * 4.0 / RATE);
        let mut smoothed = 0.0;
        let excitation: Vec<f32> = (0..length)
            .map(|_| {
                smoothed += (white(r) - smoothed) * (1.0 - softness);
                smoothed
            })
            .collect();
        // Plucking at a point takes away the harmonics that have a node there.
        let comb = ((self.position * period) as usize).clamp(1, length.max(2) - 1);
        let mean = excitation.iter().sum::<f32>() / length as f32;
        let shape: Vec<f32> = (0..length)
            .map(|i| excitation[i] - mean - 0.8 * (excitation[(i + comb) % length] - mean))
            .collect();
        let power = shape.iter().map(|x| x * x).sum::<f32>() / length as f32;
        let scale = 0.35 * note.velocity as f32 / power.sqrt().max(1e-6);
        let size = line.len();
        let mut write = length;
        for (slot, x) in line.iter_mut().zip(&shape) {
            *slot = x * scale;
        }

        let held = (note.length * RATE) as usize;
        let release = decay(self.release);
        let (mut level, mut last, mut delay) = (1.0_f32, 0.0_f32, 0.0_f32);
        let moving = note.bend != 0.0 || self.vibrato > 0.0;
        for (i, sample) in out.iter_mut().enumerate() {
            if i % 32 == 0 && (moving || i == 0) {
                let time = i as f64 / RATE;
                let wave = self.vibrato * (34.0 * time).sin() * (1.0 - (-time / 0.3).exp());
                let offset = note.bend * (-time / self.slide).exp() + wave;
                delay = (RATE / hertz(note.pitch + offset)) as f32 - smooth;
            }
            let whole = delay as usize;
            let part = delay - whole as f32;
            let at = |back: usize| {
                if write >= back {
                    write - back
                } else {
                    write + size - back
                }
            };
            let read = line[at(whole)] * (1.0 - part) + line[at(whole + 1)] * part;
            let filtered = gain * (read + smooth * (last - read));
            last = read;
            line[write] = filtered;
            write += 1;
            if write == size {
                write = 0;
            }
            if i >= held {
                level *= release;
            }
            *sample += filtered * level;
            if level < 1e-3 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRING: Pluck = Pluck {
        brightness: 0.7,
        ring: 3.0,
        position: 0.2,
        mute_below: 0.0,
        release: 0.05,
        slide: 0.1,
        vibrato: 0.0,
    };

    fn played(pitch: f64, bend: f64) -> Vec<f32> {
        let note = Note {
            at: 0.0,
            length: 0.9,
            pitch,
            velocity: 0.8,
            bend,
        };
        let mut out = vec![0.0; 22_050];
        STRING.render(&[note], &mut out, &mut Random::new(&[3]));
        out
    }

    /// The period in samples, by the highest autocorrelation, refined by a parabola.
    fn period(samples: &[f32], guess: f64) -> f64 {
        let likeness = |lag: usize| -> f64 {
            samples
                .iter()
                .zip(&samples[lag..])
                .take(8_000)
                .map(|(a, b)| f64::from(a * b))
                .sum()
        };
        let around = (guess * 0.8) as usize..(guess * 1.2) as usize;
        let best = around
            .max_by(|&a, &b| likeness(a).total_cmp(&likeness(b)))
            .expect("a range");
        let (left, top, right) = (likeness(best - 1), likeness(best), likeness(best + 1));
        best as f64 + 0.5 * (left - right) / (left - 2.0 * top + right)
    }

    #[test]
    fn strings_are_in_tune() {
        for pitch in [40.0, 52.0, 60.0, 67.0] {
            let expected = RATE / hertz(pitch);
            let found = period(&played(pitch, 0.0)[4_000..], expected);
            let cents = 1200.0 * (found / expected).log2();
            assert!(cents.abs() < 12.0, "pitch {pitch}: {cents} cents");
        }
    }

    #[test]
    fn a_bend_arrives_at_its_pitch_and_the_string_stays_bounded() {
        let out = played(60.0, -2.0);
        let expected = RATE / hertz(60.0);
        assert!((period(&out[10_000..], expected) / expected - 1.0).abs() < 0.01);
        assert!(out.iter().all(|x| x.abs() < 3.0));
        // Far above and below what is ever written.
        assert!(
            played(118.0, 3.0)
                .iter()
                .chain(&played(15.0, -3.0))
                .all(|x| x.is_finite())
        );
    }
}
