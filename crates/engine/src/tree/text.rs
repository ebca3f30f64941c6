//! The text of one value, small when it is short.

use std::fmt;

/// Bytes that fit beside the tag. Most numbers and short strings do.
const SHORT: usize = 14;

/// Canonical JSON text of a value that is not an object, or a member's name. Sixteen bytes, with no
/// allocation up to 14 bytes of text.
#[derive(Clone)]
pub(crate) enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    // Boxed twice so that the pointer is one word wide: long texts pay sixteen bytes so that every
    // other value saves eight.
    Long(Box<Box<str>>),
}

// Two words: a value and its revision, name and slot must fit in half a cache line.
const _: () = assert!(std::mem::size_of::<Text>() == 16);

impl Text {
    pub(crate) fn new(text: &str) -> Text {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(head) => {
                head.copy_from_slice(text.as_bytes());
                Text::Short { len: text.len() as u8, bytes }
            }
            None => Text::Long(Box::new(text.into())),
        }
    }

    pub(crate) fn from_string(text: String) -> Text {
        if text.len() <= SHORT {
            Text::new(&text)
        } else {
            Text::Long(Box::new(text.into_boxed_str()))
        }
    }

    pub(crate) fn into_string(self) -> String {
        match self {
            Text::Short { .. } => self.as_str().to_owned(),
            Text::Long(text) => text.into_string(),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short { len, bytes } => &bytes[..*len as usize],
            Text::Long(text) => text.as_bytes(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            // It was a `str` when it came in; checking 14 bytes costs less than an exception to "no
            // unsafe".
            Text::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    pub(crate) fn is_null(&self) -> bool {
        self.as_bytes() == b"null"
    }

    pub(crate) fn is_array(&self) -> bool {
        self.as_bytes().first() == Some(&b'[')
    }

    /// The kind of value that this text is, in words that an error can use.
    pub(crate) fn kind(&self) -> &'static str {
        match self.as_bytes().first() {
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
