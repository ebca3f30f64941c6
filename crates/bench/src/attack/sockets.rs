//! Sessions: messages that are too large, never end, inflate or break the framing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, FlushCompress};

use super::ground::{
    CHECK_INTERVAL, Ground, PATIENCE, PAUSE, PIECE_BYTES, RECEIVE_BUFFER, close_code,
};
use super::http::{AT_ONCE, LARGE_BYTES};
use super::material::{self, LARGE_VALUE_BYTES, VALUE};
use super::scenario::Scenario;
use crate::ws;

/// Sessions that send many commands at once and never read an answer.
const FLOODS: u64 = 8;
/// Bytes that are sent one by one after a frame without a meaning.
const TRICKLE: usize = 24;
/// Sessions that keep a message unfinished.
const UNFINISHED: u64 = 64;
/// Bytes of that message that are sent.
const BEGUN_BYTES: u64 = 64 << 10;
/// The limit `body_timeout_ms` of the servers of these attacks.
const BODY_TIMEOUT_MS: u64 = 1000;
/// Time between two pongs.
const PONG: Duration = Duration::from_millis(200);
/// The session must be closed within so many times the time that a message may take.
const LATE: u32 = 3;
/// Sessions that send messages which inflate.
const INFLATERS: u64 = 4;

/// A final frame of the reserved opcode 3.
const RESERVED: u8 = 3;
/// The bit beside an opcode that marks a compressed message.
const COMPRESSED: u8 = 0x40;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "large-messages",
        summary: "messages of 100 MB, as one frame and as fragments",
        crew: &[(AT_ONCE as usize, |ground, first| {
            ground.again(first, &[false, true], large_message);
        })],
        bound: |terms| {
            (AT_ONCE * 3 * terms.message_bytes(), "messages at once x 3 x message_bytes")
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "command-floods",
        summary: "8 messages of 4 MB of nothing but commands, none of which can be carried out",
        crew: &[(FLOODS as usize, flood)],
        bound: |terms| (FLOODS * 8 * terms.message_bytes(), "sessions x 8 x message_bytes"),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "bad-opcode",
        summary: "a frame of the reserved opcode 3, then single bytes",
        crew: &[(AT_ONCE as usize, |ground, _| ground.again(0, &[RESERVED], reserved_opcode))],
        bound: |_| (AT_ONCE * (64 << 10), "sessions x 64 KiB"),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "pongs",
        summary: "64 messages that are never finished, with pongs between (body_timeout_ms = 1000)",
        limits: &[("body_timeout_ms", BODY_TIMEOUT_MS)],
        crew: &[(UNFINISHED as usize, |ground, _| ground.again(0, &[LATE], never_finish))],
        bound: |_| (UNFINISHED * 3 * BEGUN_BYTES, "sessions x 3 x what came of the message"),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "inflating-messages",
        summary: "4 sessions that send messages of 4 kB which inflate to 4 MB of spaces",
        crew: &[(INFLATERS as usize, |ground, _| inflate(ground))],
        bound: |terms| (INFLATERS * 3 * terms.message_bytes(), "sessions x 3 x message_bytes"),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "session-gets",
        summary: "`get`s of 58 MB in a session with compression, one after the other",
        prepare: |plain, _| material::records(plain, VALUE, LARGE_VALUE_BYTES),
        crew: &[(1, |ground, _| ground.again(0, &[VALUE], session_get))],
        // Held as a text, as a message and compressed. A growing text is copied, at most once at a
        // time.
        bound: |_| (4 * LARGE_VALUE_BYTES, "4 x the value, at most value_bytes"),
        ..Scenario::PLAIN
    },
];

fn large_message(ground: &Ground, as_fragments: &bool) -> io::Result<String> {
    let stream = ground.session(None)?;
    let (name, mut head, mut piece) = match as_fragments {
        false => ("message", vec![ws::TEXT | 0x80, 0xFF], Vec::new()),
        true => ("fragments", vec![ws::TEXT, 0x80 | 1, 0, 0, 0, 0, b'"'], vec![0, 0xFF]),
    };
    let lengths = if *as_fragments { &mut piece } else { &mut head };
    let length = if *as_fragments { PIECE_BYTES as u64 } else { LARGE_BYTES };
    lengths.extend_from_slice(&length.to_be_bytes());
    // A mask of zeros changes nothing.
    lengths.extend_from_slice(&[0; 4]);
    piece.resize(piece.len() + PIECE_BYTES, b'x');
    let answered = ground.send_pieces(stream, [&head, &piece], LARGE_BYTES, close_code)?;
    Ok(format!("{name}: {answered}"))
}

/// Sends messages full of commands that cannot be carried out, and reads no answers.
fn flood(ground: &Ground, _: usize) {
    let mut text = "[".to_owned() + &"1,".repeat(ground.terms.whole_bytes() / 2 - 8);
    text.push_str("1]");
    let mut message = Vec::with_capacity(text.len() + 16);
    ws::push_masked(&mut message, ws::TEXT, text.as_bytes());
    while ground.goes_on() {
        let Ok(mut stream) = ground.session(Some(RECEIVE_BUFFER)) else {
            thread::sleep(PAUSE);
            continue;
        };
        if stream.write_all(&message).is_err() {
            continue;
        }
        ground.count("sent");
        ground.wait_for_close(&stream);
    }
}

