//! Cursors as clients send them back: bare, or as the `ETag` that reached them.

use halfping_engine::Cursor;

/// Codings that proxies compress with, as they append them to an `ETag`.
const CODINGS: &[&str] = &["gzip", "br", "zstd", "deflate"];
/// Separators of a tag and its coding: of Apache, Caddy and most others; of Jetty; of old Apaches.
const SEPARATORS: &[&str] = &["--", "-", ";"];

/// Reads a cursor, with or without quotes, `W/` and the suffix of a proxy that compresses (PROTOCOL
/// C6). `None` for any other text.
pub(crate) fn cursor(text: &str) -> Option<Cursor> {
    let text = text.strip_prefix("W/").unwrap_or(text);
    let inside = |text: &'_ str| -> Option<usize> {
        (text.len() >= 2 && text.starts_with('"') && text.ends_with('"')).then(|| text.len() - 1)
    };
    match inside(text) {
        Some(end) => Cursor::parse(without_mark(without_coding(&text[1..end]))),
        None => {
            let text = without_coding(text);
            Cursor::parse(without_mark(inside(text).map_or(text, |end| &text[1..end])))
        }
    }
}

/// A tag without the mark of rights behind it (PROTOCOL I27).
fn without_mark(tag: &str) -> &str {
    tag.split_once('+').map_or(tag, |(bare, _)| bare)
}

fn without_coding(tag: &str) -> &str {
    let before = CODINGS.iter().find_map(|coding| tag.strip_suffix(coding));
    let bare =
        before.and_then(|tag| SEPARATORS.iter().find_map(|separator| tag.strip_suffix(separator)));
    bare.unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_add_to_a_tag_is_ignored_and_nothing_else() {
        // PROTOCOL C6
        let bare = "deadbeef0042.17";
        let known = Cursor::parse(bare);
        assert!(known.is_some());
        for text in [
            "deadbeef0042.17",
            "\"deadbeef0042.17\"",
            "W/\"deadbeef0042.17\"",
            "\"deadbeef0042.17-gzip\"",
            "W/\"deadbeef0042.17-gzip\"",
            "\"deadbeef0042.17--gzip\"",
            "\"deadbeef0042.17;gzip\"",
            "\"deadbeef0042.17-br\"",
            "\"deadbeef0042.17-zstd\"",
            "\"deadbeef0042.17\"-gzip",
            "deadbeef0042.17-gzip",
        ] {
            assert_eq!(cursor(text), known, "{text}");
        }
        for text in [
            "",
            "W/",
            "\"",
            "\"\"",
            "-gzip",
            "\"deadbeef0042.17",
            "w/\"deadbeef0042.17\"",
            "\"deadbeef0042.17gzip\"",
            "\"deadbeef0042.17---gzip\"",
            "\"deadbeef0042.17-gzip-gzip\"",
            "\"deadbeef0042.17-gzip\"-gzip",
            "\"deadbeef0042.17-GZIP\"",
            "\"deadbeef0042.17-1\"",
            "\"deadbeef0042.17_gzip\"",
            "\"deadbeef0042.17 \"",
        ] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
