//! A commit as the journal keeps it: its changes, not its writes. So applying it again needs no
//! conditions and no limits, and cannot end otherwise.

use crate::cursor::Revision;
use crate::rows::codec::{Corrupt, Input, corrupt, put_bytes, put_number};
use crate::times::Timestamp;
use crate::write::change::{Change, Members};

const REMOVE: u8 = 0;
const LEAF: u8 = 1;
/// An object whose members are written over those that are there.
const OVER: u8 = 2;
/// An object that is exactly its members.
const ANEW: u8 = 3;

/// Nesting that no writer reaches: paths and values are bounded by far less.
const DEPTH_MAX: usize = 1024;

/// One commit.
pub(crate) struct Record {
    pub(crate) revision: Revision,
    pub(crate) at: Timestamp,
    pub(crate) change: Change,
}

impl Record {
    pub(crate) fn write(revision: Revision, at: Timestamp, change: &Change) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(revision.0, &mut out);
        put_number(at.0, &mut out);
        put_change(change, &mut out);
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Record, Corrupt> {
        let mut input = Input::new(bytes);
        let (revision, at) = (input.whole_revision()?, Timestamp(input.number()?));
        let change = read_change(&mut input, 0)?;
        match input.is_empty() {
            true => Ok(Record { revision, at, change }),
            false => corrupt("a commit has more bytes than it needs"),
        }
    }
}

fn put_change(change: &Change, out: &mut Vec<u8>) {
    match change {
        // A commit keeps what it does not name, so there is nothing to write.
        Change::Keep => {}
        Change::Remove => out.push(REMOVE),
        Change::Leaf(text) => {
            out.push(LEAF);
            put_bytes(text.as_bytes(), out);
        }
        Change::Object { anew, members, .. } => {
            out.push(if *anew { ANEW } else { OVER });
            let written = || members.iter().filter(|(_, member)| !matches!(member, Change::Keep));
            put_number(written().count() as u64, out);
            for (name, member) in written() {
                put_bytes(name.as_bytes(), out);
                put_change(member, out);
            }
        }
    }
}

fn read_change(input: &mut Input<'_>, depth: usize) -> Result<Change, Corrupt> {
    if depth > DEPTH_MAX {
        return corrupt("a commit is nested too deep");
    }
    match input.byte()? {
        REMOVE => Ok(Change::Remove),
        LEAF => Ok(Change::Leaf(input.text()?)),
        kind @ (OVER | ANEW) => {
            let count = input.count()?;
            let mut members = Members::with_capacity(count.min(1 << 16));
            for _ in 0..count {
                let name = input.str()?;
                let member = read_change(input, depth + 1)?;
                if members.insert(name.into(), member).is_some() {
                    return corrupt("a commit names a member twice");
                }
            }
            Ok(Change::object(kind == ANEW, members))
        }
        _ => corrupt("a commit does something unknown"),
    }
}
