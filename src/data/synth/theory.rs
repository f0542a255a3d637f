//! Pitches, scales and chords. Pitches are MIDI numbers (60 is middle C, 69 is 440 Hz), bent by fractions.

pub(crate) const MAJOR: &[i32] = &[0, 2, 4, 5, 7, 9, 11];
pub(crate) const MINOR: &[i32] = &[0, 2, 3, 5, 7, 8, 10];
pub(crate) const DORIAN: &[i32] = &[0, 2, 3, 5, 7, 9, 10];
pub(crate) const PHRYGIAN: &[i32] = &[0, 1, 3, 5, 7, 8, 10];
pub(crate) const MIXOLYDIAN: &[i32] = &[0, 2, 4, 5, 7, 9, 10];
pub(crate) const HARMONIC_MINOR: &[i32] = &[0, 2, 3, 5, 7, 8, 11];
pub(crate) const MAJOR_PENTATONIC: &[i32] = &[0, 2, 4, 7, 9];
pub(crate) const MINOR_PENTATONIC: &[i32] = &[0, 3, 5, 7, 10];
pub(crate) const BLUES: &[i32] = &[0, 3, 5, 6, 7, 10];

/// Frequency in Hz of a MIDI pitch.
pub(crate) fn hertz(pitch: f64) -> f64 {
    440.0 * ((pitch - 69.0) / 12.0).exp2()
}

/// A chord: its root as a pitch class (0 is C) and its tones in semitones above the root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chord {
    pub(crate) root: i32,
    pub(crate) tones: &'static [i32],
}

/// What may follow a numeral, with the tones for a capital one and for a small one.
const QUALITIES: &[(&str, &[i32], &[i32])] = &[
    ("", &[0, 4, 7], &[0, 3, 7]),
    ("5", &[0, 7, 12], &[0, 7, 12]),
    ("6", &[0, 4, 7, 9], &[0, 3, 7, 9]),
    ("7", &[0, 4, 7, 10], &[0, 3, 7, 10]),
    ("9", &[0, 4, 7, 10, 14], &[0, 3, 7, 10, 14]),
    ("13", &[0, 4, 10, 14, 21], &[0, 3, 10, 14, 21]),
    ("maj7", &[0, 4, 7, 11], &[0, 3, 7, 11]),
    ("maj9", &[0, 4, 7, 11, 14], &[0, 3, 7, 11, 14]),
    ("sus", &[0, 5, 7], &[0, 5, 7]),
    ("alt", &[0, 4, 10, 13, 20], &[0, 3, 10, 13, 20]),
    ("o7", &[0, 3, 6, 9], &[0, 3, 6, 9]),
    ("ø7", &[0, 3, 6, 10], &[0, 3, 6, 10]),
];

impl Chord {
    /// Reads a Roman numeral over `tonic`: `I`, `ii7`, `bVII`, `V9`, `viø7`. Degrees are those of the major
    /// scale, so a minor key writes `bIII`, `bVI`, `bVII`.
    fn read(tonic: i32, text: &str) -> Option<Self> {
        let (shift, rest) = match text.strip_prefix('b') {
            Some(rest) => (-1, rest),
            None => text.strip_prefix('#').map_or((0, text), |rest| (1, rest)),
        };
        let end = rest.find(|c| !"IViv".contains(c)).unwrap_or(rest.len());
        let (numeral, quality) = rest.split_at(end);
        let degree = ["I", "II", "III", "IV", "V", "VI", "VII"]
            .iter()
            .position(|name| name.eq_ignore_ascii_case(numeral))?;
        let &(_, capital, small) = QUALITIES.iter().find(|(name, ..)| *name == quality)?;
        let is_small = numeral.starts_with(['i', 'v']);
        Some(Self {
            root: (tonic + MAJOR[degree] + shift).rem_euclid(12),
            tones: if is_small { small } else { capital },
        })
    }

    /// The root in the octave from `low` up.
    pub(crate) fn root_above(&self, low: i32) -> f64 {
        f64::from(low + (self.root - low).rem_euclid(12))
    }

    /// Every tone once, within the octave from `low` up, sorted: neighbouring chords move by the shortest way.
    pub(crate) fn voicing(&self, low: i32) -> Vec<f64> {
        let mut pitches: Vec<i32> = self
            .tones
            .iter()
            .map(|tone| low + (self.root + tone - low).rem_euclid(12))
            .collect();
        pitches.sort_unstable();
        pitches.dedup();
        pitches.into_iter().map(f64::from).collect()
    }

