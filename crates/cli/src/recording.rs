//! Recordings: NDJSON of paths, values and times, optionally compressed with gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::report::{Blame, Failure};

/// The longest line of a recording.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The message for a file that is no recording.
const LINE: &str =
    r#"a line of a recording is like {"t":1533099600000,"path":"/a","value":{"x":1}}"#;
/// The first bytes of a gzip file.
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// One line of a recording: at `t_ms`, the resource at `path` had this value.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    #[serde(rename = "t")]
    pub(crate) t_ms: f64,
    pub(crate) path: String,
    pub(crate) value: Box<RawValue>,
    /// Number of the line, from 1.
    #[serde(skip)]
    pub(crate) line: u64,
    /// Bytes of the file that were read by then, before decompression.
    #[serde(skip)]
    pub(crate) read_bytes: u64,
}

/// A recording being read.
pub(crate) struct Recording {
    lines: Box<dyn BufRead + Send>,
    line: u64,
    buffer: Vec<u8>,
    read_bytes: Arc<AtomicU64>,
}

impl Recording {
    /// Opens a file, or stdin for `-`.
    pub(crate) fn open(file: &Path) -> Result<Recording, Failure> {
        let opened = if file == Path::new("-") {
            Recording::from_reader(Box::new(io::stdin()))
        } else {
            File::open(file).and_then(|file| Recording::from_reader(Box::new(file)))
        };
        opened.map_err(|error| {
            Failure::new(Blame::Input, format!("cannot read {}: {error}", file.display()))
        })
    }

    fn from_reader(source: Box<dyn Read + Send>) -> io::Result<Recording> {
        let read_bytes = Arc::new(AtomicU64::new(0));
        let mut source = Counted { source, bytes: Arc::clone(&read_bytes) };
        // Reads exactly two bytes: a pipe may bring them one at a time.
        let mut head = Vec::new();
        source.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
        let compressed = head == GZIP_MAGIC;
        let whole = BufReader::new(io::Cursor::new(head).chain(source));
        let lines: Box<dyn BufRead + Send> = if compressed {
            Box::new(BufReader::new(MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Recording { lines, line: 0, buffer: Vec::new(), read_bytes })
    }
}

impl Iterator for Recording {
    type Item = Result<Update, Failure>;

    fn next(&mut self) -> Option<Result<Update, Failure>> {
        loop {
            self.line += 1;
            self.buffer.clear();
            let wrong = |why: String| {
                Some(Err(Failure::new(Blame::Input, format!("line {}: {why}", self.line))))
            };
            match self.lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(read) if read as u64 == LINE_BYTES_MAX => {
                    return wrong(format!("longer than {LINE_BYTES_MAX} bytes"));
                }
                Ok(_) if self.buffer.trim_ascii().is_empty() => continue,
                Ok(_) => {}
                Err(error) => return wrong(error.to_string()),
            }
            let update: Update = match serde_json::from_slice(&self.buffer) {
                Ok(update) => update,
                Err(error) => {
                    // The error names the line of the file, not the one that the JSON library
                    // counts.
                    let why = error.to_string();
                    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
                    return wrong(format!("column {}: {why}; {LINE}", error.column()));
                }
            };
            if !update.path.starts_with('/') {
                return wrong(format!("the path `{}` does not begin with `/`", update.path));
            }
            return Some(Ok(Update {
                line: self.line,
                read_bytes: self.read_bytes.load(Ordering::Relaxed),
                ..update
            }));
        }
    }
}

/// A reader that counts its bytes.
struct Counted {
    source: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A reader that gives one byte at a time, as a pipe may.
    struct Drops(io::Cursor<Vec<u8>>);

    impl Read for Drops {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let one = into.len().min(1);
            self.0.read(&mut into[..one])
        }
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads a recording in several ways, and compares each line (`line t path value`) and the
    /// error it may end with.
    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let members = [gzip(&text[..text.len() / 2]), gzip(&text[text.len() / 2..])].concat();
        for bytes in [text.as_bytes().to_vec(), gzip(text), members] {
            let recording =
                Recording::from_reader(Box::new(Drops(io::Cursor::new(bytes)))).unwrap();
            let lines: Vec<String> = recording
                .map(|update| match update {
                    Ok(update) => {
                        format!("{} {} {} {}", update.line, update.t_ms, update.path, update.value)
                    }
                    Err(failure) => format!("{failure:?}"),
                })
                .collect();
            assert_eq!(lines.len(), expect.len(), "{lines:?}");
            for (line, expect) in lines.iter().zip(expect) {
                assert!(line.contains(expect), "{line}");
            }
        }
    }

    #[test]
    fn values_are_as_they_are_written() {
        check(
            "{\"t\":1533099600000,\"path\":\"/a\",\"value\":{\"x\":1.00e2, \"y\":123456789012345678901}}\n\n{\"value\":null,\"path\":\"/b\",\"t\":2.5}",
            &["1 1533099600000 /a {\"x\":1.00e2, \"y\":123456789012345678901}", "3 2.5 /b null"],
        );
        check("", &[]);
    }

    #[test]
    fn a_mistake_is_found_on_its_line() {
        let good = "{\"t\":1,\"path\":\"/a\",\"value\":1}\n";
        check(&format!("{good}{{\"t\":1,}}"), &["1 1 /a 1", "line 2: column 8: trailing comma"]);
        check("{\"t\":1,\"path\":\"/a\"}", &["line 1: column 19: missing field `value`"]);
        check(
            "{\"t\":1,\"path\":\"a\",\"value\":1}",
            &["line 1: the path `a` does not begin with `/`"],
        );
        check("\u{1f}", &["line 1: column 1: expected value; a line of a recording is like"]);
    }

    #[test]
    fn a_cut_file_is_an_error() {
        let mut bytes = gzip("{\"t\":1,\"path\":\"/a\",\"value\":1}\n");
        bytes.truncate(bytes.len() - 4);
        let mut recording = Recording::from_reader(Box::new(io::Cursor::new(bytes))).unwrap();
        assert!(recording.next().unwrap().is_ok());
        assert!(recording.next().unwrap().is_err());
    }
}
