//! The score: how time runs, which bars there are and who plays in them, and the notes that players write.

use super::theory::{Chord, Harmony};
use crate::random::Random;

/// Who a player is in the band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Drums,
    Bass,
    Chords,
    Lead,
    Colour,
}

impl Role {
    pub(crate) const ALL: [Self; 5] = [
        Self::Drums,
        Self::Bass,
        Self::Chords,
        Self::Lead,
        Self::Colour,
    ];
}

/// How time runs.
#[derive(Clone, Debug)]
pub(crate) struct Feel {
    /// Beats a minute.
    pub(crate) tempo: f64,
    /// Beats a bar: 3 or 4.
    pub(crate) metre: usize,
    /// Where the off-beat eighth falls within its beat: 0.5 is straight, 2/3 a triplet.
    pub(crate) swing: f64,
    /// Where the off-beat sixteenth falls within its eighth.
    pub(crate) shuffle: f64,
    /// How far the tempo breathes, as a fraction of it.
    pub(crate) rubato: f64,
    /// Standard deviation of a player's timing, in seconds.
    pub(crate) looseness: f64,
}

impl Feel {
    /// Four straight beats a bar, in time.
    pub(crate) fn straight(tempo: f64) -> Self {
        Self {
            tempo,
            metre: 4,
            swing: 0.5,
            shuffle: 0.5,
            rubato: 0.004,
            looseness: 0.005,
        }
    }

    /// The beat at which a written beat is played: eighths and sixteenths swing.
    fn swung(&self, beat: f64) -> f64 {
        let bend = |x: f64, at: f64| {
            if x < 0.5 {
                x * 2.0 * at
            } else {
                at + (x - 0.5) * 2.0 * (1.0 - at)
            }
        };
        let whole = beat.floor();
        let halves = (beat - whole) * 2.0;
        let half = halves.floor();
        whole + bend((half + bend(halves - half, self.shuffle)) / 2.0, self.swing)
    }
}

/// One bar and who plays in it.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// Counted from the bar in which the song's changes begin.
    pub(crate) index: usize,
    /// Its first beat.
    pub(crate) start: f64,
    pub(crate) beats: usize,
    /// Chorus, solo or climax rather than verse.
    pub(crate) chorus: bool,
    /// The last bar of a phrase: room for a fill, a cadence, a breath.
    pub(crate) last: bool,
    playing: [bool; 5],
}

/// What every player of the band has before him.
#[derive(Clone, Debug)]
pub(crate) struct Song {
    pub(crate) feel: Feel,
    pub(crate) harmony: Harmony,
    pub(crate) bars: Vec<Bar>,
    /// Seconds at which each beat falls; the excerpt begins at 0, the first beats before it.
    clock: Vec<f64>,
}

impl Song {
    /// Lays out enough bars for `seconds`, starting anywhere in the song, as an excerpt does. `presence` is the
    /// chance of each role (in the order of [`Role::ALL`]) to play in a phrase.
    pub(crate) fn new(
        feel: Feel,
        harmony: Harmony,
        presence: [f64; 5],
        seconds: f64,
        r: &mut Random,
    ) -> Self {
        let mut clock = Vec::new();
        let first = r.below(16);
        let mut now = -r.uniform_f64() * 60.0 / feel.tempo * feel.metre as f64;
        let (rate, phase) = (r.range(0.15, 0.6), r.range(0.0, std::f64::consts::TAU));
        let mut drift = 0.0;
        while now < seconds || clock.len() % feel.metre != 0 {
            clock.push(now);
            drift = 0.9 * drift + 0.3 * r.normal();
            let breath = (rate * clock.len() as f64 + phase).sin() + drift;
            now += 60.0 / (feel.tempo * (1.0 + feel.rubato * breath));
        }
        clock.push(now);
        let phrase = *r.choose(&[2, 4, 4, 4, 8]);
        let mut playing = [true; 5];
        let mut chorus = r.chance(0.5);
        let bars = (0..(clock.len() - 1) / feel.metre)
            .map(|i| {
                let index = first + i;
                if i == 0 || index.is_multiple_of(phrase) {
                    chorus ^= r.chance(0.6);
                    playing = draw_players(presence, chorus, r);
                }
                Bar {
                    index,
                    start: (i * feel.metre) as f64,
                    beats: feel.metre,
                    chorus,
                    last: (index + 1).is_multiple_of(phrase),
                    playing,
                }
            })
            .collect();
        Self {
            feel,
            harmony,
            bars,
            clock,
        }
    }

