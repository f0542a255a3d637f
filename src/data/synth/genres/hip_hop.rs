//! A loop taken from an old record, two bars long; drums cut to swing, a kick that rings; someone who talks in rhythm,
//! and holes where it all stops.

use super::super::effects::{Biquad, Insert};
use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::Motif;
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{Harmony, MINOR_PENTATONIC, PHRYGIAN};
use super::Style;
use crate::random::Random;

pub(super) struct HipHop;

impl Style for HipHop {
    fn feel(&self, r: &mut Random) -> Feel {
        // Counted in half time, the fast ones feel slow.
        let tempo = if r.chance(0.15) {
            r.range(120.0, 150.0)
        } else {
            r.range(76.0, 110.0)
        };
        Feel {
            shuffle: r.range(0.5, 0.64),
            looseness: r.range(0.001, 0.012),
            ..Feel::straight(tempo)
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        let tonic = r.below(12) as i32;
        let changes = *r.choose(&[
            "i7 | i7",
            "i7 | iv7",
            "i9 | bVImaj7",
            "i | bII",
            "i7 bVII | bVI V7",
            "ii9 | V13",
            "Imaj9 | vi9",
            "i | i",
        ]);
        Harmony::new(
            tonic,
            if r.chance(0.8) {
                MINOR_PENTATONIC
            } else {
                PHRYGIAN
            },
            changes,
        )
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        [
            if r.chance(0.06) { 0.4 } else { 0.9 },
            0.88,
            0.85,
            0.94,
            0.2,
        ]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let mut part = pick(r, &[(5.0, drum_machine), (4.0, acoustic_kit)]);
        if r.chance(0.4) {
            // Drums from a sampler.
            part = part.insert(Insert::Crush(10, 1 + r.below(2)));
        }
        let mut line = Line::new(song, r);
        let kick = *r.choose(&[
            "X.....x...X.....",
            "X..x......Xx....",
            "X......x..X..x..",
            "X.X.......x..X..",
            "X..........x.X..",
            "Xx....x...Xx...x",
        ]);
        let hats = *r.choose(&[
            "x.x.x.x.x.x.x.x.",
            "xoxoxoxoxoxoxoxo",
            "x.xox.xxx.xox.x.",
            "x...x...x...x...",
            "xx.xxx.xxx.xxxxx",
        ]);
        // In half time the snare falls on three.
        let snare = if song.feel.tempo > 118.0 {
            "........X......."
        } else {
            *r.choose(&["....X.......X...", "....X..o....X...", "....X.......X..o"])
        };
        let back = *r.choose(&[SNARE, SNARE, CLAP, RIM]);
        let rolls = r.chance(0.35);
        for bar in song.bars_of(Role::Drums) {
            // The bar before a new phrase stops short.
            let stop = bar.last && line.r.chance(0.5);
            let keep = if stop { 2 } else { bar.beats };
            let mut short = bar.clone();
            short.beats = keep.min(bar.beats);
            line.beat(&short, KICK, kick);
            line.beat(&short, HAT, hats);
            line.beat(&short, back, snare);
            if rolls && line.r.chance(0.5) {
                let at = bar.start + (keep - 1) as f64;
                let n = *line.r.choose(&[3, 4, 6]);
                for i in 0..n {
                    line.note(
                        at + 0.5 + 0.5 * f64::from(i) / f64::from(n),
                        0.1,
                        HAT,
                        0.5 + 0.06 * f64::from(i),
                    );
                }
            }
            if bar.index % 4 == 0 && bar.chorus {
                line.note(bar.start, 1.0, OPEN_HAT, 0.7);
            }
        }
        part.playing(line.finish()).louder(3.0)
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (4.0, sub_bass),
                (2.0, electric_bass),
                (1.5, upright_bass),
                (1.5, synth_bass),
            ],
        );
        let mut line = Line::new(song, r);
        // Two bars, then the same two again.
        let figures = [0, 1].map(|_| {
            *r.choose(&[
                "X__...x_..X_....",
                "X_.x_.....X_x...",
                "X_______x.......",
                "X..x..x...X_..x.",
                "X_....X_.x__....",
            ])
        });
        let steps = [0, 1, 2, 3].map(|_| *r.choose(&[0, 0, 0, 7, 10, 12, 3]));
        let slides = r.chance(0.3);
        for bar in song.bars_of(Role::Bass) {
            for (i, (at, length, velocity)) in rhythm(figures[bar.index % 2], bar.beats)
                .into_iter()
                .enumerate()
            {
                let root = song.chord(bar.start + at).root_above(part.low);
                let pitch = root + f64::from(if i == 0 { 0 } else { steps[i % 4] });
                line.slide(
                    bar.start + at,
                    length,
                    pitch,
                    velocity,
                    if slides && i == 2 { 7.0 } else { 0.0 },
                );
            }
        }
        part.playing(line.finish()).louder(2.5)
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let mut part = pick(
            r,
            &[
                (3.0, electric_piano),
                (3.0, piano),
                (2.0, strings),
                (1.5, clean_guitar),
                (1.0, vibraphone),
                (1.0, brass),
                (1.0, pad),
                (1.0, choir),
            ],
        );
        if r.chance(0.75) {
            // The record that it was taken from.
            part = part.insert(Insert::Crush(8 + r.below(4) as u32, 1 + r.below(3)));
            part = part.insert(Insert::Filter(Biquad::low_pass(
                r.range(900.0, 4_000.0),
                1.2,
            )));
        }
        let mut line = Line::new(song, r);
        // The loop: the same touch each time round, to the note.
        let figures = [0, 1].map(|_| {
            *r.choose(&[
                "X___....x__.....",
                "X_______________",
                "..X_....X_....x.",
                "x.x.x.x.x.x.x.x.",
                "X_..........x_x_",
                "X__x__X_........",
            ])
        });
        let broken = r.chance(0.4);
        for bar in song.bars_of(Role::Chords) {
            for (i, (at, length, velocity)) in rhythm(figures[bar.index % 2], bar.beats)
                .into_iter()
                .enumerate()
            {
                let tones = song.chord(bar.start + at).voicing(part.low + 3);
                if broken {
                    line.note(
                        bar.start + at,
                        length,
                        tones[(i + bar.index % 2) % tones.len()],
                        velocity,
                    );
                    line.note(
                        bar.start + at + 0.25,
                        length,
                        tones[(i + 2) % tones.len()],
                        velocity * 0.8,
                    );
                } else {
                    line.strum(bar.start + at, length, &tones, velocity, 0.01);
                }
            }
        }
        part.playing(line.finish()).louder(-3.0)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(9.0, speech), (1.0, voice), (0.5, synth_lead)]);
        let mut line = Line::new(song, r);
        let low = f64::from(part.low) + r.range(2.0, 8.0);
        let flow = r.range(0.55, 0.85);
        let triplets = r.chance(0.25);
        for bar in song.bars_of(Role::Lead) {
            // Syllables; speech falls through the line and lands hard on the rhyme.
            let grid = if triplets && bar.index % 2 == 1 { 3 } else { 4 };
            let places = bar.beats * grid;
            for place in 0..places {
                let at = place as f64 / grid as f64;
                let rhyme = place + grid == places;
                if !rhyme
                    && !line
                        .r
                        .chance(if place + grid > places { 0.15 } else { flow })
                {
                    continue;
                }
                let fall = 3.0 * (1.0 - at / bar.beats as f64);
                let pitch = low + fall + 1.5 * line.r.normal().clamp(-2.0, 2.0);
                let velocity = if rhyme || place % grid == 0 {
                    0.9
                } else {
                    0.65
                };
                let bend = line.r.range(-1.0, 3.0);
                line.slide(bar.start + at, 0.8 / grid as f64, pitch, velocity, bend);
            }
        }
        part.playing(line.finish()).louder(3.0)
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (2.0, brass),
                (2.0, strings),
                (2.0, synth_lead),
                (2.0, speech),
                (1.0, flute),
                (1.0, choir),
            ],
        );
        let mut line = Line::new(song, r);
        let hook = Motif::draw(r, song.feel.metre, 2, 0.4);
        let scratch = r.chance(0.4);
        for bar in song.bars_of(Role::Colour) {
            if scratch {
                // A record moved under the needle: one sound, up and down.
                for (at, length, velocity) in rhythm("..x.x.xx........", bar.beats) {
                    let bend = if line.r.chance(0.5) { 12.0 } else { -12.0 };
                    line.slide(
                        bar.start + at,
                        length * 0.8,
                        f64::from(part.low) + 9.0,
                        velocity,
                        bend,
                    );
                }
            } else {
                let anchor = song
                    .harmony
                    .step(song.harmony.scale, f64::from(part.low) + 10.0, 0);
                hook.sing(&mut line, bar.start, anchor, song.harmony.scale, 0.0);
            }
        }
        part.playing(line.finish()).louder(-4.0)
    }
}
