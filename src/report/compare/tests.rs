use super::super::sample::{comparison, well_formed};
use super::*;

#[test]
fn means_spreads_and_sums_over_runs() {
    let comparison = comparison(3);
    let row = &comparison.rows[0];
    let accuracies: Vec<f64> = row
        .runs
        .iter()
        .map(|run| run.evaluation.song_accuracy)
        .collect();
    let spread = row.spread(|run| run.evaluation.song_accuracy).unwrap();
    assert_eq!(spread.count, 3);
    assert!((spread.mean - (accuracies[0] + accuracies[1] + accuracies[2]) / 3.0).abs() < 1e-12);

    let sum = row.confusion_songs();
    assert_eq!(sum.iter().flatten().sum::<u64>(), 3 * 40);
    let cells = row
        .runs
        .iter()
        .map(|run| run.evaluation.confusion_songs[1][2]);
    assert_eq!(sum[1][2], cells.sum::<u64>());
}

#[test]
fn a_comparison_is_whole_and_well_formed() {
    for runs in [1, 3] {
        let comparison = comparison(runs);
        let html = render(&comparison);
        well_formed(&html);
        assert_eq!(html.matches("class=\"confusion").count(), 5);
        assert_eq!(
            html.matches("class=\"line faint").count(),
            if runs == 1 { 0 } else { 15 }
        );
        for expected in [
            "1,650,442",
            "What the leak is worth",
            "0.041 ms",
            "accurate",
        ] {
            assert!(html.contains(expected), "{expected}");
        }
        assert_eq!(html.contains("sample standard deviation"), runs == 3);
        // 0.75 - 0.0033 by segment against 0.75 - 0.22 by song: 21.7 points.
        assert!(html.contains("+21.7"));
    }
}

#[test]
fn the_mean_curve_ends_where_the_first_run_stopped() {
    // `window` ran for 10, 11 and 12 epochs.
    let html = render(&comparison(3));
    let spots = html.matches("<title>window, epoch ").count();
    assert_eq!(spots, 10);
}

#[test]
fn odd_comparisons_are_drawn() {
    let mut comparison = comparison(2);
    comparison.leak.clear();
    comparison.rows[0].runs.clear();
    comparison.rows[1].model = "<script>&".into();
    comparison.rows[2].runs[0].train_seconds = f64::NAN;
    comparison.rows[2].predict_one_ms = Some(f64::INFINITY);
    comparison.leak_warning = Some("<i>leak".into());
    comparison.unfinished = Some("3 of 10 runs are done".into());
    comparison.failed = vec!["window, seed <1>: NaN".into()];
    let html = render(&comparison);
    well_formed(&html);
    assert!(!html.contains("What the leak is worth") && html.contains("inflated"));
    assert!(html.contains("&lt;script&gt;&amp;"));
    assert!(html.contains("3 of 10 runs") && html.contains("window, seed &lt;1&gt;: NaN"));

    comparison.rows.clear();
    well_formed(&render(&comparison));
}

#[test]
fn the_file_is_the_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compare.html");
    let comparison = comparison(1);
    write(&path, &comparison).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), render(&comparison));
}
