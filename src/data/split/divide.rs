//! Divides songs between training and validation, or between folds, by whole units: songs that must not be parted.
//!
//! Per genre this is a subset sum: which units together come nearest to the wanted number of songs. It is solved
//! exactly (in units times songs steps) over the units of one genre. Units that span genres, such as an artist of
//! two, tie those sums together; they are placed first, by descent from several seeded starts.

use crate::random::Random;

/// Songs that must stay together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Indices of the songs.
    pub(super) songs: Vec<usize>,
    /// How many songs of each genre: (genre, songs), genres rising, counts above zero.
    pub(super) counts: Vec<(usize, usize)>,
}

/// The first words of every random key here: one purpose each, so that no two draw the same numbers.
const SPANNING: u64 = 0x73706e;
const SINGLE: u64 = 0x736e67;
const DEAL: u64 = 0x64656c;

/// Starts of the descent for units that span genres.
const RESTARTS: u64 = 32;
/// The cost of a genre that is missing on one side: above any sum of shares.
const MISSING: f64 = 1e6;

/// True for each unit that validates: in every genre as near to `fraction` of its songs as whole units allow, and at
/// least one song of each genre on each side where that is possible.
///
/// Deterministic in `seed`. A genre with two or more units, none of which spans genres, is always on both sides.
pub(super) fn divide(units: &[Unit], genres: usize, fraction: f64, seed: u64) -> Vec<bool> {
    let totals = totals(units, genres);
    let mut validates = place_spanning(units, &totals, fraction, seed);
    for (genre, total) in totals.iter().enumerate() {
        let held: usize = validated(units, &validates, genre);
        let mut single: Vec<(usize, usize)> = units
            .iter()
            .enumerate()
            .filter(|(_, unit)| unit.counts.len() == 1 && unit.counts[0].0 == genre)
            .map(|(index, unit)| (index, unit.counts[0].1))
            .collect();
        Random::new(&[SINGLE, seed, genre as u64]).shuffle(&mut single);
        let least = usize::from(held == 0);
        let most = (total - held).saturating_sub(1);
        let target = fraction * *total as f64 - held as f64;
        let sizes: Vec<usize> = single.iter().map(|(_, size)| *size).collect();
        for chosen in nearest_sum(&sizes, target, least, most) {
            validates[single[chosen].0] = true;
        }
    }
    validates
}

/// The fold of each unit, of `folds`: every genre spread as evenly as a greedy deal allows, largest units first.
///
/// A genre with at least `folds` units, none of which spans genres, has a song in every fold.
pub(super) fn deal(units: &[Unit], genres: usize, folds: usize, seed: u64) -> Vec<usize> {
    let totals = totals(units, genres);
    let mut order: Vec<usize> = (0..units.len()).collect();
    Random::new(&[DEAL, seed]).shuffle(&mut order);
    order.sort_by_key(|unit| std::cmp::Reverse(units[*unit].songs.len()));

    let mut fold_of = vec![0; units.len()];
    let mut load = vec![vec![0usize; genres]; folds];
    for index in order {
        let unit = &units[index];
        let crowding = |fold: &usize| -> (f64, usize) {
            let shares = unit
                .counts
                .iter()
                .map(|(genre, _)| load[*fold][*genre] as f64 / totals[*genre] as f64);
            (shares.sum(), load[*fold].iter().sum())
        };
        let fold = (0..folds)
            .min_by(|a, b| {
                crowding(a)
                    .partial_cmp(&crowding(b))
                    .unwrap_or(std::cmp::Ordering::Equal)
            })
            .unwrap_or(0);
        fold_of[index] = fold;
        for (genre, songs) in &unit.counts {
            load[fold][*genre] += songs;
        }
    }
    fold_of
}

/// The songs of each genre.
pub(super) fn totals(units: &[Unit], genres: usize) -> Vec<usize> {
    let mut totals = vec![0; genres];
    for (genre, songs) in units.iter().flat_map(|unit| &unit.counts) {
        totals[*genre] += songs;
    }
    totals
}

/// The songs of one genre that validate.
fn validated(units: &[Unit], validates: &[bool], genre: usize) -> usize {
    units
        .iter()
        .zip(validates)
        .filter(|(_, validates)| **validates)
        .flat_map(|(unit, _)| &unit.counts)
        .filter(|(of, _)| *of == genre)
        .map(|(_, songs)| songs)
        .sum()
}