fn reserved_opcode(ground: &Ground, opcode: &u8) -> io::Result<String> {
    let mut stream = ground.session(None)?;
    stream.write_all(&[0x80 | opcode, 0x80 | 125])?;
    for _ in 0..TRICKLE {
        thread::sleep(PAUSE);
        // Writing fails once the server has closed the session.
        if stream.write_all(b"x").is_err() {
            break;
        }
    }
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read);
    match (close_code(&read), ended) {
        (Some(code), _) => Ok(format!("closed {code}")),
        (None, Ok(_)) => Ok("closed without a word".to_owned()),
        (None, Err(error)) => Err(error),
    }
}

/// Begins a message, and sends only pongs from then on.
fn never_finish(ground: &Ground, late: &u32) -> io::Result<String> {
    let mut stream = ground.session(None)?;
    let mut frame = vec![ws::TEXT, 0xFF];
    frame.extend_from_slice(&BEGUN_BYTES.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(frame.len() + BEGUN_BYTES as usize, b' ');
    stream.write_all(&frame)?;
    let mut pong = Vec::new();
    ws::push_masked(&mut pong, ws::PONG, b"");
    let began = Instant::now();
    let allowed = Duration::from_millis(ground.terms.body_timeout_ms());
    stream.set_read_timeout(Some(PONG))?;
    let (mut read, mut bytes, mut is_late) = (Vec::new(), [0; 256], false);
    while ground.goes_on() {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(more) => read.extend_from_slice(&bytes[..more]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stream.write_all(&pong).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
        if began.elapsed() > allowed * *late && !is_late {
            is_late = true;
            ground.fault("an unfinished message was kept");
        }
    }
    Ok(close_code(&read).map_or_else(|| "kept".to_owned(), |code| format!("closed {code}")))
}

/// Sends compressed messages as fast as they are taken.
fn inflate(ground: &Ground) {
    let mut frame = Vec::new();
    let bytes = (ground.terms.message_bytes() as usize).saturating_sub(1024);
    ws::push_masked(&mut frame, ws::TEXT | COMPRESSED, &deflated_spaces(bytes));
    ground.again(0, &[frame], |ground, frame| {
        let mut stream = ground.compressed_session()?;
        stream.set_write_timeout(Some(CHECK_INTERVAL))?;
        let reader = stream.try_clone()?;
        while ground.goes_on() {
            match stream.write_all(frame) {
                Ok(()) => ground.count("sent"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        reader.set_read_timeout(Some(CHECK_INTERVAL))?;
        let mut read = Vec::new();
        let _ = reader.take(1 << 20).read_to_end(&mut read);
        Ok(close_code(&read).map_or_else(|| "open".to_owned(), |code| format!("closed {code}")))
    });
}

/// A message of spaces and an empty array, compressed for `permessage-deflate`.
fn deflated_spaces(bytes: usize) -> Vec<u8> {
    let mut text = vec![b' '; bytes];
    text.extend_from_slice(b"[]");
    let mut out = Vec::with_capacity(64 << 10);
    let mut deflate = Compress::new(Compression::best(), false);
    // Compression to the end of a buffer in memory cannot fail.
    let _ = deflate.compress_vec(&text, &mut out, FlushCompress::Sync);
    out.truncate(out.len().saturating_sub(4));
    out
}

fn session_get(ground: &Ground, path: &&str) -> io::Result<String> {
    let mut stream = ground.compressed_session()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut frame = Vec::new();
    ws::push_masked(&mut frame, ws::TEXT, format!("{{\"ref\":1,\"get\":\"{path}\"}}").as_bytes());
    stream.write_all(&frame)?;
    let length = read_message(ground, &mut stream)?;
    Ok(if length > 1024 { "large answers" } else { "short answers" }.to_owned())
}

/// Reads one message and discards it; returns its length.
fn read_message(ground: &Ground, stream: &mut TcpStream) -> io::Result<u64> {
    let mut bytes = vec![0; PIECE_BYTES];
    let mut whole = 0;
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        let mut left = match head[1] & 0x7F {
            126 => {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        whole += left;
        while left > 0 && ground.goes_on() {
            let read = stream.read(&mut bytes[..left.min(PIECE_BYTES as u64) as usize])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read as u64;
        }
        if head[0] & 0x80 != 0 || !ground.goes_on() {
            return Ok(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_inflates_to_a_long_one() {
        let mut deflated = deflated_spaces(100_000);
        assert!(deflated.len() < 1000, "{}", deflated.len());
        deflated.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
        let mut text = Vec::with_capacity(200_000);
        let mut inflate = flate2::Decompress::new(false);
        inflate
            .decompress_vec(&deflated, &mut text, flate2::FlushDecompress::Sync)
            .expect("it inflates");
        assert_eq!((text.len(), &text[text.len() - 2..]), (100_002, &b"[]"[..]));
    }
}
