//! Palm-muted fifths through a stack of amplifiers, two bass drums, a scream or a scale played as fast as it goes;
//! then the quiet part, clean and in minor, before it all comes back.

use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::{Motif, run};
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{HARMONIC_MINOR, Harmony, MINOR, PHRYGIAN};
use super::{Style, fill};
use crate::random::Random;

pub(super) struct Metal;

/// Of sixteenths: gallop, chug, syncopation, chords that ring, tremolo. `X` is open, the others are muted.
const RIFFS: [&str; 8] = [
    "X.ooX.ooX.ooX.oo",
    "XoooXoooXoooXooo",
    "X.o.o.X.o.o.X.o.",
    "X_______X___X___",
    "XXXXXXXXXXXXXXXX",
    "XooXooXooXooXoXo",
    "X__.o.o.X__.oooo",
    "X_o_X_o_X_o_X_o_",
];

impl Style for Metal {
    fn feel(&self, r: &mut Random) -> Feel {
        let tempo = if r.chance(0.35) {
            r.range(72.0, 110.0)
        } else {
            r.range(100.0, 190.0)
        };
        Feel {
            looseness: r.range(0.001, 0.01),
            ..Feel::straight(tempo)
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        // Low strings open: E, D, C.
        let tonic = *r.choose(&[4, 4, 2, 0, 9, 11]);
        let changes = *r.choose(&[
            "i | i | bVI | bVII",
            "i | bII | i | bV",
            "i | i bII | i | bVII bVI",
            "i | bIII | bVII | iv",
            "i | bVI | iv | V",
            "i | i | i | bII bIII",
            "i bVI | bIII bVII | i bVI | iv V",
        ]);
        Harmony::new(
            tonic,
            r.choose::<&[i32]>(&[MINOR, PHRYGIAN, HARMONIC_MINOR]),
            changes,
        )
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        let clean = r.chance(0.08);
        [if clean { 0.45 } else { 0.92 }, 0.9, 0.96, 0.65, 0.3]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(6.0, acoustic_kit), (1.0, drum_machine)]);
        let mut line = Line::new(song, r);
        let feet = *r.choose(&[
            "xxxxxxxxxxxxxxxx",
            "x.xxx.xxx.xxx.xx",
            "X.......X.......",
            "X.x...x.X.x...x.",
            "x.x.x.x.x.x.x.x.",
        ]);
        let verse = *r.choose(&["....X.......X...", "........X.......", "....X.......X..."]);
        let chorus = *r.choose(&["....X.......X...", "..x...x...x...x.", "........X......."]);
        let cymbal = *r.choose(&[HAT, CRASH, RIDE, OPEN_HAT]);
        let time = *r.choose(&["X...X...X...X...", "X.x.X.x.X.x.X.x."]);
        for bar in song.bars_of(Role::Drums) {
            line.beat(
                bar,
                KICK,
                if bar.chorus || bar.index % 4 > 1 {
                    feet
                } else {
                    "X.....x.X......."
                },
            );
            line.beat(bar, SNARE, if bar.chorus { chorus } else { verse });
            line.beat(bar, if bar.chorus { cymbal } else { HAT }, time);
            if bar.index % 4 == 0 {
                line.note(bar.start, 1.0, CRASH, 0.95);
            }
            if bar.last && line.r.chance(0.6) {
                fill(
                    &mut line,
                    bar.start + bar.beats as f64 - 2.0,
                    bar.start + bar.beats as f64,
                    0.25,
                );
            }
        }
        part.playing(line.finish())
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(6.0, electric_bass), (1.0, synth_bass)]);
        let mut line = Line::new(song, r);
        let figure = *r.choose(&[
            "x.x.x.x.x.x.x.x.",
            "xxxxxxxxxxxxxxxx",
            "x.xxx.xxx.xxx.xx",
            "X_______X_______",
        ]);
        for bar in song.bars_of(Role::Bass) {
            for (at, length, velocity) in rhythm(figure, bar.beats) {
                line.note(
                    bar.start + at,
                    length * 0.9,
                    song.chord(bar.start + at).root_above(part.low - 1),
                    velocity,
                );
            }
        }
        part.playing(line.finish())
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let clean = r.chance(0.08);
        let part = if clean {
            pick(r, &[(2.0, clean_guitar), (1.0, acoustic_guitar)])
        } else {
            pick(r, &[(9.0, heavy_guitar), (2.0, crunch_guitar)])
        };
        let mut line = Line::new(song, r);
        let riffs = [0, 1].map(|_| *r.choose(&RIFFS));
        let accents = [0, 1, 2, 3].map(|_| *r.choose(&[0, 0, 0, 1, 3, 5, 6, 7]));
        for bar in song.bars_of(Role::Chords) {
            if clean {
                for (i, (at, length, velocity)) in rhythm("x.x.x.x.x.x.x.x.", bar.beats)
                    .into_iter()
                    .enumerate()
                {
                    let tones = song.chord(bar.start + at).voicing(48);
                    line.note(
                        bar.start + at,
                        length * 3.0,
                        tones[[0, 1, 2, 1][i % 4] % tones.len()],
                        velocity,
                    );
                }
                continue;
            }
            let riff = riffs[usize::from(bar.chorus)];
            for (i, (at, length, velocity)) in rhythm(riff, bar.beats).into_iter().enumerate() {
                let root = song.chord(bar.start + at).root_above(38);
                if velocity > 0.9 {
                    let shift = if i == 0 { 0 } else { accents[i % 4] };
                    let root = song.harmony.step(song.harmony.scale, root, 0) + f64::from(shift);
                    line.strum(
                        bar.start + at,
                        length * 0.95,
                        &[root, root + 7.0, root + 12.0],
                        0.95,
                        0.002,
                    );
                } else {
                    line.strum(
                        bar.start + at,
                        length * 0.7,
                        &[root, root + 7.0],
                        0.5,
                        0.002,
                    );
                }
            }
        }
        part.playing(line.finish()).louder(3.0)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let sung = r.chance(0.6);
        let part = if sung {
            pick(r, &[(3.0, growl), (3.0, voice)])
        } else {
            pick(r, &[(5.0, heavy_guitar), (1.0, synth_lead)])
        };
        let mut line = Line::new(song, r);
        let low = f64::from(part.low);
        let phrase = Motif::draw(r, song.feel.metre, 2, 0.5);
        let (mut pitch, high) = (low + 16.0, part.low + 8);
        for bar in song.bars_of(Role::Lead) {
            let anchor = song.chord(bar.start).nearest(low + 9.0);
            if sung || bar.index % 4 < 2 {
                phrase.sing(&mut line, bar.start, anchor, song.harmony.scale, 2.0);
            } else {
                let grid = *line.r.choose(&[0.25, 0.25, 1.0 / 3.0]);
                run(
                    &mut line,
                    (bar.start, bar.start + bar.beats as f64),
                    grid,
                    song.harmony.scale,
                    (high, 0.06),
                    &mut pitch,
                );
            }
        }
        part.playing(line.finish())
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (4.0, heavy_guitar),
                (2.0, choir),
                (1.5, strings),
                (1.5, pad),
                (1.0, organ),
            ],
        );
        let mut line = Line::new(song, r);
        for bar in song.bars_of(Role::Colour) {
            // A second voice in long notes over the riff.
            let tones = song.chord(bar.start).voicing(part.low + 5);
            line.strum(bar.start, bar.beats as f64 * 0.97, &tones[..2], 0.8, 0.0);
        }
        part.playing(line.finish()).louder(-3.0)
    }
}