    /// Seconds at which a written beat is played.
    pub(crate) fn seconds(&self, beat: f64) -> f64 {
        let swung = self
            .feel
            .swung(beat)
            .clamp(0.0, (self.clock.len() - 1) as f64);
        let whole = (swung as usize).min(self.clock.len() - 2);
        let (from, to) = (self.clock[whole], self.clock[whole + 1]);
        from + (to - from) * (swung - whole as f64)
    }

    /// The chord that sounds at a beat.
    pub(crate) fn chord(&self, beat: f64) -> &Chord {
        let metre = self.feel.metre as f64;
        let bar = (beat / metre).floor().max(0.0);
        let first = self.bars.first().map_or(0, |bar| bar.index);
        let chords = &self.harmony.changes[(first + bar as usize) % self.harmony.changes.len()];
        let part = ((beat / metre - bar) * chords.len() as f64) as usize;
        &chords[part.min(chords.len() - 1)]
    }

    /// The bars in which `role` plays.
    pub(crate) fn bars_of(&self, role: Role) -> impl Iterator<Item = &Bar> {
        self.bars
            .iter()
            .filter(move |bar| bar.playing[role as usize])
    }
}

/// At least two roles play, of which one has a pitch.
fn draw_players(presence: [f64; 5], chorus: bool, r: &mut Random) -> [bool; 5] {
    let lift = if chorus { 0.1 } else { 0.0 };
    loop {
        let playing = presence.map(|p| r.chance(if p > 0.0 { p + lift } else { 0.0 }));
        let pitched = playing[1..].iter().filter(|&&plays| plays).count();
        if pitched >= 1 && pitched + usize::from(playing[0]) >= 2 {
            return playing;
        }
    }
}

/// One note: what an instrument is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Note {
    /// Seconds from the start of the excerpt.
    pub(crate) at: f64,
    /// Seconds until it is let go.
    pub(crate) length: f64,
    /// MIDI pitch; for drums the key of the General MIDI percussion map.
    pub(crate) pitch: f64,
    /// 0 to 1.
    pub(crate) velocity: f64,
    /// Semitones by which it starts off its pitch, to slide there.
    pub(crate) bend: f64,
}

/// A written onset: beat within the bar, length in beats, velocity.
pub(crate) type Onset = (f64, f64, f64);

/// Reads a rhythm that stands for four beats: `X` accent, `x` note, `o` soft note, `_` held on, `.` rest; other
/// signs are for the eye alone. A bar of three beats takes the first three quarters of it.
pub(crate) fn rhythm(text: &str, beats: usize) -> Vec<Onset> {
    let signs: Vec<char> = text.chars().filter(|c| "Xxo_.".contains(*c)).collect();
    let step = 4.0 / signs.len() as f64;
    let mut onsets: Vec<Onset> = Vec::new();
    for (i, sign) in signs.iter().enumerate() {
        let at = i as f64 * step;
        if at >= beats as f64 - 1e-9 {
            break;
        }
        match sign {
            'X' => onsets.push((at, step, 1.0)),
            'x' => onsets.push((at, step, 0.75)),
            'o' => onsets.push((at, step, 0.4)),
            '_' => {
                if let Some(last) = onsets.last_mut() {
                    last.1 += step;
                }
            }
            _ => {}
        }
    }
    onsets
}

/// What one player writes: notes with his own timing and touch.
pub(crate) struct Line<'a> {
    pub(crate) song: &'a Song,
    pub(crate) r: Random,
    notes: Vec<Note>,
    /// Seconds behind the beat (ahead where negative).
    lag: f64,
}

