//! The smaller commands: features, models, synth, verify; and pipes.

use crate::support::{Place, Said, fixture};
use serde_json::Value;
use sonograd::io::TensorFile;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

#[test]
fn features_are_written_as_numbers_and_as_a_picture() {
    let place = Place::new();
    place.song("song.wav", 440.0);
    for (front_end, shape) in [("segments", [2, 80, 80]), ("windows", [0, 5, 128])] {
        let run = |out: &str| {
            let line = format!("features song.wav --front-end {front_end} --out {out}");
            assert_eq!(place.run(&line).done().out, format!("{out}\n"));
            place.read(out)
        };
        let bytes = run("f.safetensors");
        let file = TensorFile::from_bytes(&bytes, Path::new("f")).unwrap();
        let tensor = &file.tensors[front_end];
        let extents = tensor.shape().extents();
        assert_eq!(extents[1..], shape[1..]);
        assert!(shape[0] == 0 || extents[0] == shape[0], "{extents:?}");
        assert!(tensor.data().iter().all(|x| x.is_finite()));

        let numpy = run("f.npy");
        assert_eq!(&numpy[..6], b"\x93NUMPY");
        let data = &numpy[numpy.len() - 4 * tensor.data().len()..];
        let same = data.as_chunks::<4>().0.iter().zip(tensor.data());
        assert!(
            same.into_iter()
                .all(|(word, x)| f32::from_le_bytes(*word) == *x)
        );

        let picture = run("f.png");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&picture))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert!(reader.info().width > 200 && reader.info().height > 100);
    }
}

#[test]
fn features_that_cannot_be_made_leave_no_file() {
    let place = Place::new();
    place.song("song.wav", 440.0);
    place.file("text.wav", "Notes about the song. ".repeat(300));
    let nothing = |place: &Place| assert_eq!(place.names(""), ["song.wav", "text.wav"]);
    place
        .run("features song.wav --out f.txt")
        .refused(2, &["f.txt", ".npy"]);
    place.run("features song.wav --out f").refused(2, &[".npy"]);
    place
        .run("features text.wav --out f.npy")
        .refused(1, &["text.wav"]);
    place
        .run("features none.wav --out f.npy")
        .refused(1, &["none.wav"]);
    place
        .run("features song.wav --out no/f.npy")
        .refused(1, &["no/f.npy"]);
    let said = place.run("features song.wav --front-end segment --out f.npy");
    said.refused(2, &["segment", "segments"]);
    nothing(&place);
}

