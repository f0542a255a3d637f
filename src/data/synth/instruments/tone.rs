//! A harmonic tone: one cycle of a band-limited wave per pitch, from a spectrum with formants, morphing from its
//! attack to its body under an envelope, with vibrato, slides, detuned copies, breath and consonants.

use super::{decay, tail, white};
use crate::data::synth::RATE;
use crate::data::synth::score::Note;
use crate::data::synth::theory::hertz;
use crate::random::Random;

/// log2 of the samples of a cycle.
const TABLE_BITS: u32 = 10;
const TABLE: usize = 1 << TABLE_BITS;
/// Harmonics are left out above this, in Hz: room below the Nyquist frequency for vibrato and slides.
const HIGHEST: f64 = 9_500.0;
/// Samples between two looks at vibrato, slide and morph.
const CONTROL: usize = 32;

/// How strong each harmonic is.
#[derive(Clone, Debug)]
pub(crate) struct Spectrum {
    /// Harmonic `h` has amplitude `h` to the minus `slope`: 1 is a saw, 2 almost a triangle.
    pub(crate) slope: f64,
    /// Factor on the even harmonics: 0 is a square or a clarinet.
    pub(crate) even: f64,
    /// Hz from which a second-order low-pass takes hold.
    pub(crate) cutoff: f64,
    /// Centre in Hz, width in Hz, amplitude of resonances; none means none.
    pub(crate) formants: Vec<(f64, f64, f64)>,
    /// Amplitudes of the first harmonics, in place of the slope (drawbars); empty means the slope.
    pub(crate) drawbars: Vec<f64>,
}

impl Spectrum {
    /// A slope under a low-pass.
    pub(crate) fn slope(slope: f64, cutoff: f64) -> Self {
        Self {
            slope,
            even: 1.0,
            cutoff,
            formants: Vec::new(),
            drawbars: Vec::new(),
        }
    }

    fn amplitude(&self, harmonic: usize, frequency: f64) -> f64 {
        let source = if self.drawbars.is_empty() {
            (harmonic as f64).powf(-self.slope)
                * if harmonic.is_multiple_of(2) {
                    self.even
                } else {
                    1.0
                }
        } else {
            self.drawbars.get(harmonic - 1).copied().unwrap_or(0.0)
        };
        let throat = if self.formants.is_empty() {
            1.0
        } else {
            let hill = |&(centre, width, gain): &(f64, f64, f64)| {
                gain / (1.0 + ((frequency - centre) / width).powi(2))
            };
            0.03 + self.formants.iter().map(hill).sum::<f64>()
        };
        source * throat / (1.0 + (frequency / self.cutoff).powi(4)).sqrt()
    }

    /// One cycle at `frequency` Hz with RMS 0.25, and its first sample again for interpolation.
    fn cycle(&self, frequency: f64) -> Vec<f32> {
        let harmonics = ((HIGHEST / frequency) as usize).clamp(1, 80);
        let mut cycle = vec![0.0; TABLE];
        for harmonic in 1..=harmonics {
            let amplitude = self.amplitude(harmonic, frequency * harmonic as f64);
            if amplitude < 1e-4 {
                continue;
            }
            // sin(kx) by the recurrence s[n] = 2 cos(x) s[n-1] - s[n-2].
            let angle = std::f64::consts::TAU * harmonic as f64 / TABLE as f64;
            let turn = 2.0 * angle.cos();
            let (mut before, mut now) = (-angle.sin() * amplitude, 0.0);
            for sample in &mut cycle {
                *sample += now;
                (before, now) = (now, turn * now - before);
            }
        }
        let power = cycle.iter().map(|x| x * x).sum::<f64>() / TABLE as f64;
        let scale = 0.25 / power.sqrt().max(1e-9);
        let mut cycle: Vec<f32> = cycle.into_iter().map(|x| (x * scale) as f32).collect();
        cycle.push(cycle[0]);
        cycle
    }
}

