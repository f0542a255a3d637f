//! Delays: tape echo, chorus, and the room.

use super::super::RATE;

/// Tape echo: repeats every `delay` seconds, each darker than the last, on a motor that is not quite steady.
pub(crate) fn echo(x: &mut [f32], delay: f64, feedback: f64, level: f64, cutoff: f64) {
    let length = ((delay * RATE) as usize).max(64);
    let wobble = 0.0008 * RATE;
    let size = length + wobble as usize * 2 + 4;
    let mut tape = vec![0.0_f32; size];
    let smooth = (1.0 - (-std::f64::consts::TAU * cutoff / RATE).exp()) as f32;
    let (feedback, level) = (feedback.min(0.85) as f32, level as f32);
    let (mut dark, mut bass, mut back) = (0.0_f32, 0.0_f32, length as f32);
    for (n, x) in x.iter_mut().enumerate() {
        if n % 64 == 0 {
            back = (length as f64 + wobble * (n as f64 * 2.4 / RATE).sin()) as f32;
        }
        let whole = back as usize;
        let part = back - whole as f32;
        let at = |back: usize| tape[(n + size - back) % size];
        let read = at(whole) * (1.0 - part) + at(whole + 1) * part;
        dark += (read - dark) * smooth;
        // Without its lowest octaves, or repeats pile up.
        bass += (dark - bass) * 0.03;
        let repeat = dark - bass;
        tape[n % size] = *x + feedback * repeat;
        *x += level * repeat;
    }
}

/// A copy that drifts in time by `depth` seconds at `rate` Hz.
pub(crate) fn chorus(x: &mut [f32], rate: f64, depth: f64) {
    let centre = 0.012 * RATE;
    let swing = (depth * RATE).min(centre - 4.0);
    let size = 1 << 10;
    let mut line = vec![0.0_f32; size];
    let mut back = centre as f32;
    for (n, x) in x.iter_mut().enumerate() {
        if n % 32 == 0 {
            back = (centre + swing * (std::f64::consts::TAU * rate * n as f64 / RATE).sin()) as f32;
        }
        line[n % size] = *x;
        let whole = back as usize;
        let part = back - whole as f32;
        let at = |back: usize| line[(n + size - back) % size];
        *x = 0.7 * (*x + at(whole) * (1.0 - part) + at(whole + 1) * part);
    }
}

/// The reverberation alone (not the sound itself) of a room: Freeverb (Jezar at Dreampoint, public domain), eight
/// damped combs side by side, then four all-passes. `size` 0 to 1 sets the decay, `damping` 0 to 1 the walls.
pub(crate) fn reverb(x: &[f32], size: f64, damping: f64) -> Vec<f32> {
    // Freeverb's tunings are for 44,100 Hz.
    const COMBS: [usize; 8] = [558, 594, 638, 678, 711, 745, 778, 808];
    const ALLPASSES: [usize; 4] = [278, 220, 170, 112];
    let feedback = (0.7 + 0.28 * size) as f32;
    let damping = (0.05 + 0.75 * damping) as f32;
    let mut out = vec![0.0_f32; x.len()];
    for length in COMBS {
        let mut line = vec![0.0_f32; length];
        let (mut dark, mut at) = (0.0_f32, 0);
        for (x, out) in x.iter().zip(&mut out) {
            let read = line[at];
            dark = read + (dark - read) * damping;
            line[at] = x + dark * feedback;
            *out += read;
            at += 1;
            if at == length {
                at = 0;
            }
        }
    }
    for length in ALLPASSES {
        let mut line = vec![0.0_f32; length];
        let mut at = 0;
        for x in &mut out {
            let read = line[at];
            line[at] = *x + read * 0.5;
            *x = read - *x;
            at += 1;
            if at == length {
                at = 0;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn click() -> Vec<f32> {
        let mut x = vec![0.0; 44_100];
        x[0] = 1.0;
        x
    }

    #[test]
    fn echoes_come_at_their_time_and_die_away() {
        let mut x = click();
        echo(&mut x, 0.2, 0.5, 0.8, 4_000.0);
        let loudest = |from: usize, to: usize| {
            (from..to)
                .max_by(|&a, &b| x[a].abs().total_cmp(&x[b].abs()))
                .expect("a range")
        };
        let (first, second) = (loudest(2_000, 6_000), loudest(7_000, 10_500));
        assert!(
            first.abs_diff(4_410) < 40 && second.abs_diff(8_820) < 80,
            "{first} {second}"
        );
        assert!(x[second].abs() < 0.6 * x[first].abs());
    }

    #[test]
    fn larger_rooms_ring_longer() {
        let late = |size| -> f32 {
            reverb(&click(), size, 0.3)[22_050..]
                .iter()
                .map(|x| x * x)
                .sum()
        };
        assert!(late(0.9) > 10.0 * late(0.2));
        assert!(
            reverb(&click(), 1.0, 0.0)[40_000..]
                .iter()
                .all(|x| x.abs() < 0.5)
        );
    }
}
