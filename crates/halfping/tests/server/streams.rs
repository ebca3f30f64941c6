//! Streams of one resource: their frames, times and formats, and how a reader resumes.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::raw::{DEADLINE, Mirror, Next, Random, Stream, seed};
use crate::common::{self, runtime, serve, serve_limited};
use serde_json::{Value, json};

#[test]
fn after_silence_a_stream_says_that_it_is_alive() {
    // PROTOCOL E4, N2, M4. This takes 15 s, beside all the others.
    let server = serve();
    let cursor = server.write(&["PUT /a 1"])[0].cursor();
    let begun = Instant::now();
    let mut sse = server.sse("/a");
    let mut ndjson = server.ndjson("/a");
    let mut many = server.ndjson("/_streams?path=/a&path=/b");
    let watch = "\n\n{\"watch\":1,\"path\":\"/a\"}";
    let mut once = server.stream(&format!("POST /_streams\nAccept: application/x-ndjson{watch}"));
    assert_eq!(once.message()["synced"], true);
    sse.expect(&["snapshot 1", "synced"]);
    ndjson.expect(&["snapshot 1", "synced"]);
    many.expect(&["/a snapshot 1", "/b gone", "synced"]);
    let empty_lines = sse.stray_empty_lines;
    let quiet = begun + Duration::from_secs(13);
    let next = ndjson.next_within(quiet - Instant::now());
    assert!(matches!(next, Next::Nothing), "{next:?}");
    let beat = |stream: &mut Stream| match stream.next_within(DEADLINE) {
        Next::Frame(frame) => frame,
        other => panic!("{other:?}"),
    };
    let again = beat(&mut ndjson);
    assert_eq!((again.kind.as_str(), again.rev), ("synced", Some(cursor.clone())));
    assert!(begun.elapsed() >= Duration::from_secs(15));
    let again = beat(&mut many);
    assert_eq!((again.kind.as_str(), again.rev), ("synced", Some(cursor.clone())));
    let again = once.message();
    assert_eq!(
        (&again["rev"], &again["synced"], again.get("set")),
        (&json!(cursor), &json!(true), None)
    );
    while sse.comments == 0 {
        let next = sse.next_within(Duration::from_millis(100));
        assert!(matches!(next, Next::Nothing), "{next:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    // No empty line, which some clients would take for an empty message; and the next event is
    // whole.
    server.write(&["PUT /a 2"]);
    sse.expect(&["snapshot 2"]);
    assert_eq!((sse.comments, sse.stray_empty_lines), (1, empty_lines));
}

#[test]
fn what_accept_names_is_what_is_streamed() {
    // PROTOCOL S1, E6
    let server = serve();
    server.write(&["PUT /a 1"]);
    for (request, content_type) in [
        ("GET /a\nAccept: text/event-stream", "text/event-stream"),
        ("GET /a\nAccept: text/event-stream, application/json;q=0.9", "text/event-stream"),
        ("GET /a\nAccept: application/x-ndjson", "application/x-ndjson"),
        ("GET /a\nAccept: application/jsonl", "application/x-ndjson"),
        ("GET /a?watch", "application/x-ndjson"),
        ("GET /a?watch=true\nAccept: application/json", "application/x-ndjson"),
        ("GET /a?watch\nAccept: */*", "application/x-ndjson"),
        ("GET /a?watch\nAccept: text/event-stream", "text/event-stream"),
        ("GET /_streams?path=/a", "application/x-ndjson"),
        ("GET /_streams?path=/a\nAccept: text/event-stream", "text/event-stream"),
    ] {
        let mut stream = server.stream(request);
        assert_eq!(
            (stream.status, stream.header("content-type")),
            (200, Some(content_type)),
            "{request}"
        );
        for (name, value) in [
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("incremental", "?1"),
        ] {
            assert_eq!(stream.header(name), Some(value), "{request}");
        }
        let first = stream.next();
        assert_eq!(
            (first.kind.as_str(), first.value.as_deref()),
            ("snapshot", Some("1")),
            "{request}"
        );
        assert_eq!(stream.next().kind, "synced");
        let mut head = server.stream(&request.replacen("GET", "HEAD", 1));
        assert_eq!((head.status, head.header("content-type")), (200, Some(content_type)));
        head.expect_end();
    }
}

#[test]
fn a_stream_outlives_the_deletion_of_its_resource() {
    // PROTOCOL S1, S2, S6
    let server = serve();
    let mut streams = [server.sse("/a/b"), server.ndjson("/a/b"), server.sse("/a/b?envelope=true")];
    let expect = |streams: &mut [Stream], frames: &[&str]| {
        streams.iter_mut().for_each(|stream| drop(stream.expect(frames)));
    };
    expect(&mut streams, &["gone", "synced"]);
    server.write(&["PUT /a/b {\"x\":1}"]);
    expect(&mut streams, &["snapshot {\"x\":1}"]);
    server.write(&["DELETE /a"]);
    expect(&mut streams, &["gone"]);
    server.write(&["PUT /a {\"b\":{\"y\":2}}"]);
    expect(&mut streams, &["snapshot {\"y\":2}"]);
    server.write(&["PUT /a 5"]);
    expect(&mut streams, &["gone"]);
    server.write(&["PUT /a {\"b\":[1]}"]);
    expect(&mut streams, &["snapshot [1]"]);
    server.write(&["PUT / {}"]);
    expect(&mut streams, &["gone"]);
}

#[test]
fn nothing_is_said_of_what_did_not_change() {
    // PROTOCOL S2, C3: nothing was there and nothing is, so no second `gone`.
    let server = serve();
    server.write(&["PUT /a 1"]);
    let mut stream = server.ndjson("/a/b");
    stream.expect(&["gone", "synced"]);
    server.write(&["PUT /a 2", "PUT /a {\"c\":1}", "DELETE /a", "PUT /a {\"b\":7}"]);
    stream.expect(&["snapshot 7"]);
}

#[test]
fn a_delta_is_the_shortest_form_that_says_it() {
    // PROTOCOL S2, S4
    let server = serve();
    let long = "x".repeat(100);
    server.write(&[&format!("PUT /a {{\"long\":\"{long}\",\"o\":{{\"p\":1,\"q\":1}},\"n\":1}}")]);
    let mut stream = server.ndjson("/a");
    let mut mirror = Mirror::default();
    stream.until_synced().iter().for_each(|frame| mirror.apply(frame));
    for (write, frame) in [
        ("PUT /a/n 2", "merge {\"n\":2}"),
        ("DELETE /a/n", "merge {\"n\":null}"),
        ("MERGE /a {\"o\":{\"p\":null,\"r\":[1]},\"n\":0}", ""),
        ("PUT /a/n null", "patch [{\"op\":\"add\",\"path\":\"/n\",\"value\":null}]"),
        ("PUT /a/o {\"s\":null}", ""),
        ("PUT /a/o 1", "merge {\"o\":1}"),
        ("PUT /a/o {}", ""),
        ("PUT /a/~~1%2F null", "patch [{\"op\":\"add\",\"path\":\"/~0~01~1\",\"value\":null}]"),
        ("PUT /a/%22%0A null", "patch [{\"op\":\"add\",\"path\":\"/\\\"\\n\",\"value\":null}]"),
        ("PUT /a {\"new\":1}", "snapshot {\"new\":1}"),
        ("PUT /a {}", "snapshot {}"),
        ("PUT /a [1]", "snapshot [1]"),
        ("PUT /a [1,2]", "snapshot [1,2]"),
    ] {
        let cursor = server.write(&[write])[0].cursor();
        let came = stream.next();
        assert!(frame.is_empty() || came.show() == frame, "{write}: {}", came.show());
        // A write to the object, or within it: either way the cursor of the resource is the
        // commit's.
        assert_eq!(came.rev, Some(cursor), "{write}");
        mirror.apply(&came);
        assert_eq!(
            mirror.value,
            Some(server.talk().ask("GET /a").json()),
            "{write}: {}",
            came.show()
        );
        if came.kind == "patch" {
            let operations: Value = serde_json::from_str(came.value.as_deref().unwrap()).unwrap();
            for operation in operations.as_array().unwrap() {
                assert!(["add", "remove"].iter().any(|op| operation["op"] == *op), "{operation}");
            }
        }
    }
}

#[test]
fn without_deltas_every_frame_is_the_whole_value() {
    // PROTOCOL S4, E2
    let server = serve();
    let mut sse = server.sse("/a?delta=false");
    let mut ndjson = server.ndjson("/a?delta=false");
    let mut both = server.sse("/a?delta=false&envelope=true");
    let gone = sse.next();
    assert_eq!((gone.kind.as_str(), gone.value.as_deref()), ("message", Some("null")));
    let synced = sse.next();
    assert_eq!(synced.kind, "synced");
    ndjson.expect(&["gone", "synced"]);
    both.expect(&["gone", "synced"]);
    let long = "x".repeat(100);
    let values = [
        format!("{{\"long\":\"{long}\",\"n\":1}}"),
        format!("{{\"long\":\"{long}\",\"n\":2}}"),
        format!("{{\"long\":\"{long}\"}}"),
    ];
    for value in &values {
        server.write(&[&format!("PUT /a {value}")]);
        let frame = sse.next();
        assert_eq!(frame.show(), format!("message {value}"));
        assert!(!frame.raw.contains("event:"), "{}", frame.raw);
        ndjson.expect(&[&format!("snapshot {value}")]);
        let frame = both.next();
        assert_eq!(frame.show(), format!("snapshot {value}"));
        assert!(!frame.raw.contains("event:"), "{}", frame.raw);
    }
    let cursor = server.write(&["DELETE /a"])[0].cursor();
    let gone = sse.next();
    assert_eq!((gone.show(), gone.id), ("message null".to_owned(), Some(cursor)));
    ndjson.expect(&["gone"]);
    both.expect(&["gone"]);
}

#[test]
fn events_are_written_as_the_protocol_has_them() {
    // PROTOCOL E1, E3, E4, N1
    let server = serve();
    let cursor = server.write(&["PUT /a {\"n\":1,\"text\":\"line\\nline\"}"])[0].cursor();
    let mut sse = server.sse("/a");
    let raw = sse.next().raw;
    assert_eq!(
        raw,
        format!("event: snapshot\ndata: {{\"n\":1,\"text\":\"line\\nline\"}}\nid: {cursor}")
    );
    assert_eq!(sse.next().raw, format!("event: synced\ndata: null\nid: {cursor}"));
    assert_eq!(sse.retries.len(), 1, "retry: stands once, at the start");
    let mut enveloped = server.sse("/a?envelope=true");
    let frame = enveloped.next();
    assert_eq!((frame.id.as_ref(), frame.rev.as_ref()), (Some(&cursor), Some(&cursor)));
    assert!(
        frame.raw.starts_with("event: snapshot\ndata: {\"kind\":\"snapshot\"")
            && frame.raw.ends_with(&format!("}}\nid: {cursor}")),
        "{}",
        frame.raw
    );
    let mut ndjson = server.ndjson("/a");
    let line = ndjson.next();
    let t = line.t.expect("a time");
    assert_eq!(
        line.raw,
        format!(
            "{{\"kind\":\"snapshot\",\"rev\":\"{cursor}\",\"t\":{t},\"value\":{{\"n\":1,\"text\":\"line\\nline\"}}}}"
        )
    );
    assert!(frame.raw.contains(&format!("\ndata: {}\n", line.raw)), "{}", frame.raw);
    let line = ndjson.next();
    assert_eq!(
        (line.kind.as_str(), line.rev.as_ref(), line.value),
        ("synced", Some(&cursor), None)
    );
    assert_eq!(enveloped.next().rev, Some(cursor));
    server.write(&["PUT /a/n 2"]);
    assert_eq!(sse.next().show(), "merge {\"n\":2}");
    assert_eq!(enveloped.next().show(), "merge {\"n\":2}");
    let gone = server.write(&["DELETE /a"])[0].cursor();
    assert_eq!(sse.next().raw, format!("event: gone\ndata: null\nid: {gone}"));
    assert_eq!(sse.retries.len(), 1);
    let raw = enveloped.next().raw;
    assert!(
        raw.starts_with(&format!("event: gone\ndata: {{\"kind\":\"gone\",\"rev\":\"{gone}\"")),
        "{raw}"
    );
    assert!(raw.ends_with(&format!("\nid: {gone}")), "{raw}");
}

#[test]
fn the_time_of_a_frame_is_that_of_its_newest_change() {
    // PROTOCOL S10
    let server = serve();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let begun = now();
    let since = server.write(&["PUT /a {\"n\":1}"])[0].cursor();
    let first = now();
    let mut stream = server.ndjson("/a");
    let frame = stream.next();
    let t = frame.t.expect("a time");
    assert!((begun..=first).contains(&t), "{t} in {begun}..={first}");
    assert_eq!(stream.next().kind, "synced");
    let mut earlier = t;
    for n in 2..20 {
        let before = now();
        server.write(&[&format!("PUT /a/n {n}")]);
        let after = now();
        let t = stream.next().t.expect("a time");
        assert!((before..=after).contains(&t) && t >= earlier, "{t} in {before}..={after}");
        earlier = t;
    }
    // The time of the newest change since the cursor.
    assert_eq!(server.ndjson(&format!("/a?since={since}")).next().t, Some(earlier));
    assert!(server.sse("/a?envelope=true").next().t.is_some());
    assert!(server.ndjson("/_streams?path=/a").next().t.is_some());
}

#[test]
fn a_reader_that_resumes_gets_one_merged_change() {
    // PROTOCOL S8, S3
    let server = serve();
    let long = "x".repeat(200);
    let old =
        server.write(&[&format!("PUT /a {{\"long\":\"{long}\",\"n\":0,\"gone\":1}}")])[0].cursor();
    let mut talk = server.talk();
    for n in 1..=300 {
        talk.write(&[&format!("PUT /a/n {n}"), &format!("PUT /a/m{} {n}", n % 3)]);
    }
    let new = talk.write(&["DELETE /a/gone"])[0].cursor();
    let merge = "merge {\"n\":300,\"gone\":null,\"m1\":298,\"m2\":299,\"m0\":300}";
    let ways = [
        format!("GET /a?watch&since={old}"),
        format!("GET /a?since={old}\nAccept: text/event-stream"),
        format!("GET /a?since=%22{old}%22\nAccept: text/event-stream"),
        format!("GET /a\nAccept: text/event-stream\nLast-Event-ID: {old}"),
        format!("GET /a?watch\nLast-Event-ID: {old}"),
        // The header takes precedence (PROTOCOL S8).
        format!("GET /a?watch&since={new}\nLast-Event-ID: {old}"),
        format!("GET /a?watch&since=garbage\nLast-Event-ID: {old}"),
    ];
    for way in &ways {
        let mut stream = server.stream(way);
        let came = stream.expect(&[merge, "synced"]);
        assert_eq!(came[0].cursor(), Some(&*new), "{way}");
        assert_eq!(came[1].cursor(), Some(&*new), "{way}");
    }
    let mut all: Vec<Stream> = ways.iter().take(1).map(|way| server.stream(way)).collect();
    all.push(server.stream(&format!("GET /a?watch&since={new}")));
    all.push(server.stream(&format!("GET /a?watch&since={old}\nLast-Event-ID: {new}")));
    all[0].expect(&[merge, "synced"]);
    // Without changes, `synced` comes at once.
    all[1].expect(&["synced"]);
    all[2].expect(&["synced"]);
    talk.write(&["PUT /elsewhere 1", "PUT /a/n 1"]);
    all.iter_mut().for_each(|stream| drop(stream.expect(&["merge {\"n\":1}"])));
    // An empty header names nothing: the parameter counts.
    server
        .stream(&format!("GET /a?watch&since={old}\nLast-Event-ID:"))
        .next()
        .show()
        .starts_with("merge");
}

#[test]
fn a_reader_resumes_across_absence() {
    // PROTOCOL S8, S6, C4
    let server = serve();
    let mut talk = server.talk();
    let never = talk.ask("GET /a").cursor();
    server.ndjson(&format!("/a?since={never}")).expect(&["synced"]);
    let there = talk.write(&["PUT /a {\"x\":1,\"y\":1}"])[0].cursor();
    server.ndjson(&format!("/a?since={never}")).expect(&["snapshot {\"x\":1,\"y\":1}", "synced"]);
    let gone = talk.write(&["DELETE /a"])[0].cursor();
    server.ndjson(&format!("/a?since={there}")).expect(&["gone", "synced"]);
    server.ndjson(&format!("/a?since={gone}")).expect(&["synced"]);
    talk.write(&["PUT /a {\"y\":1}"]);
    for since in [&never, &there, &gone] {
        let mut stream = server.ndjson(&format!("/a?since={since}"));
        stream.expect(&["snapshot {\"y\":1}", "synced"]);
    }
}

#[test]
fn at_most_so_many_updates_a_second_and_the_newest_of_them() {
    // PROTOCOL S9
    let server = serve();
    let rates = [("5", 5.0), ("2.5", 2.5), ("20", 20.0)];
    let begun = Instant::now();
    let mut streams: Vec<Stream> = Vec::new();
    for (rate, _) in rates {
        streams.push(server.ndjson(&format!("/n?rate={rate}")));
        streams.push(server.sse(&format!("/n?delta=false&rate={rate}")));
    }
    let api = server.api.clone();
    let writer = thread::spawn(move || {
        let mut n = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            n += 1;
            runtime_put(&api, n);
        }
        n
    });
    fn runtime_put(api: &halfping::Api, n: u32) {
        thread_local!(static RUNTIME: tokio::runtime::Runtime = runtime());
        RUNTIME
            .with(|runtime| runtime.block_on(api.put("/n", &n).into_future()).map(drop).unwrap());
    }
    let last = writer.join().unwrap();
    assert!(last > 100, "{last}");
    for (i, stream) in streams.iter_mut().enumerate() {
        let rate = rates[i / 2].1;
        let mut count = 0;
        loop {
            let frame = stream.next();
            if frame.kind == "synced" {
                continue;
            }
            count += 1;
            // The server spaces them out, so there are not more, however late they are read.
            let most = 1.0 + rate * begun.elapsed().as_secs_f64();
            assert!(
                f64::from(count) <= most,
                "{count} frames at a rate of {rate} after {:?}",
                begun.elapsed()
            );
            if frame.value.as_deref() == Some(&last.to_string()) {
                break;
            }
        }
        // It sends updates regularly, not just one at the end.
        assert!(f64::from(count) >= rate.min(3.0), "{count} frames at a rate of {rate}");
    }
}

#[test]
fn any_positive_rate_is_one() {
    // PROTOCOL S9
    let server = serve();
    for rate in ["0.5", "1", "1e3", "1000000", "0.001", "0.0001", "1e-9"] {
        server.ndjson(&format!("/n?rate={rate}")).expect(&["gone", "synced"]);
    }
}

#[test]
fn a_large_value_comes_in_slices_and_only_the_last_has_a_cursor() {
    // PROTOCOL S5, S6
    let server = serve_limited(|limits| limits.slice_bytes = 2048);
    let members: Vec<String> =
        (0..400).map(|i| format!("\"k{i}\":{{\"n\":{i},\"t\":\"{}\"}}", "x".repeat(40))).collect();
    let cursor = server.write(&[&format!("PUT /a {{{}}}", members.join(","))])[0].cursor();
    let value = server.talk().ask("GET /a").json();
    for target in ["/a", "/a?depth=2", "/a?envelope=true", "/a?rate=1000"] {
        for mut stream in
            [server.sse(target), server.ndjson(target.trim_end_matches("?envelope=true"))]
        {
            let frames = stream.until_synced();
            let (synced, slices) = frames.split_last().unwrap();
            let (last, before) = slices.split_last().unwrap();
            assert!(slices.len() > 10, "{}", slices.len());
            assert_eq!(slices[0].kind, "snapshot");
            let mut mirror = Mirror::default();
            for slice in slices {
                mirror.apply(slice);
                assert!(slice.raw.len() < 4096, "{}", slice.raw.len());
            }
            assert!(
                before.iter().all(|slice| slice.cursor().is_none()),
                "a cursor on an incomplete state"
            );
            // An `EventSource` forgets its cursor from before (PROTOCOL E1, S5).
            let forgets: Vec<&str> =
                before.iter().filter(|s| s.forgets).map(|s| s.kind.as_str()).collect();
            let sse = stream.header("content-type") == Some("text/event-stream");
            assert_eq!(forgets, if sse { vec!["snapshot"] } else { vec![] });
            assert_eq!((last.cursor(), synced.cursor()), (Some(&*cursor), Some(&*cursor)));
            assert_eq!(mirror.value.as_ref(), Some(&value));
        }
    }
    // A change that is too large comes in the same way.
    let since = cursor;
    let mut live = server.ndjson(&format!("/a?since={since}"));
    live.expect(&["synced"]);
    let merge: Vec<String> =
        (0..400).map(|i| format!("\"k{i}\":{{\"n\":{}}},\"l{i}\":null", i + 1)).collect();
    let cursor = server.write(&[&format!("MERGE /a {{{}}}", merge.join(","))])[0].cursor();
    let mut mirror = Mirror { value: Some(value.clone()) };
    loop {
        let frame = live.next();
        mirror.apply(&frame);
        if let Some(rev) = frame.rev {
            assert_eq!(rev, cursor);
            break;
        }
        assert_ne!(frame.kind, "synced");
    }
    let value = server.talk().ask("GET /a").json();
    assert_eq!(mirror.value, Some(value.clone()));
    let frames = server.ndjson(&format!("/a?since={since}")).until_synced();
    assert!(frames.len() > 3);
    // Without deltas it is one frame, however large (PROTOCOL S4).
    let frames = server.ndjson("/a?delta=false").until_synced();
    assert_eq!(frames.len(), 2);
    let mut mirror = Mirror::default();
    mirror.apply(&frames[0]);
    assert_eq!(mirror.value, Some(value));
}

#[test]
fn slices_with_nulls_are_patches_that_apply_one_after_the_other() {
    // PROTOCOL S5, S2, V3
    let server = serve_limited(|limits| limits.slice_bytes = 1024);
    let inner: Vec<String> = (0..100)
        .map(|i| format!("\"k{i}\":{}", if i % 3 == 0 { "null" } else { "[null,1]" }))
        .collect();
    let outer: Vec<String> =
        (0..10).map(|i| format!("\"o{i}\":{{{}}},\"n{i}\":null", inner.join(","))).collect();
    server.write(&[&format!("PUT /a {{{}}}", outer.join(","))]);
    let value = server.talk().ask("GET /a").json();
    let frames = server.ndjson("/a").until_synced();
    let mut mirror = Mirror::default();
    frames.iter().for_each(|frame| mirror.apply(frame));
    assert_eq!(mirror.value, Some(value));
    assert!(frames.len() > 5);
}

#[test]
fn a_value_too_large_for_one_frame_without_deltas_ends_the_stream() {
    // PROTOCOL S11
    let server =
        serve_limited(|limits| (limits.value_bytes, limits.whole_frame_bytes) = (1000, 1000));
    server.write(&[
        "PUT /a {}",
        &format!("PUT /a/x \"{}\"", "x".repeat(600)),
        &format!("PUT /a/y \"{}\"", "y".repeat(600)),
    ]);
    for mut stream in [
        server.sse("/a?delta=false"),
        server.ndjson("/a?delta=false"),
        server.ndjson("/_streams?path=/a&delta=false"),
    ] {
        let error = stream.next();
        assert_eq!(error.kind, "error");
        let problem = error.problem.expect("a problem");
        assert_eq!(problem["type"], "urn:halfping:problem:value-too-large");
        assert_eq!((&problem["status"], &problem["ends"]), (&json!(413), &json!(true)));
        stream.expect_end();
        assert!(stream.ended_well());
    }
    server.talk().check("GET /a", "413 value-too-large\n\nvalue_bytes\n1000");
    // With deltas it can be read.
    assert_eq!(server.ndjson("/a").until_synced().len(), 2);
}

#[test]
fn a_stream_of_many_that_ends_for_one_of_them_gives_no_cursor_to_resume_from() {
    // PROTOCOL M2, S11: who resumed from it would never be told of the one that ended the stream.
    let server = serve_limited(|limits| limits.whole_frame_bytes = 1000);
    server.write(&[
        "PUT /small 1",
        "PUT /large {}",
        &format!("PUT /large/x \"{}\"", "x".repeat(1001)),
    ]);
    let target = "/_streams?path=/small&path=/large&delta=false";
    for mut stream in [server.sse(target), server.ndjson(target)] {
        let (small, error) = (stream.next(), stream.next());
        assert_eq!((small.kind.as_str(), error.kind.as_str()), ("snapshot", "error"));
        for frame in [small, error] {
            assert_eq!((&frame.id, &frame.resume), (&None, &None), "{frame:?}");
        }
        stream.expect_end();
    }
}

#[test]
fn a_reader_that_does_not_read_is_owed_nothing_but_the_newest_state() {
    // PROTOCOL S3, S12
    let server = serve();
    let mut stream = server.ndjson("/a");
    stream.expect(&["gone", "synced"]);
    let before = server.metric("halfping_stream_bytes_total");
    let text = "x".repeat(4000);
    let runtime = runtime();
    let commits = 4000;
    for n in 1..=commits {
        runtime.block_on(server.api.put("/a", &json!([n, text])).into_future()).unwrap();
    }
    // The kernel's buffers are bounded too; all that was written would be 16 MB.
    let sent = server.metric("halfping_stream_bytes_total") - before;
    assert!(sent < 4 << 20, "{sent} bytes were made for a reader that does not read");
    let mut frames = 0;
    loop {
        let frame = stream.next();
        frames += 1;
        let value: Value = serde_json::from_str(frame.value.as_deref().unwrap()).unwrap();
        if value[0] == commits {
            break;
        }
    }
    assert!(frames < commits / 2, "{frames} frames of {commits} commits");
}

#[test]
fn a_delta_is_right_on_any_state_since_its_cursor() {
    // PROTOCOL S7, S8
    let seed = seed();
    let mut random = Random(seed);
    let server = serve_limited(|limits| limits.tombstones_per_object = 6);
    let mut talk = server.talk();
    let mut states: Vec<(String, Option<Value>)> = Vec::new();
    talk.write(&[&format!("PUT /r {{\"untouched\":\"{}\"}}", "x".repeat(5000))]);
    for _ in 0..150 {
        let write = write_somewhere(&mut random);
        talk.ask(&write);
        let now = talk.ask("GET /r");
        let value = (now.status == 200).then(|| now.json());
        if states.last().is_none_or(|(cursor, _)| *cursor != now.cursor()) {
            states.push((now.cursor(), value));
        }
    }
    let newest = states.last().unwrap().1.clone();
    let mut deltas = 0;
    for (i, (cursor, _)) in states.iter().enumerate() {
        let frames = server.ndjson(&format!("/r?since={cursor}")).until_synced();
        deltas += usize::from(frames.iter().any(|f| matches!(f.kind.as_str(), "merge" | "patch")));
        for (held, state) in &states[i..] {
            let mut mirror = Mirror { value: state.clone() };
            for frame in &frames {
                lenient(&mut mirror, frame);
            }
            assert_eq!(
                mirror.value, newest,
                "seed {seed}: {frames:?} from {cursor} on the state at {held}, {state:?}"
            );
        }
    }
    assert!(deltas > 20, "{deltas} deltas");
}

/// Applies a frame as PROTOCOL S7 requires: a `remove` without a target is ignored.
fn lenient(mirror: &mut Mirror, frame: &common::raw::Frame) {
    if frame.kind != "patch" {
        return mirror.apply(frame);
    }
    let patch: json_patch::Patch = serde_json::from_str(frame.value.as_deref().unwrap()).unwrap();
    for operation in &*patch {
        let value = mirror.value.as_mut().expect("a value to patch");
        let one = json_patch::Patch(vec![operation.clone()]);
        let applied = json_patch::patch(value, &one);
        let ignored = matches!(operation, json_patch::PatchOperation::Remove(_));
        assert!(applied.is_ok() || ignored, "{operation} does not apply to {value}");
    }
}

/// A write at `/r` or beneath, which the server may refuse.
fn write_somewhere(random: &mut Random) -> String {
    let names = ["a", "b", "c", "d", "e"];
    let name = |random: &mut Random| names[random.below(5) as usize];
    let mut path = "/r".to_owned();
    // Never all of it: the state has to be large beside the changes, or only snapshots would be
    // sent.
    for _ in 0..1 + random.below(3) {
        path = format!("{path}/{}", name(random));
    }
    let value = match random.below(8) {
        0 => "null".to_owned(),
        1 => "[1]".to_owned(),
        2 => "{}".to_owned(),
        3 => format!("{{\"{}\":{{\"{}\":{}}}}}", name(random), name(random), random.below(5)),
        4 => format!("{{\"{}\":null,\"x\":{}}}", name(random), random.below(5)),
        _ => format!("\"{} {}\"", random.below(9), "x".repeat(60)),
    };
    match random.below(10) {
        0..2 => format!("DELETE {path}"),
        2..4 => format!("PATCH {path}\nContent-Type: application/merge-patch+json\n\n{value}"),
        _ => format!("PUT {path}\n\n{value}"),
    }
}

#[test]
fn readers_of_different_depths_are_told_what_they_can_see() {
    // PROTOCOL R5, S2
    let server = serve();
    server.write(&["PUT /a {\"b\":{\"c\":1},\"d\":1}"]);
    let mut depths: Vec<Stream> =
        (0..3).map(|depth| server.ndjson(&format!("/a?depth={depth}"))).collect();
    let mut whole = server.sse("/a?depth=1&delta=false");
    depths[0].expect(&["snapshot {}", "synced"]);
    depths[1].expect(&["snapshot {\"b\":{},\"d\":1}", "synced"]);
    depths[2].expect(&["snapshot {\"b\":{\"c\":1},\"d\":1}", "synced"]);
    whole.expect(&["message {\"b\":{},\"d\":1}", "synced"]);
    server.write(&["PUT /a/b/c 2"]);
    depths[2].expect(&["merge {\"b\":{\"c\":2}}"]);
    server.write(&["PUT /a/b {\"x\":{\"y\":1}}", "PUT /a/d 2"]);
    let mut mirror = Mirror { value: Some(json!({"b": {"c": 2}, "d": 1})) };
    while mirror.value != Some(json!({"b": {"x": {}}, "d": 2})) {
        mirror.apply(&depths[2].next());
    }
    depths[1].expect(&["merge {\"d\":2}"]);
    whole.expect(&["message {\"b\":{},\"d\":2}"]);
    server.write(&["PUT /a [1]"]);
    for stream in &mut depths {
        stream.expect(&["snapshot [1]"]);
    }
    whole.expect(&["message [1]"]);
    server.write(&["PUT /a {\"b\":{\"c\":1}}"]);
    depths[0].expect(&["snapshot {}"]);
    depths[1].expect(&["snapshot {\"b\":{}}"]);
    depths[2].expect(&["snapshot {\"b\":{\"c\":1}}"]);
}

#[test]
fn many_paths_share_a_stream() {
    // PROTOCOL M1, M2, S6
    let server = serve();
    let mut talk = server.talk();
    let (a, b) =
        (talk.write(&["PUT /a {\"n\":1}"])[0].cursor(), talk.write(&["PUT /b 2"])[0].cursor());
    for (request, sse) in [
        ("GET /_streams?path=/a&path=/none&path=/b/\nAccept: text/event-stream", true),
        ("GET /_streams?path=/a&path=/none&path=/b/", false),
    ] {
        let frames = server.stream(request).expect(&[
            "/a snapshot {\"n\":1}",
            "/none gone",
            "/b/ snapshot 2",
            "synced",
        ]);
        // `rev` is the cursor of the path; the cursor that resumes all paths is on the last frame
        // only.
        assert_eq!((frames[0].rev.as_ref(), frames[2].rev.as_ref()), (Some(&a), Some(&b)));
        let resumes: Vec<Option<&String>> =
            frames.iter().map(|frame| frame.resume.as_ref()).collect();
        assert_eq!(resumes, [None, None, Some(&b), None]);
        let ids: Vec<bool> = frames.iter().map(|frame| frame.id.is_some()).collect();
        assert_eq!(ids, [false, false, sse, sse]);
        assert_eq!(frames[3].rev, Some(b.clone()));
        assert!(frames.iter().all(|frame| frame.t.is_some()));
        let line = frames[0].raw.split_once("data: ").map_or(&*frames[0].raw, |(_, data)| data);
        assert!(line.starts_with("{\"path\":\"/a\",\"kind\":\"snapshot\",\"rev\":\""), "{line}");
    }
    for twice in ["path=/a&path=/a", "path=/a&path=/a/", "path=/a&path=/%2561", "path=/&path=/"] {
        talk.check(&format!("GET /_streams?{twice}"), "400 bad-parameter");
    }
    talk.check("GET /_streams", "400 bad-parameter\n\npath");
    talk.check("GET /_streams?path=/a&envelope=true", "400 unknown-parameter");
    talk.check("GET /_streams?path=", "400 bad-path");
    // A path and a path beneath it, and the root.
    server.ndjson("/_streams?path=/&path=/a&path=/a/n").expect(&[
        "/ snapshot {\"a\":{\"n\":1},\"b\":2}",
        "/a snapshot {\"n\":1}",
        "/a/n snapshot 1",
        "synced",
    ]);
}

#[test]
fn one_cursor_resumes_many_paths() {
    // PROTOCOL M1, M2, S8
    let server = serve();
    let mut talk = server.talk();
    let long = "x".repeat(100);
    talk.write(&[&format!("PUT /a {{\"n\":1,\"long\":\"{long}\"}}"), "PUT /b 1", "PUT /c 1"]);
    let target = "/_streams?path=/a&path=/b&path=/c&path=/d";
    let mut stream = server.sse(target);
    let frames = stream.until_synced();
    let since = frames.last().unwrap().id.clone().unwrap();
    talk.write(&[
        "PUT /a/n 2",
        "PUT /c 2",
        "PUT /a/n 3",
        "DELETE /b",
        "PUT /elsewhere 1",
        "PUT /d 4",
    ]);
    for request in [
        format!("GET {target}&since={since}\nAccept: text/event-stream"),
        format!("GET {target}\nLast-Event-ID: {since}"),
        format!("GET {target}&since=x\nLast-Event-ID: {since}\nAccept: text/event-stream"),
    ] {
        let mut stream = server.stream(&request);
        let mut came: BTreeSet<String> = (0..4).map(|_| stream.next().show()).collect();
        assert_eq!(stream.next().show(), "synced");
        for frame in ["/a merge {\"n\":3}", "/b gone", "/c snapshot 2", "/d snapshot 4"] {
            assert!(came.remove(frame), "{frame} not in {came:?}");
        }
    }
    let now = talk.ask("GET /").cursor();
    server.ndjson(&format!("{target}&since={now}")).expect(&["synced"]);
    server.ndjson("/_streams?path=/c&path=/d&delta=false&depth=0&rate=100").expect(&[
        "/c snapshot 2",
        "/d snapshot 4",
        "synced",
    ]);
}

#[test]
fn a_commit_is_seen_whole() {
    // PROTOCOL M3, M2, C1
    let server = serve();
    let mut streams = [
        server.sse("/_streams?path=/a/n&path=/b&path=/c/d/n"),
        server.ndjson("/_streams?path=/b&path=/c&path=/a"),
    ];
    let writer = {
        let mut talk = server.talk();
        thread::spawn(move || {
            for n in 1..=500 {
                talk.write(&[&format!(
                    "MERGE / {{\"a\":{{\"n\":{n}}},\"b\":{n},\"c\":{{\"d\":{{\"n\":{n}}}}}}}"
                )]);
            }
        })
    };
    for stream in &mut streams {
        let mut held: [Mirror; 3] = Default::default();
        let mut paths: Vec<String> = Vec::new();
        let mut whole = 0;
        loop {
            let frame = stream.next();
            if let Some(path) = &frame.path {
                let place = paths.iter().position(|p| p == path).unwrap_or_else(|| {
                    paths.push(path.clone());
                    paths.len() - 1
                });
                held[place].apply(&frame);
            }
            if frame.id.is_some() || frame.resume.is_some() {
                let number = |mirror: &Mirror| {
                    let value = mirror.value.clone().unwrap_or_default();
                    ["", "/n", "/d/n"].iter().find_map(|p| value.pointer(p)?.as_u64()).unwrap_or(0)
                };
                let numbers: Vec<u64> = held.iter().map(number).collect();
                assert!(numbers.iter().all(|n| *n == numbers[0]), "{numbers:?} at {}", frame.raw);
                whole += 1;
                if numbers[0] == 500 {
                    break;
                }
            }
        }
        assert!(whole > 1);
    }
    writer.join().unwrap();
}

#[test]
fn a_reader_of_many_paths_with_a_rate_loses_nothing_when_it_resumes() {
    // PROTOCOL M2, S9, S7: the state that `id` names resumes all paths, also when some are due
    // later than others.
    let server = serve();
    let mut talk = server.talk();
    talk.write(&["PUT / {\"a\":{\"n\":0},\"b\":{\"n\":0}}"]);
    let target = "/_streams?path=/a&path=/b";
    let mut stream = server.sse(&format!("{target}&rate=4"));
    let begun = Instant::now();
    let mut held: [Mirror; 2] = Default::default();
    let take = |held: &mut [Mirror; 2], frame: &common::raw::Frame| match frame.path.as_deref() {
        Some("/a") => held[0].apply(frame),
        Some("/b") => held[1].apply(frame),
        _ => {}
    };
    let mut resumed = 0;
    let mut n = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        // Out of step with each other, so that the two are due at different times.
        n += 1;
        talk.write(&[
            &format!("MERGE /a {{\"n\":{n},\"m{}\":{n}}}", n % 5),
            &format!("DELETE /a/m{}", n % 5),
        ]);
        if n % 17 == 0 {
            talk.write(&[&format!("PUT /b {{\"n\":{n},\"m{n}\":null}}")]);
        }
        while let Next::Frame(frame) = stream.next_within(Duration::from_millis(20)) {
            take(&mut held, &frame);
            let Some(id) = frame.id else { continue };
            assert!(frame.kind == "synced" || frame.resume.as_ref() == Some(&id), "{}", frame.raw);
            let mut there = held.clone();
            for frame in server.ndjson(&format!("{target}&since={id}")).until_synced() {
                take(&mut there, &frame);
            }
            let now = [talk.ask("GET /a").json(), talk.ask("GET /b").json()];
            assert_eq!(there.map(|mirror| mirror.value.unwrap()), now, "resumed from {id}");
            resumed += 1;
        }
    }
    assert!(resumed > 3, "{resumed}");
}

