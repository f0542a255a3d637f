//! Names that a person typed: the nearest known one for a misspelt one.

/// The known name nearest to `name` by edits, letter case aside; `None` where none is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let edits = strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
            (edits, candidate)
        })
        .filter(|(edits, candidate)| *edits <= (candidate.chars().count() / 2).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The message for an unknown name: `unknown genre 'jaz': did you mean 'jazz'? Known: blues, jazz`.
pub fn unknown<S: AsRef<str>>(what: &str, name: &str, known: &[S]) -> String {
    let list: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let meant = match nearest(name, list.iter().copied()) {
        Some(candidate) => format!(" did you mean '{candidate}'?"),
        None => String::new(),
    };
    format!("unknown {what} '{name}':{meant} Known: {}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["blues", "classical", "jazz"];
        assert_eq!(nearest("jaz", known), Some("jazz"));
        assert_eq!(nearest("CLASICAL", known), Some("classical"));
        assert_eq!(nearest("xylophone", known), None);
        assert_eq!(
            unknown("genre", "blus", &known),
            "unknown genre 'blus': did you mean 'blues'? Known: blues, classical, jazz"
        );
        assert_eq!(
            unknown("genre", "xylophone", &known),
            "unknown genre 'xylophone': Known: blues, classical, jazz"
        );
    }
}
