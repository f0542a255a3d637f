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
        ["0.0", "0.5", "1.0", "1.5", "2.5"]
            .map(|t| if t == "2.5" {
                "2.0".into()
            } else {
                t.to_string()
            })
            .into_iter()
            .chain(["2.5".to_string()])
            .collect::<Vec<_>>()
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

#[test]
fn a_line_breaks_at_nan_and_one_point_is_a_mark() {
    let series = |points: &[(f64, f64)], stroke| Series {
        name: "a < b".into(),
        points: points.to_vec(),
        color: 9,
        stroke,
    };
    let chart = |series| {
        LineChart {
            title: "t".into(),
            x: Axis::new("epoch", Unit::Integer),
            y: Axis::new("loss", Unit::Number),
            series: vec![series],
            rules: vec![
                Rule::Moment(1.0, "best".into()),
                Rule::Level(f64::NAN, "none".into()),
            ],
        }
        .to_html()
    };
    let gap = [
        (1.0, 1.0),
        (2.0, 2.0),
        (3.0, f64::NAN),
        (4.0, 2.0),
        (5.0, f64::INFINITY),
        (6.0, 1.0),
        (7.0, 2.0),
    ];
    let html = chart(series(&gap, Stroke::Solid));
    assert_eq!(html.matches("<polyline").count(), 2);
    assert_eq!(html.matches("class=\"spot").count(), 5);
    assert!(
        html.contains("a &lt; b") && !html.contains("NaN") && !html.contains("inf"),
        "{html}"
    );

    let html = chart(series(&[(1.0, 0.7)], Stroke::Dashed));
    assert_eq!(html.matches("<polyline").count(), 0);
    assert_eq!(
        html.matches("class=\"mark").count(),
        2,
        "the point and the legend"
    );

    let html = chart(series(&[], Stroke::Solid));
    assert!(html.contains("nothing to draw"));
    assert!(
        !chart(series(&gap, Stroke::Faint)).contains("<ul"),
        "no legend"
    );
}
