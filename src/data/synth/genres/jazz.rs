//! Swing: a ride that says ding, ding-a-ding, a bass that walks, chords with ninths and thirteenths that come early or
//! late, and a soloist who runs through the changes.

use super::super::instruments::drums::*;
use super::super::instruments::palette::*;
use super::super::melody::{Motif, run, walk};
use super::super::mix::Part;
use super::super::score::{Feel, Line, Role, Song, rhythm};
use super::super::theory::{DORIAN, Harmony, MAJOR};
use super::Style;
use crate::random::Random;

pub(super) struct Jazz;

impl Style for Jazz {
    fn feel(&self, r: &mut Random) -> Feel {
        let tempo = if r.chance(0.25) {
            r.range(66.0, 95.0)
        } else {
            r.range(100.0, 230.0)
        };
        // The faster, the straighter; a bossa is straight.
        let swing = if r.chance(0.08) {
            0.5
        } else {
            0.68 - 0.0005 * (tempo - 60.0)
        };
        let metre = if r.chance(0.1) { 3 } else { 4 };
        Feel {
            metre,
            swing,
            rubato: 0.01,
            looseness: r.range(0.006, 0.02),
            ..Feel::straight(tempo)
        }
    }

    fn harmony(&self, r: &mut Random) -> Harmony {
        // Keys of the horns.
        let tonic = *r.choose(&[5, 10, 3, 8, 0, 7]);
        let changes = *r.choose(&[
            "ii9 | V13 | Imaj9 | Imaj9",
            "Imaj7 VI7 | ii7 V7 | iii7 VI7 | ii7 V7",
            "ii7 | V7 | Imaj7 | IVmaj7 | viiø7 | IIIalt | vi9 | vi9",
            "I7 | IV9 | I7 | v7 I7 | IV9 | #ivo7 | I7 | iii7 VIalt | ii9 | V13 | Imaj7 VI7 | ii7 V7",
            "i9 | i9 | i9 | i9 | bii9 | bii9 | i9 | i9",
            "iiø7 | Valt | i9 | i6 | iiø7 | Valt | i9 | i6",
        ]);
        Harmony::new(
            tonic,
            if changes.starts_with("i9") {
                DORIAN
            } else {
                MAJOR
            },
            changes,
        )
    }

    fn band(&self, r: &mut Random) -> [f64; 5] {
        // Trios without drums, solo pianos.
        let drums = if r.chance(0.1) { 0.0 } else { 0.9 };
        [drums, 0.92, 0.85, 0.92, 0.25]
    }

