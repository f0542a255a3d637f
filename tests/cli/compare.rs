//! Several models on the same songs.

use crate::support::{Place, Said};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SMALL: &str = "--data music --validation 0.5 --epochs 2 --batch-size 8 --width 0.25";

fn compare(place: &Place, more: &str) -> Said {
    place.run(&format!("compare {SMALL} {more}"))
}

fn file(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&place.read(name)).unwrap()
}

fn page(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn a_run_is_the_one_that_train_makes_with_its_seed() {
    let place = Place::with_music();
    let said = compare(&place, "--models parallel,window --seeds 2 --out c --json").done();
    let lines = said.json();
    let (done, runs) = lines.split_last().unwrap();
    let told: Vec<String> = runs
        .iter()
        .map(|run| format!("{} {} {}", run["model"], run["run"], run["split"]).replace('"', ""))
        .collect();
    let expected = ["parallel", "window"].map(|model| {
        ["song", "segment"]
            .map(|split| ["seed 1", "seed 2"].map(|seed| format!("{model} {seed} {split}")))
    });
    assert_eq!(told, expected.concat().concat());

    for (model, run) in [("parallel", &runs[1]), ("window", &runs[5])] {
        let own = place.run(&format!(
            "train {model} {SMALL} --seed 2 --out {model} --json"
        ));
        let own = own.done().json().pop().unwrap();
        for figure in [
            "segment_accuracy",
            "song_accuracy",
            "songs_train",
            "songs_validation",
        ] {
            assert_eq!(run[figure], own[figure], "{model} {figure}");
        }
        let weights = |folder: &str| place.read(&format!("{folder}/model.safetensors"));
        assert!(
            weights(&format!("c/{model}-2")) == weights(model),
            "{model}"
        );
    }
    // One seed holds the same songs out, whatever the model and its front end; another seed others.
    let held =
        |run: &str| file(&place, &format!("c/{run}/run.json"))["split"]["validation"].clone();
    assert_eq!(held("parallel-1"), held("window-1"));
    assert_eq!(held("parallel-2"), held("window-2"));
    assert_ne!(held("parallel-1"), held("parallel-2"));

    assert_eq!(
        (&done["event"], &done["finished"]),
        (&"done".into(), &true.into())
    );
    let mean = |runs: &[Value]| {
        runs.iter()
            .map(|run| run["segment_accuracy"].as_f64().unwrap())
            .sum::<f64>()
            / runs.len() as f64
    };
    let near = |found: &Value, wanted: f64| {
        assert!(
            (found.as_f64().unwrap() - wanted).abs() < 1e-12,
            "{found} is not {wanted}"
        );
    };
    near(
        &done["models"][1]["segment_accuracy"]["mean"],
        mean(&runs[4..6]),
    );
    near(
        &done["leak"][1]["segment_split_segment_accuracy"]["mean"],
        mean(&runs[6..8]),
    );
    near(
        &done["leak"][1]["song_split_segment_accuracy"]["mean"],
        mean(&runs[4..6]),
    );
    near(&done["leak"][0]["published"], 0.7225);
    assert_eq!(done["models"][0]["parameters"], 65 + 17 + 2 * 2001);

    let kept = file(&place, "c/compare.json");
    assert_eq!(kept["runs"].as_array().unwrap(), runs);
    assert_eq!(kept["models"], done["models"]);
    let page = page(&place, "c/compare.html");
    assert!(page.ends_with("</html>\n") && page.contains("What the leak is worth"));
    assert!(!page.contains("Not finished"));
    // There is one already.
    compare(&place, "--out c").refused(1, &["c", "compare.html"]);
    // A folder of runs is not written into where names meet.
    std::fs::remove_file(place.path("c/compare.html")).unwrap();
    std::fs::remove_file(place.path("c/compare.json")).unwrap();
    compare(&place, "--out c").refused(1, &["c/parallel-1", "model.safetensors"]);
}

#[test]
fn folds_hold_every_song_out_once() {
    let place = Place::with_music();
    let line = "compare --data music --models parallel --epochs 1 --batch-size 4";
    let said = place
        .run(&format!("{line} --folds 4 --no-leak --json --out c"))
        .done();
    let lines = said.json();
    assert_eq!(lines.len(), 5);
    let held = lines[..4]
        .iter()
        .map(|run| run["songs_validation"].as_u64().unwrap());
    assert_eq!(held.sum::<u64>(), 8);
    let model = &lines[4]["models"][0];
    assert_eq!(
        (&model["distinct_songs"], &lines[4]["leak"]),
        (&8.into(), &Value::Array(Vec::new()))
    );
    assert_eq!(place.names("c"), ["compare.html", "compare.json"]);

    let text = place.run(&format!("{line} --folds 2")).done();
    for part in [
        "2 folds",
        "95 % interval",
        "macro F1",
        "published",
        "72.",
        "runs/compare-1/compare.html",
    ] {
        assert!(text.out.contains(part), "no '{part}' in {}", text.out);
    }
    assert!(
        text.err.contains("parallel, fold 2, by segment, epoch 1/1"),
        "{}",
        text.err
    );
    place
        .run(&format!("{line} --folds 5 --out d"))
        .refused(1, &["4 song(s)", "5 folds need one each"]);
    place
        .run(&format!("{line} --folds 2 --split segment --out d"))
        .refused(2, &["segment"]);
    for more in ["--seeds 2", "--validation 0.5"] {
        let name = more.split(' ').next().unwrap();
        place
            .run(&format!("{line} --folds 2 {more} --out d"))
            .refused(2, &["--folds", name]);
    }
    assert!(place.names("d").is_empty());
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_trained() {
    let place = Place::with_music();
    for (more, named) in [
        ("--models paralel", "Did you mean 'parallel'?"),
        ("--models parallel,xyz", "'xyz'"),
        ("--models parallel,parallel", "'parallel' twice"),
        ("--models parallel --seeds 0", "--seeds"),
        ("--models parallel --folds 1", "--folds"),
        ("--models parallel --isa mmx", "mmx"),
        ("--models parallel --learning-rate 0", "--learning-rate 0"),
        ("--models parallel --genres low", "low"),
    ] {
        compare(&place, &format!("{more} --out c")).refused(2, &[named]);
    }
    let line =
        "compare --data music --models window,parallel --validation 0.5 --batch-size 9 --out c";
    let said = place.run(line);
    said.refused(2, &["parallel, seed 1", "batch of 9", "--batch-size 8"]);
    assert!(place.names("c").is_empty());

    std::fs::remove_dir_all(place.path("music/low")).unwrap();
    compare(&place, "--out c").refused(1, &["music", "high"]);
}

/// A song of one second has windows, but no segment of two.
#[test]
fn all_models_get_the_songs_that_all_can_use() {
    let place = Place::with_music();
    let samples: Vec<f32> = (0..22_050).map(|i| (0.1 * i as f32).sin()).collect();
    place.samples("music/low/brief.wav", &samples);
    let said = compare(
        &place,
        "--models parallel,window --seeds 1 --no-leak --json --out c",
    )
    .done();
    assert!(said.err.contains("low/brief.wav"), "{}", said.err);
    for run in &said.json()[..2] {
        let songs = |part: &str| run[part].as_u64().unwrap();
        assert_eq!(songs("songs_train") + songs("songs_validation"), 8);
    }
    let alone = compare(&place, "--models window --seeds 1 --no-leak --json --out d").done();
    let run = &alone.json()[0];
    assert_eq!(
        run["songs_train"].as_u64().unwrap() + run["songs_validation"].as_u64().unwrap(),
        9
    );
}

/// Five layers multiply a rate of 1e10 out of the numbers of `f32`, two do not.
#[test]
fn a_run_that_leaves_the_numbers_is_named_and_the_others_stay() {
    let place = Place::with_music();
    let said = compare(
        &place,
        "--models window,parallel --seeds 1 --no-leak --learning-rate 1e10 --json --out c",
    );
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err.contains("1 of 2 runs") && said.err.contains("window, seed 1"),
        "{}",
        said.err
    );
    let lines = said.json();
    assert!(lines[0]["failed"].is_string() && lines[0]["song_accuracy"].is_null());
    assert!(lines[1]["song_accuracy"].is_number(), "{}", lines[1]);
    assert_eq!(lines[2]["failed"].as_array().unwrap().len(), 1);
    assert_eq!(
        place.names("c"),
        ["compare.html", "compare.json", "parallel-1"]
    );
    assert!(page(&place, "c/compare.html").contains("window, seed 1"));
}

#[test]
fn a_comparison_that_is_broken_off_leaves_what_it_has() {
    let place = Place::with_music();
    let line = format!("compare {SMALL} --models parallel --seeds 1000 --out c");
    let mut command = place.command(&line);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !place.path("c/parallel-2/model.safetensors").exists() {
        assert!(begin.elapsed() < Duration::from_secs(120), "no second run");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = file(&place, "c/compare.json");
    assert_eq!(kept["finished"], false);
    assert!(!kept["runs"].as_array().unwrap().is_empty());
    let page = page(&place, "c/compare.html");
    assert!(page.ends_with("</html>\n") && page.contains("of 2000 runs are done"));
}