    /// The tones as stacked on the root, the root in the octave from `low` up.
    pub(crate) fn stacked(&self, low: i32) -> Vec<f64> {
        let root = self.root_above(low);
        self.tones
            .iter()
            .map(|&tone| root + f64::from(tone))
            .collect()
    }

    /// The chord tone nearest to `pitch`.
    pub(crate) fn nearest(&self, pitch: f64) -> f64 {
        nearest(pitch, |class| {
            self.tones
                .iter()
                .any(|tone| (self.root + tone).rem_euclid(12) == class)
        })
    }
}

/// The pitch nearest to `pitch` whose class (0 is C) `belongs`.
fn nearest(pitch: f64, belongs: impl Fn(i32) -> bool) -> f64 {
    let centre = pitch.round() as i32;
    let found = (0..12).find_map(|away| {
        [centre - away, centre + away]
            .into_iter()
            .find(|p| belongs(p.rem_euclid(12)))
    });
    f64::from(found.unwrap_or(centre))
}

/// Key, scale and changes: one list of chords a bar, repeated for as long as the song lasts.
#[derive(Clone, Debug)]
pub(crate) struct Harmony {
    /// Pitch class of the key note, 0 is C.
    pub(crate) tonic: i32,
    /// What a melody is made of, in semitones above the tonic.
    pub(crate) scale: &'static [i32],
    pub(crate) changes: Vec<Vec<Chord>>,
}

impl Harmony {
    /// Reads changes as players write them: bars apart by `|`, chords of one bar by spaces.
    ///
    /// # Panics
    /// If `changes` holds something that is not a numeral: changes are written in this program alone.
    pub(crate) fn new(tonic: i32, scale: &'static [i32], changes: &str) -> Self {
        let read = |text| Chord::read(tonic, text).unwrap_or_else(|| panic!("not a chord: {text}"));
        let changes = changes
            .split('|')
            .map(|bar| bar.split_whitespace().map(read).collect())
            .collect();
        Self {
            tonic,
            scale,
            changes,
        }
    }

    /// The pitch `steps` of `scale` (above the tonic) away from the one nearest to `pitch`.
    pub(crate) fn step(&self, scale: &[i32], pitch: f64, steps: i32) -> f64 {
        let start = nearest(pitch, |class| {
            scale.contains(&(class - self.tonic).rem_euclid(12))
        }) as i32;
        let above = start - self.tonic;
        let degree = scale
            .iter()
            .position(|&s| s == above.rem_euclid(12))
            .unwrap_or(0) as i32;
        let size = scale.len() as i32;
        let moved = degree + steps;
        let octaves = above.div_euclid(12) + moved.div_euclid(size);
        f64::from(self.tonic + 12 * octaves + scale[moved.rem_euclid(size) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerals_name_chords() {
        let chord = |text| Chord::read(0, text).map(|c| (c.root, c.tones.to_vec()));
        assert_eq!(chord("I"), Some((0, vec![0, 4, 7])));
        assert_eq!(chord("ii7"), Some((2, vec![0, 3, 7, 10])));
        assert_eq!(chord("bVII"), Some((10, vec![0, 4, 7])));
        assert_eq!(chord("iv"), Some((5, vec![0, 3, 7])));
        assert_eq!(chord("V13"), Some((7, vec![0, 4, 10, 14, 21])));
        assert_eq!(chord("viiø7"), Some((11, vec![0, 3, 6, 10])));
        assert_eq!(chord("H"), None);
        assert_eq!(chord("Iq"), None);
        assert_eq!(Chord::read(9, "IV").map(|c| c.root), Some(2));
    }

    #[test]
    fn voicings_stay_in_their_octave() {
        let chord = Chord::read(0, "V7").expect("a chord");
        assert_eq!(chord.voicing(60), [62.0, 65.0, 67.0, 71.0]);
        assert_eq!(chord.root_above(40), 43.0);
        assert_eq!(chord.stacked(40), [43.0, 47.0, 50.0, 53.0]);
        assert_eq!(chord.nearest(60.0), 59.0);
    }

    #[test]
    fn steps_follow_the_scale_through_octaves() {
        let harmony = Harmony::new(9, MINOR, "i | iv V7");
        assert_eq!(harmony.changes[1].len(), 2);
        assert_eq!(harmony.step(MINOR, 69.0, 1), 71.0);
        assert_eq!(harmony.step(MINOR, 69.0, -1), 67.0);
        assert_eq!(harmony.step(MINOR, 69.0, 7), 81.0);
        assert_eq!(harmony.step(MINOR, 69.0, -14), 45.0);
        assert!((hertz(57.0) - 220.0).abs() < 1e-9);
    }
}
