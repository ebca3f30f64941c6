//! Watches of servers that answer by a script.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
/// Mark at the end of an answer: the connection stays open and silent.
const HOLD: &str = "(hold)";

/// Watches `/a` on a server that gives one of `answers` to each connection and then closes it.
/// Compares the requests' targets and the events, in one list. Waits are shown in whole
/// seconds.
async fn check(answers: &[String], expect: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut watch = Client::new(&base).unwrap().watch("/a", WatchOptions::default()).unwrap();
    watch.silence_max = Duration::from_millis(300);

    let answers: Vec<String> = answers.to_vec();
    let (targets, mut asked) = tokio::sync::mpsc::channel(1);
    let server = tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.to_lowercase().contains("accept: application/x-ndjson\r\n"));
            targets.send(head.split(' ').nth(1).unwrap().to_owned()).await.unwrap();
            socket.write_all(answer.trim_end_matches(HOLD).as_bytes()).await.unwrap();
            if answer.ends_with(HOLD) {
                let _ = socket.read_u8().await;
            }
        }
    });

    let mut story = Vec::new();
    while story.len() < expect.len() {
        let event = watch.next().await;
        if let Ok(target) = asked.try_recv() {
            story.push(format!("GET {target}"));
        }
        story.push(match event {
            Ok(Event::Connected { since }) => {
                format!("connected, since {}", since.as_ref().map_or("-", Cursor::as_str))
            }
            Ok(Event::Frame(frame)) => {
                format!("{:?} {}", frame.kind, frame.rev.as_ref().map_or("-", Cursor::as_str))
            }
            Ok(Event::Lost { why: Lost::Network(_), retry_in }) => {
                format!("lost for {} s: (network)", retry_in.as_secs())
            }
            Ok(Event::Lost { why, retry_in }) => {
                format!("lost for {} s: {why}", retry_in.as_secs())
            }
            Err(error) => format!("ended: {error}"),
        });
    }
    server.abort();
    assert_eq!(story, expect);
}

fn stream(frames: &str) -> String {
    format!("{STREAM}{frames}")
}

