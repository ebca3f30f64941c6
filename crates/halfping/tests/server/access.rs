//! Access: pages of other origins, names that lead here, and servers that are read-only.

use std::net::SocketAddr;

use crate::common::raw::{Answer, Connection, DEADLINE, Stream};
use crate::common::session::Session;
use crate::common::{Running, compare, runtime, serve_exactly};
use axum::Router;
use halfping::{Api, Commit, Console, Cors, Hosts, Options, Server};
use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

const APP: &str = "https://app.example.org";
const HANDSHAKE: &str = "GET /\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";

/// Sends a request with a `Host` of its own, on a connection of its own.
fn ask_as(address: SocketAddr, host: &str, short: &str) -> Answer {
    let (head, body) = short.split_once("\n\n").unwrap_or((short, ""));
    Connection::open(address).ask(&format!("{head}\nHost: {host}\n\n{body}"))
}

/// Sends a whole request, and reads until the server closes. Returns the status.
fn status_of(address: SocketAddr, text: &str) -> u16 {
    let mut connection = Connection::open(address);
    connection.send(text.replace('\n', "\r\n").as_bytes());
    let said = String::from_utf8(connection.closed()).unwrap();
    said.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{text}: {said}"))
}

#[track_caller]
fn check_as(server: &Running, host: &str, short: &str, expect: &str) -> Answer {
    let answer = ask_as(server.address, host, short);
    compare(&format!("{short} (Host: {host})"), &answer, expect, short.starts_with("HEAD "));
    answer
}

fn with_cors(cors: Cors) -> Running {
    serve_exactly(Options { cors, ..Options::default() })
}

/// Headers of requests: those that pages can send without a preflight, and others.
const TYPES: &[&str] = &[
    "X-None: 1",
    "Content-Type:",
    "Content-Type: text/plain",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/json",
    "Content-Type: application/merge-patch+json",
];

/// Headers of a page of another origin.
const STRANGE: &[&str] = &[
    "Origin: http://evil.example",
    "Origin: https://localhost.evil.example",
    "Origin: null",
    "Origin: file://",
    "Origin: http://localhost:443", // not the port in `Host`
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Site: cross-site\nOrigin: http://evil.example",
    "Sec-Fetch-Site: cross-site\nOrigin: null",
    "Sec-Fetch-Site: none\nOrigin: http://evil.example",
    "Sec-Fetch-Site: same-origin\nSec-Fetch-Site: cross-site",
    // An http page, and the server behind TLS.
    "Sec-Fetch-Site: cross-site\nOrigin: http://localhost",
];

/// Headers of requests that are allowed wherever CORS is closed.
const OWN: &[&str] = &[
    "X-None: 1",
    "Origin: http://localhost",
    "Origin: https://localhost", // through a proxy that ends TLS
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Site: same-origin",
    // Through a proxy that changes `Host`
    "Sec-Fetch-Site: same-origin\nOrigin: https://app.example.net",
    "Sec-Fetch-Site: same-origin\nOrigin: null",
];

#[test]
fn a_page_of_another_origin_writes_nothing_whatever_it_sends() {
    // PROTOCOL W13, X1
    for cors in [Cors::None, Cors::Origins(vec![APP.to_owned()])] {
        let server = with_cors(cors);
        let before = check_as(&server, "localhost", "GET /", "200\n\n{}").cursor();
        for strange in STRANGE {
            for kind in TYPES {
                for method in
                    ["PUT /a", "PATCH /a", "POST /a", "POST /", "DELETE /a", "PUT /_server"]
                {
                    let short = format!("{method}\n{kind}\n{strange}\n\n{{\"x\":1}}");
                    let answer = check_as(&server, "localhost", &short, "403 forbidden-origin");
                    assert_eq!(answer.header("access-control-allow-origin"), None);
                }
            }
        }
        assert_eq!(check_as(&server, "localhost", "GET /", "200\n\n{}").cursor(), before);
    }
}

