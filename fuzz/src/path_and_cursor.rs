//! Paths and cursors, from text and back.

use halfping_engine::{Cursor, Limits, Path};

pub fn path_and_cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    path(text);
    cursor(text);
}

fn path(text: &str) {
    let limits = Limits::default().with(|limits| {
        limits.key_bytes = 9;
        limits.path_depth = 4;
    });
    let path = Path::parse(text, &limits);
    let expected = segments(text, &limits);
    match (&path, &expected) {
        (Ok(path), Some(expected)) => {
            assert!(path.segments().iter().map(|segment| &**segment).eq(expected), "{path:?}");
            let written = path.to_string();
            assert_eq!(Path::parse(&written, &limits).as_ref(), Ok(path), "{written}");
            let is_visible =
                |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'?');
            assert!(written.bytes().all(is_visible), "{written:?} could not stand in a URL");
            let again = expected.iter().fold(Path::ROOT, |path, name| path.child(name));
            assert_eq!(*path, again);
        }
        (Err(_), None) => {}
        (path, expected) => panic!("{path:?}, and by the rules {expected:?}"),
    }
}

/// The names of a path: an independent reading of PROTOCOL P2, P3 and P8.
fn segments(text: &str, limits: &Limits) -> Option<Vec<String>> {
    if text.contains(['?', '#']) {
        return None;
    }
    if text == "/" {
        return Some(Vec::new());
    }
    let mut raw: Vec<&str> = text.split('/').collect();
    if !raw.remove(0).is_empty() {
        return None;
    }
    if raw.last().is_some_and(|last| last.is_empty()) {
        raw.pop();
    }
    let segments: Vec<String> = raw.into_iter().map(decoded).collect::<Option<_>>()?;
    let is_fine = |segment: &String| {
        !matches!(segment.as_str(), "" | "." | "..")
            && !segment.contains('\0')
            && segment.len() <= limits.key_bytes
    };
    (!segments.is_empty() && segments.len() <= limits.path_depth && segments.iter().all(is_fine))
        .then_some(segments)
}

fn decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = raw.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let two = rest.get(..2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(two[0])? * 16 + digit(two[1])?) as u8);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn cursor(text: &str) {
    if let Some(cursor) = Cursor::parse(text) {
        assert_eq!(cursor.to_string(), text, "two texts for one cursor");
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
        assert!(text.len() <= 128 && text.bytes().all(is_allowed), "PROTOCOL C2: {text}");
        assert!(cursor.revision.0 > 0, "zero is before everything");
    }
}
