//! The client's half of the protocol, without IO.
//!
//! Use: pass received bytes to [`feed`](Machine::feed), then take frames with
//! [`next_frame`](Machine::next_frame) until there is none. When the connection is lost, call
//! [`lost`](Machine::lost), wait as long as it says, and reconnect with
//! [`cursor`](Machine::cursor). Times to wait are returned and randomness comes from a seed, so
//! that tests control both.

use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::frame::{Cursor, Frame, Kind};

/// The longest line of a stream that is accepted: the largest value that a server sends in one
/// piece by default (`value_bytes`, 64 MiB), and its frame.
pub const LINE_BYTES_MAX: usize = 65 * 1024 * 1024;

/// The longest first wait after a loss; each further wait may be twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_millis(250);
/// The longest wait that doubling leads to.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that is obeyed: a server's mistake (or a date far off) must not
/// silence a reader for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Characters of an unreadable line that an error quotes.
const QUOTE_CHARS_MAX: usize = 80;

const _: () = assert!(BACK_OFF_FIRST.as_millis() < BACK_OFF_MAX.as_millis());

/// Parser of NDJSON streams. It remembers what is needed to resume after a loss.
#[derive(Debug)]
pub struct Machine {
    line: BytesMut,
    /// Length of the part of `line` that has no line feed, so that a long line is not searched from
    /// its start at every chunk.
    searched: usize,
    /// The stream does not follow the protocol; nothing more of it is read.
    broken: bool,
    cursor: Option<Cursor>,
    back_off: Duration,
    random: u64,
}

/// A stream that does not follow the protocol. The state after it is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A line that is too long.
    #[error("the server sent a line of more than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A line that is not a frame.
    #[error("the server sent a line that is not a frame ({why}): {quote}")]
    NotAFrame {
        /// The parser's message.
        why: String,
        /// The beginning of the line.
        quote: String,
    },
}

impl Machine {
    /// Makes the machine of a reader that has the state at `since`, or none. `seed` spreads the
    /// waits of many readers after one loss.
    pub fn new(since: Option<Cursor>, seed: u64) -> Machine {
        Machine {
            line: BytesMut::new(),
            searched: 0,
            broken: false,
            cursor: since,
            back_off: BACK_OFF_FIRST,
            random: seed,
        }
    }

