//! Values that exist before an attack reads them.

use std::io::{self, Write};

use crate::plain::{Answer, Plain};

/// The value that most attacks use.
pub(super) const VALUE: &str = "/attack/value";
/// Bytes of a value that is nearly as large as a plain answer may be (58 MB).
pub(super) const LARGE_VALUE_BYTES: u64 = 58_000_000;
/// Bytes of one body.
const BODY_BYTES: usize = 3 << 20;
/// Members of one body: records have nine members themselves, and a commit may write 16,384.
const PUSHES: u64 = 1600;
/// Bytes of one record, and records of one object.
const RECORD_BYTES: usize = 250;
const GROUP: u64 = 100_000;

pub(super) fn expect(answer: &Answer) -> io::Result<()> {
    match answer.status {
        200..300 => Ok(()),
        status => Err(io::Error::other(format!("a write was answered with {status}"))),
    }
}

/// A JSON string of so many bytes.
pub(super) fn text(bytes: u64) -> Vec<u8> {
    let mut text = vec![b'x'; bytes as usize];
    (text[0], text[bytes as usize - 1]) = (b'"', b'"');
    text
}

/// Makes an object of so many bytes: groups of records with a few members each, like most states.
/// The first record is `g0/r0`.
pub(super) fn records(plain: &mut Plain, path: &str, bytes: u64) -> io::Result<()> {
    let count = bytes / RECORD_BYTES as u64;
    for (group, first) in (0..count).step_by(GROUP as usize).enumerate() {
        let size = GROUP.min(count - first);
        members(plain, &format!("{path}/g{group}"), size, BODY_BYTES, push_record)?;
    }
    Ok(())
}

fn push_record(body: &mut Vec<u8>, number: u64) -> io::Result<()> {
    let begun = body.len();
    let (lat, lon) = (number % 90, number % 180);
    write!(
        body,
        "\"r{number}\":{{\"id\":{number},\"open\":true,\"name\":\"record {number}\",\
         \"place\":{{\"lat\":{lat}.25,\"lon\":{lon}.5}},\"tags\":[\"a\",\"b\",\"c\"],\"text\":\""
    )?;
    body.resize((begun + RECORD_BYTES - 3).max(body.len()), b'x');
    body.extend_from_slice(b"\"}");
    Ok(())
}

/// Writes so many members in several bodies; `push` writes each member.
pub(super) fn members(
    plain: &mut Plain,
    path: &str,
    count: u64,
    body_bytes: usize,
    push: impl Fn(&mut Vec<u8>, u64) -> io::Result<()>,
) -> io::Result<()> {
    let (mut body, mut pushed) = (Vec::new(), 0);
    for number in 0..count {
        body.push(if body.is_empty() { b'{' } else { b',' });
        push(&mut body, number)?;
        pushed += 1;
        if body.len() >= body_bytes || pushed == PUSHES || number + 1 == count {
            pushed = 0;
            body.push(b'}');
            expect(&plain.merge(path, &body)?)?;
            body.clear();
        }
    }
    Ok(())
}