/// Which sizes to take so that their sum is nearest to `target` within `least..=most`; the smaller sum of two equally
/// near, and of several choices with one sum that of the earliest sizes. Empty where no sum lies there.
fn nearest_sum(sizes: &[usize], target: f64, least: usize, most: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    // last[s]: the size that completed sum s when it was first reached; all before it are smaller indices.
    let mut last: Vec<Option<usize>> = vec![None; total + 1];
    let mut reached = 0;
    for (index, size) in sizes.iter().enumerate() {
        for sum in (*size..=reached + size).rev() {
            let before = sum - size;
            if last[sum].is_none() && sum > 0 && (before == 0 || last[before].is_some()) {
                last[sum] = Some(index);
            }
        }
        reached += size;
    }
    let distance = |sum: &usize| (*sum as f64 - target).abs();
    let best = (least..=most.min(total))
        .filter(|sum| *sum == 0 || last[*sum].is_some())
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let mut sum = best.unwrap_or(0);
    let mut taken = Vec::new();
    while let Some(index) = last[sum] {
        taken.push(index);
        sum -= sizes[index];
    }
    taken
}

/// Places the units that span genres, leaving the others in training: descent by single flips, several starts.
fn place_spanning(units: &[Unit], totals: &[usize], fraction: f64, seed: u64) -> Vec<bool> {
    let mut spanning: Vec<usize> = (0..units.len())
        .filter(|unit| units[*unit].counts.len() > 1)
        .collect();
    let mut best = vec![false; units.len()];
    if spanning.is_empty() {
        return best;
    }
    let mut flexible = totals.to_vec();
    for (genre, songs) in spanning.iter().flat_map(|unit| &units[*unit].counts) {
        flexible[*genre] -= songs;
    }
    // How far a genre stays from its share once its own units have been used to make up for the rest.
    let cost_of = |genre: usize, held: usize| -> f64 {
        let (total, held, own) = (totals[genre] as f64, held as f64, flexible[genre] as f64);
        let target = fraction * total;
        let gap = (held - target).max(target - held - own).max(0.0);
        let missing = held + own < 1.0 || held > total - 1.0;
        gap * gap / total.max(1.0) + if missing { MISSING } else { 0.0 }
    };
    let mut best_cost = f64::INFINITY;
    for restart in 0..RESTARTS {
        let mut random = Random::new(&[SPANNING, seed, restart]);
        random.shuffle(&mut spanning);
        // The first start is all training; the others scatter, to leave a local minimum.
        let mut validates = vec![false; units.len()];
        let mut held = vec![0usize; totals.len()];
        if restart > 0 {
            for unit in &spanning {
                if random.chance(fraction) {
                    flip(&units[*unit], *unit, &mut validates, &mut held);
                }
            }
        }
        let mut improved = true;
        while improved {
            improved = false;
            for unit in &spanning {
                let genres = || units[*unit].counts.iter().map(|(genre, _)| *genre);
                let before: f64 = genres().map(|genre| cost_of(genre, held[genre])).sum();
                flip(&units[*unit], *unit, &mut validates, &mut held);
                let after: f64 = genres().map(|genre| cost_of(genre, held[genre])).sum();
                if after < before - 1e-9 {
                    improved = true;
                } else {
                    flip(&units[*unit], *unit, &mut validates, &mut held);
                }
            }
        }
        let cost: f64 = (0..totals.len())
            .map(|genre| cost_of(genre, held[genre]))
            .sum();
        if cost < best_cost {
            best_cost = cost;
            best = validates;
        }
    }
    best
}