    /// Takes received bytes. Take the frames out before the next call: that bounds the buffer.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.line.extend_from_slice(bytes);
        }
    }

    /// The next whole frame, if there is one. After an error there is none until the connection is
    /// lost.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let next = self.try_next_frame();
        if next.is_err() {
            (self.line, self.searched, self.broken) = (BytesMut::new(), 0, true);
        }
        next
    }

    fn try_next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let Some(end) = self.line[self.searched..].iter().position(|byte| *byte == b'\n')
            else {
                self.searched = self.line.len();
                return if self.searched > LINE_BYTES_MAX {
                    Err(FrameError::LineTooLong)
                } else {
                    Ok(None)
                };
            };
            let end = self.searched + end;
            let parsed = parse(self.line[..end].trim_ascii());
            self.line.advance(end + 1);
            self.searched = 0;
            if let Some(frame) = parsed? {
                self.remember(&frame);
                return Ok(Some(frame));
            }
        }
    }

    /// The cursor to resume from: `since` of the next request.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Records that the connection is lost or could not be made. Returns the wait before the next.
    ///
    /// The wait doubles with each loss until a frame arrives, and half of it is random, so that the
    /// readers of a server that restarts do not all return at once. `retry_after` is the server's
    /// wish; it is added.
    pub fn lost(&mut self, retry_after: Option<Duration>) -> Duration {
        // Half a line is discarded: resuming brings its content again.
        self.line.clear();
        (self.searched, self.broken) = (0, false);
        let wait = self.back_off / 2 + (self.back_off / 2).mul_f64(self.chance());
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        wait + retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)
    }

    fn remember(&mut self, frame: &Frame) {
        if frame.kind == Kind::Error {
            // An error says nothing about the state. A stream of errors alone needs longer waits.
            return;
        }
        self.back_off = BACK_OFF_FIRST;
        match &frame.rev {
            // On a stream of many, only the frames marked synced speak for all paths (M2).
            Some(rev) if frame.path.is_none() || frame.synced || frame.kind == Kind::Synced => {
                self.cursor = Some(rev.clone());
            }
            Some(_) => {}
            // The first part of a value that replaces the reader's. Resuming from the old cursor
            // would bring only the changes since, on top of a part: there is nothing to resume from
            // until the last part has come.
            None if frame.kind == Kind::Snapshot => self.cursor = None,
            // Part of a change (S5). The reader can still resume from the old cursor (S7).
            None => {}
        }
    }

    /// A random number in 0..1 (SplitMix64: small, and good enough to spread waits).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn parse(line: &[u8]) -> Result<Option<Frame>, FrameError> {
    if line.is_empty() {
        return Ok(None);
    }
    let refuse = |why: String| {
        let text = String::from_utf8_lossy(&line[..line.len().min(4 * QUOTE_CHARS_MAX)]);
        FrameError::NotAFrame { why, quote: text.chars().take(QUOTE_CHARS_MAX).collect() }
    };
    let frame: Frame = serde_json::from_slice(line).map_err(|error| refuse(error.to_string()))?;
    match frame.kind {
        Kind::Snapshot | Kind::Merge | Kind::Patch if frame.value.is_none() => {
            Err(refuse("no value".into()))
        }
        Kind::Error if frame.problem.is_none() => Err(refuse("no problem".into())),
        _ => Ok(Some(frame)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script and compares the machine's results.
    ///
    /// `"lost"` and `"lost 3"` (with `Retry-After: 3`) lose the connection; anything else is fed as
    /// it is. The results have one item per frame (its kind and cursor, and its value), error and
    /// wait (with its permitted range), and end with the cursor to resume from.
    #[track_caller]
    fn check(script: &[&str], expect: &[&str]) {
        let mut machine = Machine::new(None, 1);
        let mut seen = Vec::new();
        for step in script {
            if let Some(after) = step.strip_prefix("lost") {
                let after = after.trim().parse().ok().map(Duration::from_secs);
                let slot = machine.back_off;
                let wait = machine.lost(after) - after.unwrap_or_default();
                assert!(wait >= slot / 2 && wait <= slot, "{wait:?} of {slot:?}");
                seen.push(format!("wait {}..{} ms", slot.as_millis() / 2, slot.as_millis()));
                continue;
            }
            machine.feed(step.as_bytes());
            loop {
                match machine.next_frame() {
                    Ok(Some(frame)) => {
                        let rev = frame.rev.as_ref().map_or("-", Cursor::as_str);
                        let value = frame.value.as_ref().map_or("", |value| value.get());
                        seen.push(
                            format!("{:?} {rev} {value}", frame.kind).trim_end().to_lowercase(),
                        );
                    }
                    Ok(None) => break,
                    Err(error) => {
                        seen.push(error.to_string());
                        break;
                    }
                }
            }
        }
        seen.push(format!("since {}", machine.cursor().map_or("-", Cursor::as_str)));
        assert_eq!(seen, expect);
    }

    #[test]
    fn lines_are_found_however_they_are_cut() {
        check(
            &[
                "{\"kind\":\"snapshot\",\"rev\":\"e.1\",\"t\":1,\"va",
                "lue\":[1]}\n\n{\"kind\":\"synced\",\"rev\":\"e.1\"}\r\n{\"kind\":\"gone\",\"rev\":\"e.2\"}",
                "\n",
            ],
            &["snapshot e.1 [1]", "synced e.1", "gone e.2", "since e.2"],
        );
    }

    #[test]
    fn null_is_a_value() {
        check(
            &["{\"kind\":\"snapshot\",\"rev\":\"e.1\",\"value\":null}\n"],
            &["snapshot e.1 null", "since e.1"],
        );
    }

    #[test]
    fn part_of_a_change_does_not_move_the_cursor() {
        check(
            &[
                "{\"kind\":\"snapshot\",\"rev\":\"e.1\",\"value\":{}}\n",
                "{\"kind\":\"merge\",\"value\":{\"a\":1}}\n",
            ],
            &["snapshot e.1 {}", "merge - {\"a\":1}", "since e.1"],
        );
    }

    #[test]
    fn part_of_a_snapshot_leaves_nothing_to_resume_from() {
        let part = "{\"kind\":\"snapshot\",\"value\":{\"a\":1}}\n";
        let last = "{\"kind\":\"merge\",\"rev\":\"e.9\",\"value\":{\"b\":1}}\n";
        let first = "{\"kind\":\"snapshot\",\"rev\":\"e.1\",\"value\":{}}\n";
        check(&[first, part], &["snapshot e.1 {}", "snapshot - {\"a\":1}", "since -"]);
        check(&[part, last], &["snapshot - {\"a\":1}", "merge e.9 {\"b\":1}", "since e.9"]);
    }

    #[test]
    fn half_a_line_is_forgotten_with_its_connection() {
        check(
            &[
                "{\"kind\":\"gone\",\"rev\":\"e.1\"}\n{\"kind\":\"sna",
                "lost",
                "{\"kind\":\"synced\",\"rev\":\"e.1\"}\n",
            ],
            &["gone e.1", "wait 125..250 ms", "synced e.1", "since e.1"],
        );
    }

    #[test]
    fn waits_double_until_a_frame_arrives() {
        let frame = "{\"kind\":\"synced\",\"rev\":\"e.1\"}\n";
        check(
            &["lost", "lost", "lost", "lost", "lost", "lost", "lost", "lost", frame, "lost 7"],
            &[
                "wait 125..250 ms",
                "wait 250..500 ms",
                "wait 500..1000 ms",
                "wait 1000..2000 ms",
                "wait 2000..4000 ms",
                "wait 4000..8000 ms",
                "wait 5000..10000 ms",
                "wait 5000..10000 ms",
                "synced e.1",
                "wait 125..250 ms",
                "since e.1",
            ],
        );
    }

    #[test]
    fn an_error_frame_is_no_sign_of_health() {
        check(
            &["lost", "{\"kind\":\"error\",\"rev\":\"e.9\",\"problem\":{\"ends\":true}}\n", "lost"],
            &["wait 125..250 ms", "error e.9", "wait 250..500 ms", "since -"],
        );
    }

    #[test]
    fn on_a_stream_of_many_only_synced_frames_speak_for_all() {
        let frame = |kind: &str, rev: &str, more: &str| {
            format!("{{\"path\":\"/a\",\"kind\":\"{kind}\",\"rev\":\"{rev}\",\"value\":1{more}}}\n")
        };
        let [one, two, three] = [
            frame("snapshot", "e.1", ""),
            frame("snapshot", "e.2", ",\"synced\":true"),
            frame("snapshot", "e.3", ""),
        ];
        check(
            &[&one, &two, &three],
            &["snapshot e.1 1", "snapshot e.2 1", "snapshot e.3 1", "since e.2"],
        );
        check(
            &[&one, "{\"kind\":\"synced\",\"rev\":\"e.1\"}\n"],
            &["snapshot e.1 1", "synced e.1", "since e.1"],
        );
    }

    #[test]
    fn what_is_no_frame_is_refused_with_a_quote() {
        let not_a_frame = "the server sent a line that is not a frame";
        check(
            &["{\"kind\":\"merge\",\"rev\":\"e.1\"}\n"],
            &[
                &format!("{not_a_frame} (no value): {{\"kind\":\"merge\",\"rev\":\"e.1\"}}"),
                "since -",
            ],
        );
        check(
            &["{\"kind\":\"error\"}\n"],
            &[&format!("{not_a_frame} (no problem): {{\"kind\":\"error\"}}"), "since -"],
        );
        check(
            &["<html>\n"],
            &[&format!("{not_a_frame} (expected value at line 1 column 1): <html>"), "since -"],
        );
    }

    #[test]
    fn after_what_is_no_frame_nothing_is_read_until_the_connection_is_lost() {
        let gone = "{\"kind\":\"gone\",\"rev\":\"e.1\"}\n";
        check(
            &["{}\n", gone, &format!("{{}}\n{gone}"), "lost", gone],
            &[
                "the server sent a line that is not a frame (missing field `kind` at line 1 column 2): {}",
                "wait 125..250 ms",
                "gone e.1",
                "since e.1",
            ],
        );
    }

    #[test]
    fn a_line_that_does_not_end_is_refused() {
        let mut machine = Machine::new(None, 1);
        let chunk = vec![b' '; LINE_BYTES_MAX / 4 + 1];
        for _ in 0..3 {
            machine.feed(&chunk);
            assert!(machine.next_frame().unwrap().is_none());
        }
        machine.feed(&chunk);
        assert!(matches!(machine.next_frame(), Err(FrameError::LineTooLong)));
    }

    #[test]
    fn a_retry_after_is_obeyed_up_to_its_bound() {
        let mut machine = Machine::new(None, 1);
        let wait = machine.lost(Some(Duration::from_secs(86_400)));
        assert!(wait >= RETRY_AFTER_MAX && wait < RETRY_AFTER_MAX + BACK_OFF_MAX);
    }
}
