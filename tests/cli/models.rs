//! Model files that are not what they should be: named, with what is wrong; nothing runs.

use crate::support::Place;
use sonograd::Tensor;
use sonograd::io::TensorFile;
use std::path::Path;

/// A place with a trained model, its bytes, and a song.
fn trained() -> (Place, Vec<u8>) {
    let place = Place::with_music();
    place.train("run", "").done();
    let bytes = place.read("run/model.safetensors");
    (place, bytes)
}

#[track_caller]
fn refused(place: &Place, named: &[&str]) {
    for line in [
        "predict bad.safetensors music/low/0.wav",
        "evaluate bad.safetensors --data music",
    ] {
        let mut all = vec!["bad.safetensors"];
        all.extend(named);
        place.run(line).refused(1, &all);
    }
}

#[test]
fn a_model_that_is_cut_off_anywhere_is_refused() {
    let (place, bytes) = trained();
    let head = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let ends = [
        0,
        1,
        7,
        8,
        9,
        head / 2,
        head - 1,
        head,
        head + 1,
        bytes.len() / 2,
        bytes.len() - 1,
    ];
    for end in ends {
        place.file("bad.safetensors", &bytes[..end]);
        refused(&place, &["cut off"]);
    }
    // A length of the head that no file has.
    let mut huge = bytes.clone();
    huge[..8].fill(0xFF);
    place.file("bad.safetensors", huge);
    refused(&place, &[]);
    place.file("bad.safetensors", "{\"not\": \"a model\"}".repeat(99));
    refused(&place, &[]);
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let place = Place::with_music();
    for command in [
        "predict none.safetensors music/low/0.wav",
        "evaluate none.safetensors",
    ] {
        place.run(command).refused(1, &["none.safetensors"]);
    }
    place
        .run("predict music music/low/0.wav")
        .refused(1, &["music"]);
}

#[test]
fn another_version_and_a_foreign_file_are_refused() {
    let (place, bytes) = trained();
    let read = || TensorFile::from_bytes(&bytes, Path::new("model")).unwrap();
    let write = |file: &TensorFile| place.file("bad.safetensors", file.to_bytes().unwrap());
    let edit = |from: &str, to: &str| {
        let mut file = read();
        let text = file.metadata.values_mut().next().unwrap();
        assert!(text.contains(from), "no {from} in {text}");
        *text = text.replacen(from, to, 1);
        write(&file);
    };
    edit("sonograd-model-1", "sonograd-model-9");
    refused(&place, &["sonograd-model-9", "sonograd-model-1"]);
    edit("\"parallel\"", "\"perpendicular\"");
    refused(&place, &["perpendicular"]);
    edit("\"segments\"", "\"windows\"");
    refused(&place, &["windows"]);
    edit("\"genres\":[", "\"genres\":[\"another\",");
    refused(&place, &["classifier", "3 genres"]);
    edit("\"genres\"", "\"kinds\"");
    refused(&place, &["description"]);
    edit("{", "");
    refused(&place, &["description"]);
    let mut file = read();
    file.metadata.clear();
    write(&file);
    refused(&place, &["not a model"]);
}

#[test]
fn wrong_weights_are_named() {
    let (place, bytes) = trained();
    let change = |with: &dyn Fn(&mut TensorFile)| {
        let mut file = TensorFile::from_bytes(&bytes, Path::new("model")).unwrap();
        with(&mut file);
        place.file("bad.safetensors", file.to_bytes().unwrap());
    };
    let name = "branch1.conv.kernel";
    change(&|file| {
        file.tensors
            .insert(name.into(), Tensor::zeros([8, 8, 1, 4]));
    });
    refused(&place, &[name, "8x8x1x4", "8x8x1x3"]);
    change(&|file| {
        file.tensors.remove(name).unwrap();
    });
    refused(&place, &[name]);
    change(&|file| file.tensors.get_mut(name).unwrap().data_mut()[5] = f32::NAN);
    refused(&place, &[name]);
    change(&|file| {
        file.tensors
            .insert("branch3.conv.kernel".into(), Tensor::zeros([2]));
    });
    refused(&place, &["branch3.conv.kernel"]);
}

/// Of the weights or of the genres: damage that leaves the file readable.
#[test]
fn a_description_of_impossible_sizes_is_refused() {
    let (place, bytes) = trained();
    for (from, to) in [
        ("\"width\":1.0", "\"width\":1e300"),
        ("\"width\":1.0", "\"width\":-1.0"),
        ("\"genres\":[\"high\",\"low\"]", "\"genres\":[]"),
        ("\"deviation\":", "\"deviation\":-"),
    ] {
        let mut file = TensorFile::from_bytes(&bytes, Path::new("model")).unwrap();
        let text = file.metadata.values_mut().next().unwrap();
        assert!(text.contains(from), "no {from} in {text}");
        *text = text.replacen(from, to, 1);
        place.file("bad.safetensors", file.to_bytes().unwrap());
        refused(&place, &[]);
    }
}
