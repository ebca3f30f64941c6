//! Views on the command line and in the configuration, against the real server.

use crate::common;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use halfping_client::{Client, Event, Frame, Mirror, Watch, WatchOptions, sorted};
use serde_json::{Value, json};

fn halfping(args: &[&str]) -> Command {
    let mut command = common::halfping();
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that is killed when its test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server. Returns its address, and what it says until it listens.
#[track_caller]
fn serve(args: &[&str]) -> (Running, String, Vec<String>) {
    let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
    let mut child = Running(halfping(&args).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("it ends: {said:?}")).unwrap();
        if let Some((_, address)) = line.split_once("listening on http://") {
            let address = address.to_owned();
            // Nobody reads on: what it says from now on must not fill the pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return (child, address, said);
        }
        said.push(line);
    }
}

/// Stops a server, and waits until it has closed its store.
fn stop(mut server: Running) {
    let id = server.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(server.0.wait().unwrap().success());
}

/// Runs a command that works. Returns its stdout and stderr.
#[track_caller]
fn run(args: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = halfping(args).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(status.success(), "{args:?}: {stdout}{stderr}");
    (stdout, stderr)
}

fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).unwrap();
    directory
}

const FLEET: &str =
    r#"{"a":{"line":"U4","speed":60},"b":{"line":"U6","speed":20},"c":{"speed":70}}"#;

