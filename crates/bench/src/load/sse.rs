//! A parser of server-sent events, as far as the load needs it.

use memchr::memmem;

use crate::stamp::Stamp;

pub(super) enum Event {
    Value(Option<Stamp>),
    Synced,
}

/// Finds the values in whole events. Returns the end of the last event.
pub(super) fn events(bytes: &[u8], mut found: impl FnMut(Event)) -> usize {
    let mut start = 0;
    while let Some(length) = memmem::find(&bytes[start..], b"\n\n") {
        let event = &bytes[start..start + length];
        start += length + 2;
        let Some(at) = memmem::find(event, b"data: ") else { continue };
        let (lines, body) = event.split_at(at);
        found(match memmem::find(lines, b"event: synced\n") {
            Some(_) => Event::Synced,
            None => Event::Value(Stamp::find(&body[6..])),
        });
    }
    start
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = "HTTP/1.1 200 OK\r\n\r\nD\r\nretry: 1000\n\n\r\n\
            40\r\nevent: snapshot\nid: a.1\ndata: \"00000000000000010000000000000100xx\"\n\n\r\n\
            20\r\nevent: synced\nid: a.1\ndata: null\n\n\r\n2\r\n:\n\r\n\
            40\r\nid: a.2\ndata: \"000000000000000a0000000000000200xx\"\n\n\r\n\
            9\r\ndata: 0\n\n\r\n";
        let stamp = |number, at| Stamp { number, at: Duration::from_nanos(at) };
        let expect = [Some(stamp(1, 256)), None, Some(stamp(10, 512)), None];
        for cut in 0..stream.len() {
            let mut values = Vec::new();
            let (first, second) = stream.as_bytes().split_at(cut);
            let mut found = |event| match event {
                Event::Value(stamp) => values.push(stamp),
                Event::Synced => values.push(None),
            };
            let whole = events(first, &mut found);
            let rest = [&first[whole..], second].concat();
            events(&rest, &mut found);
            assert_eq!(values, expect, "cut at {cut}");
        }
    }
}
