//! The instruments that the genres share: each call gives another one of its kind.

use super::drums::Make;
use super::{Envelope, Kit, Pluck, Sound, Spectrum, Tone};
use crate::data::synth::effects::{Biquad, Insert};
use crate::data::synth::mix::Part;
use crate::random::Random;

/// Makes an instrument.
pub(crate) type Maker = fn(&mut Random) -> Part;

/// One of several instruments, as likely as its weight says.
pub(crate) fn pick(r: &mut Random, choices: &[(f64, Maker)]) -> Part {
    let total: f64 = choices.iter().map(|(weight, _)| weight).sum();
    let mut left = r.range(0.0, total);
    for (weight, make) in choices {
        left -= weight;
        if left < 0.0 {
            return make(r);
        }
    }
    choices[choices.len() - 1].1(r)
}

fn envelope(attack: f64, decay: f64, sustain: f64, release: f64) -> Envelope {
    Envelope {
        attack,
        decay,
        sustain,
        release,
    }
}

fn string(r: &mut Random, brightness: (f64, f64), ring: (f64, f64)) -> Pluck {
    Pluck {
        brightness: r.range(brightness.0, brightness.1),
        ring: r.range(ring.0, ring.1),
        position: r.range(0.08, 0.4),
        mute_below: 0.0,
        release: r.range(0.02, 0.08),
        slide: r.range(0.05, 0.12),
        vibrato: 0.0,
    }
}

// Strings that are plucked.

pub(crate) fn acoustic_guitar(r: &mut Random) -> Part {
    let body = Biquad::peak(r.range(95.0, 230.0), 1.0, r.range(2.0, 7.0));
    Part::new(Sound::Pluck(string(r, (0.35, 0.95), (1.5, 4.0))), 52).insert(Insert::Filter(body))
}

pub(crate) fn clean_guitar(r: &mut Random) -> Part {
    let mut pluck = string(r, (0.3, 0.85), (1.5, 4.0));
    pluck.vibrato = r.range(0.0, 0.2);
    let cabinet = Biquad::low_pass(r.range(2_500.0, 6_000.0), 0.8);
    let part = Part::new(Sound::Pluck(pluck), 52).insert(Insert::Filter(cabinet));
    match r.below(4) {
        0 => part.insert(Insert::Chorus(r.range(0.3, 1.5), r.range(0.001, 0.004))),
        1 => part.insert(Insert::Tremolo(r.range(3.0, 7.0), r.range(0.2, 0.6))),
        _ => part,
    }
}

/// Just breaking up: a small valve amplifier.
pub(crate) fn crunch_guitar(r: &mut Random) -> Part {
    let mut pluck = string(r, (0.4, 0.9), (2.5, 5.0));
    pluck.vibrato = r.range(0.1, 0.4);
    amplified(pluck, r.range(1.5, 8.0), r.range(2_500.0, 5_500.0), r)
}

/// Much gain, scooped or not, and a palm that mutes soft notes.
pub(crate) fn heavy_guitar(r: &mut Random) -> Part {
    let mut pluck = string(r, (0.45, 0.9), (3.0, 6.0));
    pluck.mute_below = 0.62;
    pluck.vibrato = r.range(0.0, 0.3);
    amplified(pluck, r.range(7.0, 40.0), r.range(3_000.0, 6_500.0), r)
}

/// The amplifier and its cabinet: no bass into the valves, a hump or a scoop, little above some kHz.
fn amplified(pluck: Pluck, gain: f64, cutoff: f64, r: &mut Random) -> Part {
    Part::new(Sound::Pluck(pluck), 52)
        .insert(Insert::Filter(Biquad::high_pass(r.range(70.0, 160.0), 0.7)))
        .insert(Insert::Drive(gain))
        .insert(Insert::Filter(Biquad::peak(
            r.range(500.0, 1_100.0),
            0.8,
            r.range(-8.0, 4.0),
        )))
        .insert(Insert::Filter(Biquad::low_pass(cutoff, 0.8)))
        .insert(Insert::Filter(Biquad::low_pass(cutoff * 1.2, 0.6)))
}

pub(crate) fn wah_guitar(r: &mut Random) -> Part {
    let part = Part::new(Sound::Pluck(string(r, (0.6, 0.95), (1.0, 2.0))), 54);
    part.insert(Insert::Wah(r.range(0.4, 2.5)))
}

pub(crate) fn harpsichord(r: &mut Random) -> Part {
    let mut pluck = string(r, (0.85, 1.0), (1.5, 3.0));
    pluck.position = r.range(0.08, 0.15);
    Part::new(Sound::Pluck(pluck), 55)
}

