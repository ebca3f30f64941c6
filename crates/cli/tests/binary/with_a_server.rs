//! Commands against the real server: `halfping serve` and `halfping demo`, each on a port of its
//! own.

use crate::common;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The longest wait.
const PATIENCE: Duration = Duration::from_secs(20);

fn halfping(args: &[&str]) -> Command {
    let mut command = common::halfping();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that is killed when its test ends.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let mut child = halfping(args).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Running { child, stderr }
    }

    /// Reads stderr up to a line with this text.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        let mut said = Vec::new();
        for line in self.stderr.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
            said.push(line);
        }
        panic!("never said `{text}`, but: {said:?}");
    }

    fn stdout(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.child.stdout.take().unwrap()).lines()
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([name, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    #[track_caller]
    fn ends(&mut self) -> i32 {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            sleep(Duration::from_millis(10));
        }
        panic!("does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server. Returns its address too.
fn server(args: &[&str]) -> (Running, String) {
    let mut server = Running::start(args);
    let line = server.says("listening on http://");
    let address = line.rsplit("http://").next().unwrap().to_owned();
    (server, address)
}

fn serve() -> (Running, String) {
    server(&["serve", "--memory", "--listen", "127.0.0.1:0"])
}

fn run(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = halfping(args).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs a command and compares its exit code and output: the whole stdout of a success, a part of
/// stderr otherwise.
#[track_caller]
fn check(args: &[&str], stdin: &[u8], code: i32, expect: &str) {
    let output = run(args, stdin);
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    if code == 0 {
        assert_eq!(stdout, expect, "{args:?}");
    } else {
        assert!(stderr.contains(expect), "{args:?} did not say `{expect}`: {stderr}");
    }
}

/// Runs a command that writes; the test reads the value itself.
#[track_caller]
fn write(args: &[&str]) {
    let output = run(args, b"");
    assert!(output.status.success(), "{args:?}: {output:?}");
    let cursor = String::from_utf8(output.stdout).unwrap();
    assert!(cursor.trim().contains('.') && cursor.ends_with('\n'), "{args:?}: {cursor:?}");
}

#[test]
fn what_is_put_is_got_digit_for_digit() {
    let (_server, address) = serve();
    let url = format!("{address}/a/b");
    write(&["put", &url, r#"{"big":123456789012345678901,"e":1.50e2}"#]);
    check(&["get", &url], b"", 0, "{\"big\":123456789012345678901,\"e\":1.50e2}\n");
    write(&["merge", &url, r#"{"big":null,"neg":-0.0}"#]);
    check(&["get", &url], b"", 0, "{\"e\":1.50e2,\"neg\":-0.0}\n");
    check(&["get", "--depth", "1", &address], b"", 0, "{\"a\":{}}\n");
    assert!(run(&["put", &url, "-"], b"[null]").status.success());
    check(&["get", &url], b"", 0, "[null]\n");
    write(&["delete", &url]);
    check(&["get", &url], b"", 1, "404 not-found");
}

#[test]
fn conditions_and_selections_are_sent_as_they_are_written() {
    let (_server, address) = serve();
    let url = format!("{address}/v");
    write(&["put", &url, r#"{"a":{"n":1,"m":[1]},"b":{"n":1},"c+%":{"n":1,"m":2}}"#]);
    let view = ["--where", r#"n < 2 && (key() == "c+%" || key() == "b")"#, "--select", "n"];
    let args: Vec<&str> = ["get", &url].into_iter().chain(view).collect();
    check(&args, b"", 0, "{\"b\":{\"n\":1},\"c+%\":{\"n\":1}}\n");
    check(&["get", &url, "--where", "n = 1"], b"", 1, "400 bad-view");
    check(&["get", &url, "--where", "n = 1"], b"", 1, "column 3");
    check(&["get", &url, "--where", "", "--select", "/b"], b"", 0, "{\"b\":{\"n\":1}}\n");
    // What was asked for of the members of members stands in the resource itself.
    let output = run(&["get", &format!("{url}/a"), "--select", "n"], b"");
    assert_eq!(output.stdout, b"{\"n\":1,\"m\":[1]}\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("hint: ") && stderr.contains("--select /n\n"), "{stderr}");

    let args: Vec<&str> = ["watch", "--json", &url].into_iter().chain(view).collect();
    let mut watch = Running::start(&args);
    let mut lines = watch.stdout();
    let mut value = || {
        let line = lines.next().unwrap().unwrap();
        let at = line.find("\"value\":").unwrap_or(line.len());
        line[at..].to_owned()
    };
    assert_eq!(value(), "\"value\":{\"b\":{\"n\":1},\"c+%\":{\"n\":1}}}");
    assert_eq!(value(), "", "synced");
    write(&["put", &format!("{url}/b/n"), "2"]);
    assert_eq!(value(), "\"value\":{\"b\":null}}");
}

#[test]
fn a_refusal_is_1_and_says_why() {
    let (_server, address) = serve();
    let url = |path: &str| format!("{address}{path}");
    write(&["put", &url("/n"), "1"]);
    check(
        &["put", &url("/n/x"), "1"],
        b"",
        1,
        &format!("the server refused http://{address}/n/x: 409 not-an-object"),
    );
    check(&["put", &url("/_mine"), "1"], b"", 1, "403 reserved-path");
    check(&["get", &url("/n?dept=1")], b"", 1, "400 unknown-parameter");
    check(&["watch", "--rate", "0", &url("/n")], b"", 1, "400 bad-parameter");
    check(&["delete", &url("/none")], b"", 1, "404 not-found");
    let plain = format!("https://{address}/n");
    check(&["put", &plain, "1"], b"", 3, &format!("try http://{address}/n"));
}

#[test]
fn a_refusal_that_is_no_answer_of_halfping_is_told_from_one_that_is() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{}/n", proxy.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
        while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let body = "<h1>403 Forbidden</h1>";
        let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    check(&["put", &url, "1"], b"", 1, "a proxy may allow only reading");
    answer.join().unwrap();
}

#[test]
fn a_watch_prints_what_changes() {
    let (_server, address) = serve();
    let url = format!("{address}/v");
    // Long enough that a patch is shorter than the whole.
    let value = format!(r#"{{"a":{{"x":1.0,"y":"{0}"}},"b":{{"y":"{0}"}}}}"#, "y".repeat(200));
    write(&["put", &url, &value]);
    let mut watch = Running::start(&["watch", &url]);
    let mut lines =
        watch.stdout().map(|line| line.unwrap().split_once("ms  ").unwrap().1.to_owned());
    assert_eq!(lines.next().unwrap(), format!("/v  = {value}"));
    write(&["merge", &url, r#"{"a":{"x":1.00},"b":null}"#]);
    assert_eq!(lines.next().unwrap(), "/v/b  removed");
    assert_eq!(lines.next().unwrap(), r#"/v/a  ~ {"x":1.00}"#);
    write(&["put", &url, r#"{"c":null}"#]);
    assert_eq!(lines.next().unwrap(), r#"/v  = {"c":null}"#);
    write(&["delete", &url]);
    assert_eq!(lines.next().unwrap(), "/v  nothing is here");
}

#[test]
fn a_watch_of_several_says_which() {
    let (_server, address) = serve();
    let urls = [format!("{address}/a"), format!("{address}/b")];
    let mut watch = Running::start(&["watch", "--json", &urls[0], &urls[1]]);
    let mut lines =
        watch.stdout().map(Result::unwrap).filter(|line| !line.contains("\"kind\":\"synced\""));
    let first = [lines.next().unwrap(), lines.next().unwrap()];
    for url in &urls {
        let begins = format!("{{\"url\":\"http://{url}\",\"kind\":\"gone\",");
        assert!(first.iter().any(|line| line.starts_with(&begins)), "{first:?}");
    }
    write(&["put", &urls[1], "[1.0]"]);
    let line = lines.next().unwrap();
    assert!(
        line.starts_with(&format!(
            "{{\"url\":\"http://{}\",\"kind\":\"snapshot\",\"rev\":\"",
            urls[1]
        )),
        "{line}"
    );
    assert!(line.ends_with(",\"value\":[1.0]}"), "{line}");
}

#[test]
fn a_watch_outlives_its_server() {
    let (mut first, address) = serve();
    let url = format!("{address}/a");
    write(&["put", &url, "1"]);
    let mut watch = Running::start(&["watch", &url]);
    let mut lines = watch.stdout().map(Result::unwrap);
    assert!(lines.next().unwrap().ends_with("/a  = 1"));

    first.signal("-TERM");
    assert_eq!(first.ends(), 0);
    watch.says("trying again in");
    let (_second, _) = server(&["serve", "--memory", "--listen", &address]);
    write(&["put", &url, "2"]);
    watch.says("connected again");
    // Before, it may see that nothing is there: the new server began without the value.
    assert!(lines.any(|line| line.ends_with("/a  = 2")));
}

#[test]
fn a_doubled_interrupt_does_not_keep_a_server_from_answering_what_it_has_begun() {
    let (mut server, address) = serve();
    let mut socket = std::net::TcpStream::connect(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("PUT /a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1");
    write!(socket, "{head}\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let mut answer = BufReader::new(socket.try_clone().unwrap()).lines().map(Result::unwrap);
    assert_eq!(answer.next().as_deref(), Some("HTTP/1.1 100 Continue"));
    server.signal("-INT");
    server.says("stopping");
    server.signal("-INT");
    // Until the second was seen: it would have ended the process.
    sleep(Duration::from_millis(100));
    write!(socket, "1").unwrap();
    assert!(answer.any(|line| line.starts_with("HTTP/1.1 201")));
    assert_eq!(server.ends(), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (_server, address) = serve();
    let mut watch = Running::start(&["watch", &address]);
    drop(watch.stdout());
    write(&["put", &address, r#"{"a":1}"#]);
    assert_eq!(watch.ends(), 0);
}

#[test]
fn a_server_outlives_the_reader_of_its_stderr() {
    let mut child = halfping(&["serve", "--memory", "--listen", "127.0.0.1:0", "--log", "trace"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening on")).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap();
    drop(lines);
    for _ in 0..10 {
        write(&["put", url, r#"{"a":1}"#]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_recording_is_replayed_digit_for_digit() {
    let (_server, address) = serve();
    let recording = "{\"t\":1000,\"path\":\"/x/1\",\"value\":{\"n\":1.00}}\n\
                     {\"t\":1100,\"path\":\"/x/2\",\"value\":null}\n\
                     {\"t\":1400,\"path\":\"/x/1\",\"value\":{\"n\":123456789012345678901}}\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(recording.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();

    let to = format!("{address}/below/");
    for (stdin, speed, took_ms) in [(recording.as_bytes(), "2", 200), (&gzip, "max", 0)] {
        let since = Instant::now();
        let output = run(&["replay", "--to", &to, "--speed", speed, "-"], stdin);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.starts_with("3 updates in "), "{said}");
        assert!(since.elapsed() >= Duration::from_millis(took_ms));
        // Each by itself: the order of paths is not promised.
        for (name, value) in [("1", "{\"n\":123456789012345678901}\n"), ("2", "null\n")] {
            check(&["get", &format!("{address}/below/x/{name}")], b"", 0, value);
        }
        write(&["delete", &format!("{address}/below")]);
    }
}

#[test]
fn a_recording_stops_at_what_is_refused() {
    let (_server, address) = serve();
    let recording =
        b"{\"t\":1,\"path\":\"/a\",\"value\":1}\n{\"t\":2,\"path\":\"/_a\",\"value\":2}\n";
    let said = format!("error: line 2: the server refused http://{address}/_a: 403 reserved-path");
    check(&["replay", "--to", &address, "-"], recording, 1, &said);
}

#[test]
fn the_city_moves() {
    let (mut demo, address) =
        server(&["demo", "--memory", "--listen", "127.0.0.1:0", "--vehicles", "50"]);
    let line = demo.says("/vehicles/bus-017?watch");
    assert!(line.contains(&format!("curl -N 'http://{address}/vehicles/bus-017?watch'")), "{line}");
    let fleet = run(&["get", &format!("{address}/fleet")], b"");
    assert!(String::from_utf8(fleet.stdout).unwrap().starts_with("{\"vehicles\":50,"));

    let mut watch = Running::start(&["watch", "--json", &format!("{address}/vehicles")]);
    let mut changes =
        watch.stdout().map(Result::unwrap).filter(|line| line.contains("\"kind\":\"merge\""));
    assert!((0..10).all(|_| changes.next().unwrap().contains("\"position\":{")));
    demo.signal("-INT");
    assert_eq!(demo.ends(), 0);
}

#[test]
fn the_city_has_a_page_and_as_many_vehicles_as_are_wished() {
    let (mut demo, address) =
        server(&["demo", "--memory", "--listen", "127.0.0.1:0", "--vehicles", "50"]);
    let line = demo.says("/_demo/");
    assert_eq!(line, format!("open http://{address}/_demo/"));
    let page = http(&address, "GET /_demo/ HTTP/1.1");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<!doctype html>"), "{page}");
    assert!(http(&address, "GET /_console HTTP/1.1").contains("\r\nlocation: _console/\r\n"));
    assert!(
        http(&address, "HEAD /_console/ HTTP/1.1")
            .contains("content-security-policy: default-src 'none'")
    );
    assert!(
        http(&address, "GET /_assets/none.js HTTP/1.1").contains("urn:halfping:problem:not-found")
    );

    let about = run(&["get", &format!("{address}/demo")], b"");
    let about: serde_json::Value = serde_json::from_slice(&about.stdout).unwrap();
    assert_eq!((&about["collection"], &about["vehicles"]), (&"/vehicles".into(), &50.into()));
    assert_eq!(about["streets"]["latitudes"].as_array().unwrap().len(), 16);
    // The wished number, the corrected one, and the number of vehicles.
    for (wish, put_right, vehicles) in [("70", "70", 70), ("\"many\"", "70", 70), ("-1.5", "1", 1)]
    {
        run(&["put", &format!("{address}/demo/vehicles"), wish], b"");
        until(&format!("{address}/demo/vehicles"), put_right);
        until(&format!("{address}/fleet"), &format!("{{\"vehicles\":{vehicles},"));
        let there = run(&["get", &format!("{address}/vehicles"), "--depth", "1"], b"");
        let there: serde_json::Value = serde_json::from_slice(&there.stdout).unwrap();
        assert_eq!(there.as_object().unwrap().len(), vehicles);
    }
    demo.says("it is put right");
}

#[test]
fn each_operator_of_the_city_sees_its_own_vehicles_and_everybody_sees_all() {
    let (mut demo, address) =
        server(&["demo", "--memory", "--listen", "127.0.0.1:0", "--vehicles", "120"]);
    let line = demo.says("Authorization: Bearer ");
    let about = run(&["get", &format!("{address}/demo/operators")], b"");
    let about: serde_json::Value = serde_json::from_slice(&about.stdout).unwrap();
    let token = |place: usize| about[place]["token"].as_str().unwrap().to_owned();
    assert!(line.contains(&token(0)), "{line}");
    let as_whom = |token: Option<&str>, args: &[&str]| {
        let mut command = halfping(args);
        if let Some(token) = token {
            command.env("HALFPING_TOKEN", token);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let names = |token: Option<&str>| {
        let (_, vehicles) = as_whom(token, &["get", &format!("{address}/vehicles")]);
        let vehicles: serde_json::Value = serde_json::from_str(&vehicles).unwrap();
        Vec::from_iter(vehicles.as_object().unwrap().keys().cloned())
    };
    let (ada, grace, all) = (names(Some(&token(0))), names(Some(&token(1))), names(None));
    assert!(ada.iter().all(|id| id.starts_with("tram-")) && ada.len() > 5, "{ada:?}");
    assert!(grace.iter().all(|id| id.starts_with("bus-")) && grace.len() > 50, "{grace:?}");
    assert_eq!((ada.len() + grace.len(), all.len()), (120, 120));

    // An operator changes what is its own, also whose it is, and nothing else.
    let put = |who: Option<&str>, path: &str, value: &str| {
        as_whom(who, &["put", &format!("{address}{path}"), value])
    };
    let (tram, bus) = (&ada[0], &grace[0]);
    let (ada, grace) = (token(0), token(1));
    assert_eq!(put(Some(&ada), &format!("/vehicles/{tram}/note"), "\"wet\"").0, Some(0));
    let (code, said) = put(Some(&ada), &format!("/vehicles/{bus}/note"), "\"mine\"");
    assert!(code == Some(1) && said.contains("403"), "{said}");
    assert_eq!(put(Some(&ada), &format!("/vehicles/{tram}/operator"), "\"grace\"").0, Some(0));
    assert!(names(Some(&grace)).contains(tram) && !names(Some(&ada)).contains(tram));
    assert_eq!(put(None, &format!("/vehicles/{tram}/operator"), "\"ada\"").0, Some(0));
    assert!(names(Some(&ada)).contains(tram));
    for path in ["/_server", "/_metrics", "/secret"] {
        let (_, said) = as_whom(Some(&ada), &["get", &format!("{address}{path}")]);
        assert!(said.contains("403 forbidden"), "{path}: {said}");
    }
    // Nobody but this machine sees the server itself, as without operators.
    assert!(http(&address, "GET /_server HTTP/1.1").starts_with("HTTP/1.1 200"));
    let forged = http(&address, "GET /vehicles HTTP/1.1\r\nauthorization: Bearer hpk_x");
    assert!(forged.starts_with("HTTP/1.1 401"), "{forged}");
}

#[test]
fn a_recording_is_played_again_and_again() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo.ndjson");
    let mut lines = String::new();
    for second in 0..20 {
        let at = format!("\"value\":{{\"latitude\":46.{second:02},\"longitude\":7.5}}");
        lines += &format!("{{\"t\":{},\"path\":\"/air/a\",{at}}}\n", second * 1000);
        if second < 3 {
            lines += &format!("{{\"t\":{},\"path\":\"/air/b\",{at}}}\n", second * 1000);
        }
    }
    std::fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let demo = [
        "demo",
        "--memory",
        "--listen",
        "127.0.0.1:0",
        "--data-file",
        file,
        "--speed",
        "10",
        "--credit",
        "us",
    ];
    let (_demo, address) = server(&demo);
    let about = run(&["get", &format!("{address}/demo")], b"");
    let about: serde_json::Value = serde_json::from_slice(&about.stdout).unwrap();
    assert_eq!((&about["title"], &about["credit"]), (&"Air".into(), &"us".into()));
    assert_eq!((&about["collection"], &about["speed"]), (&"/air".into(), &10.0.into()));
    assert_eq!(
        (&about["bounds"]["north"], &about["vehicles"]),
        (&46.19.into(), &serde_json::Value::Null)
    );
    let (a, b) = (format!("{address}/air/a"), format!("{address}/air/b"));
    until(&a, "46.1");
    // The vehicle has sent nothing for long, so it is gone until the recording begins anew.
    until(&b, "");
    until(&b, "46.0");
    until(&a, "46.1");
}

/// The answer of a server to a request of one line.
fn http(address: &str, request: &str) -> String {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(socket, "{request}\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until the value at a URL holds this text; for an empty text, until nothing is there.
fn until(url: &str, text: &str) {
    let begun = Instant::now();
    loop {
        let found = run(&["get", url], b"");
        let found = String::from_utf8(found.stdout).unwrap();
        let there = if text.is_empty() { found.is_empty() } else { found.contains(text) };
        if there {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{url}: {found}, not {text}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn logs_can_be_json_and_settings_a_file() {
    let config = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("right.toml");
    let data = config.with_file_name("right-data");
    let _ = std::fs::remove_dir_all(&data);
    std::fs::write(
        &config,
        format!(
            "listen = \"127.0.0.1:0\"\ndata = {data:?}\n[limits]\n[cors]\norigins = [\"https://a.example\"]\n"
        ),
    )
    .unwrap();
    let mut server =
        Running::start(&["serve", "--config", config.to_str().unwrap(), "--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(&server.says("kept on disk")).unwrap();
    assert_eq!((line["level"].as_str(), line["data"].as_str()), (Some("INFO"), data.to_str()));
    let line: serde_json::Value = serde_json::from_str(&server.says("listening")).unwrap();
    assert_eq!(line["level"], "INFO");
    assert!(line["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    // All lines are JSON, and the last one says that the server has stopped.
    server.signal("-TERM");
    let mut rest = Vec::new();
    for line in server.stderr.by_ref().map_while(Result::ok) {
        rest.push(
            serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|_| panic!("{line}")),
        );
    }
    let message = |line: &serde_json::Value| line["message"].as_str().map(str::to_owned);
    let is_stopping = |said: String| said.starts_with("stopping");
    assert!(rest.iter().filter_map(message).any(is_stopping), "{rest:?}");
    assert_eq!(rest.last().and_then(message).as_deref(), Some("stopped"), "{rest:?}");
    assert_eq!(server.ends(), 0);
    // A failure is logged as JSON too.
    let bad = config.with_file_name("bad.toml");
    std::fs::write(&bad, "listn = 1\n").unwrap();
    let failed = run(&["serve", "--config", bad.to_str().unwrap(), "--log-format", "json"], b"");
    let line: serde_json::Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!((line["level"].as_str(), failed.status.code()), (Some("ERROR"), Some(4)));
    assert!(line["hint"].as_str().unwrap().contains("`listen`"), "{line}");
}

#[test]
fn the_demo_keeps_its_state_with_the_user_and_out_of_where_it_is_tried() {
    let home = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-home");
    let _ = std::fs::remove_dir_all(&home);
    let here = home.join("checkout");
    std::fs::create_dir_all(&here).unwrap();
    let mut command = halfping(&["demo", "--listen", "0", "--vehicles", "1"]);
    command
        .current_dir(&here)
        .env("HOME", &home)
        .env_remove("XDG_STATE_HOME")
        .env_remove("HALFPING_DATA");
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut demo = Running { child, stderr };
    demo.says("listening on http://127.0.0.1:");
    assert!(home.join(".local/state/halfping/demo/halfping.redb").is_file());
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0);
    demo.signal("-INT");
    assert_eq!(demo.ends(), 0);
}

#[test]
fn a_store_that_another_server_has_open_names_the_way_round_it() {
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("open-twice");
    let data = data.to_str().unwrap();
    let (_server, _) = server(&["serve", "--listen", "0", "--data", data]);
    let hint = "hint: stop that first; --data DIR takes another directory, --memory none";
    for command in ["serve", "demo"] {
        check(&[command, "--listen", "0", "--data", data], b"", 4, hint);
    }
}

#[test]
fn a_demo_that_is_read_only_cannot_be_written() {
    let mut command = halfping(&["demo", "--memory", "--listen", "0", "--vehicles", "1"]);
    let mut child = command.env("HALFPING_READ_ONLY", "1").spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut demo = Running { child, stderr };
    let line = demo.says("listening on http://");
    let address = line.rsplit("http://").next().unwrap().to_owned();
    check(&["put", &format!("{address}/demo/vehicles"), "5"], b"", 1, "405 read-only");
    until(&format!("{address}/fleet"), "{\"vehicles\":1,");
}

/// Starts a server with these limits of open files.
#[cfg(unix)]
fn with_open_files(soft: u32, hard: u32, arguments: &[&str]) -> Running {
    let line = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &line, env!("CARGO_BIN_EXE_halfping")]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    Running { child, stderr }
}

#[cfg(unix)]
#[test]
fn as_many_connections_are_taken_as_the_system_allows() {
    let serve = ["serve", "--memory", "--listen", "127.0.0.1:0"];
    let mut server = with_open_files(64, 400, &serve);
    let line = server.says("listening on http://");
    let address = line.split_once("listening on http://").unwrap().1.trim().to_owned();
    // The limit is below the configured connections, which is reported.
    let warning = server.says("open files");
    assert!(warning.contains("allows 400") && warning.contains("limits.connections"), "{warning}");
    let mut connections = Vec::new();
    for number in 0..300 {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /_health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream
            .read_exact(&mut first)
            .unwrap_or_else(|error| panic!("connection {number}: {error}"));
        assert_eq!(&first, b"HTTP/1.1 200");
        connections.push(stream);
    }
    // A sufficient limit is not reported.
    let few = [&serve[..], &["--limit", "connections=100"]].concat();
    let mut server = with_open_files(64, 400, &few);
    for line in server.stderr.by_ref() {
        let line = line.unwrap();
        assert!(!line.contains("open files"), "{line}");
        // The last line at start.
        if line.contains("try: ") {
            break;
        }
    }
}

#[test]
fn a_server_can_end_with_whoever_started_it() {
    let words = ["serve", "--memory", "--listen", "127.0.0.1:0", "--until-stdin-ends"];
    let (mut server, _) = server(&words);
    drop(server.child.stdin.take());
    // The end of its stderr is the end of the process.
    assert!(server.stderr.by_ref().map_while(Result::ok).all(|line| !line.contains("panic")));
    assert_eq!(server.ends(), 0);
}
