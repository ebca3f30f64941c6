//! Test that the examples run, in the way that their first lines tell.

#[path = "../../examples/axum.rs"]
#[allow(dead_code)] // Its `main` is run as a program.
mod axum_example;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use halfping::{Api, Options};
use http::Request;
use serde_json::json;
use tower::ServiceExt;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an example that takes an address. Returns the address at which it listens.
fn start(example: &str) -> (Running, String) {
    // Cargo builds examples together with tests, one folder above them.
    let mut program = std::env::current_exe().expect("a running test has a file");
    program.pop();
    program.pop();
    program.push("examples");
    program.push(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let child = Command::new(&program).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| {
        panic!("{}: {e}; run the whole test suite of the crate", program.display())
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("it says where it listens");
    let address = line.trim().rsplit("http://").next().expect("an address").to_owned();
    (Running(child), address)
}

fn request(address: &str, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    stream.write_all(text.replace('\n', "\r\n").as_bytes()).expect("it reads");
    stream
}

/// The signal by which services and containers are stopped: the streams of readers end, and the
/// program succeeds.
#[cfg(unix)]
#[test]
fn the_axum_example_stops_on_sigterm_and_lets_its_watchers_go() {
    let (mut running, address) = start("axum");
    let mut watcher = request(&address, "GET /live/orders/42?watch HTTP/1.1\nHost: x\n\n");
    let mut first = [0; 1];
    watcher.read_exact(&mut first).expect("the stream begins");
    let id = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    let mut rest = Vec::new();
    watcher.read_to_end(&mut rest).expect("the stream is ended, and not cut");
    assert!(rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(running.0.wait().expect("it is there").success());
}

#[test]
fn the_axum_example_tells_a_watcher_what_business_logic_decided() {
    let (_running, address) = start("axum");
    let watcher = request(&address, "GET /live/orders/42?watch HTTP/1.1\nHost: x\n\n");
    let mut lines = BufReader::new(watcher).lines().map(|line| line.expect("the stream goes on"));
    let mut frame = |kind: &str| lines.find(|line| line.contains(kind)).expect("the frame comes");
    assert!(frame("snapshot").contains(r#""status":"packed""#));
    frame("synced");

    let mut answer = String::new();
    let mut ship =
        request(&address, "POST /orders/42/ship HTTP/1.1\nHost: x\nConnection: close\n\n");
    ship.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(frame("merge").contains(r#""value":{"status":"shipped"}"#));

    // The second time the application refuses, not the library.
    let mut answer = String::new();
    let mut again =
        request(&address, "POST /orders/42/ship HTTP/1.1\nHost: x\nConnection: close\n\n");
    again.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
}

/// Ships this many orders at once. Returns the application's count of them.
async fn ship_at_once(api: &Api, orders: u32) -> u32 {
    for id in 0..orders {
        api.put(&format!("/orders/{id}"), &json!({"status": "packed", "items": 1}))
            .await
            .expect("it is kept");
    }
    let app = axum_example::app(api);
    let ship = |id| {
        let request =
            Request::post(format!("/orders/{id}/ship")).body(Body::empty()).expect("a request");
        tokio::spawn(app.clone().oneshot(request))
    };
    let shipping: Vec<_> = (0..orders).map(ship).collect();
    for answer in shipping {
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 204);
    }
    api.get("/shipped").expect("a number").expect("it is there")
}

#[test]
fn the_axum_example_counts_a_hundred_orders_that_are_shipped_at_once() {
    let folder = std::env::temp_dir().join(format!("halfping-axum-{}", std::process::id()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        assert_eq!(ship_at_once(&Api::new(Options::default()), 100).await, 100, "in memory");
        let (api, _) = Api::open(&folder, Options::default(), |_| {}).expect("a new store");
        assert_eq!(ship_at_once(&api, 100).await, 100, "on disk");
        api.close().await;
    });
    std::fs::remove_dir_all(&folder).expect("it was made above");
}