// Basses.

pub(crate) fn upright_bass(r: &mut Random) -> Part {
    let mut pluck = string(r, (0.05, 0.35), (0.8, 2.0));
    pluck.position = r.range(0.25, 0.45);
    let body = Biquad::peak(r.range(90.0, 180.0), 1.2, r.range(2.0, 6.0));
    Part::new(Sound::Pluck(pluck), 29).insert(Insert::Filter(body))
}

pub(crate) fn electric_bass(r: &mut Random) -> Part {
    let part = Part::new(Sound::Pluck(string(r, (0.15, 0.8), (1.5, 4.0))), 29);
    let part = part.insert(Insert::Filter(Biquad::low_pass(
        r.range(600.0, 3_500.0),
        0.7,
    )));
    if r.chance(0.25) {
        part.insert(Insert::Drive(r.range(1.0, 5.0)))
    } else {
        part
    }
}

pub(crate) fn synth_bass(r: &mut Random) -> Part {
    let mut bright = Spectrum::slope(r.range(0.8, 1.4), r.range(600.0, 3_000.0));
    bright.even = r.range(0.0, 1.0);
    let mut tone = Tone::plain(
        Spectrum::slope(1.3, r.range(150.0, 700.0)),
        envelope(0.004, 0.4, r.range(0.2, 0.9), 0.03),
    );
    tone.attack = bright;
    tone.morph = r.range(0.03, 0.3);
    tone.copies = 1 + r.below(2);
    tone.detune = 0.1;
    Part::new(Sound::Tone(tone), 29)
}

/// A sine that rings on: the long kick of a drum machine, played by pitch.
pub(crate) fn sub_bass(r: &mut Random) -> Part {
    let mut tone = Tone::plain(
        Spectrum::slope(r.range(2.2, 4.0), 400.0),
        envelope(0.003, r.range(0.5, 1.5), 0.0, 0.06),
    );
    tone.slide = 0.03;
    let part = Part::new(Sound::Tone(tone), 28);
    if r.chance(0.5) {
        part.insert(Insert::Drive(r.range(1.0, 4.0)))
    } else {
        part
    }
}

// Keyboards.

pub(crate) fn piano(r: &mut Random) -> Part {
    let mut tone = Tone::plain(
        Spectrum::slope(r.range(1.6, 2.1), r.range(900.0, 2_200.0)),
        envelope(0.002, r.range(0.7, 1.3), 0.0, 0.08),
    );
    tone.attack = Spectrum::slope(r.range(0.9, 1.4), r.range(2_500.0, 6_000.0));
    tone.morph = r.range(0.08, 0.25);
    tone.damping = 0.5;
    tone.copies = 2;
    tone.detune = r.range(0.01, 0.08);
    tone.consonant = r.range(0.0, 0.25);
    Part::new(Sound::Tone(tone), 55)
}

pub(crate) fn electric_piano(r: &mut Random) -> Part {
    let mut bell = Spectrum::slope(2.5, 6_000.0);
    bell.formants = vec![
        (300.0, 400.0, 1.0),
        (r.range(1_500.0, 3_000.0), 500.0, r.range(0.5, 3.0)),
    ];
    let mut tone = Tone::plain(
        Spectrum::slope(r.range(1.8, 2.8), 1_800.0),
        envelope(0.002, 0.9, 0.05, 0.09),
    );
    tone.attack = bell;
    tone.morph = r.range(0.05, 0.3);
    tone.damping = 0.35;
    let part = Part::new(Sound::Tone(tone), 55);
    if r.chance(0.5) {
        part.insert(Insert::Tremolo(r.range(3.0, 6.5), r.range(0.2, 0.6)))
    } else {
        part
    }
}

pub(crate) fn organ(r: &mut Random) -> Part {
    let mut drawbars = vec![0.0; 16];
    for harmonic in [1, 2, 3, 4, 6, 8, 10, 12, 16] {
        drawbars[harmonic - 1] = r.range(0.0, 1.0) / (harmonic as f64).powf(0.35);
    }
    drawbars[0] = 1.0;
    let mut tone = Tone::plain(
        Spectrum::slope(0.0, 7_000.0),
        envelope(0.006, 0.5, 1.0, 0.015),
    );
    tone.body.drawbars = drawbars;
    tone.attack = tone.body.clone();
    tone.consonant = r.range(0.0, 0.3);
    let part = Part::new(Sound::Tone(tone), 53);
    match r.below(3) {
        // The rotating loudspeaker, fast or slow.
        0 => part
            .insert(Insert::Chorus(6.5, 0.0004))
            .insert(Insert::Tremolo(6.5, 0.3)),
        1 => part.insert(Insert::Chorus(0.8, 0.001)),
        _ => part.insert(Insert::Drive(r.range(0.8, 3.0))),
    }
}

