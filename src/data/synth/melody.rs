//! Melodies: motifs that are sung, varied and answered; walking basses; the runs of a soloist.

use super::score::{Bar, Line, Onset};
use crate::random::Random;

/// A rhythm and a shape in scale steps, drawn once and sung on any chord.
#[derive(Clone, Debug)]
pub(crate) struct Motif {
    rhythm: Vec<Onset>,
    steps: Vec<i32>,
}

impl Motif {
    /// `beats` long, on a grid of `grid` onsets a beat; each place of it is taken with chance `density`, the first
    /// of a beat sooner than the others.
    pub(crate) fn draw(r: &mut Random, beats: usize, grid: usize, density: f64) -> Self {
        let mut onsets: Vec<f64> = Vec::new();
        for place in 0..beats * grid {
            let weight = if place % grid == 0 { 1.35 } else { 0.8 };
            if r.chance(density * weight) {
                onsets.push(place as f64 / grid as f64);
            }
        }
        if onsets.is_empty() {
            onsets.push(0.0);
        }
        let end = beats as f64;
        let rhythm = onsets
            .iter()
            .enumerate()
            .map(|(i, &at)| {
                let next = onsets.get(i + 1).copied().unwrap_or(end);
                (
                    at,
                    (next - at).min(2.0) * r.range(0.7, 1.0),
                    r.range(0.6, 0.95),
                )
            })
            .collect();
        let mut step: i32 = 0;
        let steps = onsets
            .iter()
            .map(|_| {
                let here = step;
                step += *r.choose(&[-2, -1, -1, 0, 1, 1, 2, 3]);
                // Melodies return to where they began.
                if step.abs() > 4 {
                    step -= step.signum() * 3;
                }
                here
            })
            .collect();
        Self { rhythm, steps }
    }

    /// Sings it from `beat` on around `anchor`: notes on a beat that last go to the chord, the others follow
    /// `scale`. `bend` semitones is the largest slide into a long note. Returns the last pitch.
    pub(crate) fn sing(
        &self,
        line: &mut Line,
        beat: f64,
        anchor: f64,
        scale: &[i32],
        bend: f64,
    ) -> f64 {
        let song = line.song;
        let mut pitch = anchor;
        for (&(at, length, velocity), &steps) in self.rhythm.iter().zip(&self.steps) {
            pitch = song.harmony.step(scale, anchor, steps);
            if at.fract() == 0.0 && length > 0.6 {
                pitch = song.chord(beat + at).nearest(pitch);
            }
            let slide = if bend > 0.0 && length > 0.4 && line.r.chance(0.45) {
                -bend
            } else {
                0.0
            };
            line.slide(beat + at, length, pitch, velocity, slide);
        }
        pitch
    }

    /// The same with another ending, as an answer has.
    pub(crate) fn varied(&self, r: &mut Random) -> Self {
        let mut motif = self.clone();
        let from = motif.steps.len() / 2;
        for step in &mut motif.steps[from..] {
            *step += *r.choose(&[-1, 0, 1, 1, 2]);
        }
        motif
    }
}

/// A walking bass: a chord tone on each beat, the last one a half-tone or a step from the next root.
pub(crate) fn walk(line: &mut Line, bar: &Bar, low: i32) {
    let song = line.song;
    for beat in 0..bar.beats {
        let at = bar.start + beat as f64;
        let chord = song.chord(at);
        let changes = beat == 0 || song.chord(at - 1.0) != chord;
        let pitch = if changes {
            chord.root_above(low)
        } else if beat + 1 == bar.beats {
            song.chord(at + 1.0).root_above(low) + f64::from(*line.r.choose(&[-1, 1, 1, 2, -2, 7]))
        } else {
            let tones = chord.stacked(low);
            *line.r.choose(&tones[1..])
        };
        let velocity = line.r.range(0.65, 0.9);
        line.note(at, 0.9, pitch, velocity);
        if line.r.chance(0.12) {
            line.note(at + 0.5, 0.4, pitch, 0.5);
        }
    }
}

/// A soloist's run from `from` to `to`: each place of the grid, mostly by step, with leaps of chance `leap`, turned
/// around at the ends of two octaves above `low`; onsets on a beat go to the chord.
pub(crate) fn run(
    line: &mut Line,
    (from, to): (f64, f64),
    grid: f64,
    scale: &[i32],
    (low, leap): (i32, f64),
    pitch: &mut f64,
) {
    let song = line.song;
    let (mut at, low) = (from, f64::from(low));
    let mut direction = if line.r.chance(0.5) { 1 } else { -1 };
    while at < to - 1e-9 {
        if *pitch > low + 22.0 {
            direction = -1;
        } else if *pitch < low {
            direction = 1;
        } else if line.r.chance(0.2) {
            direction = -direction;
        }
        let steps = if line.r.chance(leap) {
            *line.r.choose(&[2, 3, 4])
        } else {
            1
        };
        *pitch = song.harmony.step(scale, *pitch, direction * steps);
        if at.fract() == 0.0 {
            *pitch = song.chord(at).nearest(*pitch);
        } else if line.r.chance(leap * 0.4) {
            *pitch += f64::from(direction);
        }
        let velocity = line.r.range(0.55, 0.9);
        line.note(at, grid * 0.95, *pitch, velocity);
        at += grid;
    }
}