/// Moves a unit to the other side; `held` counts the validating songs of each genre.
fn flip(unit: &Unit, index: usize, validates: &mut [bool], held: &mut [usize]) {
    validates[index] = !validates[index];
    for (genre, songs) in &unit.counts {
        if validates[index] {
            held[*genre] += songs;
        } else {
            held[*genre] -= songs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Units of one genre each, from their sizes.
    fn single(sizes: &[Vec<usize>]) -> Vec<Unit> {
        let mut songs = 0..;
        let mut units = Vec::new();
        for (genre, sizes) in sizes.iter().enumerate() {
            for size in sizes {
                units.push(Unit {
                    songs: songs.by_ref().take(*size).collect(),
                    counts: vec![(genre, *size)],
                });
            }
        }
        units
    }

    /// The smallest distance to the target over all subsets with something on both sides.
    fn brute_force(sizes: &[usize], fraction: f64) -> f64 {
        let total: usize = sizes.iter().sum();
        (1..(1u32 << sizes.len()) - 1)
            .map(|subset| {
                let sum: usize = (0..sizes.len())
                    .filter(|i| subset >> i & 1 == 1)
                    .map(|i| sizes[i])
                    .sum();
                (sum as f64 - fraction * total as f64).abs()
            })
            .fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn each_genre_is_as_near_to_its_share_as_any_choice_of_units(
            sizes in prop::collection::vec(prop::collection::vec(1usize..12, 2..9), 1..5),
            fraction in 0.01f64..0.99,
            seed: u64,
        ) {
            let units = single(&sizes);
            let validates = divide(&units, sizes.len(), fraction, seed);
            for (genre, sizes) in sizes.iter().enumerate() {
                let total: usize = sizes.iter().sum();
                let held = validated(&units, &validates, genre);
                prop_assert!(held > 0 && held < total);
                let off = (held as f64 - fraction * total as f64).abs();
                prop_assert!(off <= brute_force(sizes, fraction) + 1e-9, "{sizes:?} {fraction}: {held}");
            }
        }

        #[test]
        fn spanning_units_leave_every_genre_on_both_sides_where_own_units_allow_it(
            spanning in prop::collection::vec((0usize..4, 0usize..4, 1usize..5, 1usize..5), 0..8),
            sizes in prop::collection::vec(prop::collection::vec(1usize..6, 2..6), 4),
            fraction in 0.05f64..0.6,
            seed: u64,
        ) {
            let mut units = single(&sizes);
            for (a, b, of_a, of_b) in spanning.into_iter().filter(|(a, b, ..)| a < b) {
                units.push(Unit { songs: vec![], counts: vec![(a, of_a), (b, of_b)] });
            }
            let validates = divide(&units, 4, fraction, seed);
            for (genre, total) in totals(&units, 4).into_iter().enumerate() {
                let held = validated(&units, &validates, genre);
                prop_assert!(held > 0 && held < total, "genre {genre}: {held} of {total}");
            }
        }

        #[test]
        fn folds_hold_every_genre_and_differ_by_one_unit_at_most(
            genres in prop::collection::vec(5usize..30, 1..5),
            folds in 2usize..6,
            seed: u64,
        ) {
            let units = single(&genres.iter().map(|songs| vec![1; *songs]).collect::<Vec<_>>());
            let fold_of = deal(&units, genres.len(), folds, seed);
            for (genre, songs) in genres.iter().enumerate() {
                for fold in 0..folds {
                    let of_genre = units.iter().zip(&fold_of).filter(|(unit, _)| unit.counts[0].0 == genre);
                    let here = of_genre.filter(|(_, of)| **of == fold).count();
                    prop_assert!(here == songs / folds || here == songs.div_ceil(folds));
                }
            }
        }
    }

    #[test]
    fn spanning_units_alone_can_be_divided_where_a_division_exists() {
        // Two artists of both genres: one must validate.
        let both = |of_a, of_b| Unit {
            songs: vec![],
            counts: vec![(0, of_a), (1, of_b)],
        };
        let validates = divide(&[both(3, 1), both(1, 3)], 2, 0.2, 0);
        assert_ne!(validates[0], validates[1]);
        // Of four of unequal size the one whose shares are near a fifth.
        let validates = divide(
            &[both(40, 40), both(20, 20), both(30, 30), both(10, 10)],
            2,
            0.2,
            3,
        );
        assert_eq!(validates, [false, true, false, false]);
    }

    #[test]
    fn a_sum_of_nothing_is_taken_where_nothing_fits() {
        assert!(nearest_sum(&[], 2.0, 1, 5).is_empty());
        assert!(nearest_sum(&[7], 2.0, 0, 5).is_empty());
        assert_eq!(nearest_sum(&[7, 2, 3], 5.4, 1, 11).len(), 2);
        // 2 and 4 are equally near to 3: the smaller.
        assert_eq!(nearest_sum(&[4, 2], 3.0, 1, 5), [1]);
    }
}
