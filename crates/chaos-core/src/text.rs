//! Small helpers for messages to people.
//!
//! Owns the search for the nearest known name, and how foreign text is cut. It never decides what is known.

/// A name that starts with what was given is near from this length on.
const PREFIX_MIN: usize = 3;

/// The known name that the user most likely meant, if one is near enough.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let given = plain(given);
    known
        .into_iter()
        .map(|name| match plain(name) {
            plain if given.len() >= PREFIX_MIN && plain.starts_with(&given) => (1, name),
            plain => (strsim::damerau_levenshtein(&given, &plain), name),
        })
        .filter(|(distance, name)| *distance <= (name.len().max(given.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// At most so many characters of a text that somebody else wrote; `…` where there was more.
pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_cut_between_characters() {
        assert_eq!(shortened("größer", 6), "größer");
        assert_eq!(shortened("größer", 3), "grö…");
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("durration", ["duration", "faults"]), Some("duration"));
        assert_eq!(nearest("podKill", ["pod_kill", "cpu_stress"]), Some("pod_kill"));
        assert_eq!(nearest("banana", ["duration", "faults"]), None);
    }
}