#[test]
fn slices_of_many_paths_have_no_cursor_before_all_is_there() {
    // PROTOCOL M2, S5
    let server = serve_limited(|limits| limits.slice_bytes = 1024);
    let members: Vec<String> =
        (0..200).map(|i| format!("\"k{i}\":\"{}\"", "x".repeat(30))).collect();
    server.write(&[
        &format!("PUT /a {{{}}}", members.join(",")),
        "PUT /b 1",
        &format!("PUT /c {{{}}}", members.join(",")),
    ]);
    let mut talk = server.talk();
    let values = [talk.ask("GET /a").json(), talk.ask("GET /b").json(), talk.ask("GET /c").json()];
    for mut stream in [
        server.sse("/_streams?path=/a&path=/b&path=/c"),
        server.ndjson("/_streams?path=/a&path=/b&path=/c"),
    ] {
        let frames = stream.until_synced();
        let mut held: [Mirror; 3] = Default::default();
        let last = frames.len() - 1;
        for (i, frame) in frames.iter().enumerate() {
            let place = frame
                .path
                .as_deref()
                .map(|path| ["/a", "/b", "/c"].iter().position(|p| *p == path).unwrap());
            if let Some(place) = place {
                held[place].apply(frame);
                if frame.rev.is_some() {
                    assert_eq!(
                        held[place].value.as_ref(),
                        Some(&values[place]),
                        "a cursor on an incomplete state"
                    );
                }
            }
            let promises = frame.id.is_some() || frame.resume.is_some();
            assert!(!promises || i + 1 >= last, "a cursor for all after {i} of {last}");
        }
        assert_eq!(held.map(|mirror| mirror.value.unwrap()), values);
    }
}
