//! Arguments that cannot be: exit code 2, the value named, nothing written.

use crate::support::Place;

#[test]
fn settings_that_cannot_be_are_named() {
    let place = Place::with_music();
    let train = "train parallel --data music --epochs 1 --batch-size 4 --out run";
    for (more, named) in [
        ("--validation 0", "validation share of 0"),
        ("--validation 1", "validation share of 1"),
        ("--validation 2", "validation share of 2"),
        ("--validation NaN", "validation share of NaN"),
        ("--learning-rate 0", "--learning-rate 0"),
        ("--learning-rate=-1", "--learning-rate -1"),
        ("--learning-rate NaN", "--learning-rate NaN"),
        ("--learning-rate inf", "--learning-rate inf"),
        ("--learning-rate fast", "fast"),
        ("--width 0", "width of 0"),
        ("--width NaN", "width of NaN"),
        ("--split sideways", "sideways"),
        ("--split songs", "did you mean 'song'"),
        ("--genres low,hihg", "did you mean 'high'"),
        ("--genres low", "low"),
        ("--genres low,low", "low"),
        ("--epochs 0", "--epochs"),
        ("--threads 5000", "--threads"),
        ("--seed minus", "minus"),
        ("--songs 5", "--songs"),
        ("--colour blue", "--colour"),
    ] {
        place.run(&format!("{train} {more}")).refused(2, &[named]);
        assert!(place.names("run").is_empty(), "{more}");
    }
    let twice = place.run("train parallel --data music --batch-size 0 --out run");
    twice.refused(2, &["--batch-size"]);
    // Not even a song was analysed: all of it is refused before.
    assert_eq!(place.names(""), ["music"]);
}

#[test]
fn a_batch_larger_than_the_data_says_how_large_it_can_be() {
    let place = Place::with_music();
    let line = "train parallel --data music --validation 0.5 --out run";
    let said = place.run(&format!("{line} --batch-size 9"));
    said.refused(2, &["batch of 9", "--batch-size 8"]);
    assert!(place.names("run").is_empty());
    place
        .run(&format!("{line} --batch-size 8 --epochs 1"))
        .done();
}

#[test]
fn an_unknown_model_is_answered_with_the_nearest() {
    let place = Place::new();
    for command in ["train", "models"] {
        let said = place.run(&format!("{command} paralel"));
        said.refused(2, &["'paralel'", "Did you mean 'parallel'?"]);
    }
    let said = place.run("train xyz").refused(2, &["'xyz'", "parallel"]);
    assert!(!said.err.contains("Did you mean"), "{}", said.err);
}

#[test]
fn an_unknown_instruction_set_is_refused() {
    let place = Place::with_music();
    place
        .run("verify --isa mmx")
        .refused(2, &["mmx", "portable"]);
    let mut command = place.command("train parallel --data music --out run");
    let output = command.env("SONOGRAD_ISA", "mmx").output().unwrap();
    crate::support::Said::of(&output).refused(2, &["SONOGRAD_ISA", "mmx"]);
}

#[test]
fn an_unknown_convolution_algorithm_is_refused() {
    let place = Place::new();
    let mut command = place.command("verify");
    let output = command.env("SONOGRAD_CONV", "strassen").output().unwrap();
    crate::support::Said::of(&output).refused(2, &["SONOGRAD_CONV", "'strassen'", "im2col"]);
    let mut command = place.command("verify");
    let output = command.env("SONOGRAD_GEMM", "f16").output().unwrap();
    crate::support::Said::of(&output).refused(2, &["SONOGRAD_GEMM", "'f16'", "bf16x6"]);
}

#[test]
fn an_unknown_precision_is_refused() {
    let place = Place::with_music();
    for line in [
        "verify",
        "bench",
        "tune",
        "compare --data music",
        "train parallel --data music",
    ] {
        let said = place.run(&format!("{line} --precision f16"));
        said.refused(2, &["'f16'", "f32, fast, bf16"]);
    }
    assert!(place.names("runs").is_empty());
}

#[test]
fn a_folder_that_holds_a_run_is_left_alone() {
    let place = Place::with_music();
    for name in [
        "model.safetensors",
        "history.csv",
        "run.json",
        "report.html",
    ] {
        let folder = format!("used-{name}");
        place.file(&format!("{folder}/{name}"), "mine");
        place
            .train(&folder, "")
            .refused(1, &[&folder, name, "--out"]);
        assert_eq!(place.names(&folder), [name]);
        assert_eq!(place.read(&format!("{folder}/{name}")), b"mine");
    }
    place.file("taken", "mine");
    place.train("taken", "").refused(1, &["taken", "--out"]);
    place.train("taken/run", "").refused(1, &["taken"]);
    assert_eq!(place.read("taken"), b"mine");
    // Other files in the folder are no run.
    place.file("notes/about.txt", "mine");
    place.train("notes", "").done();
    assert_eq!(place.read("notes/about.txt"), b"mine");
}

/// Where training would end and nothing could be kept, it does not begin.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused_before_training() {
    let place = Place::with_music();
    // A folder under `/proc` cannot be made by anyone, also not by root, for whom permissions are no bar.
    let out = "/proc/sonograd";
    let said = place.train(out, "").refused(1, &[out]);
    assert!(!said.err.contains("epoch"), "it was trained: {}", said.err);
}

#[test]
fn every_command_has_examples_in_its_help() {
    let place = Place::new();
    let commands = [
        "train", "compare", "evaluate", "predict", "features", "models", "synth", "verify",
    ];
    for command in commands {
        let help = place.run(&format!("{command} --help")).done().out;
        assert!(help.contains("Example"), "{command}: {help}");
        assert!(
            help.contains(&format!("sonograd {command}")),
            "{command}: {help}"
        );
        let refused = place.run(&format!("{command} --no-such-option"));
        assert_eq!(refused.code, 2, "{command}");
    }
    let help = place.run("--help").done().out;
    assert!(
        commands.iter().all(|command| help.contains(command)),
        "{help}"
    );
    assert!(place.run("--version").done().out.starts_with("sonograd "));
    assert_eq!(place.run("").code, 2);
}
