//! Four on the floor: open hats between the kicks, a bass that jumps octaves, scratched guitar, strings that answer
//! the singer.

use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::{Motif, run};
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{DORIAN, Harmony, MAJOR_PENTATONIC, MINOR};
use super::{Style, fill};
use crate::random::Random;

pub(super) struct Disco;

impl Style for Disco {
    fn feel(&self, r: &mut Random) -> Feel {
        Feel {
            shuffle: if r.chance(0.25) { 0.56 } else { 0.5 },
            looseness: r.range(0.001, 0.009),
            ..Feel::straight(r.range(96.0, 138.0))
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        let tonic = r.below(12) as i32;
        let changes = *r.choose(&[
            "i7 | IV7 | i7 | IV7",
            "i7 | i7 | iv7 | iv7 | bVII | bVII | bIIImaj7 | V7",
            "i | bVII | bVI | V7",
            "i7 | bIII bVII | iv7 | i7",
            "vi7 | ii7 | V7 | Imaj7",
            "ii9 | V9 | ii9 | V9",
        ]);
        Harmony::new(tonic, if r.chance(0.5) { DORIAN } else { MINOR }, changes)
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        [
            if r.chance(0.08) { 0.4 } else { 0.95 },
            0.92,
            0.85,
            0.75,
            0.75,
        ]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(5.0, acoustic_kit), (3.0, drum_machine)]);
        let mut line = Line::new(song, r);
        let hats = *r.choose(&["..X...X...X...X.", "x.X.x.X.x.X.x.X.", "xoXoxoXoxoXoxoXo"]);
        let open = r.chance(0.75);
        let back = *r.choose(&[SNARE, CLAP, SNARE]);
        let extra = *r.choose(&[TAMBOURINE, SHAKER, CONGA, COWBELL]);
        let figure = *r.choose(&[
            "x.xxx.xxx.xxx.xx",
            "..x.x..x..x.x.x.",
            "x..x..x...x.x...",
            "................",
        ]);
        for bar in song.bars_of(Role::Drums) {
            line.beat(bar, KICK, "X...X...X...X...");
            line.beat(bar, back, "....X.......X...");
            for (at, length, velocity) in rhythm(hats, bar.beats) {
                let off = at.fract() == 0.5;
                line.note(
                    bar.start + at,
                    length,
                    if off && open { OPEN_HAT } else { HAT },
                    velocity,
                );
            }
            if bar.chorus {
                line.beat(bar, extra, figure);
            }
            if bar.last && line.r.chance(0.4) {
                fill(
                    &mut line,
                    bar.start + bar.beats as f64 - 1.0,
                    bar.start + bar.beats as f64,
                    0.25,
                );
            }
        }
        part.playing(line.finish()).louder(2.0)
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(4.0, electric_bass), (3.0, synth_bass)]);
        let mut line = Line::new(song, r);
        // Low root, high root; the funkier ones leave holes.
        let figure = *r.choose(&[
            "x.X.x.X.x.X.x.X.",
            "x.Xx.xX.x.Xx.xX.",
            "x..x..X.x.xX..X.",
            "xxXxxxXxxxXxxxXx",
        ]);
        for bar in song.bars_of(Role::Bass) {
            for (at, length, velocity) in rhythm(figure, bar.beats) {
                let root = song.chord(bar.start + at).root_above(part.low);
                let mut pitch = if velocity > 0.9 { root + 12.0 } else { root };
                if bar.last && at > 2.9 && line.r.chance(0.6) {
                    pitch =
                        song.harmony
                            .step(song.harmony.scale, root, *line.r.choose(&[1, 2, 4, 6]));
                }
                line.note(bar.start + at, length * 0.7, pitch, 0.6 + 0.3 * velocity);
            }
        }
        part.playing(line.finish())
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, wah_guitar),
                (3.0, clean_guitar),
                (2.0, electric_piano),
                (2.0, piano),
                (1.0, pad),
            ],
        );
        let mut line = Line::new(song, r);
        let figure = *r.choose(&[
            "o.XooxXoo.Xoo.Xo",
            "x.x.x.x.x.x.x.x.",
            "..X...Xo..X...Xo",
            "X..x..X...x.X...",
            "xoxXoxxXxoxXoxxX",
        ]);
        for bar in song.bars_of(Role::Chords) {
            for (at, length, velocity) in rhythm(figure, bar.beats) {
                let tones = song.chord(bar.start + at).voicing(part.low + 5);
                // Soft strokes are scratches on damped strings.
                let length = if velocity < 0.5 { 0.05 } else { length * 0.7 };
                line.strum(bar.start + at, length, &tones, velocity, 0.004);
            }
        }
        part.playing(line.finish()).louder(-2.0)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (6.0, voice),
                (1.0, saxophone),
                (1.0, synth_lead),
                (1.0, brass),
                (1.0, flute),
            ],
        );
        let mut line = Line::new(song, r);
        let density = r.range(0.3, 0.55);
        let hook = Motif::draw(r, song.feel.metre, 2, density);
        let verse = Motif::draw(r, song.feel.metre, 4, density * 0.7);
        for bar in song.bars_of(Role::Lead) {
            let sung = if bar.chorus { &hook } else { &verse };
            if bar.index % 4 == 3 && line.r.chance(0.6) {
                continue;
            }
            let anchor = song.chord(bar.start).nearest(f64::from(part.low) + 8.0);
            sung.sing(&mut line, bar.start, anchor, song.harmony.scale, 0.7);
        }
        part.playing(line.finish()).louder(1.0)
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[(6.0, strings), (3.0, brass), (1.0, pad), (1.0, synth_lead)],
        );
        let mut line = Line::new(song, r);
        let stabs = *r.choose(&[
            "X...........x.x.",
            "......X.X.......",
            "X..X..X.........",
            "..............X.",
        ]);
        for bar in song.bars_of(Role::Colour) {
            let high = part.low + 12;
            if bar.last {
                // The run that leads into the next phrase.
                let mut pitch = f64::from(high);
                let end = bar.start + bar.beats as f64;
                run(
                    &mut line,
                    (end - 2.0, end),
                    0.25,
                    MAJOR_PENTATONIC,
                    (high, 0.05),
                    &mut pitch,
                );
            } else if bar.chorus {
                let top = song.chord(bar.start).voicing(high)[1];
                line.note(bar.start, bar.beats as f64, top, 0.7);
                line.note(bar.start, bar.beats as f64, top + 12.0, 0.5);
            } else {
                for (at, length, velocity) in rhythm(stabs, bar.beats) {
                    line.strum(
                        bar.start + at,
                        length,
                        &song.chord(bar.start + at).voicing(high),
                        velocity,
                        0.0,
                    );
                }
            }
        }
        part.playing(line.finish()).louder(-1.5)
    }
}
