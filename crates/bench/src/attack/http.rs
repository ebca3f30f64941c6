//! Requests of HTTP/1.1: bodies that are too large or nested too deeply, and expensive answers.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;

use super::ground::{CHANGE, Ground, PATIENCE, PIECE_BYTES, http_status, read_head};
use super::material::{self, LARGE_VALUE_BYTES, VALUE, text};
use super::scenario::Scenario;
use crate::plain::Plain;
use crate::ws;

/// Bodies and messages that are sent at the same time.
pub(super) const AT_ONCE: u64 = 4;
/// Bytes of a body or message that is far too large.
pub(super) const LARGE_BYTES: u64 = 100 << 20;
/// Bytes of the tree that is read with a `depth` that removes nothing.
const TREE_BYTES: u64 = 267_000_000;
/// Requests that are sent before the first is answered.
const PIPELINED: usize = 160;
/// Clients that send bodies of the largest allowed size.
const SENDERS: u64 = 40;
/// Bytes of the body that is sent beside them.
const SMALL_BYTES: u64 = 100_000;
/// Time to wait for the answers to all pipelined requests.
const PIPELINE_PATIENCE: Duration = Duration::from_secs(20);

/// Common parts of the attacks by `HEAD`: a large tree, of which nothing has to be built.
const HEAD: Scenario = Scenario {
    prepare: |plain, _| material::records(plain, VALUE, TREE_BYTES),
    bound: |_| (0, "0: `HEAD` needs no value"),
    ..Scenario::PLAIN
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "large-bodies",
        summary: "bodies of 100 MB: with a length, in chunks, and with neither",
        crew: &[(AT_ONCE as usize, |ground, first| ground.again(first, &Framing::ALL, large_body))],
        // A growing body is copied, and its parsed part is held beside it.
        bound: |terms| (AT_ONCE * 3 * terms.body_bytes(), "bodies at once x 3 x body_bytes"),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "depth-bombs",
        summary: "bodies and messages of 4 MB that are nested as deeply as fits",
        crew: &[(AT_ONCE as usize, |ground, first| {
            ground.again(first, &bombs(ground.terms.whole_bytes() - 1024), send_bomb);
        })],
        bound: |terms| {
            let bytes = terms.body_bytes().max(terms.message_bytes());
            (AT_ONCE * 4 * bytes, "bodies at once x 4 x body_bytes")
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "bodies-beside-small",
        summary: "40 clients that send bodies of 4 MB, beside one that sends 100 kB",
        crew: &[(1, send_small), (SENDERS as usize, send_large)],
        bound: |terms| {
            let bodies = SENDERS * terms.body_bytes();
            (
                bodies + 3 * bodies.min(terms.buffered_bytes()),
                "bodies x body_bytes + 3 x what is sent, at most buffered_bytes",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "head-large",
        summary: "`HEAD` of a value of 58 MB",
        prepare: |plain, _| material::records(plain, VALUE, LARGE_VALUE_BYTES),
        crew: &[(1, |ground, _| ground.again(0, &[VALUE], head))],
        ..HEAD
    },
    Scenario {
        name: "head-cut",
        summary: "`HEAD /?depth=40` of a tree of 267 MB",
        crew: &[(1, |ground, _| ground.again(0, &["/?depth=40"], head))],
        ..HEAD
    },
    Scenario {
        name: "heads-pipelined",
        summary: "160 of these on one connection at once",
        crew: &[(1, |ground, _| ground.again(0, &["/?depth=40"], pipeline))],
        ..HEAD
    },
    Scenario {
        name: "gets-large",
        summary: "`GET`s of a value of 58 MB, one after the other",
        prepare: |plain, _| material::records(plain, VALUE, LARGE_VALUE_BYTES),
        crew: &[(1, |ground, _| ground.again(0, &[VALUE], get))],
        // A growing text is copied, at most once at a time.
        bound: |_| (3 * LARGE_VALUE_BYTES, "3 x the value, at most value_bytes"),
        ..Scenario::PLAIN
    },
];

/// Ways to say where a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    /// No framing: the server takes the body for the next request.
    None,
}

impl Framing {
    const ALL: [Framing; 3] = [Framing::Length, Framing::Chunks, Framing::None];
}

fn large_body(ground: &Ground, framing: &Framing) -> io::Result<String> {
    let (name, header) = match framing {
        Framing::Length => ("length", format!("content-length: {LARGE_BYTES}\r\n")),
        Framing::Chunks => ("chunks", "transfer-encoding: chunked\r\n".to_owned()),
        Framing::None => ("neither", String::new()),
    };
    let host = ground.address;
    // The head holds the first byte of the body, so that the body is an endless string.
    let first = if *framing == Framing::Chunks { "1\r\n\"\r\n" } else { "\"" };
    let head = format!(
        "PUT /attack/large HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         {header}\r\n{first}"
    );
    let mut piece = Vec::new();
    if *framing == Framing::Chunks {
        piece.extend_from_slice(format!("{PIECE_BYTES:x}\r\n").as_bytes());
    }
    piece.resize(piece.len() + PIECE_BYTES, b'x');
    if *framing == Framing::Chunks {
        piece.extend_from_slice(b"\r\n");
    }
    let stream = ground.connect(None)?;
    let answered =
        ground.send_pieces(stream, [head.as_bytes(), &piece], LARGE_BYTES, http_status)?;
    Ok(format!("{name}: {answered}"))
}

/// A text that is nested deeply.
struct Bomb {
    name: &'static str,
    /// Method and type; `None`: a session's message.
    request: Option<(&'static str, &'static str)>,
    text: Vec<u8>,
}

fn bombs(bytes: usize) -> Vec<Bomb> {
    const MERGE: Option<(&str, &str)> = Some(("PATCH", "application/merge-patch+json"));
    const PATCH: Option<(&str, &str)> = Some(("PATCH", "application/json-patch+json"));
    const PUT: Option<(&str, &str)> = Some(("PUT", "application/json"));
    let arrays = "[".repeat(bytes);
    let objects = r#"{"a":"#.repeat(bytes / 5);
    let deep = |name, request, before: &str, nested: &str, after: &str| Bomb {
        name,
        request,
        text: [before, nested, after].concat().into_bytes(),
    };
    // The text is closed correctly, so that only its depth is wrong.
    let closed = "[".repeat(bytes / 2) + &"]".repeat(bytes / 2);
    let pointer = "/a".repeat(bytes / 2);
    vec![
        deep("put arrays", PUT, "", &arrays, ""),
        deep("put closed arrays", PUT, "", &closed, ""),
        deep("put objects", PUT, "", &objects, ""),
        deep("merge objects", MERGE, "", &objects, ""),
        deep("patch value", PATCH, r#"[{"op":"add","path":"","value":"#, &arrays, ""),
        deep("patch pointer", PATCH, r#"[{"op":"add","path":""#, &pointer, r#"","value":1}]"#),
        deep("session arrays", None, "", &arrays, ""),
        deep("session value", None, r#"{"ref":1,"put":"/attack/deep","value":"#, &closed, "}"),
        deep("session patch", None, r#"{"ref":1,"merge":"/attack/deep","value":"#, &objects, ""),
        deep("session path", None, r#"{"ref":1,"get":""#, &pointer, r#""}"#),
    ]
}

fn send_bomb(ground: &Ground, bomb: &Bomb) -> io::Result<String> {
    let name = bomb.name;
    if let Some((method, kind)) = bomb.request {
        let body = Some((kind, &bomb.text[..]));
        let answer = Plain::new(ground.address).ask(method, "/attack/deep", body)?;
        return Ok(format!("{name}: {}", answer.status));
    }
    let mut stream = ground.session(None)?;
    let mut message = Vec::with_capacity(bomb.text.len() + 16);
    ws::push_masked(&mut message, ws::TEXT, &bomb.text);
    stream.write_all(&message)?;
    let mut read = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let more = stream.read(&mut bytes)?;
        read.extend_from_slice(&bytes[..more]);
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = memmem::find(&read, b"\"status\":").and_then(|at| read.get(at + 9..at + 12));
        if let Some(status) = status {
            return Ok(format!("{name}: {}", String::from_utf8_lossy(status)));
        }
    }
}

fn send_large(ground: &Ground, number: usize) {
    let body = text(ground.terms.body_bytes());
    ground.again(0, &[format!("/attack/large/{number}")], |ground, path| {
        let status = Plain::new(ground.address).put(path, &body)?.status;
        Ok(format!("4 MB: {status}"))
    });
}

/// A client that sends a body of moderate size, and waits.
fn send_small(ground: &Ground, _: usize) {
    let mut plain = Plain::new(ground.address);
    let body = text(SMALL_BYTES);
    while ground.goes_on() {
        let began = Instant::now();
        match plain.put("/attack/small", &body) {
            Ok(answer) if answer.status < 300 => ground.took("100 kB", began.elapsed()),
            Ok(answer) => ground.count(&format!("100 kB: {}", answer.status)),
            Err(_) => ground.count("cut"),
        }
        thread::sleep(CHANGE);
    }
}

fn head(ground: &Ground, path: &&str) -> io::Result<String> {
    let mut stream = ground.connect(None)?;
    stream.set_read_timeout(Some(PIPELINE_PATIENCE))?;
    write!(stream, "HEAD {path} HTTP/1.1\r\nhost: {}\r\n\r\n", ground.address)?;
    answered(&mut stream)
}

/// Sends many requests at once, and reads their answers for as long as the attack goes on.
fn pipeline(ground: &Ground, path: &&str) -> io::Result<String> {
    let mut stream = ground.connect(None)?;
    let request = format!("HEAD {path} HTTP/1.1\r\nhost: {}\r\n\r\n", ground.address);
    stream.write_all(request.repeat(PIPELINED).as_bytes())?;
    let began = Instant::now();
    for _ in 0..PIPELINED {
        if !ground.goes_on() || began.elapsed() > PIPELINE_PATIENCE {
            break;
        }
        let what = answered(&mut stream)?;
        ground.count(&what);
    }
    Ok("pipelines".to_owned())
}

fn answered(stream: &mut TcpStream) -> io::Result<String> {
    let status = http_status(&read_head(stream)?);
    Ok(format!("answered {}", status.unwrap_or_default()))
}

/// Requests a large answer and reads it.
fn get(ground: &Ground, path: &&str) -> io::Result<String> {
    let mut stream = ground.connect(None)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", ground.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let what = answered(&mut stream)?;
    let mut bytes = vec![0; PIECE_BYTES];
    while ground.goes_on() && stream.read(&mut bytes)? > 0 {}
    Ok(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_fits_into_one_body() {
        for bomb in bombs(4096) {
            assert!((2048..=4096 + 64).contains(&bomb.text.len()), "{}", bomb.name);
        }
    }
}
