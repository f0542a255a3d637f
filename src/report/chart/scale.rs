//! Axes: their ends, their ticks on round numbers, and how values are written along them.

/// Values beyond this are left out like NaN, so that no difference of two overflows.
const LARGEST: f64 = 1e100;

/// How an axis writes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Whole numbers with ticks on whole numbers only: epochs.
    Integer,
    /// As many digits as the ticks need.
    Number,
    /// Shares of 1, written as percent.
    Percent,
}

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What stands along it, with its unit.
    pub title: String,
    /// How its values are written.
    pub unit: Unit,
    /// Its ends; where the data say when `None`.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis whose ends the data give.
    pub fn new(title: impl Into<String>, unit: Unit) -> Self {
        Self {
            title: title.into(),
            unit,
            range: None,
        }
    }

    /// The same axis from `low` to `high`.
    #[must_use]
    pub fn from_to(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}
/// Whether a value can be drawn.
pub(super) fn finite(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// The ends of an axis and where its ticks stand.
pub(super) struct Scale {
    low: f64,
    high: f64,
    pub(super) ticks: Vec<f64>,
    unit: Unit,
    /// Decimals of a tick's label (of its percent, where it is one).
    decimals: usize,
}

impl Scale {
    /// From the axis, and from the values where the axis leaves its ends open. `rounded` moves the ends to ticks.
    pub(super) fn of(axis: &Axis, values: impl Iterator<Item = f64>, rounded: bool) -> Self {
        let values = values.filter(|value| finite(*value));
        let (low, high) = axis
            .range
            .filter(|(low, high)| finite(*low) && finite(*high) && low < high)
            .unwrap_or_else(|| {
                values
                    .fold(None, |ends: Option<(f64, f64)>, value| {
                        Some(ends.map_or((value, value), |(low, high)| {
                            (low.min(value), high.max(value))
                        }))
                    })
                    .unwrap_or((0.0, 1.0))
            });
        // One value alone gets some room, more than the last digits of a large number.
        let (low, high) = if high - low <= 1e-9 * low.abs().max(high.abs()) {
            let room = match axis.unit {
                Unit::Integer => 1.0,
                Unit::Number | Unit::Percent if low == 0.0 => 0.5,
                Unit::Number | Unit::Percent => 0.1 * low.abs(),
            };
            match axis.unit {
                // A share has no room beyond 0 and 1.
                Unit::Percent => (
                    (low - room).max(0.0_f64.min(low)),
                    (high + room).min(1.0_f64.max(high)),
                ),
                _ => (low - room, high + room),
            }
        } else {
            (low, high)
        };
        let mut step = nice_step((high - low) / 5.0);
        if axis.unit == Unit::Integer {
            step = step.max(1.0);
        }
        let (low, high) = if rounded && axis.range.is_none() {
            ((low / step).floor() * step, (high / step).ceil() * step)
        } else {
            (low, high)
        };
        // A hair of tolerance, for 0.1 * 3 is more than 0.3.
        let first = (low / step - 1e-6).ceil();
        let last = (high / step + 1e-6).floor();
        let ticks: Vec<f64> = (0..=(last - first).clamp(0.0, 20.0) as u32)
            .map(|at| (first + f64::from(at)) * step)
            .collect();
        let shown = if axis.unit == Unit::Percent {
            step * 100.0
        } else {
            step
        };
        Self {
            low,
            high,
            ticks,
            unit: axis.unit,
            decimals: (-shown.log10().floor()).clamp(0.0, 12.0) as usize,
        }
    }

    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// A tick's label.
    pub(super) fn tick(&self, value: f64) -> String {
        let decimals = self.decimals;
        // `+ 0.0` turns -0 into 0.
        match self.unit {
            Unit::Percent => format!("{:.decimals$}\u{202F}%", 100.0 * value + 0.0),
            _ if value != 0.0 && (value.abs() >= 1e6 || decimals > 5) => format!("{value:.1e}"),
            _ => format!("{:.decimals$}", value + 0.0),
        }
    }

    /// A value to read, more exact than the ticks.
    pub(super) fn exact(&self, value: f64) -> String {
        match self.unit {
            Unit::Integer => format!("{value}"),
            Unit::Number if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => {
                format!("{value:.3e}")
            }
            Unit::Number => format!("{value:.4}"),
            Unit::Percent => format!("{:.2}\u{202F}%", 100.0 * value),
        }
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that is not below `rough`.
///
/// After Heckbert, Nice numbers for graph labels, Graphics Gems (1990).
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let fraction = rough / power;
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|nice| fraction <= nice * (1.0 + 1e-9))
        .unwrap_or(10.0);
    nice * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(unit: Unit, values: &[f64], rounded: bool) -> Scale {
        Scale::of(&Axis::new("", unit), values.iter().copied(), rounded)
    }

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks.iter().map(|&tick| scale.tick(tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            labels(&scale(Unit::Integer, &[1.0, 50.0], false)),
            ["10", "20", "30", "40", "50"]
        );
        assert_eq!(
            labels(&scale(Unit::Integer, &[1.0, 3.0], false)),
            ["1", "2", "3"]
        );
        assert_eq!(
            labels(&scale(Unit::Integer, &[1.0], false)),
            ["0", "1", "2"]
        );
        assert_eq!(
            labels(&scale(Unit::Number, &[0.31, 2.08], true)),
            ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]
        );
        assert_eq!(
            labels(&scale(Unit::Percent, &[0.881, 0.904], true)),
            [
                "88.0\u{202F}%",
                "88.5\u{202F}%",
                "89.0\u{202F}%",
                "89.5\u{202F}%",
                "90.0\u{202F}%",
                "90.5\u{202F}%"
            ]
        );
        assert_eq!(
            labels(&scale(Unit::Number, &[0.1, 0.3], true)),
            ["0.10", "0.15", "0.20", "0.25", "0.30"]
        );
        assert_eq!(nice_step(0.2), 0.2);
        assert_eq!(nice_step(0.21), 0.5);
        assert_eq!(nice_step(7.0), 10.0);
    }

    #[test]
    fn odd_values_give_finite_places() {
        let cases: [&[f64]; 9] = [
            &[],
            &[0.0],
            &[f64::NAN],
            &[f64::INFINITY, 1.0],
            &[1e16, 1e16 + 2.0],
            &[-1e99, 1e99],
            &[1e-300, 2e-300],
            &[5.0, 5.0],
            &[f64::MAX, f64::MIN],
        ];
        for unit in [Unit::Integer, Unit::Number, Unit::Percent] {
            for values in cases {
                for rounded in [false, true] {
                    let scale = scale(unit, values, rounded);
                    assert!(scale.low < scale.high, "{unit:?} {values:?}");
                    assert!(scale.ticks.len() <= 21, "{unit:?} {values:?}");
                    for value in values.iter().filter(|value| finite(**value)) {
                        let share = scale.share(*value);
                        assert!((0.0..=1.0).contains(&share), "{unit:?} {values:?} {share}");
                    }
                }
            }
        }
    }
}
