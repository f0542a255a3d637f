//! Twelve bars over a shuffle: a boogie in the bass, seventh chords, and a guitar that bends its notes and waits for
//! an answer.

use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::{Motif, walk};
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{BLUES, Harmony, MINOR_PENTATONIC, MIXOLYDIAN};
use super::{Style, fill};
use crate::random::Random;

pub(super) struct Blues;

impl Style for Blues {
    fn feel(&self, r: &mut Random) -> Feel {
        let swing = if r.chance(0.9) {
            r.range(0.62, 0.68)
        } else {
            r.range(0.5, 0.56)
        };
        Feel {
            swing,
            looseness: r.range(0.006, 0.018),
            rubato: 0.008,
            ..Feel::straight(r.range(68.0, 136.0))
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        // Guitar keys before all others.
        let tonic = *r.choose(&[4, 9, 7, 2, 0, 5, 10]);
        let changes = *r.choose(&[
            "I7 | I7 | I7 | I7 | IV7 | IV7 | I7 | I7 | V7 | IV7 | I7 | V7",
            "I7 | IV7 | I7 | I7 | IV7 | IV7 | I7 | I7 | V7 | IV7 | I7 IV7 | I7 V7",
            "I7 | IV7 | I7 | I7 | IV7 | bVI7 | I7 | VI7 | ii7 | V7 | I7 VI7 | ii7 V7",
            "i7 | i7 | i7 | i7 | iv7 | iv7 | i7 | i7 | bVI7 | V7 | i7 | V7",
            "I7 | V7 | IV7 | IV7 | I7 | V7 | I7 | V7",
        ]);
        Harmony::new(
            tonic,
            if r.chance(0.7) { BLUES } else { MIXOLYDIAN },
            changes,
        )
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        // Now and then one man with a guitar.
        let drums = if r.chance(0.12) { 0.0 } else { 0.9 };
        [drums, 0.9, 0.92, 0.92, 0.35]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[(6.0, acoustic_kit), (2.0, brush_kit), (1.0, drum_machine)],
        );
        let mut line = Line::new(song, r);
        let cymbal = *r.choose(&[HAT, HAT, RIDE]);
        let time = *r.choose(&["x.xox.xo", "xoxoxoxo", "X.X.X.X.", "xoXoxoXo"]);
        let kick = *r.choose(&["x...x...", "x..xx...", "x.x.x.x.", "x..xx..x"]);
        for bar in song.bars_of(Role::Drums) {
            line.beat(bar, cymbal, time);
            line.beat(bar, KICK, kick);
            line.beat(bar, SNARE, "..X...X.");
            if bar.last && line.r.chance(0.5) {
                fill(
                    &mut line,
                    bar.start + bar.beats as f64 - 1.0,
                    bar.start + bar.beats as f64,
                    1.0 / 3.0,
                );
            }
        }
        part.playing(line.finish())
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[(3.0, electric_bass), (3.0, upright_bass), (0.6, synth_bass)],
        );
        let mut line = Line::new(song, r);
        let boogie = r.chance(0.5);
        // Root, third, fifth, sixth, flat seventh, and back.
        let walk_up = *r.choose(&[[0, 4, 7, 9], [0, 7, 9, 10], [0, 0, 7, 7], [0, 12, 10, 7]]);
        for bar in song.bars_of(Role::Bass) {
            if !boogie {
                walk(&mut line, bar, part.low);
                continue;
            }
            for beat in 0..bar.beats {
                let at = bar.start + beat as f64;
                let pitch = song.chord(at).root_above(part.low) + f64::from(walk_up[beat % 4]);
                line.note(at, 0.45, pitch, 0.85);
                line.note(at + 0.5, 0.35, pitch, 0.6);
            }
        }
        part.playing(line.finish())
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, crunch_guitar),
                (2.0, acoustic_guitar),
                (2.0, clean_guitar),
                (2.0, piano),
                (2.0, organ),
            ],
        );
        let mut line = Line::new(song, r);
        let style = r.below(3);
        let stabs = *r.choose(&["..x...x.", "x..x....", "...x...x", "..xx..xx"]);
        for bar in song.bars_of(Role::Chords) {
            let chord = song.chord(bar.start);
            match style {
                // Root and fifth, root and sixth, in eighths.
                0 => {
                    for (at, length, velocity) in rhythm("XxXxXxXx", bar.beats) {
                        let root = song.chord(bar.start + at).root_above(40);
                        let top = if at.fract() == 0.0 && (at as usize) % 2 == 1 {
                            9.0
                        } else {
                            7.0
                        };
                        line.strum(
                            bar.start + at,
                            length * 0.85,
                            &[root, root + top],
                            velocity,
                            0.006,
                        );
                    }
                }
                1 => {
                    for (at, length, velocity) in rhythm(stabs, bar.beats) {
                        line.strum(
                            bar.start + at,
                            length * 0.7,
                            &song.chord(bar.start + at).voicing(part.low),
                            velocity,
                            0.008,
                        );
                    }
                }
                _ => line.strum(
                    bar.start,
                    bar.beats as f64 * 0.95,
                    &chord.voicing(part.low),
                    0.7,
                    0.02,
                ),
            }
        }
        part.playing(line.finish()).louder(-1.0)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (4.0, crunch_guitar),
                (2.0, clean_guitar),
                (2.0, harmonica),
                (3.0, voice),
                (1.0, saxophone),
            ],
        );
        let mut line = Line::new(song, r);
        let density = r.range(0.3, 0.6);
        let mut motif = Motif::draw(r, 4, 2, density);
        let low = f64::from(part.low);
        for bar in song.bars_of(Role::Lead) {
            // A call, then room for the answer.
            match bar.index % 4 {
                0 => {
                    motif = Motif::draw(
                        &mut line.r,
                        bar.beats,
                        if bar.chorus { 3 } else { 2 },
                        density,
                    )
                }
                2 => motif = motif.varied(&mut line.r),
                _ if line.r.chance(0.6) => continue,
                _ => {}
            }
            let anchor = song.chord(bar.start).nearest(low + line.r.range(5.0, 17.0));
            let scale = if line.r.chance(0.7) {
                BLUES
            } else {
                MINOR_PENTATONIC
            };
            let bend = *line.r.choose(&[1.0, 2.0, 2.0, 3.0]);
            motif.sing(&mut line, bar.start, anchor, scale, bend);
        }
        part.playing(line.finish()).louder(2.0)
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, organ),
                (2.0, harmonica),
                (2.0, brass),
                (2.0, piano),
                (1.0, saxophone),
            ],
        );
        let mut line = Line::new(song, r);
        let riff = Motif::draw(r, 2, 2, 0.6);
        for bar in song.bars_of(Role::Colour) {
            // Answers where the lead is silent.
            if bar.index % 2 == 1 && line.r.chance(0.8) {
                let anchor = song.chord(bar.start).nearest(f64::from(part.low) + 9.0);
                let place = bar.start + (bar.beats - 2) as f64;
                riff.sing(&mut line, place, anchor, BLUES, 1.0);
            } else if line.r.chance(0.4) {
                line.strum(
                    bar.start,
                    bar.beats as f64,
                    &song.chord(bar.start).voicing(part.low),
                    0.5,
                    0.01,
                );
            }
        }
        part.playing(line.finish()).louder(-4.0)
    }
}