#[test]
fn members_are_ordered_counted_and_explained() {
    let (_server, address, _) = serve(&["--memory"]);
    let url = format!("{address}/v");
    run(&["put", &url, FLEET]);
    let get = |view: &[&str]| run(&[&["get", &*url], view].concat());
    let order = ["--order", "-speed", "--limit", "2"];
    let shown = r#"[["c",{"speed":70}],["a",{"speed":60}]]"#;
    assert_eq!(get(&[&order, &["--select", "speed", "--as", "list"][..]].concat()).0.trim(), shown);
    let object: serde_json::Value = serde_json::from_str(&get(&order).0).unwrap();
    assert_eq!(object.as_object().unwrap().len(), 2);
    assert_eq!(get(&["--count", "--where", "speed > 50"]).0, "2\n");

    let (value, said) =
        get(&["--explain", "--where", "speeed > 50", "--order", "line", "--limit", "1"]);
    assert_eq!(value, "{}\n");
    let expect = "line: in 2 of 3 members\nspeeed: in 0 of 3 members; did you mean speed?\n";
    assert_eq!(said, expect);
    for limit in ["ten", "-1", ""] {
        let failed = halfping(&["get", &url, &format!("--limit={limit}")]).output().unwrap();
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.contains("expected a number of members, such as 20"), "{limit}: {said}");
        assert_eq!(failed.status.code(), Some(2));
    }
    let (_, said) = run(&["get", "--explain", &format!("{url}?select=lin")]);
    assert_eq!(said, "lin: in 0 of 3 members; did you mean line?\n");

    let watch = ["watch", "--json", &url, "--as", "list", "--order", "-speed", "--select", "speed"];
    let mut watch = Running(halfping(&watch).spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    let mut until = |text: &str| {
        let line = lines.find(|line| line.as_ref().unwrap().contains(text));
        line.unwrap_or_else(|| panic!("no {text}"))
    };
    until(r#"[["c",{"speed":70}],["a",{"speed":60}],["b",{"speed":20}]]"#).unwrap();
    run(&["put", &format!("{url}/b/speed"), "99"]);
    until(r#"[["b",{"speed":99}],["c""#).unwrap();
}

#[test]
fn a_view_of_the_configuration_hides_what_the_tree_has_and_says_so() {
    // PROTOCOL Q16
    let directory = directory("named-views");
    let data = directory.join("data");
    let data = data.to_str().unwrap();
    let config = directory.join("views.toml");
    let (server, address, _) = serve(&["--data", data]);
    run(&["put", &format!("{address}/v"), FLEET]);
    run(&["put", &format!("{address}/fastest"), "1"]);
    stop(server);

    let view = "[[view]]\npath = \"/fastest\"\nfrom = \"/v\"\norder = \"-speed\"\nlimit = 1\n";
    std::fs::write(&config, view).unwrap();
    let config = config.to_str().unwrap();
    let (_server, address, said) = serve(&["--data", data, "--config", config]);
    assert!(said.iter().any(|line| line.contains("there is a view at /fastest")), "{said:?}");
    let (value, _) = run(&["get", &format!("{address}/fastest")]);
    assert_eq!(value, "{\"c\":{\"speed\":70}}\n");
    // What the view does not show may be in the tree all the same: nothing is said of names.
    let explain = ["get", "--explain", "--where", "line == 'U4'", &format!("{address}/fastest")];
    let (value, said) = run(&explain);
    assert_eq!(value, "{\"a\":{\"line\":\"U4\",\"speed\":60}}\n");
    assert!(said.starts_with("--explain cannot tell: /fastest is a view"), "{said}");
    assert!(!said.contains("members"), "{said}");

    std::fs::write(config, view.replace("-speed", "-")).unwrap();
    let failed = halfping(&["serve", "--memory", "--config", config]).output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(
        said.contains("line 4") && said.contains("the view /fastest: 'order', column 2"),
        "{said}"
    );
    assert_eq!(failed.status.code(), Some(4));
}

/// Applies frames until the value is as wanted.
async fn until(watch: &mut Watch, mirror: &mut Mirror, wanted: impl Fn(&Value) -> bool) {
    let follow = async {
        while !mirror.is_complete() || !mirror.value().is_some_and(&wanted) {
            if let Event::Frame(frame @ Frame { .. }) = watch.next().await.unwrap() {
                mirror.apply(&frame).unwrap();
            }
        }
    };
    let done = tokio::time::timeout(std::time::Duration::from_secs(30), follow).await;
    done.unwrap_or_else(|_| panic!("it stays {:?}", mirror.value()));
}

#[tokio::test]
async fn a_client_in_rust_ranks_counts_and_lists() {
    // PROTOCOL Q11 to Q15
    let (_server, address, _) = serve(&["--memory"]);
    let client = Client::new(&format!("http://{address}")).unwrap();
    let state = json!({
        "a": {"n": 1, "x": "a"}, "b": {"n": 5, "x": "b"},
        "c": {"n": 9, "x": "c"}, "d": {"n": 5, "x": "d"},
    });
    client.put("/v", state.to_string()).await.unwrap();
    let order = "-n";
    let watch = |options| (client.watch("/v", options).unwrap(), Mirror::new());
    let (mut first, mut firsts) = watch(WatchOptions {
        order: Some(order.into()),
        limit: Some(3),
        select: Some("x".into()),
        ..Default::default()
    });
    let (mut number, mut numbers) =
        watch(WatchOptions { filter: Some("n > 3".into()), count: true, ..Default::default() });
    let (mut list, mut lists) =
        watch(WatchOptions { order: Some(order.into()), list: true, ..Default::default() });

    let names = |value: &Value| -> Vec<String> {
        sorted(value, order).unwrap().iter().map(|(name, _)| (*name).to_owned()).collect()
    };
    until(&mut first, &mut firsts, |value| names(value) == ["c", "b", "d"]).await;
    assert_eq!(firsts.value().unwrap()["c"], json!({"n": 9, "x": "c"}));
    until(&mut number, &mut numbers, |value| *value == json!(3)).await;

    client.put("/v/a/n", "7").await.unwrap();
    until(&mut first, &mut firsts, |value| names(value) == ["c", "a", "b"]).await;
    until(&mut number, &mut numbers, |value| *value == json!(4)).await;
    until(&mut list, &mut lists, |value| {
        value.as_array().unwrap().iter().map(|row| &row[0]).eq(["c", "a", "b", "d"])
    })
    .await;
    client.put("/v/b/n", "8").await.unwrap();
    until(&mut first, &mut firsts, |value| names(value) == ["c", "b", "a"]).await;

    // The list is what the client sorts by itself, and so are the members that are read once.
    until(&mut list, &mut lists, |value| value[1][0] == "b").await;
    let once = client.get("/v?order=-n&as=list").await.unwrap().json;
    let all: Value = serde_json::from_str(&client.get("/v").await.unwrap().json).unwrap();
    assert_eq!(json!(sorted(&all, order).unwrap()), serde_json::from_str::<Value>(&once).unwrap());
    assert_eq!(lists.value(), Some(&json!(sorted(&all, order).unwrap())));
}
