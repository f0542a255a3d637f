//! A run from songs to figures: train, evaluate, predict.

use crate::support::Place;
use serde_json::{Value, json};

const FILES: [&str; 4] = [
    "history.csv",
    "model.safetensors",
    "report.html",
    "run.json",
];

fn keys(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn has(object: &Value, wanted: &[&str]) {
    for key in wanted {
        assert!(!object[*key].is_null(), "no '{key}' in {object}");
    }
}

#[test]
fn a_run_tells_its_epochs_and_its_end_and_leaves_four_files() {
    let place = Place::with_music();
    let said = place.train("run", "--seed 3 --json").done();
    let events = said.json();
    assert_eq!(events.len(), 3);
    for (i, event) in events[..2].iter().enumerate() {
        assert_eq!(event["event"], "epoch");
        assert_eq!(event["epoch"], i + 1);
        let figures = ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"];
        for figure in figures {
            assert!(event[figure].is_f64(), "{figure}: {event}");
        }
    }
    let done = &events[2];
    assert_eq!(done["event"], "done");
    assert_eq!(done["songs_train"], 4);
    assert_eq!(done["songs_validation"], 4);
    has(
        done,
        &["segment_accuracy", "song_accuracy", "train_seconds"],
    );
    assert_eq!(done["model"], "run/model.safetensors");
    assert_eq!(place.names("run"), FILES);

    let run: Value = serde_json::from_slice(&place.read("run/run.json")).unwrap();
    has(
        &run,
        &[
            "model", "recipe", "threads", "machine", "data", "split", "results",
        ],
    );
    assert_eq!(run["recipe"]["seed"], 3);
    assert_eq!(run["recipe"]["batch_size"], 4);
    assert_eq!(run["data"]["genres"], json!(["high", "low"]));
    assert_eq!(run["split"]["train"].as_array().unwrap().len(), 4);
    let results = &run["results"]["evaluation"];
    assert_eq!(results["song_accuracy"], done["song_accuracy"]);
    let history = String::from_utf8(place.read("run/history.csv")).unwrap();
    assert_eq!(history.lines().count(), 3, "a heading and two epochs");
    let report = String::from_utf8(place.read("run/report.html")).unwrap();
    assert!(report.contains("</html>") && !report.contains("http-equiv=\"refresh\""));
}

#[test]
fn a_run_without_json_is_for_people() {
    let place = Place::with_music();
    let said = place.train("run", "").done();
    assert!(said.out.contains("8 songs of 2 genres"), "{}", said.out);
    assert!(said.out.contains("songs:") && said.out.contains("report.html"));
    assert!(said.err.contains("epoch 2/2"), "{}", said.err);
}

/// What another framework needs to train and judge alike.
#[test]
fn a_problem_says_which_song_a_row_is_from_and_when_to_stop() {
    let place = Place::with_music();
    place
        .train("run", "--problem p.safetensors --patience 3")
        .done();
    let bytes = place.read("p.safetensors");
    let file = sonograd::io::TensorFile::from_bytes(&bytes, std::path::Path::new("p")).unwrap();
    let given: Vec<&str> = ["model", "epochs", "patience", "batch_size"]
        .iter()
        .map(|key| file.metadata[*key].as_str())
        .collect();
    assert_eq!(given, ["parallel", "2", "3", "4"]);
    let mut songs = Vec::new();
    for part in ["train", "validation"] {
        let of_row = file.tensors[&format!("{part}/song")].data();
        let targets = file.tensors[&format!("{part}/target")].data();
        // Four songs of two segments each; two rows of a song stand together and have its genre.
        assert_eq!(of_row.len(), 8);
        for (rows, targets) in of_row.chunks(2).zip(targets.chunks(4)) {
            assert_eq!((rows[0], &targets[..2]), (rows[1], &targets[2..]));
            songs.push(rows[0] as usize);
        }
    }
    songs.sort_unstable();
    assert_eq!(songs, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn runs_without_out_are_numbered() {
    let place = Place::with_music();
    let line = "train parallel --data music --epochs 1 --batch-size 4 --validation 0.5";
    place.run(line).done();
    place.run(line).done();
    assert_eq!(place.names("runs"), ["parallel-1", "parallel-2"]);
    assert_eq!(place.names("runs/parallel-2"), FILES);
}

#[test]
fn the_same_seed_is_the_same_file_on_any_number_of_threads() {
    let place = Place::with_music();
    place.train("one", "--threads 1").done();
    place.train("two", "--threads 2").done();
    place.train("other", "--threads 2 --seed 1").done();
    let model = |run: &str| place.read(&format!("{run}/model.safetensors"));
    assert!(model("one") == model("two"));
    assert!(model("one") != model("other"));
    // From the cache or decoded anew: the same song.
    place.train("anew", "--no-cache").done();
    assert!(model("one") == model("anew"));
}

#[test]
fn evaluate_gives_what_training_ended_with() {
    let place = Place::with_music();
    let done = place.train("run", "--json").done().json().remove(2);
    let judged = |more: &str| {
        let line = format!("evaluate run/model.safetensors --json {more}");
        let mut objects = place.run(&line).done().json();
        assert_eq!(objects.len(), 1);
        objects.remove(0)
    };
    let run: Value = serde_json::from_slice(&place.read("run/run.json")).unwrap();
    let ended = &run["results"]["evaluation"];
    for more in [
        "",
        "--data music",
        "--part validation",
        "--threads 1",
        "--no-cache",
    ] {
        let found = judged(more);
        assert_eq!(
            found["segment_accuracy"], done["segment_accuracy"],
            "{more}"
        );
        assert_eq!(found["song_accuracy"], done["song_accuracy"], "{more}");
        assert_eq!(found["loss"], ended["segment_loss"], "{more}");
        assert_eq!(found["confusion"], ended["confusion_songs"], "{more}");
        assert_eq!(found["songs"], 4, "{more}");
    }
    assert_eq!(judged("--part all")["songs"], 8);
    assert_eq!(judged("--vote majority")["songs"], 4);
}

#[test]
fn another_folder_is_judged_whole() {
    let place = Place::with_music();
    place.train("run", "").done();
    for number in 0..3 {
        place.song(&format!("else/low/{number}.wav"), 120.0 + f64::from(number));
        place.song(
            &format!("else/high/{number}.wav"),
            2000.0 + f64::from(number),
        );
    }
    let line = "evaluate run/model.safetensors --data else";
    let found = place.run(&format!("{line} --json")).done().json().remove(0);
    assert_eq!(found["songs"], 6);
    let sum = |rows: &Value| -> u64 {
        let rows = rows.as_array().unwrap().iter();
        rows.flat_map(|row| row.as_array().unwrap())
            .map(|n| n.as_u64().unwrap())
            .sum()
    };
    assert_eq!(sum(&found["confusion"]), 6);
    place
        .run(&format!("{line} --part validation"))
        .refused(2, &["--part validation", "leave --part out"]);
    // A genre that the model has never heard.
    place.song("else/polka/0.wav", 500.0);
    place
        .run(line)
        .refused(2, &["polka", "high, low", "--genres"]);
    place.run(&format!("{line} --genres low,high")).done();
}

#[test]
fn a_model_whose_folder_is_gone_asks_for_the_data() {
    let place = Place::with_music();
    place.train("run", "").done();
    std::fs::rename(
        place.path("run/model.safetensors"),
        place.path("alone.safetensors"),
    )
    .unwrap();
    let said = place.run("evaluate alone.safetensors");
    said.refused(2, &["alone.safetensors", "--data"]);
    place.run("evaluate alone.safetensors --data music").done();
}

#[test]
fn predict_answers_every_file_that_it_can() {
    let place = Place::with_music();
    place.train("run", "").done();
    place.song("song.wav", 100.0);
    place.song("high song.wav", 1800.0);
    let said = place
        .run("predict run/model.safetensors song.wav --json")
        .done();
    let answer = said.json().remove(0);
    assert_eq!(
        keys(&answer),
        ["file", "genre", "probabilities", "segments"]
    );
    assert_eq!(answer["file"], "song.wav");
    let probabilities = answer["probabilities"].as_object().unwrap();
    let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
    assert!(
        (sum - 1.0).abs() < 1e-5 && probabilities.len() == 2,
        "{answer}"
    );
    let best = probabilities[answer["genre"].as_str().unwrap()]
        .as_f64()
        .unwrap();
    assert!(best >= 0.5, "{answer}");
    let segments = answer["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    for segment in segments {
        assert_eq!(keys(segment), ["end", "genre", "probability", "start"]);
        let (start, end) = (
            segment["start"].as_f64().unwrap(),
            segment["end"].as_f64().unwrap(),
        );
        assert!(start >= 0.0 && start < end && end < 4.2, "{segment}");
    }

    // A bad file among good ones: they are answered, it is named, and the exit code tells.
    place.file("text.wav", "These are no sounds. ".repeat(500));
    let mut command =
        place.command("predict run/model.safetensors song.wav text.wav none.wav --json");
    let said = crate::support::Said::of(&command.arg("high song.wav").output().unwrap());
    assert_eq!(said.code, 1);
    let files: Vec<Value> = said
        .json()
        .into_iter()
        .map(|mut answer| answer["file"].take())
        .collect();
    assert_eq!(files, ["song.wav", "high song.wav"]);
    assert!(
        said.err.contains("text.wav") && said.err.contains("none.wav"),
        "{}",
        said.err
    );

    let text = place
        .run("predict run/model.safetensors song.wav --top 1")
        .done()
        .out;
    assert!(
        text.starts_with("song.wav: ") && text.matches("\n").count() >= 3,
        "{text}"
    );
}
