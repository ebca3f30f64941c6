//! Requests of the load to the floor.

use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::value::RawValue;

use super::value::Role;
use crate::load::COLLECTION;
use crate::ws;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Events(u32),
    Session,
    Watch { values: Vec<u32>, since: u64, reference: Option<u64> },
    Put { value: u32, body: Vec<u8> },
    Merge { value: u32, body: Vec<u8> },
    MergeAll(Vec<(u32, Vec<u8>)>),
}

/// The next whole request that was read.
pub(super) fn next(input: &mut Vec<u8>, role: Role) -> Option<Request> {
    if role != Role::Session {
        return http(input);
    }
    let mut used = 0;
    let mut found = None;
    while let (None, Some(head)) = (&found, ws::head(&input[used..])) {
        // Only commands to watch matter to the floor.
        found = watch(head.unmasked(&mut input[used..])).filter(|_| head.opcode == ws::TEXT);
        used += head.end;
    }
    input.drain(..used);
    found
}

fn http(input: &mut Vec<u8>) -> Option<Request> {
    let head = memmem::find(input, b"\r\n\r\n")? + 4;
    let length = number_after(&input[..head], b"content-length: ").unwrap_or(0) as usize;
    if input.len() < head + length {
        return None;
    }
    let body = input[head..head + length].to_vec();
    let value =
        number_after(&input[..head], format!("{COLLECTION}/").as_bytes()).map(|value| value as u32);
    let request = match value {
        _ if memmem::find(&input[..head], b"upgrade: websocket").is_some() => Request::Session,
        Some(value) if input.starts_with(b"GET ") => Request::Events(value),
        Some(value) if input.starts_with(b"PUT ") => Request::Put { value, body },
        Some(value) => Request::Merge { value, body },
        None => Request::MergeAll(members(&body)),
    };
    input.drain(..head + length);
    Some(request)
}

fn members(body: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let members: BTreeMap<u32, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    members.into_iter().map(|(value, body)| (value, body.get().as_bytes().to_vec())).collect()
}

fn watch(text: &[u8]) -> Option<Request> {
    text.starts_with(b"{\"watch\":").then_some(())?;
    let path = format!("\"{COLLECTION}/");
    let mut values = Vec::new();
    for at in memmem::find_iter(text, path.as_bytes()) {
        values.push(number(&text[at + path.len()..]) as u32);
    }
    // The number is behind the epoch.
    let since = memmem::find(text, b"\"since\":\"")
        .map_or(0, |at| number_after(&text[at..], b".").unwrap_or(0));
    Some(Request::Watch { values, since, reference: number_after(text, b"\"ref\":") })
}

fn number_after(text: &[u8], name: &[u8]) -> Option<u64> {
    memmem::find(text, name).map(|at| number(&text[at + name.len()..]))
}

fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_load_asks_is_understood() {
        let check = |text: &str, expect: Option<Request>| {
            let mut input = text.as_bytes().to_vec();
            assert_eq!(next(&mut input, Role::Http), expect, "{text}");
        };
        check(
            "GET /bench/7 HTTP/1.1\r\naccept: text/event-stream\r\n\r\n",
            Some(Request::Events(7)),
        );
        check("GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n", Some(Request::Session));
        check("PUT /bench/7 HTTP/1.1\r\ncontent-length: 5\r\n\r\n1234", None);
        let body = b"12345".to_vec();
        check(
            "PUT /bench/7 HTTP/1.1\r\ncontent-length: 5\r\n\r\n12345",
            Some(Request::Put { value: 7, body }),
        );
        let bodies = vec![(3, b"{\"a\":1}".to_vec()), (7, b"0".to_vec())];
        check(
            "PATCH /bench HTTP/1.1\r\ncontent-length: 19\r\n\r\n{\"7\":0,\"3\":{\"a\":1}}",
            Some(Request::MergeAll(bodies)),
        );
    }

    #[test]
    fn commands_other_than_watch_are_passed_over() {
        let mut input = Vec::new();
        ws::push_masked(&mut input, ws::TEXT, b"{\"credit\":1000}");
        ws::push_masked(&mut input, ws::PONG, b"");
        ws::push_masked(
            &mut input,
            ws::TEXT,
            br#"{"watch":[[3,"/bench/3"],[4,"/bench/4"]],"since":"00a1.77","ref":1}"#,
        );
        let expect = Request::Watch { values: vec![3, 4], since: 77, reference: Some(1) };
        assert_eq!(next(&mut input, Role::Session), Some(expect));
        assert!(input.is_empty());
    }
}