#[test]
fn the_servers_own_pages_allowed_ones_and_what_is_no_page_write() {
    // PROTOCOL W13
    let server = with_cors(Cors::Origins(vec![APP.to_owned()]));
    let allowed = [format!("Origin: {APP}"), format!("Origin: {APP}\nSec-Fetch-Site: cross-site")];
    for friend in OWN.iter().copied().chain(allowed.iter().map(String::as_str)) {
        check_as(&server, "localhost", &format!("PUT /a\n{friend}\n\n1"), "201");
        check_as(&server, "localhost", &format!("DELETE /a\n{friend}"), "204");
    }
    let open = with_cors(Cors::Any);
    for anybody in OWN.iter().chain(STRANGE) {
        check_as(&open, "localhost", &format!("PUT /a\n{anybody}\n\n1"), "201");
        check_as(&open, "localhost", &format!("DELETE /a\n{anybody}"), "204");
    }
    let loopback = with_cors(Cors::Loopback);
    for neighbour in [
        "http://localhost:5173",
        "https://127.0.0.1",
        "http://[::1]:1",
        "http://app.localhost:3000",
    ] {
        let put = format!("PUT /a\nSec-Fetch-Site: same-site\nOrigin: {neighbour}\n\n1");
        let expect = format!("200\nAccess-Control-Allow-Origin: {neighbour}\nVary: Origin");
        ask_as(loopback.address, "localhost", "PUT /a\n\n0");
        check_as(&loopback, "localhost", &put, &expect);
    }
    for stranger in ["http://evil.example", "https://localhost.evil.example", "null", "file://"] {
        let put = format!("PUT /a\nOrigin: {stranger}\n\n2");
        check_as(
            &loopback,
            "localhost",
            &put,
            "403 forbidden-origin\n!Access-Control-Allow-Origin\nVary: Origin",
        );
    }
    check_as(&loopback, "localhost", "GET /a", "200\n\n1");
}

#[test]
fn a_page_of_another_origin_follows_nothing() {
    // PROTOCOL L1, M4, S14
    let server = with_cors(Cors::Origins(vec![APP.to_owned()]));
    let follow = |more: &str| {
        [
            HANDSHAKE.to_owned(),
            format!("{}?watch{}", &HANDSHAKE[..5], &HANDSHAKE[5..]),
            "GET /a?watch".to_owned(),
            "HEAD /a?watch".to_owned(),
            "GET /a\nAccept: text/event-stream".to_owned(),
            "GET /_streams?path=/a".to_owned(),
            "GET /_streams?path=/a\nAccept: text/event-stream".to_owned(),
        ]
        .map(|short| format!("{short}\n{more}"))
        .into_iter()
        .chain([format!("POST /_streams\n{more}\n\n{{\"watch\":1,\"path\":\"/a\"}}")])
        .collect::<Vec<_>>()
    };
    for strange in ["Origin: http://evil.example", "Origin: null", "Origin: http://localhost:443"] {
        for short in follow(strange) {
            check_as(
                &server,
                "localhost",
                &short,
                "403 forbidden-origin\n!Access-Control-Allow-Origin",
            );
        }
    }
    for short in follow("Sec-Fetch-Site: cross-site") {
        check_as(&server, "localhost", &short, "403 forbidden-origin");
    }
    // It does not wait either.
    let etag = ask_as(server.address, "localhost", "GET /a").cursor();
    let wait =
        format!("GET /a\nIf-None-Match: \"{etag}\"\nPrefer: wait=60\nOrigin: http://evil.example");
    check_as(&server, "localhost", &wait, "403 forbidden-origin");
    let metrics = ask_as(server.address, "localhost", "GET /_metrics");
    assert!(metrics.text().contains("halfping_links 0\n"), "{}", metrics.text());
    assert!(!metrics.text().contains("halfping_streams{"), "{}", metrics.text());

    // The own origin, with either scheme, with and without its port; and those that CORS allows,
    // whatever the browser says of their site.
    for (host, origin) in [
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost:443", "https://localhost"),
        ("LOCALHOST:7070", "http://localhost:7070"),
        ("[::1]:7070", "http://[::1]:7070"),
        ("localhost", APP),
    ] {
        for site in ["", "\nSec-Fetch-Site: cross-site"] {
            check_as(&server, host, &format!("{HANDSHAKE}\nOrigin: {origin}{site}"), "101");
        }
    }
    for (host, origin) in
        [("localhost:443", "http://localhost"), ("localhost:80", "https://localhost")]
    {
        check_as(&server, host, &format!("{HANDSHAKE}\nOrigin: {origin}"), "403 forbidden-origin");
    }
}

