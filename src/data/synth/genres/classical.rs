//! Voices that move against each other: a motif passed from hand to hand over broken chords or sustained strings,
//! in a tempo that breathes; drums only where an orchestra has them.

use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::Motif;
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song};
use super::super::theory::{HARMONIC_MINOR, Harmony, MAJOR, MINOR};
use super::Style;
use crate::random::Random;

pub(super) struct Classical;

impl Style for Classical {
    fn feel(&self, r: &mut Random) -> Feel {
        let metre = if r.chance(0.4) { 3 } else { 4 };
        Feel {
            metre,
            rubato: r.range(0.01, 0.07),
            looseness: r.range(0.004, 0.02),
            ..Feel::straight(r.range(56.0, 150.0))
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        let tonic = r.below(12) as i32;
        if r.chance(0.5) {
            let changes = *r.choose(&[
                "I | V | vi | iii | IV | I | IV | V",
                "I | ii7 | V7 | I | vi | ii | V | I",
                "I IV | V I | vi ii | V | I V | vi IV | ii V7 | I",
                "I | viio7 | I | V7 | IV | I | ii V7 | I",
            ]);
            Harmony::new(tonic, MAJOR, changes)
        } else {
            let changes = *r.choose(&[
                "i | iv | V | i | bVI | bIII | iiø7 | V7",
                "i V7 | i iv | i V | bVI | iv i | iiø7 V7 | i | V",
                "i | bVII | bIII | bVI | iv | i | V7 | i",
                "i | V | i | iv | viio7 | i | V7 | i",
            ]);
            Harmony::new(
                tonic,
                if r.chance(0.5) { HARMONIC_MINOR } else { MINOR },
                changes,
            )
        }
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        let drums = if r.chance(0.1) { 0.4 } else { 0.0 };
        // Solo, duo or orchestra.
        let others = r.range(0.55, 0.95);
        [drums, others, 0.9, 0.9, others]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let part = acoustic_kit(r).room(0.5);
        let mut line = Line::new(song, r);
        for bar in song.bars_of(Role::Drums) {
            line.note(bar.start, 1.0, LOW_TOM, if bar.chorus { 0.9 } else { 0.6 });
            if bar.last {
                // A roll that swells into the next phrase.
                for i in 0..bar.beats * 6 {
                    line.note(
                        bar.start + i as f64 / 6.0,
                        0.2,
                        LOW_TOM,
                        0.3 + 0.02 * i as f64,
                    );
                }
                line.note(bar.start + bar.beats as f64, 1.0, CRASH, 0.8);
            } else if line.r.chance(0.4) {
                line.note(bar.start + 2.0, 1.0, TOM, 0.5);
            }
        }
        part.playing(line.finish()).louder(-3.0)
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let mut part = pick(
            r,
            &[
                (3.0, fiddle),
                (3.0, piano),
                (2.0, strings),
                (1.0, upright_bass),
                (1.0, organ),
                (1.0, acoustic_guitar),
            ],
        );
        part.low = 38;
        let mut line = Line::new(song, r);
        let moving = r.chance(0.5);
        for bar in song.bars_of(Role::Bass) {
            let mut pitch = song.chord(bar.start).root_above(part.low);
            if !moving {
                line.note(bar.start, bar.beats as f64 * 0.97, pitch, 0.7);
                continue;
            }
            // Steps towards the root of the bar that follows.
            for beat in 0..bar.beats {
                line.note(bar.start + beat as f64, 0.95, pitch, 0.65);
                let goal = song
                    .chord(bar.start + bar.beats as f64)
                    .root_above(part.low);
                let direction = if goal > pitch { 1 } else { -1 };
                pitch = song.harmony.step(song.harmony.scale, pitch, direction);
            }
        }
        part.playing(line.finish())
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (4.0, piano),
                (3.0, strings),
                (1.5, harpsichord),
                (1.5, acoustic_guitar),
                (1.0, organ),
                (0.7, choir),
            ],
        );
        let mut line = Line::new(song, r);
        let order: &[usize] = r.choose::<&[usize]>(&[
            // Alberti; up and down; repeated; held.
            &[0, 2, 1, 2],
            &[0, 1, 2, 3, 2, 1],
            &[0, 1, 2, 0, 1, 2],
            &[],
        ]);
        for bar in song.bars_of(Role::Chords) {
            let swell = if bar.chorus { 0.75 } else { 0.55 };
            for beat in 0..bar.beats {
                let at = bar.start + beat as f64;
                let mut tones = song.chord(at).voicing(part.low);
                tones.push(tones[0] + 12.0);
                if order.is_empty() {
                    if beat == 0 || song.chord(at) != song.chord(at - 1.0) {
                        let left = (bar.beats - beat) as f64;
                        line.strum(at, left, &tones[..3], swell, 0.004);
                    }
                    continue;
                }
                // A pattern of four or six fills a beat or two.
                for i in 0..order.len().min(4) {
                    let n = order.len().min(4);
                    let place = order[(beat * n + i) % order.len()];
                    line.note(
                        at + i as f64 / n as f64,
                        1.2 / n as f64,
                        tones[place % tones.len()],
                        swell,
                    );
                }
            }
        }
        part.playing(line.finish()).louder(-2.0)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, piano),
                (4.0, fiddle),
                (2.0, flute),
                (2.0, clarinet),
                (1.0, voice),
                (1.0, harpsichord),
                (1.0, strings),
            ],
        );
        let mut line = Line::new(song, r);
        let grid = *r.choose(&[1, 2, 2, 3, 4]);
        let motif = Motif::draw(r, song.feel.metre, grid, 0.6);
        let answer = motif.varied(r);
        let low = f64::from(part.low);
        let mut height = 10.0;
        for bar in song.bars_of(Role::Lead) {
            // Sequence: the motif climbs, then falls back.
            height = if bar.index % 4 == 0 {
                line.r.range(5.0, 12.0)
            } else {
                height + line.r.range(-3.0, 4.0)
            };
            let anchor = song.chord(bar.start).nearest(low + height);
            if bar.last {
                line.note(bar.start, bar.beats as f64 * 0.8, anchor, 0.8);
            } else {
                let sung = if bar.index % 2 == 0 { &motif } else { &answer };
                sung.sing(&mut line, bar.start, anchor, song.harmony.scale, 0.0);
            }
        }
        part.playing(line.finish()).room(0.2)
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, fiddle),
                (3.0, strings),
                (1.5, clarinet),
                (1.5, flute),
                (1.0, brass),
                (0.7, choir),
                (1.0, piano),
            ],
        );
        let mut line = Line::new(song, r);
        // Counterpoint: a slower voice against the lead, entering half a bar later.
        let motif = Motif::draw(r, song.feel.metre, 1, 0.7);
        let below = r.range(2.0, 8.0);
        for bar in song.bars_of(Role::Colour) {
            let anchor = song
                .chord(bar.start)
                .nearest(f64::from(part.low) + below + (bar.index % 3) as f64);
            let late = if bar.index % 2 == 1 { 0.5 } else { 0.0 };
            motif.sing(&mut line, bar.start + late, anchor, song.harmony.scale, 0.0);
        }
        part.playing(line.finish()).room(0.3).louder(-3.0)
    }
}
