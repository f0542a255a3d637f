//! The desk: parts at their levels into one room, then a master that does not know the genre.
//!
//! Loudness and the balance of bass, middle and treble are drawn for each song from the same distribution
//! whatever its genre. The record is brought all the way to that loudness and some of the way to that balance, as
//! gentle shelves do: without this the level alone, or the brightness, would say too much.

use super::effects::{Biquad, Insert, compress, crackle, hiss, hum, limit, reverb, rms, wow};
use super::instruments::Sound;
use super::score::Note;
use crate::random::Random;

/// An instrument with its notes and its place in the mix.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) sound: Sound,
    /// MIDI pitch from which the instrument plays up, by about two octaves.
    pub(crate) low: i32,
    pub(crate) notes: Vec<Note>,
    inserts: Vec<Insert>,
    /// dB.
    level: f64,
    /// Added to the reverberation, 0 to 1.
    room: f64,
}

impl Part {
    pub(crate) fn new(sound: Sound, low: i32) -> Self {
        Self {
            sound,
            low,
            notes: Vec::new(),
            inserts: Vec::new(),
            level: 0.0,
            room: 0.0,
        }
    }

    /// Adds an effect behind those that are there.
    pub(crate) fn insert(mut self, insert: Insert) -> Self {
        self.inserts.push(insert);
        self
    }

    /// Puts it further back in the room.
    pub(crate) fn room(mut self, send: f64) -> Self {
        self.room += send;
        self
    }

    /// Louder by this many dB.
    pub(crate) fn louder(mut self, db: f64) -> Self {
        self.level += db;
        self
    }

    /// Gives it its notes.
    pub(crate) fn playing(mut self, notes: Vec<Note>) -> Self {
        self.notes = notes;
        self
    }

    /// The sound with its effects, at its level: 0 dB is an RMS of 0.1 where it sounds at all.
    fn render(&self, samples: usize, r: &mut Random) -> Vec<f32> {
        let mut x = self.sound.render(&self.notes, samples, r);
        for insert in &self.inserts {
            insert.apply(&mut x);
        }
        let blocks: Vec<f64> = x.chunks(2_048).map(rms).collect();
        let loudest = blocks.iter().fold(0.0_f64, |a, &b| a.max(b));
        let (mut power, mut count) = (0.0, 0.0);
        for &block in blocks.iter().filter(|&&block| block > 0.05 * loudest) {
            power += block * block;
            count += 1.0;
        }
        if power > 0.0 {
            let gain = 0.1 / f64::sqrt(power / count) * 10_f64.powf(self.level / 20.0);
            for x in &mut x {
                *x *= gain as f32;
            }
        }
        x
    }
}

/// How a record was made: drawn without regard to genre.
#[derive(Clone, Debug)]
struct Production {
    room: f64,
    damping: f64,
    wet: f64,
    squeeze: Option<f64>,
    /// dB of bass and of treble against the middle that the record is brought to.
    balance: (f64, f64),
    /// Hz above which the medium holds nothing.
    bandwidth: Option<f64>,
    /// dB below the music.
    hiss: f64,
    crackle: Option<f64>,
    hum: bool,
    wow: Option<f64>,
    /// dB of full scale.
    loudness: f64,
}

impl Production {
    fn draw(r: &mut Random) -> Self {
        let old = r.chance(0.15);
        let mut maybe = |p: f64, low: f64, high: f64| r.chance(p).then(|| r.range(low, high));
        let squeeze = maybe(0.6, 1.5, 5.0);
        let bandwidth = maybe(if old { 0.8 } else { 0.06 }, 3_500.0, 8_000.0);
        let crackle = maybe(if old { 0.6 } else { 0.08 }, 1.0, 25.0);
        let wow = maybe(if old { 0.5 } else { 0.1 }, 0.2, 1.2);
        Self {
            room: r.range(0.1, 0.95),
            damping: r.range(0.1, 0.9),
            wet: r.range(0.0, 1.0).powi(2) * 0.06,
            squeeze,
            balance: (2.0 + 2.5 * r.normal(), -11.0 + 3.0 * r.normal()),
            bandwidth,
            hiss: if old {
                r.range(-50.0, -34.0)
            } else {
                r.range(-75.0, -42.0)
            },
            crackle,
            hum: r.chance(if old { 0.4 } else { 0.05 }),
            wow,
            loudness: r.range(-24.0, -17.0),
        }
    }
}

/// Renders the parts and makes a record of them: `samples` samples, peak at most 0.97.
pub(crate) fn produce(parts: &[Part], samples: usize, r: &mut Random) -> Vec<f32> {
    let production = Production::draw(r);
    let mut dry = vec![0.0; samples];
    let mut send = vec![0.0; samples];
    for part in parts.iter().filter(|part| !part.notes.is_empty()) {
        let gain = 10_f64.powf(1.5 * r.normal().clamp(-2.0, 2.0) / 20.0) as f32;
        let wet = (0.3 + part.room + r.range(0.0, 0.4)) as f32;
        let sound = part.render(samples, &mut r.split());
        for ((dry, send), x) in dry.iter_mut().zip(&mut send).zip(sound) {
            *dry += x * gain;
            *send += x * gain * wet;
        }
    }
    let tail = reverb(&send, production.room, production.damping);
    for (x, tail) in dry.iter_mut().zip(tail) {
        *x += production.wet as f32 * tail;
    }
    master(&mut dry, &production, r);
    dry
}