#[test]
fn what_a_page_of_another_origin_may_still_ask_for_it_cannot_read() {
    // PROTOCOL R9
    let server = with_cors(Cors::Loopback);
    for strange in STRANGE {
        for short in ["GET /", "HEAD /", "GET /none", "GET /_metrics", "OPTIONS /"] {
            let answer = ask_as(server.address, "localhost", &format!("{short}\n{strange}"));
            assert!(matches!(answer.status, 200 | 204 | 404), "{short} {strange}: {answer:?}");
            assert_eq!(
                answer
                    .header("access-control-allow-origin")
                    .filter(|o| !o.starts_with("http://localhost")),
                None
            );
            // A page of this machine may read it by CORS, and so by any other way.
            let is_let_in = answer.header("access-control-allow-origin").is_some();
            let policy = answer.header("cross-origin-resource-policy");
            assert_eq!(policy, (!is_let_in).then_some("same-origin"), "{short} {strange}");
        }
    }
    for origin in ["http://evil.example", "null"] {
        let preflight = format!("OPTIONS /a\nOrigin: {origin}\nAccess-Control-Request-Method: PUT");
        let answer = check_as(&server, "localhost", &preflight, "204\nAllow: *\nVary: Origin");
        assert!(
            !answer.headers.iter().any(|(name, _)| name.starts_with("access-control-")),
            "{answer:?}"
        );
    }
    check_as(
        &server,
        "localhost",
        "GET /\nOrigin: http://localhost\nOrigin: http://evil.example",
        "400 bad-header",
    );
    check_as(
        &server,
        "localhost",
        "PUT /a\nOrigin: http://localhost\nOrigin: http://localhost\n\n1",
        "400 bad-header",
    );
    let open = with_cors(Cors::Any);
    check_as(
        &open,
        "localhost",
        "GET /",
        "200\nAccess-Control-Allow-Origin: *\n!Cross-Origin-Resource-Policy",
    );
}

const OURS: &[&str] = &[
    "localhost",
    "LocalHost:7070",
    "localhost.",
    "api.localhost:1",
    "127.0.0.1",
    "127.1.2.3:80",
    "[::1]:7070",
];
const THEIRS: &[&str] = &[
    "rebind.evil.example",
    "evil.example:7070",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "0.0.0.0",
    "10.0.0.1",
    "127.1",
];

#[test]
fn on_a_loopback_address_only_loopback_names_lead_here() {
    // PROTOCOL O10: to the browser, the page and the server are one origin. Only the name shows the
    // difference.
    let server = with_cors(Cors::Loopback);
    for ours in OURS {
        ask_as(server.address, "localhost", "PUT /a\n\n0");
        check_as(&server, ours, "PUT /a\n\n1", "200");
        check_as(&server, ours, "GET /_health", "200");
    }
    let preflight = "OPTIONS /a\nOrigin: http://localhost:1\nAccess-Control-Request-Method: PUT";
    for theirs in THEIRS {
        let origin = format!("Origin: http://{theirs}\nSec-Fetch-Site: same-origin");
        for short in [
            "GET /",
            "GET /?watch",
            "DELETE /a",
            "PUT /a\n\n2",
            "GET /_metrics",
            "GET /_health/",
            "PUT /_health\n\n1",
            "GET /_console/",
            "OPTIONS /",
            preflight,
            HANDSHAKE,
        ] {
            let (head, body) = short.split_once("\n\n").unwrap_or((short, ""));
            let short = format!("{head}\n{origin}\n\n{body}");
            let short = if head == preflight { preflight } else { short.as_str() };
            let hint = "421 misdirected-request\n!Access-Control-Allow-Origin\n\nallowed_hosts";
            check_as(&server, theirs, short, hint);
        }
        check_as(&server, theirs, "HEAD /", "421 misdirected-request");
    }
    check_as(&server, "localhost", "GET /a", "200\n\n1");
}

