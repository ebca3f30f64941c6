//! Words of errors: the name that was probably meant, and a client's text cut short.

/// The known name that was probably meant.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase();
    let likeness = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    let (likeness, near) = likeness.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.7).then_some(near)
}

/// A client's text as an error repeats it.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_almost_known_is_found() {
        assert_eq!(nearest("Watch", &["patch", "watch"]), Some("watch"));
        assert_eq!(nearest("dept", &["rate", "depth"]), Some("depth"));
        assert_eq!(nearest("xyz", &["rate", "depth"]), None);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"ä".repeat(70)), format!("{}…", "ä".repeat(64)));
    }
}