/// Everything between the mix and the listener.
fn master(x: &mut [f32], production: &Production, r: &mut Random) {
    if let Some(ratio) = production.squeeze {
        compress(x, -3.0, ratio);
    }
    rebalance(x, production.balance);
    // The desk's own colour.
    for _ in 0..2 {
        Biquad::peak(
            200.0 * r.range(0.0, 5.0).exp2(),
            r.range(0.5, 1.5),
            2.5 * r.normal(),
        )
        .apply(x);
    }
    let music = rms(x);
    if music == 0.0 {
        return;
    }
    if let Some(rate) = production.wow {
        wow(x, rate, 0.0015);
    }
    hiss(
        x,
        music * 10_f64.powf(production.hiss / 20.0),
        r.range(3_000.0, 11_000.0),
        r,
    );
    if let Some(rate) = production.crackle {
        crackle(x, music * r.range(0.1, 0.8), rate, r);
    }
    if production.hum {
        hum(x, music * r.range(0.005, 0.05), *r.choose(&[50.0, 60.0]));
    }
    if let Some(cutoff) = production.bandwidth {
        Biquad::low_pass(cutoff, 0.6).apply(x);
        Biquad::low_pass(cutoff * 1.1, 0.9).apply(x);
        Biquad::high_pass(r.range(40.0, 200.0), 0.7).apply(x);
    }
    Biquad::high_pass(25.0, 0.7).apply(x);
    let gain = (10_f64.powf(production.loudness / 20.0) / rms(x)) as f32;
    for x in x.iter_mut() {
        *x *= gain;
    }
    limit(x, 0.97);
}

/// Brings bass (below 250 Hz) and treble (above 2 kHz) some of the way to `target`, in dB against the middle.
fn rebalance(x: &mut [f32], target: (f64, f64)) {
    let band = |x: &[f32], filters: &mut [Biquad]| {
        let mut x = x.to_vec();
        for filter in filters {
            filter.apply(&mut x);
        }
        rms(&x).max(1e-6)
    };
    let low = band(x, &mut [Biquad::low_pass(250.0, 0.7)]);
    let middle = band(
        x,
        &mut [
            Biquad::high_pass(250.0, 0.7),
            Biquad::low_pass(2_000.0, 0.7),
        ],
    );
    let high = band(x, &mut [Biquad::high_pass(2_000.0, 0.7)]);
    let correction = |target: f64, level: f64| {
        (0.6 * (target - 20.0 * (level / middle).log10())).clamp(-14.0, 14.0)
    };
    Biquad::low_shelf(250.0, correction(target.0, low)).apply(x);
    Biquad::high_shelf(2_000.0, correction(target.1, high)).apply(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// dB of what lies above 2 kHz against what lies between 250 Hz and 2 kHz.
    fn treble(x: &[f32]) -> f64 {
        let (mut high, mut middle) = (x.to_vec(), x.to_vec());
        Biquad::high_pass(2_000.0, 0.7).apply(&mut high);
        Biquad::high_pass(250.0, 0.7).apply(&mut middle);
        Biquad::low_pass(2_000.0, 0.7).apply(&mut middle);
        20.0 * (rms(&high) / rms(&middle)).log10()
    }

    /// A bright and a dark noise come out equally loud, and closer to each other in colour.
    #[test]
    fn the_master_takes_loudness_away_and_some_of_the_colour() {
        let noise = |shelf: f64, gain: f32| {
            let mut r = Random::new(&[8]);
            let mut x: Vec<f32> = (0..66_150)
                .map(|_| gain * (r.uniform_f32() - 0.5))
                .collect();
            Biquad::high_shelf(1_500.0, shelf).apply(&mut x);
            x
        };
        let production = Production {
            bandwidth: None,
            crackle: None,
            hum: false,
            hiss: -60.0,
            balance: (0.0, -8.0),
            loudness: -20.0,
            ..Production::draw(&mut Random::new(&[8]))
        };
        let (mut dark, mut bright) = (noise(-12.0, 0.9), noise(8.0, 0.01));
        let before = treble(&bright) - treble(&dark);
        assert!(before > 12.0, "{before} dB apart");
        for x in [&mut dark, &mut bright] {
            master(x, &production, &mut Random::new(&[9]));
        }
        assert!((20.0 * (rms(&dark) / rms(&bright)).log10()).abs() < 0.3);
        let after = treble(&bright) - treble(&dark);
        assert!(after < 0.9 * before, "{before} dB apart, then {after}");
        assert!(dark.iter().chain(&bright).all(|x| x.abs() <= 0.97));
    }

    #[test]
    fn silence_stays_silent() {
        assert!(
            produce(&[], 4_096, &mut Random::new(&[1]))
                .iter()
                .all(|&x| x == 0.0)
        );
    }
}