/// Attack, decay and release in seconds, and the level between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) attack: f64,
    /// Time constant of the fall to `sustain`.
    pub(crate) decay: f64,
    pub(crate) sustain: f64,
    /// Time constant after the note is let go.
    pub(crate) release: f64,
}

/// A harmonic instrument.
#[derive(Clone, Debug)]
pub(crate) struct Tone {
    /// How a note begins.
    pub(crate) attack: Spectrum,
    /// What it becomes, within about `morph` seconds.
    pub(crate) body: Spectrum,
    pub(crate) morph: f64,
    pub(crate) envelope: Envelope,
    /// How much shorter the decay is an octave higher: 1 halves it.
    pub(crate) damping: f64,
    /// Detuned copies and how far they lie apart, in semitones.
    pub(crate) copies: usize,
    pub(crate) detune: f64,
    /// Vibrato in semitones and Hz; it sets in after the note has begun.
    pub(crate) vibrato: f64,
    pub(crate) vibrato_rate: f64,
    /// Seconds that a slide takes.
    pub(crate) slide: f64,
    /// Noise along with the tone, and noise at its start.
    pub(crate) breath: f64,
    pub(crate) consonant: f64,
}

impl Tone {
    /// A steady tone of one spectrum, without ornaments.
    pub(crate) fn plain(body: Spectrum, envelope: Envelope) -> Self {
        Self {
            attack: body.clone(),
            body,
            morph: 0.1,
            envelope,
            damping: 0.0,
            copies: 1,
            detune: 0.0,
            vibrato: 0.0,
            vibrato_rate: 5.0,
            slide: 0.08,
            breath: 0.0,
            consonant: 0.0,
        }
    }

    pub(super) fn render(&self, notes: &[Note], out: &mut [f32], r: &mut Random) {
        let mut cycles: Vec<Option<[Vec<f32>; 2]>> = vec![None; 128];
        for note in notes {
            let key = (note.pitch.round() as usize).clamp(0, 127);
            let frequency = hertz(key as f64);
            let pair = cycles[key]
                .get_or_insert_with(|| [self.attack.cycle(frequency), self.body.cycle(frequency)]);
            self.play(note, pair, tail(out, note.at), r);
        }
    }