#[tokio::test]
async fn it_resumes_from_the_last_whole_state() {
    check(&[
            stream("{\"kind\":\"snapshot\",\"rev\":\"e.1\",\"value\":{}}\n{\"kind\":\"merge\",\"value\":{\"part\":1}}\n"),
            stream("{\"kind\":\"merge\",\"rev\":\"e.3\",\"value\":{}}\n{\"kind\":\"syn"),
            stream("{\"kind\":\"synced\",\"rev\":\"e.3\"}\n(hold)"),
        ],
        &[
            "GET /a",
            "connected, since -",
            "Snapshot e.1",
            "Merge -",
            "lost for 0 s: the server ended the stream",
            "GET /a?since=e.1",
            "connected, since e.1",
            "Merge e.3",
            "lost for 0 s: the server ended the stream",
            "GET /a?since=e.3",
            "connected, since e.3",
            "Synced e.3",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_chunk_is_a_loss_too() {
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n\
                   1c\r\n{\"kind\":\"gone\",\"rev\":\"e.1\"}\n\r\nff\r\n{\"kind\":";
    check(
        &[chunked.to_owned(), stream(HOLD)],
        &[
            "GET /a",
            "connected, since -",
            "Gone e.1",
            "lost for 0 s: (network)",
            "GET /a?since=e.1",
            "connected, since e.1",
        ],
    )
    .await;
}

#[tokio::test]
async fn silence_is_a_loss() {
    check(
        &[stream(HOLD), HOLD.to_owned(), stream(HOLD)],
        &[
            "GET /a",
            "connected, since -",
            "lost for 0 s: the server was silent for 0 s",
            "GET /a",
            "lost for 0 s: the server was silent for 0 s",
            "GET /a",
            "connected, since -",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_refusal_ends_it() {
    let body = "{\"type\":\"urn:halfping:problem:bad-path\",\"detail\":\"empty segment\"}";
    let answer =
        format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    check(
        &[answer],
        &["GET /a", "ended: 400 bad-path: empty segment", "ended: the watch has ended"],
    )
    .await;
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_says() {
    let busy =
        |status: &str| format!("HTTP/1.1 {status}\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
    check(
        &[busy("503 Service Unavailable"), busy("429 Too Many Requests")],
        &[
            "GET /a",
            "lost for 1 s: 503 Service Unavailable",
            "GET /a",
            "lost for 1 s: 429 Too Many Requests",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_halfping_server_ends_it() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>";
    check(
        &[page.to_owned()],
        &["GET /a", "ended: the server answered with text/html rather than a stream of frames"],
    )
    .await;
    let moved = "HTTP/1.1 301 Moved\r\nlocation: https://b/\r\ncontent-length: 0\r\n\r\n";
    check(&[moved.to_owned()], &["GET /a", "ended: the server redirects (301) to https://b/"])
        .await;
    check(&[stream("{}\n")],
        &[
            "GET /a",
            "connected, since -",
            "ended: the server sent a line that is not a frame (missing field `kind` at line 1 column 2): {}",
        ],
    )
    .await;
}

#[tokio::test]
async fn nobody_there_is_a_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut watch = Client::new(&base).unwrap().watch("/a", WatchOptions::default()).unwrap();
    let Ok(Event::Lost { why: Lost::Network(fault), .. }) = watch.next().await else {
        panic!("no loss")
    };
    assert!(fault.is_connect());
    assert!(fault.to_string().starts_with("no connection: Connection refused"), "{fault}");
}

#[tokio::test]
async fn another_token_is_asked_for_when_one_has_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let ended = "{\"kind\":\"error\",\"problem\":{\"type\":\"urn:halfping:problem:token-expired\",\"ends\":true}}\n";
    let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
    // A stream that ends with its token, one that is refused once, and two that are not.
    let answers = [
        stream(&format!("{{\"kind\":\"gone\",\"rev\":\"e.1\"}}\n{ended}")),
        refused.to_owned(),
        stream(HOLD),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n7"
            .to_owned(),
    ];
    let server = tokio::spawn(async move {
        let mut shown = Vec::new();
        let mut held = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let token = head.lines().find_map(|line| line.strip_prefix("authorization: "));
            shown.push(token.unwrap_or("nobody").to_owned());
            socket.write_all(answer.trim_end_matches(HOLD).as_bytes()).await.unwrap();
            if answer.ends_with(HOLD) {
                held.push(socket);
            }
        }
        shown
    });

    let asked = std::sync::atomic::AtomicU32::new(0);
    let client = Client::with_tokens(&base, move || {
        let number = 1 + asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok::<_, std::io::Error>(format!("t{number}")) }
    });
    let client = client.unwrap();
    let mut watch = client.watch("/a", WatchOptions::default()).unwrap();
    assert!(matches!(watch.next().await, Ok(Event::Connected { since: None })));
    assert!(matches!(watch.next().await, Ok(Event::Frame(frame)) if frame.kind == Kind::Gone));
    let lost = watch.next().await;
    assert!(matches!(lost, Ok(Event::Lost { why: Lost::TokenExpired, .. })), "{lost:?}");
    assert!(matches!(watch.next().await, Ok(Event::Connected { since: Some(_) })));
    assert_eq!(client.get("/b").await.unwrap().json, "7");
    let shown = server.await.unwrap();
    assert_eq!(shown, ["Bearer t1", "Bearer t2", "Bearer t3", "Bearer t3"]);
    assert!(!format!("{client:?} {watch:?}").contains("t3"));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let client = Client::with_tokens("http://127.0.0.1:1", || async {
        Err::<String, _>(std::io::Error::other("the issuer is down"))
    });
    let client = client.unwrap();
    assert_eq!(client.get("/a").await.unwrap_err().to_string(), "no token: the issuer is down");
    let mut watch = client.watch("/a", WatchOptions::default()).unwrap();
    let lost = watch.next().await;
    assert!(matches!(lost, Ok(Event::Lost { why: Lost::Token(_), .. })), "{lost:?}");
}

#[tokio::test]
async fn options_win_over_the_query() {
    let client = Client::new("http://h").unwrap();
    let options = WatchOptions {
        rate: Some(0.5),
        depth: Some(2),
        filter: Some("a && b == \"c\"".into()),
        select: Some("d(e)".into()),
        order: Some("-d".into()),
        limit: Some(3),
        list: true,
        since: Some("e.9".into()),
        ..WatchOptions::default()
    };
    let watch = client.watch("/a?rate=7&where=x&limit=9&watch&since=e.1", options).unwrap();
    assert_eq!(
        watch.request_url().as_str(),
        "http://h/a?watch&rate=0.5&depth=2&delta=false&where=a+%26%26+b+%3D%3D+%22c%22\
         &select=d%28e%29&order=-d&limit=3&as=list&since=e.9"
    );
    let options = WatchOptions { count: true, whole: true, ..WatchOptions::default() };
    let watch = client.watch("/a", options).unwrap();
    assert_eq!(watch.request_url().as_str(), "http://h/a?delta=false&count=true");
    let watch = client.watch("/a?since=e.1", WatchOptions::default()).unwrap();
    assert_eq!(watch.request_url().as_str(), "http://h/a?since=e.1");
}