pub(crate) fn vibraphone(r: &mut Random) -> Part {
    let mut tone = Tone::plain(
        Spectrum::slope(3.0, 3_000.0),
        envelope(0.002, r.range(0.5, 1.2), 0.0, 0.2),
    );
    tone.attack.drawbars = vec![
        1.0,
        0.0,
        0.0,
        r.range(0.2, 0.6),
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        r.range(0.05, 0.2),
    ];
    tone.damping = 0.4;
    Part::new(Sound::Tone(tone), 60).insert(Insert::Tremolo(r.range(3.0, 6.0), r.range(0.1, 0.5)))
}

// Bows, pads and sections.

pub(crate) fn strings(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.9, 1.2), r.range(1_800.0, 5_500.0));
    body.formants = vec![
        (450.0, 300.0, 1.0),
        (1_100.0, 500.0, 0.8),
        (2_600.0, 900.0, 0.6),
    ];
    let mut tone = Tone::plain(
        body,
        envelope(r.range(0.02, 0.15), 0.5, 0.85, r.range(0.06, 0.25)),
    );
    tone.copies = 3;
    tone.detune = r.range(0.06, 0.16);
    tone.vibrato = r.range(0.05, 0.2);
    tone.vibrato_rate = r.range(4.8, 6.2);
    tone.breath = r.range(0.0, 0.06);
    Part::new(Sound::Tone(tone), 55).room(0.3)
}

/// One player: violin, viola, cello by register.
pub(crate) fn fiddle(r: &mut Random) -> Part {
    let mut part = strings(r);
    if let Sound::Tone(tone) = &mut part.sound {
        tone.copies = 1;
        tone.envelope.attack = r.range(0.02, 0.07);
        tone.vibrato = r.range(0.1, 0.35);
    }
    part
}

pub(crate) fn pad(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.8, 1.3), r.range(500.0, 3_500.0));
    body.even = r.range(0.2, 1.0);
    let mut tone = Tone::plain(
        body,
        envelope(r.range(0.05, 0.5), 1.0, 0.9, r.range(0.15, 0.5)),
    );
    tone.copies = 3;
    tone.detune = r.range(0.08, 0.25);
    tone.attack.cutoff = r.range(400.0, 5_000.0);
    tone.morph = r.range(0.2, 1.0);
    Part::new(Sound::Tone(tone), 55).room(0.25)
}

pub(crate) fn choir(r: &mut Random) -> Part {
    let mut part = voice(r);
    if let Sound::Tone(tone) = &mut part.sound {
        tone.copies = 3;
        tone.detune = 0.15;
        tone.envelope = envelope(r.range(0.08, 0.25), 1.0, 0.9, 0.25);
        tone.consonant *= 0.3;
    }
    part.room(0.4)
}

// Winds.

pub(crate) fn brass(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.9, 1.3), r.range(1_500.0, 3_500.0));
    body.formants = vec![(r.range(900.0, 1_400.0), 700.0, 1.0), (300.0, 300.0, 0.6)];
    let mut tone = Tone::plain(body.clone(), envelope(r.range(0.02, 0.06), 0.3, 0.8, 0.05));
    tone.attack = Spectrum {
        cutoff: r.range(500.0, 1_500.0),
        ..body
    };
    tone.morph = r.range(0.03, 0.12);
    tone.copies = 1 + r.below(3);
    tone.detune = 0.09;
    tone.vibrato = r.range(0.0, 0.15);
    Part::new(Sound::Tone(tone), 55)
}

pub(crate) fn saxophone(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.7, 1.1), r.range(2_000.0, 4_500.0));
    body.formants = vec![
        (r.range(480.0, 750.0), 300.0, 1.0),
        (r.range(1_100.0, 1_700.0), 400.0, 0.7),
        (2_700.0, 800.0, 0.3),
    ];
    blown(body, 0.08, 52, r)
}

pub(crate) fn harmonica(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.6, 1.0), r.range(3_000.0, 5_500.0));
    body.formants = vec![(r.range(800.0, 1_300.0), 500.0, 1.0), (2_300.0, 700.0, 0.7)];
    let part = blown(body, 0.05, 60, r).insert(Insert::Tremolo(5.5, 0.3));
    if r.chance(0.5) {
        part.insert(Insert::Drive(r.range(1.0, 5.0)))
    } else {
        part
    }
}

