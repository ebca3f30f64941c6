//! Halfping inside another program: below a prefix, for pages of other origins, and as a Rust API.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::raw::{Connection, DEADLINE, Stream, request};
use crate::common::{Talk, compare, runtime, serve, serve_with};
use axum::Router;
use halfping::{Api, Commit, Cors, Error, Limits, Options, Refusal};
use serde::{Deserialize, Serialize};

/// Serves another program's router; the server ends with the runtime.
fn mount(router: Router) -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = runtime();
    let address = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    });
    (address, runtime)
}

fn talk(address: SocketAddr) -> Talk {
    Talk { connection: Connection::open(address) }
}

#[test]
fn below_a_prefix_paths_are_relative_to_the_mount() {
    // PROTOCOL P6, W5
    let api = Api::new(Options::default());
    let hello = Router::new().route("/hello", axum::routing::get(|| async { "hello" }));
    for prefix in ["/live", "/some/where/deep"] {
        let (address, _runtime) = mount(hello.clone().nest(prefix, api.router()));
        let mut connection = Connection::open(address);
        let mut ask = |short: &str, expect: &str| {
            let answer = connection.ask(short);
            compare(short, &answer, expect, short.starts_with("HEAD "));
            answer
        };
        ask("GET /hello", "200\n\nhello");
        ask(&format!("PUT {prefix}/a/b\n\n1"), "201");
        ask(&format!("GET {prefix}"), "200\n\n{\"a\":{\"b\":1}}");
        ask(&format!("GET {prefix}/a/b/"), "200\n\n1");
        let posted = ask(
            &format!("POST {prefix}/a\n\n{{\"x\":1}}"),
            &format!("201\nLocation: {prefix}/a/*"),
        );
        let location = posted.header("location").unwrap();
        ask(&format!("GET {location}"), "200\n\n{\"x\":1}");
        ask(&format!("POST {prefix}\n\n5"), &format!("201\nLocation: {prefix}/*"));
        ask(
            &format!("GET {prefix}/_health"),
            "200\n\n{\"status\":\"ok\",\"storage\":{\"status\":\"none\"}}",
        );
        ask(&format!("PUT {prefix}/_x\n\n1"), "403 reserved-path");
        ask(&format!("GET {prefix}/none"), "404 not-found\n\n/none");
        ask(&format!("DELETE {prefix}"), "405 method-not-allowed");
        let mut stream = Stream::open(address, &format!("GET {prefix}/_streams?path=/a/b"));
        stream.expect(&["/a/b snapshot 1", "synced"]);
        let watch = "{\"watch\":1,\"path\":\"/a/b\"}";
        let mut once = Stream::open(address, &format!("POST {prefix}/_streams\n\n{watch}"));
        assert_eq!(once.synced()["set"][0][2], 1);
        let mut sse =
            Stream::open(address, &format!("GET {prefix}/a/b\nAccept: text/event-stream"));
        sse.expect(&["snapshot 1", "synced"]);
        ask(&format!("PUT {prefix}\n\n{{}}"), "200");
        stream.expect(&["/a/b gone"]);
        sse.expect(&["gone"]);
    }
}

#[test]
fn the_root_below_a_prefix_may_have_a_trailing_slash() {
    // PROTOCOL P2, P6: `/live/` is the root, as `/live` is.
    let api = Api::new(Options::default());
    let (address, _runtime) = mount(Router::new().nest_service("/live", api.router()));
    let mut connection = Connection::open(address);
    for (short, expect) in [
        ("GET /live/", "200\n\n{}"),
        ("POST /live/\n\n5", "201\nLocation: /live/*"),
        ("GET /live/?watch", "200"),
    ] {
        connection.send(&request(short));
        let (status, headers) = connection.head();
        assert_eq!(status.to_string(), expect[..3], "{short}");
        if !short.contains("watch") {
            compare(short, &connection.body(status, headers, false), expect, false);
        }
    }
}

#[test]
fn empty_segments_are_refused_below_a_prefix_too() {
    // PROTOCOL P3, P6
    let api = Api::new(Options::default());
    let (address, _runtime) = mount(Router::new().nest_service("/live", api.router()));
    let mut connection = Connection::open(address);
    for target in ["/live/a//b", "/live//a", "/live//"] {
        let answer = connection.ask(&format!("GET {target}"));
        compare(target, &answer, "400 bad-path", false);
    }
}