#[test]
fn models_are_summed_up_as_keras_does() {
    let place = Place::new();
    let text = place.run("models parallel").done().out;
    assert!(text.contains("Total params: 61,071"), "{text}");
    for row in [
        "branch1.conv (Conv2D)",
        "(None, 80, 80, 3)",
        "concatenate (Concatenate)",
    ] {
        assert!(text.contains(row), "no '{row}' in {text}");
    }
    let json = place.run("models parallel --json").done().json().remove(0);
    assert_eq!(json["parameters"], 61_071);
    let layers = json["layers"].as_array().unwrap();
    let sum: u64 = layers
        .iter()
        .map(|layer| layer["parameters"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 61_071);
    // A kernel of 7,600 inputs a class, and its bias.
    let ten = place
        .run("models parallel --classes 10 --json")
        .done()
        .json()
        .remove(0);
    assert_eq!(ten["parameters"].as_u64().unwrap() - 61_071, 2 * 7601);
    assert!(place.run("models").done().out.contains("parallel"));
    place
        .run("models parallel --classes 1")
        .refused(2, &["--classes"]);
    place.run("models parallel --width=-2").refused(2, &["-2"]);
}

#[test]
fn synth_writes_songs_to_listen_to_and_overwrites_none() {
    let place = Place::new();
    place.run("synth songs --songs 1 --seed 2").done();
    assert_eq!(place.names("songs").len(), 8);
    let song = place.read("songs/jazz/jazz.00000.wav");
    let reader = hound::WavReader::new(&song[..]).unwrap();
    assert_eq!(reader.duration() / reader.spec().sample_rate, 30);
    let said = place.run("synth songs --songs 1 --seed 3");
    assert_ne!(said.code, 0);
    assert!(said.err.contains("songs"), "{}", said.err);
    assert!(place.read("songs/jazz/jazz.00000.wav") == song);
    place.run("synth more --songs 0").refused(2, &["--songs"]);
}

#[test]
fn verify_passes_and_notices_one_changed_weight() {
    let place = Place::new();
    let path = fixture("keras/parallel.safetensors");
    let record = std::fs::read(&path).unwrap();
    place.file("keras/parallel.safetensors", &record);
    let figures = [
        "file",
        "grad_rel_l2",
        "isa",
        "loss_rel",
        "model",
        "output_max_abs",
        "params_rel_l2",
        "pass",
        "precision",
        "trajectory_loss_rel",
    ];
    for line in [
        "verify --json",
        "verify keras --json",
        "verify keras/parallel.safetensors --json",
    ] {
        let verdicts = place.run(line).done().json();
        assert!(verdicts.iter().any(|verdict| verdict["isa"] == "portable"));
        for verdict in verdicts {
            let keys: Vec<&String> = verdict.as_object().unwrap().keys().collect();
            assert_eq!(keys, figures);
            assert_eq!(verdict["pass"], true);
            // The program's own records are of all five models, the folder's of one.
            let own = line == "verify --json";
            assert!(own || verdict["model"] == "parallel", "{line}");
        }
    }
    let one = place.run("verify --isa portable --json").done().json();
    assert_eq!(one.len(), 5);
    assert!(
        place
            .run("verify")
            .done()
            .out
            .contains("pass  parallel in f32 on portable")
    );

    let mut file = TensorFile::from_bytes(&record, Path::new("record")).unwrap();
    let kernel = file.tensors.get_mut("param/branch1.conv.kernel").unwrap();
    kernel.data_mut()[17] += 0.05;
    place.file("keras/changed.safetensors", file.to_bytes().unwrap());
    let said = place.run("verify keras --isa portable --json");
    assert_eq!(said.code, 1);
    let passed: Vec<Value> = said
        .json()
        .into_iter()
        .map(|mut v| v["pass"].take())
        .collect();
    assert_eq!(passed, [false, true]);
    let text = place.run("verify keras/changed.safetensors --isa portable");
    assert!(
        text.code == 1 && text.out.contains("FAIL") && text.out.contains("! output"),
        "{}",
        text.out
    );

    place.file("keras/changed.safetensors", &record[..record.len() / 2]);
    place
        .run("verify keras/changed.safetensors")
        .refused(1, &["changed.safetensors", "cut off"]);
    place
        .run("verify none.safetensors")
        .refused(1, &["none.safetensors"]);
    std::fs::create_dir(place.path("hollow")).unwrap();
    place.run("verify hollow").refused(1, &["hollow"]);
}

/// As `sonograd ... | head -1`: the reader goes, and that is no failure.
#[test]
fn a_reader_that_has_enough_is_no_error() {
    let place = Place::new();
    for line in ["models parallel", "verify", "models --json"] {
        let mut command = place.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 1]).unwrap();
        drop(stdout);
        let said = Said::of(&child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{line}: {}", said.err);
        assert!(!said.err.contains("sonograd:"), "{line}: {}", said.err);
    }
    // Closed before the first word.
    let mut command = place.command("models parallel");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let said = Said::of(&child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let mut command = place.command("--help");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    Said::of(&child.wait_with_output().unwrap());
}

#[test]
fn tuned_convolutions_are_used_until_they_are_forgotten() {
    let place = Place::with_music();
    let said = place
        .run("tune parallel cnn-rnn --seconds 0.001 --json")
        .done();
    let lines = said.json();
    assert_eq!(lines.len(), 4, "{}", said.out);
    for line in &lines {
        let times = line["microseconds"].as_object().unwrap();
        assert!(times.values().all(|time| time.as_f64().unwrap() > 0.0));
        assert!(times.contains_key(line["chosen"].as_str().unwrap()));
    }
    // Whatever was fastest, from here on `im2col` is.
    let mut file: Value = serde_json::from_slice(&place.read("cache/tuned.json")).unwrap();
    let isa = file["choices"].as_object().unwrap().keys().next().cloned();
    let choices = &mut file["choices"][isa.as_deref().unwrap()]["f32"];
    assert_eq!(choices.as_object().unwrap().len(), 4);
    let block = lines[1]["convolution"].as_str().unwrap();
    choices[block] = "im2col".into();
    place.file("cache/tuned.json", file.to_string());

    let convolution = |out: &str| {
        place.train(out, "").done();
        let run: Value = serde_json::from_slice(&place.read(&format!("{out}/run.json"))).unwrap();
        assert_eq!(run["recipe"]["precision"], "f32");
        run["recipe"]["convolutions"]["branch2.conv"].clone()
    };
    assert_eq!(convolution("tuned"), "im2col");
    assert_eq!(convolution("again"), "im2col");
    assert!(place.read("tuned/model.safetensors") == place.read("again/model.safetensors"));
    // Another machine's choices are left aside, and said to be.
    file["machine"] = "abacus, 1 core".into();
    place.file("cache/tuned.json", file.to_string());
    let said = place.run("verify").done();
    assert!(said.err.contains("another machine"), "{}", said.err);
    // Damaged ones are refused with the way out.
    place.file("cache/tuned.json", "{");
    place
        .run("verify")
        .refused(1, &["tuned.json", "sonograd tune --forget"]);
    place.run("tune --forget").done();
    assert_eq!(convolution("rule"), "winograd");
    assert!(place.run("tune --forget").done().out.contains("nothing"));
}

#[test]
fn products_are_multiplied_as_they_are_asked_for() {
    let place = Place::with_music();
    let line = "train cnn-rnn --data music --validation 0.5 --epochs 1 --batch-size 8";
    let lstms = |out: &str, more: &str| {
        place.run(&format!("{line} --out {out} {more}")).done();
        let run: Value = serde_json::from_slice(&place.read(&format!("{out}/run.json"))).unwrap();
        let products = run["recipe"]["products"].as_object().unwrap().clone();
        assert!(products.keys().eq(["lstm1", "lstm2"]), "{products:?}");
        ["lstm1", "lstm2"].map(|layer| products[layer].as_str().unwrap().to_owned())
    };
    assert_eq!(lstms("rule", ""), ["f32", "f32"]);
    assert_eq!(lstms("bf16", "--precision bf16"), ["bf16", "bf16"]);
    // What was tuned goes before the rule.
    place.run("tune cnn-rnn --seconds 0.001").done();
    let mut file: Value = serde_json::from_slice(&place.read("cache/tuned.json")).unwrap();
    let isa = file["choices"].as_object().unwrap().keys().next().cloned();
    let choices = &mut file["products"][isa.as_deref().unwrap()]["f32"];
    choices["lstm 18 x 6 to 128"] = "bf16x6".into();
    choices["lstm 18 x 128 to 32"] = "f32".into();
    place.file("cache/tuned.json", file.to_string());
    assert_eq!(lstms("tuned", ""), ["bf16x6", "f32"]);
    assert_eq!(lstms("again", ""), ["bf16x6", "f32"]);
    assert!(place.read("tuned/model.safetensors") == place.read("again/model.safetensors"));
    assert!(place.read("tuned/model.safetensors") != place.read("rule/model.safetensors"));
}

#[test]
fn a_model_is_used_in_the_precision_that_it_was_trained_in() {
    let place = Place::with_music();
    let line = "train efficient --width 0.5 --data music --validation 0.5 --epochs 1 --batch-size 4 --json";
    for (out, precision, layer) in [
        ("a", "bf16", "bf16"),
        ("b", "fast", ""),
        ("c", "f32", "winograd"),
    ] {
        let trained = place
            .run(&format!("{line} --precision {precision} --out {out}"))
            .done();
        let run: Value = serde_json::from_slice(&place.read(&format!("{out}/run.json"))).unwrap();
        assert_eq!(run["recipe"]["precision"], precision);
        let convolutions = &run["recipe"]["convolutions"];
        assert_eq!(
            convolutions["conv1"], "winograd",
            "one channel is no wide convolution"
        );
        assert!(
            layer.is_empty() || convolutions["conv2"] == layer,
            "{convolutions}"
        );
        let evaluated = place.run(&format!(
            "evaluate {out}/model.safetensors --data music --json"
        ));
        let last = |said: &Said| said.json().last().cloned().unwrap();
        assert_eq!(
            last(&trained)["segment_accuracy"],
            last(&evaluated.done())["segment_accuracy"]
        );
    }
}