pub(crate) fn clarinet(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.9, 1.3), r.range(1_500.0, 3_500.0));
    body.even = r.range(0.02, 0.3);
    blown(body, 0.03, 55, r)
}

pub(crate) fn flute(r: &mut Random) -> Part {
    blown(Spectrum::slope(r.range(1.8, 2.6), 3_500.0), 0.2, 64, r)
}

fn blown(body: Spectrum, breath: f64, low: i32, r: &mut Random) -> Part {
    let mut tone = Tone::plain(
        body,
        envelope(r.range(0.02, 0.05), 0.4, r.range(0.7, 0.95), 0.05),
    );
    tone.vibrato = r.range(0.05, 0.3);
    tone.vibrato_rate = r.range(4.5, 6.0);
    tone.slide = r.range(0.04, 0.1);
    tone.breath = breath * r.range(0.5, 1.8);
    Part::new(Sound::Tone(tone), low)
}

// Voices and synthesisers.

/// The first three formants of five vowels, in Hz, after Peterson and Barney (1952), men.
const VOWELS: [[f64; 3]; 5] = [
    [730.0, 1_090.0, 2_440.0],
    [530.0, 1_840.0, 2_480.0],
    [270.0, 2_290.0, 3_010.0],
    [570.0, 840.0, 2_410.0],
    [300.0, 870.0, 2_240.0],
];

fn vowel(r: &mut Random, throat: f64) -> Spectrum {
    let mut spectrum = Spectrum::slope(r.range(0.9, 1.3), 4_500.0);
    let [first, second, third] = *r.choose(&VOWELS);
    spectrum.formants = vec![
        (first * throat, 90.0, 1.0),
        (second * throat, 120.0, 0.6),
        (third * throat, 200.0, 0.3),
    ];
    spectrum
}

/// A singer: vowels that change within a note, breath, consonants, vibrato.
pub(crate) fn voice(r: &mut Random) -> Part {
    // Shorter throats have higher formants: men, women.
    let throat = r.range(0.95, 1.25);
    let body = vowel(r, throat);
    let mut tone = Tone::plain(body, envelope(r.range(0.02, 0.06), 0.5, 0.85, 0.06));
    tone.attack = vowel(r, throat);
    tone.morph = r.range(0.06, 0.2);
    tone.vibrato = r.range(0.05, 0.35);
    tone.vibrato_rate = r.range(4.8, 6.5);
    tone.breath = r.range(0.02, 0.15);
    tone.consonant = r.range(0.1, 0.7);
    Part::new(Sound::Tone(tone), if throat > 1.1 { 59 } else { 50 })
}

/// A speaker: short vowels, strong consonants, no vibrato.
pub(crate) fn speech(r: &mut Random) -> Part {
    let mut part = voice(r);
    if let Sound::Tone(tone) = &mut part.sound {
        tone.vibrato = 0.0;
        tone.consonant = r.range(0.8, 1.6);
        tone.morph = 0.05;
        tone.slide = 0.09;
        tone.envelope.release = 0.03;
    }
    part.low = if part.low > 55 { 52 } else { 43 };
    part
}

/// A voice that is more throat than tone.
pub(crate) fn growl(r: &mut Random) -> Part {
    let mut part = speech(r);
    if let Sound::Tone(tone) = &mut part.sound {
        tone.breath = r.range(0.8, 2.0);
    }
    part.low = 38;
    part.insert(Insert::Drive(r.range(4.0, 12.0)))
        .insert(Insert::Filter(Biquad::low_pass(4_500.0, 0.7)))
}

pub(crate) fn synth_lead(r: &mut Random) -> Part {
    let mut body = Spectrum::slope(r.range(0.7, 1.6), r.range(1_200.0, 6_000.0));
    body.even = r.range(0.0, 1.0);
    let mut tone = Tone::plain(body, envelope(0.006, 0.3, r.range(0.4, 0.9), 0.06));
    tone.copies = 1 + r.below(3);
    tone.detune = r.range(0.04, 0.2);
    tone.vibrato = r.range(0.0, 0.2);
    Part::new(Sound::Tone(tone), 60)
}

// Kits.

pub(crate) fn acoustic_kit(r: &mut Random) -> Part {
    Part::new(Sound::Kit(Kit::new(Make::Acoustic, r)), 0).louder(1.5)
}

pub(crate) fn drum_machine(r: &mut Random) -> Part {
    Part::new(Sound::Kit(Kit::new(Make::Machine, r)), 0).louder(1.5)
}

pub(crate) fn brush_kit(r: &mut Random) -> Part {
    Part::new(Sound::Kit(Kit::new(Make::Brushes, r)), 0).louder(1.5)
}