#[test]
fn somebody_elses_server_can_drain_it() {
    // PROTOCOL E5
    let api = Api::new(Options::default());
    let (address, _runtime) = mount(Router::new().nest_service("/live", api.router()));
    let mut stream = Stream::open(address, "GET /live/a\nAccept: text/event-stream");
    stream.expect(&["gone", "synced"]);
    api.drain();
    stream.expect_end();
    assert_eq!(stream.retries.len(), 2);
}

#[test]
fn a_graceful_shutdown_of_somebody_elses_server_ends_while_readers_follow() {
    // PROTOCOL E5
    let api = Api::new(Options::default());
    let runtime = runtime();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (address, server) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().nest_service("/live", api.router());
        let signal = api.drain_on(async { drop(stopped.await) });
        let serving = axum::serve(listener, app).with_graceful_shutdown(signal);
        (address, tokio::spawn(serving.into_future()))
    });
    let mut streams = [
        Stream::open(address, "GET /live/a\nAccept: text/event-stream"),
        Stream::open(address, "GET /live/a?watch"),
    ];
    streams.iter_mut().for_each(|stream| drop(stream.expect(&["gone", "synced"])));
    stop.send(()).unwrap();
    streams.iter_mut().for_each(Stream::expect_end);
    runtime.block_on(in_time(server)).unwrap().unwrap();
}

#[test]
fn links_of_many_connections_share_an_account_behind_somebody_elses_server() {
    // PROTOCOL X1: the limit is of connections, and here all of them look like one.
    let api = Api::new(Options {
        limits: Limits::default().with(|limits| {
            limits.links_per_connection = 2;
        }),
        ..Options::default()
    });
    let (address, _runtime) = mount(api.router());
    let mut streams: Vec<Stream> = (0..2).map(|_| Stream::open(address, "GET /a?watch")).collect();
    streams.iter_mut().for_each(|stream| drop(stream.until_synced()));
    talk(address).check("GET /a?watch", "429 too-many-links");
}