impl<'a> Line<'a> {
    pub(crate) fn new(song: &'a Song, r: &mut Random) -> Self {
        let lag = 1.2 * song.feel.looseness * r.normal();
        Self {
            song,
            r: r.split(),
            notes: Vec::new(),
            lag,
        }
    }

    /// A note at a beat for a number of beats.
    pub(crate) fn note(&mut self, beat: f64, beats: f64, pitch: f64, velocity: f64) {
        self.slide(beat, beats, pitch, velocity, 0.0);
    }

    /// A note that starts `bend` semitones off its pitch and slides there.
    pub(crate) fn slide(&mut self, beat: f64, beats: f64, pitch: f64, velocity: f64, bend: f64) {
        let written = self.song.seconds(beat);
        let at = written + self.lag + self.song.feel.looseness * self.r.normal();
        // What begins before the excerpt is not heard.
        if at >= 0.0 {
            let length = (self.song.seconds(beat + beats) - written).max(0.02);
            let velocity = (velocity * (1.0 + 0.12 * self.r.normal())).clamp(0.05, 1.0);
            self.notes.push(Note {
                at,
                length,
                pitch,
                velocity,
                bend,
            });
        }
    }

    /// Several notes struck `spread` seconds apart, from the first to the last.
    pub(crate) fn strum(
        &mut self,
        beat: f64,
        beats: f64,
        pitches: &[f64],
        velocity: f64,
        spread: f64,
    ) {
        for (i, &pitch) in pitches.iter().enumerate() {
            let before = self.notes.len();
            self.note(beat, beats, pitch, velocity);
            if let Some(note) = self.notes.get_mut(before) {
                note.at += spread * i as f64;
            }
        }
    }

    /// A rhythm on one drum.
    pub(crate) fn beat(&mut self, bar: &Bar, drum: f64, text: &str) {
        for (at, length, velocity) in rhythm(text, bar.beats) {
            self.note(bar.start + at, length, drum, velocity);
        }
    }

    pub(crate) fn finish(self) -> Vec<Note> {
        self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synth::theory::MAJOR;

    #[test]
    fn rhythms_are_read() {
        assert_eq!(
            rhythm("X_.. x_ o.", 4),
            [(0.0, 1.0, 1.0), (2.0, 1.0, 0.75), (3.0, 0.5, 0.4)]
        );
        assert_eq!(rhythm("xxxx", 3).len(), 3);
        assert_eq!(rhythm("x..x..x..x..", 3).len(), 3);
    }

    #[test]
    fn swing_moves_only_what_is_off_the_beat() {
        let feel = Feel {
            swing: 0.66,
            ..Feel::straight(120.0)
        };
        assert_eq!(feel.swung(3.0), 3.0);
        assert!((feel.swung(3.5) - 3.66).abs() < 1e-12);
        let feel = Feel {
            shuffle: 0.6,
            ..Feel::straight(120.0)
        };
        assert!((feel.swung(0.5) - 0.5).abs() < 1e-12);
        assert!((feel.swung(0.25) - 0.3).abs() < 1e-12);
        assert!((feel.swung(0.75) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_song_covers_its_excerpt_and_time_runs_forward() {
        for seed in 0..20 {
            let mut r = Random::new(&[seed]);
            let feel = Feel {
                rubato: 0.06,
                metre: 3,
                ..Feel::straight(r.range(60.0, 200.0))
            };
            let harmony = Harmony::new(0, MAJOR, "I | IV V | I");
            let song = Song::new(feel, harmony, [0.5, 0.5, 0.5, 0.5, 0.0], 30.0, &mut r);
            let end = song.bars.len() as f64 * 3.0;
            assert!(song.seconds(0.0) <= 0.0 && song.seconds(end) >= 30.0);
            let times: Vec<f64> = (0..song.bars.len() * 12)
                .map(|i| song.seconds(i as f64 / 4.0))
                .collect();
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(
                song.bars
                    .iter()
                    .all(|bar| bar.playing.iter().filter(|&&p| p).count() >= 2)
            );
            assert!(song.bars_of(Role::Colour).next().is_none());
        }
    }
}
