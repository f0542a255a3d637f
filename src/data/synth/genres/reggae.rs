//! One drop: nothing on one, kick and rim on three; guitar and piano between the beats, an organ that bubbles, a bass
//! that sings low and leaves holes, and a tape echo on what is left.

use super::super::effects::Insert;
use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::Motif;
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{DORIAN, Harmony, MAJOR, MINOR_PENTATONIC};
use super::Style;
use crate::random::Random;

pub(super) struct Reggae;

impl Style for Reggae {
    fn feel(&self, r: &mut Random) -> Feel {
        // Ska and rocksteady were faster.
        let tempo = if r.chance(0.18) {
            r.range(100.0, 140.0)
        } else {
            r.range(64.0, 98.0)
        };
        Feel {
            shuffle: r.range(0.5, 0.66),
            looseness: r.range(0.004, 0.015),
            ..Feel::straight(tempo)
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        let tonic = r.below(12) as i32;
        let changes = *r.choose(&[
            "i | i | iv | iv",
            "I | IV | I | IV",
            "I | V | vi | IV",
            "i | bVII | i | bVII",
            "I | ii | I | ii",
            "i | i | bVII | iv",
            "I IV | I V | I IV | V",
        ]);
        Harmony::new(
            tonic,
            r.choose::<&[i32]>(&[MAJOR, DORIAN, MINOR_PENTATONIC]),
            changes,
        )
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        // In a dub all but the bass comes and goes.
        if r.chance(0.15) {
            [0.8, 0.92, 0.7, 0.4, 0.5]
        } else {
            [0.92, 0.92, 0.97, 0.75, 0.65]
        }
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let mut part = pick(r, &[(6.0, acoustic_kit), (2.0, drum_machine)]);
        if r.chance(0.35) {
            part = part.insert(tape(song, r, 0.15, 0.35));
        }
        let mut line = Line::new(song, r);
        let kick = *r.choose(&[
            "....X...", "....X...", "....X...", "....X...", "X...X...", "X..xX...",
        ]);
        let side = *r.choose(&[RIM, RIM, SNARE]);
        let hats = *r.choose(&[
            "x.x.x.x.x.x.x.x.",
            "xoxoxoxoxoxoxoxo",
            "..x...x...x...x.",
            "x..xx..xx..xx..x",
        ]);
        for bar in song.bars_of(Role::Drums) {
            line.beat(bar, KICK, kick);
            line.beat(bar, side, "....X...");
            line.beat(bar, HAT, hats);
            if line.r.chance(0.25) {
                line.beat(bar, RIM, "......o..o......");
            }
            if bar.last && line.r.chance(0.6) {
                // The timbales call the phrase in.
                let call =
                    *line
                        .r
                        .choose(&["............xxXx", "..........x.x.X.", "............X..X"]);
                for (at, length, velocity) in rhythm(call, bar.beats) {
                    let drum = *line.r.choose(&[HIGH_TOM, SNARE, CONGA]);
                    line.note(bar.start + at, length, drum, velocity);
                }
            }
        }
        part.playing(line.finish())
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (6.0, electric_bass),
                (1.5, upright_bass),
                (1.5, sub_bass),
                (1.0, synth_bass),
            ],
        );
        let mut line = Line::new(song, r);
        // Two bars that come again; the first beat is often left to the listener.
        let figures = [0, 1].map(|_| {
            *r.choose(&[
                "x_.xx_.x_.x_....",
                "..x_x_..x_x_x...",
                "X_x_..x_x_......",
                "..x.x.x_..x.x.x_",
                "X___..x.x_x_....",
                "X_..x_..x_x_x_x_",
            ])
        });
        let steps: Vec<usize> = (0..6).map(|_| r.below(5)).collect();
        for bar in song.bars_of(Role::Bass) {
            for (i, (at, length, velocity)) in rhythm(figures[bar.index % 2], bar.beats)
                .into_iter()
                .enumerate()
            {
                let stack = song.chord(bar.start + at).stacked(part.low);
                let melody = [stack[0], stack[0], stack[2], stack[1], stack[0] + 12.0];
                let pitch = if i == 0 {
                    stack[0]
                } else {
                    melody[steps[i % 6]]
                };
                line.note(bar.start + at, length * 0.85, pitch, velocity);
            }
        }
        part.playing(line.finish()).louder(3.0)
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let mut part = pick(
            r,
            &[
                (5.0, clean_guitar),
                (2.0, piano),
                (2.0, organ),
                (1.0, electric_piano),
                (1.0, acoustic_guitar),
                (0.7, brass),
            ],
        );
        if r.chance(0.45) {
            part = part.insert(tape(song, r, 0.3, 0.6));
        }
        let mut line = Line::new(song, r);
        // Counted slowly, the skank falls on two and four, counted fast, on every "and".
        let figure = *r.choose(&[
            "..X...X...X...X.",
            "..X...X...X...X.",
            "..Xo..Xo..Xo..Xo",
            "....X.......X...",
            "..X...Xx..X...X.",
        ]);
        for bar in song.bars_of(Role::Chords) {
            for (at, _, velocity) in rhythm(figure, bar.beats) {
                let tones = song.chord(bar.start + at).voicing(part.low + 3);
                line.strum(bar.start + at, 0.14, &tones, velocity, 0.004);
            }
        }
        part.playing(line.finish()).louder(1.5)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let mut part = pick(
            r,
            &[
                (7.0, voice),
                (1.5, harmonica),
                (1.5, brass),
                (1.0, saxophone),
                (1.0, clean_guitar),
                (0.7, speech),
            ],
        );
        if r.chance(0.35) {
            part = part.insert(tape(song, r, 0.2, 0.5));
        }
        let mut line = Line::new(song, r);
        let density = r.range(0.3, 0.55);
        let motif = Motif::draw(r, song.feel.metre, 4, density * 0.7);
        let answer = motif.varied(r);
        for bar in song.bars_of(Role::Lead) {
            if bar.index % 4 == 3 {
                continue;
            }
            let anchor = song.chord(bar.start).nearest(f64::from(part.low) + 8.0);
            let sung = if bar.index % 2 == 0 { &motif } else { &answer };
            sung.sing(&mut line, bar.start + 0.5, anchor, song.harmony.scale, 1.0);
        }
        part.playing(line.finish())
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let bubble = r.chance(0.65);
        let part = if bubble {
            pick(
                r,
                &[(6.0, organ), (1.0, electric_piano), (1.0, clean_guitar)],
            )
        } else {
            pick(r, &[(3.0, brass), (2.0, harmonica), (1.0, flute)]).insert(tape(song, r, 0.3, 0.6))
        };
        let mut line = Line::new(song, r);
        let horns = Motif::draw(r, 2, 2, 0.5);
        for bar in song.bars_of(Role::Colour) {
            if bubble {
                // Left hand before and after, right hand on the skank.
                for (at, length, velocity) in rhythm(".xXx.xXx.xXx.xXx", bar.beats) {
                    let low = if velocity > 0.9 { 60 } else { 50 };
                    line.strum(
                        bar.start + at,
                        length * 0.6,
                        &song.chord(bar.start + at).voicing(low),
                        velocity,
                        0.0,
                    );
                }
            } else if bar.index % 2 == 1 {
                let anchor = song.chord(bar.start).nearest(f64::from(part.low) + 8.0);
                horns.sing(&mut line, bar.start, anchor, song.harmony.scale, 0.0);
                horns.sing(&mut line, bar.start, anchor - 4.0, song.harmony.scale, 0.0);
            }
        }
        part.playing(line.finish()).louder(-2.5)
    }
}

/// An echo in time with the song: a dotted eighth, a quarter or two thirds of it.
fn tape(song: &Song, r: &mut Random, low: f64, high: f64) -> Insert {
    let beat = 60.0 / song.feel.tempo;
    let delay = beat * *r.choose(&[0.75, 1.0, 0.667, 0.5]);
    Insert::Echo(
        delay.min(1.0),
        r.range(0.3, 0.75),
        r.range(low, high),
        r.range(1_200.0, 4_000.0),
    )
}