#[test]
fn pages_of_other_origins_are_let_in_as_configured() {
    // All headers that a client sends. Browsers do not take `*` to cover all of them.
    const ASKED: &str = "authorization,content-type,if-match,if-none-match,last-event-id,prefer";
    let preflight = |origin: &str, method: &str| {
        format!(
            "OPTIONS /a\nOrigin: {origin}\nAccess-Control-Request-Method: {method}\nAccess-Control-Request-Headers: {ASKED}"
        )
    };
    let any = serve_with(Options { cors: Cors::Any, ..Options::default() });
    let mut talk = any.talk();
    for method in ["GET", "PUT", "PATCH", "POST", "DELETE"] {
        let answer = talk.check(
            &preflight("https://app.example.org", method),
            "200
            Access-Control-Allow-Origin: *
            Access-Control-Allow-Methods: *",
        );
        assert!(answer.header("access-control-allow-methods").unwrap().contains(method));
        let allowed: Vec<&str> =
            answer.header("access-control-allow-headers").unwrap().split(',').collect();
        assert!(ASKED.split(',').all(|name| allowed.contains(&name)), "{allowed:?}");
    }
    let put = talk.check(
        "PUT /a\nOrigin: https://app.example.org\n\n1",
        "201\nAccess-Control-Allow-Origin: *",
    );
    let exposed = put.header("access-control-expose-headers").unwrap().to_ascii_lowercase();
    for name in ["etag", "location", "retry-after", "allow"] {
        assert!(exposed.contains(name), "{name} in {exposed}");
    }
    // A session that is heard only once (PROTOCOL M4) needs no other headers.
    let stream = any.stream(
        "POST /_streams\nOrigin: https://app.example.org\nContent-Type: application/json\nAuthorization: Bearer x\n\n{\"watch\":1,\"path\":\"/a\"}",
    );
    assert_eq!(stream.header("access-control-allow-origin"), Some("*"));
    // Errors and streams can be read too, and an OPTIONS request that is no preflight is the API's
    // (PROTOCOL R8).
    talk.check(
        "GET /none\nOrigin: https://app.example.org",
        "404 not-found\nAccess-Control-Allow-Origin: *",
    );
    talk.check("OPTIONS /a\nOrigin: https://app.example.org", "204\nAllow: *\nAccept-Patch: *");
    let stream = any.stream("GET /a\nOrigin: https://app.example.org\nAccept: text/event-stream");
    assert_eq!(stream.header("access-control-allow-origin"), Some("*"));

    let some = serve_with(Options {
        cors: Cors::Origins(vec!["https://app.example.org".to_owned()]),
        ..Options::default()
    });
    let mut talk = some.talk();
    talk.check(
        &preflight("https://app.example.org", "PUT"),
        "200\nAccess-Control-Allow-Origin: https://app.example.org",
    );
    talk.check(
        &preflight("https://other.example.org", "PUT"),
        "204\n!Access-Control-Allow-Origin\n!Access-Control-Allow-Methods",
    );
    talk.check("GET /\nOrigin: https://other.example.org", "200\n!Access-Control-Allow-Origin");

    let none = serve();
    let mut talk = none.talk();
    talk.check("GET /\nOrigin: https://app.example.org", "200\n!Access-Control-Allow-Origin");
    talk.check(
        &preflight("https://app.example.org", "PUT"),
        "204\n!Access-Control-Allow-Origin\n!Access-Control-Allow-Methods",
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    status: String,
    #[serde(default)]
    lines: Vec<u32>,
}

fn order(status: &str) -> Order {
    Order { status: status.to_owned(), lines: vec![1, 2] }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

#[test]
fn values_are_typed_in_rust() {
    // PROTOCOL W1, W2, W4, C1, V5
    let api = Api::new(Options::default());
    runtime().block_on(async {
        assert_eq!(api.get::<Order>("/orders/1").unwrap(), None);
        let first = api.put("/orders/1", &order("packed")).await.unwrap();
        assert!(first.created);
        let again = api.put("/orders/1", &order("packed")).await.unwrap();
        assert_eq!((again.created, &again.cursor), (false, &first.cursor));
        assert_eq!(api.get("/orders/1").unwrap(), Some(order("packed")));
        assert_eq!(api.get::<String>("/orders/1/status").unwrap().as_deref(), Some("packed"));
        let merged = api
            .merge("/orders/1", &serde_json::json!({"status": "sent", "note": null}))
            .await
            .unwrap();
        assert!(!merged.created && merged.cursor != first.cursor);
        assert_eq!(api.get("/orders/1").unwrap(), Some(order("sent")));
        let commit = Commit::new()
            .put("/orders/2", &order("new"))
            .delete("/orders/1")
            .merge("/counts", &serde_json::json!({"n": 1}));
        let written = api.commit(commit).await.unwrap();
        assert_eq!(written.iter().map(|w| w.created).collect::<Vec<_>>(), [true, false, true]);
        assert!(written.iter().all(|w| w.cursor == written[0].cursor));
        assert_eq!(api.get::<Order>("/orders/1").unwrap(), None);
        // All or nothing.
        let failing = Commit::new().put("/orders/3", &order("new")).delete("/orders/1");
        assert!(matches!(api.commit(failing).await, Err(Error::Refused(_))));
        assert_eq!(api.get::<Order>("/orders/3").unwrap(), None);
        assert_eq!(api.commit(Commit::new()).await.unwrap(), []);
        api.delete("/orders/2").await.unwrap();
        assert!(matches!(api.delete("/orders/2").await, Err(Error::Refused(_))));
        assert!(matches!(api.put("no-slash", &1).await, Err(Error::Path { .. })));
        assert!(matches!(api.get::<u8>("/a/../b"), Err(Error::Path { .. })));
        assert!(matches!(api.get::<u8>("/counts"), Err(Error::Type { .. })));
        assert!(matches!(api.put("/_x", &1).await, Err(Error::Refused(_))));
        assert!(matches!(api.put("/", &1).await, Err(Error::Refused(_))));
        assert!(matches!(api.put("/f", &f64::NAN).await, Ok(_) | Err(Error::Value(_))));
    });
}

#[test]
fn a_write_in_rust_depends_on_what_was_read() {
    // PROTOCOL W6, C2
    let api = Api::new(Options::default());
    let is_refused = |result| matches!(result, Err(Error::Refused(Refusal::Precondition(_))));
    runtime().block_on(async {
        let nothing = api.read::<u32>("/n").unwrap();
        assert_eq!(nothing.value, None);
        let first = api.put("/n", &1).if_unchanged(&nothing).await.unwrap();
        assert!(
            is_refused(api.put("/n", &2).if_unchanged(&nothing).await),
            "something is there now"
        );
        assert!(is_refused(api.put("/n", &2).if_none_match("*").await));
        assert!(is_refused(api.put("/m", &2).if_match("*").await), "nothing is there");
        let one = api.read::<u32>("/n").unwrap();
        assert_eq!((one.value, &one.cursor), (Some(1), &first.cursor));
        let second = api.merge("/n", &2).if_match(&one.cursor).await.unwrap();
        assert!(is_refused(api.delete("/n").if_unchanged(&one).await));
        assert!(is_refused(api.put("/n", &3).if_none_match(&second.cursor).await));
        assert!(is_refused(api.put("/n", &3).if_match("another.1").await), "no cursor of ours");
        api.put("/n", &3).if_match(&first.cursor).if_match(&second.cursor).await.unwrap();
        assert_eq!(api.get::<u32>("/n").unwrap(), Some(3));

        // Each condition of a commit belongs to the write before it, and one that fails is enough.
        let (three, a) = (api.read::<u32>("/n").unwrap(), api.put("/a", &1).await.unwrap());
        let commit = |cursor: &str| {
            Commit::new().put("/n", &4).if_unchanged(&three).delete("/a").if_match(cursor)
        };
        assert!(is_refused(api.commit(commit(&three.cursor)).await.map(|mut all| all.remove(0))));
        assert_eq!(api.get::<u32>("/n").unwrap(), Some(3));
        api.commit(commit(&a.cursor)).await.unwrap();
        assert_eq!((api.get::<u32>("/n").unwrap(), api.get::<u32>("/a").unwrap()), (Some(4), None));
    });
}

#[test]
fn a_watch_in_rust_has_the_newest_value_and_queues_none() {
    // PROTOCOL S3, S1, M3
    let api = Api::new(Options::default());
    runtime().block_on(async {
        let mut watch = api.watch::<Order>("/orders/1").unwrap();
        assert_eq!(in_time(watch.next()).await.unwrap(), None);
        // The watch is woken whether or not it already waits.
        let of_writer = api.clone();
        let writer =
            tokio::spawn(async move { of_writer.put("/orders/1", &order("packed")).await });
        assert_eq!(in_time(watch.next()).await.unwrap(), Some(order("packed")));
        writer.await.unwrap().unwrap();
        for n in 0..1000 {
            api.put("/orders/1/status", &n.to_string()).await.unwrap();
        }
        assert_eq!(in_time(watch.next()).await.unwrap(), Some(order("999")));
        // No value in between is left.
        let more = tokio::time::timeout(Duration::ZERO, watch.next()).await;
        assert!(more.is_err(), "{more:?}");
        api.delete("/orders").await.unwrap();
        assert_eq!(in_time(watch.next()).await.unwrap(), None);
        // A value of another type is an error, and the next value is not.
        api.put("/orders/1", &5).await.unwrap();
        assert!(matches!(in_time(watch.next()).await, Err(Error::Type { .. })));
        api.put("/orders/1", &order("back")).await.unwrap();
        assert_eq!(in_time(watch.next()).await.unwrap(), Some(order("back")));
        // A drain ends the watch with an error.
        api.drain();
        assert!(matches!(in_time(watch.next()).await, Err(Error::Draining)));
    });
}

#[test]
fn http_and_rust_see_the_same_tree() {
    // PROTOCOL C1, C2
    let server = serve();
    let runtime = runtime();
    let mut stream = server.ndjson("/a");
    stream.expect(&["gone", "synced"]);
    let written = runtime.block_on(server.api.put("/a", &1).into_future()).unwrap();
    assert_eq!(stream.next().rev.as_ref(), Some(&written.cursor));
    assert_eq!(server.talk().ask("GET /a").cursor(), written.cursor);
    let mut watch = server.api.watch::<u32>("/a").unwrap();
    assert_eq!(runtime.block_on(in_time(watch.next())).unwrap(), Some(1));
    server.write(&["PUT /a 2"]);
    assert_eq!(runtime.block_on(in_time(watch.next())).unwrap(), Some(2));
}

#[test]
fn limits_that_cannot_work_are_found_at_the_start() {
    for change in [
        |limits: &mut Limits| limits.slice_bytes = 0,
        |limits: &mut Limits| limits.writes_per_second = 0,
        |limits: &mut Limits| limits.connections = 0,
        |limits: &mut Limits| limits.json_depth = 10_000,
        |limits: &mut Limits| limits.value_bytes = 0,
    ] {
        let mut limits = Limits::default();
        change(&mut limits);
        assert!(limits.check().is_err(), "{limits:?}");
    }
    assert_eq!(Limits::default().check(), Ok(()));
}