    fn play(&self, note: &Note, [attack, body]: &[Vec<f32>; 2], out: &mut [f32], r: &mut Random) {
        let octaves = (note.pitch - 60.0) / 12.0;
        let stretch = (-octaves * self.damping).exp2();
        let fall = 1.0 - decay(self.envelope.decay * stretch);
        let release = decay(self.envelope.release);
        let rise = (1.0 / (self.envelope.attack * RATE).max(1.0)) as f32;
        let sustain = self.envelope.sustain as f32;
        let held = (note.length * RATE) as usize;
        let loudness = (note.velocity / (self.copies as f64).sqrt()) as f32;
        // Harder notes keep their attack's colour for longer.
        let morph = decay(self.morph * stretch.min(2.0) * (0.5 + note.velocity) / CONTROL as f64);
        let mut phases: Vec<u32> = (0..self.copies)
            .map(|_| if self.copies > 1 { r.next_u32() } else { 0 })
            .collect();
        let spread: Vec<f64> = (0..self.copies)
            .map(|i| (i as f64 - (self.copies - 1) as f64 / 2.0) * self.detune + 0.02 * r.normal())
            .collect();
        let mut increments = vec![0_u32; self.copies];
        let (mut level, mut colour, mut rising) = (0.0_f32, 1.0_f32, true);
        let vibrato_phase = r.range(0.0, std::f64::consts::TAU);
        let (mut hiss, mut spit) = (0.0_f32, self.consonant as f32);
        let spit_decay = decay(0.025);
        for (block, chunk) in out.chunks_mut(CONTROL).enumerate() {
            let start = block * CONTROL;
            let time = start as f64 / RATE;
            let sliding = note.bend * (-time / self.slide).exp();
            let depth = self.vibrato * (1.0 - (-time / 0.35).exp());
            let wave =
                depth * (vibrato_phase + std::f64::consts::TAU * self.vibrato_rate * time).sin();
            for (increment, spread) in increments.iter_mut().zip(&spread) {
                let frequency = hertz(note.pitch + sliding + wave + spread);
                *increment = (frequency / RATE * 4_294_967_296.0) as u32;
            }
            colour *= morph;
            for (i, sample) in chunk.iter_mut().enumerate() {
                if start + i >= held {
                    level *= release;
                } else if rising {
                    level += rise;
                    rising = level < 1.0;
                } else {
                    level += (sustain - level) * fall;
                }
                let mut sum = 0.0;
                for (phase, &increment) in phases.iter_mut().zip(&increments) {
                    let index = (*phase >> (32 - TABLE_BITS)) as usize;
                    let part = (*phase << TABLE_BITS) as f32 * (1.0 / 4_294_967_296.0);
                    let from = body[index] + (attack[index] - body[index]) * colour;
                    let to = body[index + 1] + (attack[index + 1] - body[index + 1]) * colour;
                    sum += from + (to - from) * part;
                    *phase = phase.wrapping_add(increment);
                }
                if self.breath > 0.0 || spit > 1e-3 {
                    let noise = white(r);
                    // The difference of neighbours is a high-pass: breath has no bass.
                    sum += (noise - hiss) * (0.25 * self.breath as f32 + 0.5 * spit);
                    hiss = noise;
                    spit *= spit_decay;
                }
                *sample += sum * level * loudness;
            }
            if (start >= held || !rising) && level < 1e-3 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEADY: Envelope = Envelope {
        attack: 0.001,
        decay: 1.0,
        sustain: 1.0,
        release: 0.01,
    };

    /// The power at a frequency, by its own sum over the samples.
    fn power(samples: &[f32], frequency: f64) -> f64 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (n, &x) in samples.iter().enumerate() {
            let angle = std::f64::consts::TAU * frequency * n as f64 / RATE;
            real += f64::from(x) * angle.cos();
            imaginary += f64::from(x) * angle.sin();
        }
        (real * real + imaginary * imaginary) / (samples.len() as f64).powi(2)
    }

    #[test]
    fn a_tone_has_its_pitch_and_its_harmonics() {
        let mut odd = Spectrum::slope(1.0, 20_000.0);
        odd.even = 0.0;
        let tone = Tone::plain(odd, STEADY);
        let note = Note {
            at: 0.0,
            length: 1.0,
            pitch: 69.0,
            velocity: 1.0,
            bend: 0.0,
        };
        let mut out = vec![0.0; 22_050];
        tone.render(&[note], &mut out, &mut Random::new(&[1]));
        let middle = &out[2_000..20_000];
        let fundamental = (0..41)
            .map(|i| power(middle, 438.0 + 0.1 * f64::from(i)))
            .fold(0.0, f64::max);
        let third = (0..61)
            .map(|i| power(middle, 1317.0 + 0.1 * f64::from(i)))
            .fold(0.0, f64::max);
        assert!(power(middle, 880.0) < fundamental * 1e-3);
        assert!(
            (fundamental / third - 9.0).abs() < 1.5,
            "{}",
            fundamental / third
        );
    }

    #[test]
    fn a_note_falls_silent_after_its_release() {
        let tone = Tone::plain(Spectrum::slope(1.0, 4_000.0), STEADY);
        let note = Note {
            at: 0.2,
            length: 0.2,
            pitch: 50.0,
            velocity: 1.0,
            bend: -2.0,
        };
        let mut out = vec![0.0; 22_050];
        tone.render(&[note], &mut out, &mut Random::new(&[1]));
        assert!(out[..4_400].iter().all(|&x| x == 0.0));
        assert!(out[5_000..8_000].iter().any(|&x| x.abs() > 0.1));
        assert!(out[12_000..].iter().all(|&x| x.abs() < 1e-3));
    }
}
