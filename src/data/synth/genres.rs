//! The genres: how each one feels, moves and plays; and how a song comes from one of them, or from two.

mod blues;
mod classical;
mod disco;
mod hip_hop;
mod jazz;
mod metal;
mod pop;
mod reggae;

use super::mix::Part;
use super::score::{Feel, Line, Role, Song};
use super::theory::Harmony;
use crate::random::Random;

/// A genre as its players know it. Each method draws anew: two calls are two songs.
trait Style: Sync {
    /// Tempo, metre, swing.
    fn feel(&self, r: &mut Random) -> Feel;
    /// Key, scale, changes.
    fn harmony(&self, r: &mut Random) -> Harmony;
    /// The chance of drums, bass, chords, lead and colour to play in a phrase of this song.
    fn band(&self, r: &mut Random) -> [f64; 5];
    fn drums(&self, song: &Song, r: &mut Random) -> Part;
    fn bass(&self, song: &Song, r: &mut Random) -> Part;
    fn chords(&self, song: &Song, r: &mut Random) -> Part;
    fn lead(&self, song: &Song, r: &mut Random) -> Part;
    /// What answers, doubles or fills: riffs, stabs, counter-melodies, scratches.
    fn colour(&self, song: &Song, r: &mut Random) -> Part;
}

/// In the order of [`super::GENRES`].
const STYLES: [&dyn Style; 8] = [
    &blues::Blues,
    &classical::Classical,
    &disco::Disco,
    &hip_hop::HipHop,
    &jazz::Jazz,
    &metal::Metal,
    &pop::Pop,
    &reggae::Reggae,
];

/// From whom each genre borrows, by index: jazz and metal have the blues, hip-hop samples jazz, disco and reggae.
const NEIGHBOURS: [&[usize]; 8] = [
    &[4, 5, 6],
    &[4, 6, 5],
    &[6, 3, 7],
    &[2, 4, 7],
    &[0, 1, 3],
    &[0, 6, 1],
    &[2, 7, 5],
    &[6, 3, 0],
];

/// The chance of each trait (feel, harmony, each of the five parts) to come from a neighbour.
const CROSSOVER: f64 = 0.1;

/// The genre's own style, or now and then a neighbour's.
fn style(genre: usize, r: &mut Random) -> &'static dyn Style {
    if r.chance(CROSSOVER) {
        STYLES[*r.choose(NEIGHBOURS[genre])]
    } else {
        STYLES[genre]
    }
}

/// Writes a song: all the parts with their notes.
pub(crate) fn compose(genre: usize, seconds: f64, r: &mut Random) -> Vec<Part> {
    let feel = style(genre, r).feel(&mut r.split());
    let harmony = style(genre, r).harmony(&mut r.split());
    let band = STYLES[genre].band(&mut r.split());
    let song = Song::new(feel, harmony, band, seconds, &mut r.split());
    Role::ALL
        .iter()
        .map(|role| {
            let style = style(genre, r);
            let mut r = r.split();
            match role {
                Role::Drums => style.drums(&song, &mut r),
                Role::Bass => style.bass(&song, &mut r),
                Role::Chords => style.chords(&song, &mut r),
                Role::Lead => style.lead(&song, &mut r),
                Role::Colour => style.colour(&song, &mut r),
            }
        })
        .collect()
}

/// A drum fill for the last bar's last beats: sixteenths or triplets down the toms.
fn fill(line: &mut Line, from: f64, to: f64, grid: f64) {
    use super::instruments::drums::{HIGH_TOM, LOW_TOM, SNARE, TOM};
    let steps = ((to - from) / grid) as usize;
    for i in 0..steps {
        let drum = [SNARE, HIGH_TOM, TOM, LOW_TOM][i * 4 / steps.max(1)];
        if line.r.chance(0.85) {
            let velocity = line.r.range(0.55, 0.95);
            line.note(from + i as f64 * grid, grid, drum, velocity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_song_has_parts_that_play_within_it() {
        for genre in 0..STYLES.len() {
            for song in 0..12 {
                let parts = compose(genre, 30.0, &mut Random::new(&[song, genre as u64]));
                let notes: usize = parts.iter().map(|part| part.notes.len()).sum();
                assert!(notes > 40, "genre {genre} song {song}: {notes} notes");
                for note in parts.iter().flat_map(|part| &part.notes) {
                    assert!((0.0..40.0).contains(&note.at), "{note:?}");
                    assert!(note.length > 0.0 && note.length < 30.0, "{note:?}");
                    assert!(
                        (15.0..=110.0).contains(&note.pitch),
                        "genre {genre}: {note:?}"
                    );
                    assert!((0.0..=1.0).contains(&note.velocity), "{note:?}");
                }
            }
        }
    }

    /// Tempo ranges of all genres overlap: nothing below 75 or above 140 alone, and each has songs in between.
    #[test]
    fn every_genre_has_songs_of_middling_tempo() {
        for (genre, style) in STYLES.iter().enumerate() {
            let mut r = Random::new(&[genre as u64]);
            let middling = (0..200)
                .filter(|_| (75.0..140.0).contains(&style.feel(&mut r).tempo))
                .count();
            assert!(middling >= 40, "genre {genre}: {middling} of 200");
        }
    }
}