    fn drums(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(5.0, acoustic_kit), (4.0, brush_kit)]);
        let mut line = Line::new(song, r);
        let bossa = song.feel.swing < 0.55 && r.chance(0.8);
        let brushes = !bossa && r.chance(0.3);
        for bar in song.bars_of(Role::Drums) {
            if bossa {
                line.beat(bar, HAT, "xoxoxoxo");
                let clave = *line.r.choose(&["x..x..x.", "..x..x..", "x..x...x"]);
                line.beat(bar, RIM, clave);
                line.beat(bar, KICK, "x..xx..x");
                continue;
            }
            if brushes {
                line.beat(bar, SWEEP, "x...x...");
                line.beat(bar, SNARE, "..ox..ox");
            } else {
                let ride = *line
                    .r
                    .choose(&["x.Xxx.Xx", "x.Xxx.Xx", "x.X.x.Xx", "x.Xxx.X."]);
                line.beat(bar, RIDE, ride);
            }
            line.beat(bar, PEDAL_HAT, "..x...x.");
            line.beat(bar, KICK, "o.o.o.o.");
            // What the left hand has to say.
            for eighth in 0..bar.beats * 2 {
                if line.r.chance(if bar.last { 0.35 } else { 0.14 }) {
                    let drum = *line.r.choose(&[SNARE, SNARE, SNARE, KICK, TOM]);
                    let velocity = line.r.range(0.3, 0.8);
                    line.note(bar.start + eighth as f64 / 2.0, 0.3, drum, velocity);
                }
            }
            if bar.last && line.r.chance(0.3) {
                line.note(bar.start + bar.beats as f64, 1.0, CRASH, 0.6);
            }
        }
        part.playing(line.finish()).louder(0.5)
    }

    fn bass(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(r, &[(7.0, upright_bass), (2.0, electric_bass)]);
        let mut line = Line::new(song, r);
        let two = r.chance(0.25) || song.feel.swing < 0.55;
        for bar in song.bars_of(Role::Bass) {
            if two && !bar.chorus {
                for (at, length, velocity) in rhythm("x__ox__o", bar.beats) {
                    let chord = song.chord(bar.start + at);
                    let fifth = if at >= 2.0 { 7.0 } else { 0.0 };
                    line.note(
                        bar.start + at,
                        length,
                        chord.root_above(part.low) + fifth,
                        velocity,
                    );
                }
            } else {
                walk(&mut line, bar, part.low);
            }
        }
        part.playing(line.finish())
    }

    fn chords(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (5.0, piano),
                (2.0, clean_guitar),
                (1.5, electric_piano),
                (1.0, organ),
                (1.0, vibraphone),
                (1.0, acoustic_guitar),
            ],
        );
        let mut line = Line::new(song, r);
        let freddie = r.chance(0.2);
        for bar in song.bars_of(Role::Chords) {
            let figure = if freddie {
                "x.x.x.x."
            } else {
                *line.r.choose(&[
                    "x..x....", "...x...x", "..x....x", "x.....x.", ".x...x..", "...x..__",
                    "x_____..", "........", "X__x____",
                ])
            };
            for (at, length, velocity) in rhythm(figure, bar.beats) {
                // An off-beat chord already belongs to what follows.
                let ahead = if at.fract() > 0.0 { 0.5 } else { 0.0 };
                let tones = song.chord(bar.start + at + ahead).voicing(part.low + 2);
                // The bass has the root.
                line.strum(
                    bar.start + at,
                    length * 0.8,
                    &tones[tones.len().min(4) - 3..],
                    velocity * 0.85,
                    0.004,
                );
            }
        }
        part.playing(line.finish()).louder(-3.0)
    }

    fn lead(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (5.0, saxophone),
                (3.0, brass),
                (3.0, piano),
                (1.5, clean_guitar),
                (1.5, vibraphone),
                (1.0, clarinet),
                (1.0, voice),
                (1.0, flute),
            ],
        );
        let mut line = Line::new(song, r);
        // Slow songs have room for sixteenths.
        let grid = if song.feel.tempo < 100.0 && r.chance(0.6) {
            0.25
        } else {
            0.5
        };
        let ballad = r.chance(0.25);
        let mut pitch = f64::from(part.low) + 12.0;
        for bar in song.bars_of(Role::Lead) {
            let end = bar.start + bar.beats as f64;
            if ballad || line.r.chance(0.3) {
                let motif = Motif::draw(&mut line.r, bar.beats, 2, 0.35);
                pitch = motif.sing(&mut line, bar.start, pitch, song.harmony.scale, 1.0);
                pitch = pitch.clamp(f64::from(part.low) + 4.0, f64::from(part.low) + 20.0);
            } else if line.r.chance(0.8) {
                // A phrase begins and ends where breath allows.
                let from = bar.start + 0.5 * line.r.below(3) as f64;
                let to = end - 0.5 * line.r.below(4) as f64;
                run(
                    &mut line,
                    (from, to),
                    grid,
                    song.harmony.scale,
                    (part.low, 0.3),
                    &mut pitch,
                );
            }
        }
        part.playing(line.finish()).louder(1.0)
    }

    fn colour(&self, song: &Song, r: &mut Random) -> Part {
        let part = pick(
            r,
            &[
                (4.0, brass),
                (2.0, saxophone),
                (2.0, vibraphone),
                (1.0, strings),
                (1.0, organ),
                (1.0, clarinet),
            ],
        );
        let mut line = Line::new(song, r);
        let riff = Motif::draw(r, song.feel.metre, 2, 0.4);
        for bar in song.bars_of(Role::Colour) {
            // The section behind the soloist: a riff in thirds, or one chord, short.
            let anchor = song.chord(bar.start).nearest(f64::from(part.low) + 8.0);
            if bar.index % 2 == 0 {
                riff.sing(&mut line, bar.start, anchor, song.harmony.scale, 0.0);
                riff.sing(&mut line, bar.start, anchor + 4.0, song.harmony.scale, 0.0);
            } else {
                let tones = song.chord(bar.start + 3.5).voicing(part.low + 4);
                line.strum(bar.start + bar.beats as f64 - 0.5, 0.5, &tones, 0.8, 0.0);
            }
        }
        part.playing(line.finish()).louder(-4.0)
    }
}
