//! Folders and files that are not what they should be.

use crate::support::Place;

#[test]
fn a_folder_that_is_none_is_named_with_the_way_out() {
    let place = Place::new();
    place.file("file", "no folder");
    for folder in ["nowhere", "file"] {
        let said = place.run(&format!("train parallel --data {folder} --out run"));
        said.refused(1, &[folder, "<genre>/<song>"]);
    }
    assert!(place.names("run").is_empty());
}

#[test]
fn one_genre_is_too_few() {
    let place = Place::new();
    for number in 0..4 {
        place.song(
            &format!("music/only/{number}.wav"),
            100.0 + f64::from(number),
        );
    }
    place.train("run", "").refused(1, &["music", "only"]);
    std::fs::create_dir_all(place.path("empty")).unwrap();
    let said = place.run("train parallel --data empty --out run");
    said.refused(1, &["empty"]);
    assert!(place.names("run").is_empty());
}

/// A folder with everything that can be wrong with a song, beside good ones.
fn faulty() -> (Place, [&'static str; 6]) {
    let place = Place::with_music();
    place.file("music/low/text.wav", "Notes about the song. ".repeat(300));
    place.file("music/low/empty.wav", "");
    let mut song = place.read("music/low/0.wav");
    song.truncate(song.len() / 3);
    place.file("music/low/cut.wav", &song);
    let mut song = place.read("music/low/1.wav");
    song[..64].fill(0x5A);
    place.file("music/low/corrupt.wav", &song);
    let mut samples = vec![0.1; 90_000];
    samples[40_000] = f32::NAN;
    place.samples("music/low/nan.wav", &samples);
    place.samples("music/low/short.wav", &[0.1; 4000]);
    let names = [
        "text.wav",
        "empty.wav",
        "cut.wav",
        "corrupt.wav",
        "nan.wav",
        "short.wav",
    ];
    (place, names)
}

#[test]
fn songs_that_cannot_be_used_are_left_out_and_listed() {
    let (place, names) = faulty();
    let said = place.train("run", "--json").done();
    let run: serde_json::Value = serde_json::from_slice(&place.read("run/run.json")).unwrap();
    let listed = run["data"]["left_out"].as_array().unwrap();
    assert_eq!(listed.len(), names.len(), "{listed:?}");
    for name in names {
        assert!(
            said.err.contains(&format!("left out: low/{name}: ")),
            "{}",
            said.err
        );
        let entry = listed
            .iter()
            .find(|entry| entry["path"] == format!("low/{name}"));
        assert!(
            entry.unwrap()["reason"].as_str().unwrap().len() > 5,
            "{entry:?}"
        );
    }
    let done = said.json().pop().unwrap();
    assert_eq!(
        done["songs_train"].as_u64().unwrap() + done["songs_validation"].as_u64().unwrap(),
        8
    );
    // The reasons come again from the cache's second look.
    assert!(place.train("again", "").done().err.contains("low/nan.wav"));
}

#[test]
fn strict_makes_them_an_error() {
    let (place, names) = faulty();
    for name in names {
        let said = place.train("run", "--strict");
        // The first in the order of names is told; take it away to see the next.
        assert_eq!(said.code, 1, "{}", said.err);
        assert!(place.names("run").is_empty());
        let told = names.iter().find(|name| said.err.contains(*name));
        let told = told.unwrap_or_else(|| panic!("{name}: {}", said.err));
        std::fs::remove_file(place.path("music/low").join(told)).unwrap();
    }
    place.train("run", "--strict").done();
}

#[test]
fn a_damaged_cache_is_rebuilt() {
    let place = Place::with_music();
    place.train("first", "").done();
    fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found)
            } else {
                found.push(path)
            }
        }
    }
    let mut cached = Vec::new();
    files(&place.path("cache"), &mut cached);
    assert_eq!(cached.len(), 8);
    for (i, path) in cached.iter().enumerate() {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        match i % 3 {
            0 => bytes[middle] ^= 0x40,
            1 => bytes.truncate(middle),
            _ => bytes.clear(),
        }
        std::fs::write(path, bytes).unwrap();
    }
    place.train("second", "").done();
    assert!(place.read("first/model.safetensors") == place.read("second/model.safetensors"));
}
