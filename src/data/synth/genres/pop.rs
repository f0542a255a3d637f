//! Verse and chorus over four chords: a hook that comes again, a backbeat, chords that fill the bar, and more of
//! everything when the chorus arrives.

use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::Motif;
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{Harmony, MAJOR, MAJOR_PENTATONIC};
use super::{Style, fill};
use crate::random::Random;

pub(super) struct Pop;

impl Style for Pop {
    fn feel(&self, r: &mut Random) -> Feel {
        let shuffle = if r.chance(0.2) { 0.6 } else { 0.5 };
        Feel {
            shuffle,
            looseness: r.range(0.001, 0.01),
            ..Feel::straight(r.range(74.0, 144.0))
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        let tonic = r.below(12) as i32;
        let changes = *r.choose(&[
            "I | V | vi | IV",
            "vi | IV | I | V",
            "I | vi | IV | V",
            "IV | I | V | vi",
            "I | IV | vi | V",
            "I | iii | IV | iv",
            "I | bVII | IV | I",
            "I V | vi IV | I V | IV",
            "Isus | I | vi | IV V",
        ]);
        Harmony::new(
            tonic,
            if r.chance(0.6) {
                MAJOR
            } else {
                MAJOR_PENTATONIC
            },
            changes,
        )
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        // Ballads at a piano, songs at a camp fire.
        let drums = if r.chance(0.08) { 0.1 } else { 0.88 };
        [drums, 0.88, 0.94, 0.9, 0.6]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[(4.0, acoustic_kit), (4.0, drum_machine), (0.5, brush_kit)],
        );
        let mut line = Line::new(song, r);
        let kick = *r.choose(&[
            "X.......X.......",
            "X.......X.x.....",
            "X..x....X..x....",
            "X.....x...X.....",
            "X..x..x...x.....",
        ]);
        let hats = *r.choose(&["x.x.x.x.x.x.x.x.", "xoxoxoxoxoxoxoxo", "x...x...x...x..."]);
        let back = *r.choose(&[SNARE, SNARE, CLAP, RIM]);
        let lift = *r.choose(&[HAT, OPEN_HAT, RIDE, TAMBOURINE]);
        for bar in song.bars_of(Role::Drums) {
            line.beat(bar, KICK, kick);
            line.beat(
                bar,
                if bar.chorus { SNARE } else { back },
                "....X.......X...",
            );
            line.beat(bar, if bar.chorus { lift } else { HAT }, hats);
            if bar.index % 4 == 0 && bar.chorus {
                line.note(bar.start, 1.0, CRASH, 0.8);
            }
            if bar.last && line.r.chance(0.5) {
                fill(
                    &mut line,
                    bar.start + bar.beats as f64 - 1.0,
                    bar.start + bar.beats as f64,
                    0.25,
                );
            }
        }
        part.playing(line.finish())
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[(4.0, electric_bass), (3.0, synth_bass), (1.0, sub_bass)],
        );
        let mut line = Line::new(song, r);
        let verse = *r.choose(&[
            "X_______X_____x_",
            "X_______________",
            "X__x__X_........",
            "X.....x.X.......",
        ]);
        let chorus = *r.choose(&["x.x.x.x.x.x.x.x.", "X__x__x_X__x__x_", "X___x___X___x___"]);
        for bar in song.bars_of(Role::Bass) {
            for (at, length, velocity) in rhythm(if bar.chorus { chorus } else { verse }, bar.beats)
            {
                let mut pitch = song.chord(bar.start + at).root_above(part.low);
                if bar.last && at >= 3.0 {
                    pitch = song
                        .harmony
                        .step(MAJOR, pitch, *line.r.choose(&[0, 1, 2, 4]));
                }
                line.note(bar.start + at, length * 0.9, pitch, velocity);
            }
        }
        part.playing(line.finish())
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, piano),
                (3.0, acoustic_guitar),
                (2.0, clean_guitar),
                (2.0, pad),
                (1.5, electric_piano),
                (1.5, crunch_guitar),
                (1.0, organ),
            ],
        );
        let mut line = Line::new(song, r);
        let figure = *r.choose(&[
            "x_x_x_x_x_x_x_x_",
            "X_______________",
            "X__ox_xo.oxox_xo",
            "X___x___X___x___",
            "X__x__X_x__x__X_",
        ]);
        let broken = r.chance(0.3);
        for bar in song.bars_of(Role::Chords) {
            let louder = if bar.chorus { 1.0 } else { 0.8 };
            if broken {
                for eighth in 0..bar.beats * 2 {
                    let at = bar.start + eighth as f64 / 2.0;
                    let tones = song.chord(at).voicing(part.low);
                    line.note(
                        at,
                        1.0,
                        tones[[0, 1, 2, 1, 2, 1][eighth % 6] % tones.len()],
                        0.7 * louder,
                    );
                }
            } else {
                for (at, length, velocity) in rhythm(figure, bar.beats) {
                    let tones = song.chord(bar.start + at).voicing(part.low);
                    line.strum(
                        bar.start + at,
                        length * 0.95,
                        &tones,
                        velocity * louder,
                        0.007,
                    );
                }
            }
        }
        part.playing(line.finish()).louder(-0.5)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (8.0, voice),
                (1.0, synth_lead),
                (0.7, clean_guitar),
                (0.7, saxophone),
            ],
        );
        let mut line = Line::new(song, r);
        let verse = Motif::draw(r, song.feel.metre, 2, 0.5);
        let (hook, density) = (Motif::draw(r, song.feel.metre, 2, 0.4), r.range(0.3, 0.6));
        let bridge = Motif::draw(r, song.feel.metre, 4, density * 0.6);
        for bar in song.bars_of(Role::Lead) {
            // A, A, B, A.
            let sung = match (bar.chorus, bar.index % 4) {
                (_, 2) => &bridge,
                (true, _) => &hook,
                (false, _) => &verse,
            };
            let height = if bar.chorus { 10.0 } else { 5.0 };
            let anchor = song
                .harmony
                .step(song.harmony.scale, f64::from(part.low) + height, 0);
            sung.sing(&mut line, bar.start, anchor, song.harmony.scale, 0.5);
        }
        part.playing(line.finish()).louder(2.0)
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (3.0, pad),
                (2.0, synth_lead),
                (2.0, strings),
                (2.0, choir),
                (1.0, vibraphone),
            ],
        );
        let mut line = Line::new(song, r);
        let arpeggio = r.chance(0.4);
        for bar in song.bars_of(Role::Colour) {
            let tones = song.chord(bar.start).voicing(part.low + 12);
            if arpeggio {
                for (i, (at, length, _)) in rhythm("xxxxxxxxxxxxxxxx", bar.beats)
                    .into_iter()
                    .enumerate()
                {
                    line.note(bar.start + at, length, tones[i % tones.len()], 0.6);
                }
            } else {
                line.strum(bar.start, bar.beats as f64, &tones, 0.6, 0.0);
            }
        }
        part.playing(line.finish()).louder(-5.0)
    }
}