#[test]
fn over_http2_the_name_is_in_the_target() {
    // PROTOCOL O10, O3
    let server = with_cors(Cors::None);
    runtime().block_on(async {
        let socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut http2, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
                .await
                .unwrap();
        tokio::spawn(connection);
        let mut ask = async |method: &str, target: &str, host: Option<&str>, protocol: bool| {
            let mut request = Request::builder().method(method).uri(target);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            if protocol {
                request = request
                    .extension(hyper::ext::Protocol::from_static("websocket"))
                    .header("sec-websocket-version", "13");
            }
            let asked = http2.send_request(request.body(Full::new(Bytes::new())).unwrap());
            tokio::time::timeout(DEADLINE, asked).await.expect("in time").unwrap().status().as_u16()
        };
        assert_eq!(ask("GET", "http://localhost:7070/", None, false).await, 200);
        assert_eq!(ask("GET", "http://localhost/", Some("LOCALHOST:80"), false).await, 200);
        assert_eq!(ask("GET", "http://evil.example/", None, false).await, 421);
        assert_eq!(ask("GET", "http://evil.example/", Some("localhost"), false).await, 400);
        assert_eq!(ask("GET", "http://localhost/", Some("evil.example"), false).await, 400);
        assert_eq!(ask("GET", "http://localhost:80/", Some("localhost:7070"), false).await, 400);
        assert_eq!(ask("GET", "http://user@localhost/", None, false).await, 400);
        assert_eq!(ask("CONNECT", "http://evil.example/", None, true).await, 421);
        assert_eq!(ask("CONNECT", "http://localhost/", None, true).await, 200);
    });
}

#[test]
fn a_host_is_one_and_valid() {
    // PROTOCOL O3
    let server = with_cors(Cors::None);
    for invalid in [
        "",
        "a b",
        "user@localhost",
        "localhost:x",
        "localhost:99999",
        "localhost,evil",
        "b\u{fc}cher.example",
        "[::1",
        "::1",
        "[fe80::1%25lo]",
    ] {
        check_as(&server, invalid, "GET /", "400 bad-header");
        check_as(&server, invalid, "PUT /a\n\n1", "400 bad-header");
    }
    check_as(&server, "localhost\nHost: localhost", "GET /", "400 bad-header");
    // An absolute target repeats the name, or has another one. Only HTTP/1.0 may leave the name
    // out, and no browser uses that.
    check_as(&server, "localhost", "GET http://localhost/", "200");
    check_as(&server, "localhost", "GET http://evil.example/", "400 bad-header");
    check_as(&server, "evil.example", "GET http://localhost/", "400 bad-header");
    check_as(&server, "evil.example", "GET http://evil.example/", "421 misdirected-request");
    assert_eq!(status_of(server.address, "GET /_health HTTP/1.0\n\n"), 200);
    assert_eq!(status_of(server.address, "GET http://evil.example/_metrics HTTP/1.0\n\n"), 421);
    assert_eq!(status_of(server.address, "GET /_metrics HTTP/1.0\nHost: evil.example\n\n"), 421);
    assert_eq!(status_of(server.address, "GET / HTTP/1.1\nConnection: close\n\n"), 400);
}

#[test]
fn health_is_told_by_whatever_name_it_is_asked_for() {
    // PROTOCOL O15: load balancers use the address, and the answer holds no secret.
    let hosts = Hosts::Named(vec!["api.example.org".to_owned()]);
    let server = serve_exactly(Options { hosts, ..Options::default() });
    for name in OURS.iter().chain(THEIRS).chain(&["10.0.0.5:7070"]) {
        let well = "200\n\n{\"status\":\"ok\",\"storage\":{\"status\":\"none\"}}";
        check_as(&server, name, "GET /_health", well);
        check_as(&server, name, "HEAD /_health", "200");
    }
    // No other path is, however it is spelled; nor is a request that names no host, or two.
    for other in
        ["GET /_healthy", "GET /%5Fhealth", "GET /_health/x", "POST /_health\n\n1", "GET /"]
    {
        check_as(&server, "10.0.0.5", other, "421 misdirected-request\n\nallowed_hosts");
    }
    check_as(&server, "a b", "GET /_health", "400 bad-header");
    check_as(&server, "a.example\nHost: a.example", "GET /_health", "400 bad-header");
}

#[test]
fn names_can_be_configured() {
    // PROTOCOL O10
    let named = serve_exactly(Options {
        hosts: Hosts::Named(vec!["api.example.org".to_owned()]),
        ..Options::default()
    });
    for known in ["api.example.org", "API.example.org.:443", "localhost:7070"] {
        check_as(&named, known, "GET /", "200");
    }
    for unknown in THEIRS {
        check_as(&named, unknown, "GET /", "421 misdirected-request");
    }
    let any = serve_exactly(Options { hosts: Hosts::Any, ..Options::default() });
    for name in OURS.iter().chain(THEIRS) {
        check_as(&any, name, "GET /", "200");
    }
}

