use super::super::sample::{GENRES, names, run, well_formed};
use super::*;
use crate::train::history::Epoch;

/// All text of the document, as a reader gets it.
fn text(html: &str) -> String {
    well_formed(html)
        .descendants()
        .filter(|node| node.is_text())
        .filter_map(|node| node.text().map(str::to_string))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_run_is_whole_and_well_formed() {
    let report = run(&names(&GENRES), 5, 50);
    let html = render(&report);
    let document = well_formed(&html);
    let count = |name: &str| {
        document
            .descendants()
            .filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", name)))
            .count()
    };
    assert_eq!((count("h1"), count("main"), count("figure")), (1, 1, 6));
    let text = text(&html);
    let evaluation = &report.evaluation;
    for expected in [
        "61,071",
        &percent(evaluation.song_accuracy),
        &percent_range(evaluation.segment_interval),
        &percent(evaluation.calibration.ece),
        &percent(evaluation.song_calibration.ece),
        "jazz/jazz.00054.wav",
        "the header is cut off",
        "1 min 14 s",
        &evaluation.wrong_songs[0].path,
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(!text.contains("inflated"));
    assert!(html.contains(&format!(
        "best: epoch {}",
        report.history.best().unwrap().epoch
    )));
}

#[test]
fn the_confusion_matrix_shows_every_count() {
    let report = run(&names(&GENRES), 5, 3);
    let html = render(&report);
    let document = well_formed(&html);
    let tables: Vec<_> = document
        .descendants()
        .filter(|node| {
            node.attribute("class")
                .is_some_and(|class| class.starts_with("confusion"))
        })
        .collect();
    for (table, counts) in tables.iter().zip([
        &report.evaluation.confusion_songs,
        &report.evaluation.confusion_segments,
    ]) {
        let cells: Vec<u64> = table
            .descendants()
            .filter(|node| node.tag_name().name() == "td")
            .map(|cell| {
                cell.first_child()
                    .and_then(|child| child.text())
                    .map_or(0, |text| text.replace(',', "").parse().unwrap())
            })
            .collect();
        let expected: Vec<u64> = counts.iter().flatten().copied().collect();
        assert_eq!(cells, expected);
    }
    assert_eq!(tables.len(), 2);
}

#[test]
fn no_text_becomes_markup() {
    const HOSTILE: &str =
        "</td></style></title><script>alert(1)</script><img src=x onerror='a()'>\"&\u{0}\u{1b}";
    let hostile = || HOSTILE.to_string();
    let mut genres = names(&["rock & roll", "<b>"]);
    genres.push(hostile());
    let mut report = run(&genres, 3, 4);
    report.title = hostile();
    report.model = hostile();
    report.data = hostile();
    report.split = hostile();
    report.leak = Some(hostile());
    report.machine = hostile();
    report.left_out = vec![LeftOut {
        path: hostile(),
        reason: hostile(),
    }];
    report.settings = vec![Settings {
        group: hostile(),
        values: vec![(hostile(), hostile())],
    }];
    for song in &mut report.evaluation.wrong_songs {
        (song.path, song.genre, song.predicted) = (hostile(), hostile(), hostile());
    }
    assert!(!report.evaluation.wrong_songs.is_empty());
    let html = render(&report);
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>\""));
    let text = text(&html);
    assert!(text.contains(&HOSTILE.replace(['\u{0}', '\u{1b}'], "\u{FFFD}")));
    assert!(text.contains("inflated"), "the warning stands");
    assert!(text.contains("rock & roll"));
}

#[test]
fn odd_runs_are_drawn() {
    let long = "a genre whose name is exactly sixty characters long, really!";
    assert_eq!(long.len(), 60);
    let thirty: Vec<String> = (0..30)
        .map(|genre| format!("genre {genre} {long}"))
        .collect();
    for (genres, epochs) in [
        (names(&[long]), 1),
        (names(&[long, "b"]), 0),
        (thirty, 1),
        (names(&GENRES), 1000),
    ] {
        let html = render(&run(&genres, 1, epochs));
        well_formed(&html);
        assert_eq!(html.contains("How it learned"), epochs > 0);
        assert!(html.len() < 1_500_000, "{}", html.len());
    }

    // Nothing left out, nothing wrong, no validation figures, training that left the numbers.
    let mut report = run(&names(&GENRES), 2, 3);
    report.left_out.clear();
    report.evaluation.wrong_songs.clear();
    report.train_seconds = f64::NAN;
    for epoch in &mut report.history.0 {
        *epoch = Epoch {
            loss: f64::INFINITY,
            val_loss: f64::NAN,
            val_accuracy: f64::NAN,
            ..*epoch
        };
    }
    let html = render(&report);
    let text = text(&html);
    assert!(text.contains("all 16 songs are named rightly") && !text.contains("left out"));
    assert!(
        text.contains("nothing to draw") && !text.contains("NaN") && !text.contains("best: epoch")
    );
}

#[test]
fn the_file_is_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let report = run(&names(&GENRES), 2, 2);
    write(&path, &report).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), render(&report));
    assert!(write(folder.path().join("missing/report.html"), &report).is_err());

    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<RunReport>(&json).unwrap(), report);
}
