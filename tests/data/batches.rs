//! Normalisation, the order of an epoch, and the buffers of a batch.

use sonograd::audio::FrontEnd;
use sonograd::data::{Dataset, Normalisation, SongFeatures, epoch_order, fill};

use crate::support::invent;

#[test]
fn normalisation_is_of_the_training_part_alone() {
    // Every value of segment i is i: over 0..4 the mean is 1.5, the population's variance 1.25.
    let dataset = invent(2, &[(0, None, 2), (1, None, 2), (1, None, 2)]);
    let normalisation = Normalisation::of(&dataset, &[0, 1, 2, 3]).unwrap();
    assert_eq!(normalisation.mean, 1.5);
    assert!((normalisation.deviation - 1.25f32.sqrt()).abs() < 1e-7);
    assert_eq!(
        Normalisation::of(&dataset, &[1, 5]).unwrap(),
        Normalisation {
            mean: 3.0,
            deviation: 2.0
        }
    );
}

#[test]
fn normalisation_is_exact_far_from_zero() {
    // -80 dB with a ripple of 1/1024: exact in f32; sums of f32 squares would lose the ripple.
    let length = FrontEnd::Windows.shape().len();
    let features: Vec<f32> = (0..400 * length)
        .map(|i| -80.0 + if i % 2 == 0 { 1.0 } else { -1.0 } / 1024.0)
        .collect();
    let song = |genre, features| SongFeatures {
        path: format!("{genre}"),
        genre,
        group: None,
        content: [genre as u8; 32],
        features,
    };
    let names = vec!["a".into(), "b".into()];
    let songs = vec![song(0, features.clone()), song(1, features)];
    let dataset = Dataset::from_songs(names, FrontEnd::Windows, songs).unwrap();
    let train: Vec<u32> = (0..800).collect();
    let normalisation = Normalisation::of(&dataset, &train).unwrap();
    assert_eq!(
        normalisation,
        Normalisation {
            mean: -80.0,
            deviation: 1.0 / 1024.0
        }
    );
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(
        pool.install(|| Normalisation::of(&dataset, &train))
            .unwrap(),
        normalisation
    );
}

#[test]
fn equal_values_cannot_be_normalised() {
    let dataset = invent(2, &[(0, None, 1), (1, None, 1)]);
    for train in [&[0][..], &[1, 1], &[]] {
        let message = Normalisation::of(&dataset, train).unwrap_err().to_string();
        assert!(message.contains("cannot be normalised"), "{message}");
    }
}

#[test]
fn an_epoch_is_a_permutation_of_its_own() {
    let train: Vec<u32> = (0..500).map(|i| 3 * i + 1).collect();
    let order = epoch_order(&train, 7, 1);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, train);
    assert_ne!(order, train);
    assert_eq!(order, epoch_order(&train, 7, 1));
    assert_ne!(order, epoch_order(&train, 7, 2));
    assert_ne!(order, epoch_order(&train, 8, 1));
    assert!(epoch_order(&[], 7, 1).is_empty());
}

#[test]
fn a_batch_is_written_whole_and_nothing_beside_it() {
    let dataset = invent(3, &[(0, None, 2), (1, None, 1), (2, None, 2)]);
    let normalisation = Normalisation {
        mean: 2.0,
        deviation: 0.5,
    };
    let length = dataset.segment_len();
    for indices in [&[4, 0, 2][..], &[3], &[]] {
        let mut inputs = vec![f32::NAN; indices.len() * length];
        let mut targets = vec![f32::NAN; indices.len() * 3];
        fill(&dataset, indices, normalisation, &mut inputs, &mut targets);
        for (row, index) in indices.iter().enumerate() {
            let expected = (*index as f32 - 2.0) / 0.5;
            assert!(
                inputs[row * length..(row + 1) * length]
                    .iter()
                    .all(|value| *value == expected)
            );
            let genre = [0, 0, 1, 2, 2][*index as usize];
            let one_hot: Vec<f32> = (0..3)
                .map(|class| if class == genre { 1.0 } else { 0.0 })
                .collect();
            assert_eq!(targets[3 * row..3 * (row + 1)], one_hot);
        }
    }
}

#[test]
#[should_panic(expected = "inputs as long as the batch")]
fn a_buffer_of_another_length_is_refused() {
    let dataset = invent(2, &[(0, None, 1), (1, None, 1)]);
    let normalisation = Normalisation {
        mean: 0.0,
        deviation: 1.0,
    };
    let mut inputs = vec![0.0; 3 * dataset.segment_len()];
    fill(&dataset, &[0, 1], normalisation, &mut inputs, &mut [0.0; 4]);
}