#[test]
fn a_page_beside_the_api_and_a_router_of_somebody_elses_server() {
    // PROTOCOL O10: pages beside the API are protected alike; the program around the API knows its
    // own names, so a router is not protected unless it asks for that.
    let serve = |options: Options, own: bool| {
        let runtime = runtime();
        let address = runtime.block_on(async {
            let api = Api::new(options);
            if own {
                let server = Server::bind("127.0.0.1:0".parse().unwrap(), api).await.unwrap();
                let address = server.local_addr();
                let server = server.beside(|request| {
                    (request.uri().path() == "/_page").then(|| http::Response::new("page".into()))
                });
                tokio::spawn(server.run(std::future::pending()));
                return address;
            }
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().nest_service("/live", api.router());
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        (address, runtime)
    };
    let (address, _runtime) = serve(Options::default(), true);
    assert_eq!(ask_as(address, "localhost", "GET /_page").text(), "page");
    assert_eq!(ask_as(address, "evil.example", "GET /_page").status, 421);
    assert_eq!(ask_as(address, "user@localhost", "GET /_page").status, 400);
    let (address, _runtime) = serve(Options::default(), false);
    assert_eq!(ask_as(address, "any.example", "GET /live").status, 200);
    let hosts = Hosts::Named(vec!["app.example".to_owned()]);
    let (address, _runtime) = serve(Options { hosts, ..Options::default() }, false);
    assert_eq!(ask_as(address, "any.example", "GET /live").status, 421);
    assert_eq!(ask_as(address, "app.example", "GET /live").status, 200);
}

#[test]
fn where_nothing_can_be_written_nothing_is() {
    // PROTOCOL W14, R8, M4, L8
    let options = Options {
        read_only: true,
        cors: Cors::Loopback,
        console: Console::On,
        ..Options::default()
    };
    let server = serve_exactly(options);
    let put = |path: &'static str, value: Value| {
        runtime().block_on(server.api.put(path, &value).into_future()).unwrap()
    };
    put("/a", json!({ "x": 1 }));
    let before = ask_as(server.address, "localhost", "GET /").cursor();
    let merge = "Content-Type: application/merge-patch+json";
    let patch = "Content-Type: application/json-patch+json";
    for path in ["/", "/a", "/a/x", "/new", "/_server", "/_x", "/_health"] {
        for write in [
            format!("PUT {path}\n\n{{\"x\":2}}"),
            format!("PUT {path}\nIf-None-Match: *\n\n1"),
            format!("PATCH {path}\n{merge}\n\n{{\"x\":2}}"),
            format!("PATCH {path}\n{patch}\n\n[{{\"op\":\"add\",\"path\":\"/x\",\"value\":2}}]"),
            format!("PATCH {path}\n\n1"),
            format!("POST {path}\n\n1"),
            format!("POST {path}\n\nnot JSON"),
            format!("DELETE {path}"),
        ] {
            check_as(&server, "localhost", &write, "405 read-only\nAllow: GET, HEAD, OPTIONS");
        }
    }
    for other in ["TRACE /a", "LOCK /a", "QUERY /a", "PUT /_streams\n\n1", "DELETE /_streams"] {
        assert_eq!(ask_as(server.address, "localhost", other).status, 405, "{other}");
    }
    // A read at the wrong place gets the right advice (PROTOCOL P9), unless it comes from a page
    // that may not read.
    let stray = "POST /live/_streams\n\n{\"watch\":1,\"path\":\"/a\"}";
    check_as(&server, "localhost", stray, "403 reserved-path");
    let stranger = stray.replace("\n\n", "\nOrigin: http://evil.example\n\n");
    check_as(&server, "localhost", &stranger, "403 forbidden-origin");
    // The answer's account of it is true.
    for path in ["/", "/a", "/new", "/_server"] {
        let short = format!("OPTIONS {path}");
        check_as(&server, "localhost", &short, "204\nAllow: GET, HEAD, OPTIONS\n!Accept-Patch");
    }
    check_as(&server, "localhost", "OPTIONS /_streams", "204\nAllow: GET, HEAD, OPTIONS, POST");
    check_as(
        &server,
        "localhost",
        "OPTIONS *",
        "204\nAllow: GET, HEAD, OPTIONS, POST\n!Accept-Patch",
    );
    let preflight = "OPTIONS /a\nOrigin: http://localhost:1\nAccess-Control-Request-Method: PUT";
    check_as(&server, "localhost", preflight, "200\nAccess-Control-Allow-Methods: GET,HEAD,POST");
    // Sessions can read.
    let address = format!("localhost:{}", server.address.port());
    let stream = std::net::TcpStream::connect(server.address).unwrap();
    let mut session = Session::named(stream, &address, "/");
    for (command, more) in [
        ("put", json!({ "value": 1 })),
        ("merge", json!({ "value": { "x": 2 } })),
        ("patch", json!({ "value": [{ "op": "remove", "path": "/x" }] })),
        ("post", json!({ "value": 1 })),
        ("delete", json!({})),
        ("put", json!({ "value": 1, "if": null })),
    ] {
        for path in ["/", "/a", "/new"] {
            if command == "delete" && path == "/" {
                continue; // refused anyway
            }
            let mut said = more.clone();
            said[command] = json!(path);
            let answer = session.ask(said);
            assert_eq!(
                (&answer["status"], &answer["type"]),
                (&json!(405), &json!("urn:halfping:problem:read-only")),
                "{command} {path}"
            );
        }
    }
    assert_eq!(session.ask(json!({ "get": "/a" }))["value"], json!({ "x": 1 }));
    assert_eq!(session.ask(json!({ "watch": 1, "path": "/a" }))["status"], 200);
    // Streams can read too; and the program itself can write.
    assert_eq!(ask_as(server.address, "localhost", "GET /").cursor(), before);
    let mut once = Stream::open_on(
        Connection::open(server.address),
        "POST /_streams\nHost: localhost\n\n{\"watch\":1,\"path\":\"/a/x\"}",
    );
    assert_eq!(once.synced()["set"][0][2], 1);
    runtime().block_on(server.api.commit(Commit::new().put("/a/x", &2).delete("/a"))).unwrap();
    assert_eq!(once.message()["set"][0][1], "gone");
}

#[test]
fn a_server_that_nobody_said_is_open_is_read_and_not_written() {
    // PROTOCOL W16
    let server = serve_exactly(Options { closed: true, ..Options::default() });
    runtime().block_on(server.api.put("/a", &1).into_future()).unwrap();
    check_as(&server, "localhost", "GET /a", "200\n\n1");
    for write in ["PUT /a\n\n2", "POST /a\n\n2", "DELETE /a", "PATCH /\n\n{}"] {
        let expect = "403 not-open\nAllow: GET, HEAD, OPTIONS\n\n--open\n[[rule]]";
        check_as(&server, "localhost", write, expect);
    }
    check_as(&server, "localhost", "OPTIONS /a", "204\nAllow: GET, HEAD, OPTIONS");
    let address = format!("localhost:{}", server.address.port());
    let stream = std::net::TcpStream::connect(server.address).unwrap();
    let mut session = Session::named(stream, &address, "/");
    let answer = session.ask(json!({ "put": "/a", "value": 2 }));
    assert_eq!(answer["status"], 403, "{answer}");
    assert_eq!(answer["type"], "urn:halfping:problem:not-open");
    assert_eq!(session.ask(json!({ "get": "/a" }))["value"], 1);
    // That nothing can be written at all is the stronger reason.
    let options = Options { closed: true, read_only: true, ..Options::default() };
    check_as(&serve_exactly(options), "localhost", "PUT /a\n\n2", "405 read-only");
}

#[test]
fn options_of_the_server_as_a_whole() {
    // PROTOCOL R8
    let server = with_cors(Cors::None);
    let expect = "204\nAllow: GET, HEAD, OPTIONS, PUT, PATCH, POST, DELETE\nAccept-Patch: *";
    check_as(&server, "localhost", "OPTIONS *", expect);
    check_as(&server, "localhost", "GET *", "400 bad-path");
    check_as(&server, "evil.example", "OPTIONS *", "421 misdirected-request");
}
