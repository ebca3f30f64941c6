//! Backups of a server that is written to, and damaged stores and backups: every restored state
//! existed, and all damage is reported.
//!
//! `HALFPING_CRASH=full` makes it more backups and hundreds of flipped bits. `HALFPING_SEED`
//! repeats the choices.

#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::common::halfping;
use crate::disk::{self, Http, PATIENCE, Start};
use crate::raw::{Random, Stream, seed};
use halfping_client::{Frame, Mirror};
use serde_json::{Value, json};

const WRITERS: usize = 16;
const INPUT: i32 = 4;

fn is_full() -> bool {
    std::env::var("HALFPING_CRASH").as_deref() == Ok("full")
}

fn run(arguments: &[&str]) -> Output {
    halfping().args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The command fails with this exit code, and gives the reason.
#[track_caller]
fn fails(arguments: &[&str], code: i32, says: &str) -> String {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.starts_with("error: ") && said.contains(says), "{arguments:?} says: {said}");
    said
}

/// A state in which every writer has the same number in three places.
#[track_caller]
fn is_whole(tree: &Value) {
    for w in 0..WRITERS {
        let w = w.to_string();
        let (pair, other) = (&tree["pairs"][&w], &tree["other"][&w]);
        assert!(
            pair["a"] == pair["b"] && pair["a"] == *other,
            "half a commit: {w}: {pair}, {other}"
        );
    }
}

fn tree(address: SocketAddr) -> (Value, String) {
    let answer = Http::new(address).ask("GET", "/", &[], "").unwrap();
    assert_eq!(answer.status, 200);
    (answer.json(), answer.etag().trim_matches('"').to_owned())
}

fn epoch(cursor: &str) -> &str {
    cursor.rsplit_once('.').unwrap().0
}

#[test]
fn a_backup_is_a_state_that_was_there() {
    // PROTOCOL C1, C4, S5
    let at = disk::directory("backup");
    let config = at.join("config.toml");
    // The state comes in many parts, and others write between them.
    fs::write(&config, "[limits]\nslice_bytes = 2048\n").unwrap();
    let address = disk::address();
    let mut start = Start::new(&at.join("data"), address);
    start.config = Some(config);
    let server = start.serve();
    let mut http = Http::new(address);
    let merge = ["Content-Type: application/merge-patch+json"];
    let many = (0..3000).map(|i| (i.to_string(), json!({ "i": i, "text": "t".repeat(200) })));
    let many = json!({ "many": many.collect::<serde_json::Map<_, _>>() });
    assert!(http.ask("PATCH", "/", &merge, &many.to_string()).unwrap().status < 300);

    let numbers: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|w| {
            let (numbers, is_over) = (numbers.clone(), is_over.clone());
            thread::spawn(move || {
                let mut http = Http::new(address);
                for n in 1.. {
                    let body = json!({
                        "pairs": { w.to_string(): { "a": n, "b": n } },
                        "other": { w.to_string(): n },
                        "many": { (n % 3000).to_string(): { "by": w } },
                    });
                    let answer = http.ask("PATCH", "/", &merge, &body.to_string()).unwrap();
                    assert!(answer.status < 300, "{answer:?}");
                    numbers[w].store(n, Ordering::Relaxed);
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        })
        .collect();
    for time in 0..if is_full() { 20 } else { 2 } {
        let began = Instant::now();
        while numbers.iter().any(|n| n.load(Ordering::Relaxed) < 5 * (time + 1)) {
            assert!(began.elapsed() < PATIENCE);
            thread::yield_now();
        }
        let before: Vec<u64> = numbers.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        let (file, data) =
            (at.join(format!("backup{time}.ndjson")), at.join(format!("restored{time}")));
        let made = run(&["backup", &address.to_string(), text(&file)]);
        assert!(made.status.success(), "{made:?}");
        fails(&["backup", &address.to_string(), text(&file)], INPUT, "is there already");
        let less = format!("{address}/many?depth=1");
        fails(&["backup", &less, text(&at.join("less"))], 2, "a backup has all that is there");
        let leaf = format!("{address}/many/1/i");
        fails(&["backup", &leaf, text(&at.join("leaf"))], INPUT, "nothing with members");
        let after: Vec<u64> = numbers.iter().map(|n| n.load(Ordering::Relaxed) + 1).collect();

        let mut mirror = Mirror::new();
        let lines = fs::read_to_string(&file).unwrap();
        let frames: Vec<&str> = lines.lines().collect();
        for line in &frames[..frames.len() - 1] {
            mirror.apply(&serde_json::from_str::<Frame>(line).unwrap()).unwrap();
        }
        assert!(frames.len() > 50, "{} lines are too few to tell anything", frames.len());
        let backed_up = mirror.value().unwrap();
        is_whole(backed_up);
        for w in 0..WRITERS {
            let n = backed_up["other"][w.to_string()].as_u64().unwrap();
            assert!(
                before[w] <= n && n <= after[w],
                "{n} is not from {} to {}",
                before[w],
                after[w]
            );
        }

        let restored = run(&["restore", text(&file), text(&data)]);
        assert!(restored.status.success(), "{restored:?}");
        fails(&["restore", text(&file), text(&data)], INPUT, "is not empty");
        let (_, cursor) = tree(address);
        let other = Start::new(&data, disk::address()).serve();
        let (found, now) = tree(other.address);
        assert!(found == *backed_up, "what is restored is not what was in the backup");
        assert_ne!(epoch(&cursor), epoch(&now));
        for old in [cursor.as_str(), &format!("{}.1", epoch(&cursor))] {
            let mut stream = Stream::open(
                other.address,
                &format!("GET /pairs?since={old}\nAccept: text/event-stream"),
            );
            assert_eq!(stream.next().kind, "snapshot");
        }
        assert!(other.stop().success());
        let checked = run(&["check", text(&data)]);
        assert!(checked.status.success(), "{checked:?}");
        println!("backup {time}: {} lines, {} bytes", frames.len(), lines.len());
    }
    is_over.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert!(server.stop().success());
}

#[test]
fn a_backup_is_for_its_owner_only_and_follows_no_link() {
    let at = disk::directory("owner_only");
    let (data, file) = (at.join("data"), at.join("backup.ndjson"));
    fs::create_dir(&data).unwrap();
    let address = disk::address();
    let server = Start::new(&data, address).serve();
    assert!(Http::new(address).ask("PUT", "/a", &[], "{\"secret\":1}").unwrap().status < 300);
    let (partial, other) = (at.join("backup.ndjson.partial"), at.join("other"));
    fs::write(&other, "not ours").unwrap();
    std::os::unix::fs::symlink(&other, &partial).unwrap();
    fails(
        &["backup", &address.to_string(), text(&file)],
        INPUT,
        "backup.ndjson.partial is there already",
    );
    assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");
    assert!(!file.exists() && partial.is_symlink());
    fs::remove_file(&partial).unwrap();
    assert!(run(&["backup", &address.to_string(), text(&file)]).status.success());
    assert!(!partial.exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&data.join("halfping.redb"))), (0o600, 0o600));
    assert!(server.stop().success());
    // Opening a store removes the permissions of others.
    let store = data.join("halfping.redb");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Start::new(&data, disk::address()).serve();
    assert_eq!(mode(&store), 0o600);
    assert!(server.stop().success());
    let restored = at.join("restored");
    assert!(run(&["restore", text(&file), text(&restored)]).status.success());
    assert_eq!((mode(&restored), mode(&restored.join("halfping.redb"))), (0o700, 0o600));
}

#[test]
fn whatever_a_tree_holds_is_restored_with_any_limits() {
    let at = disk::directory("wider_limits");
    let (file, config) = (at.join("backup"), at.join("wide.toml"));
    let nested = |levels: usize| format!("{}1{}", "{\"n\":".repeat(levels), "}".repeat(levels));
    let array = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let many: Vec<String> = (0..30_000).map(|n| format!("\"m{n}\":{n}")).collect();
    let (long, many) = (format!("/{}", "k".repeat(3000)), format!("{{{}}}", many.join(",")));
    let cases = [
        // A server without a configuration: the depth of a value counts from its own place.
        ("", vec![("/one".to_owned(), nested(64)), ("/two/three".to_owned(), array(64))]),
        (
            "[limits]\njson_depth = 300\ntree_depth = 500\npath_depth = 100\nkey_bytes = 3000\nmembers_per_commit = 100000\n",
            vec![
                ("/deep".to_owned(), nested(300)),
                ("/list".to_owned(), array(300)),
                ("/p".repeat(100), "1".to_owned()),
                (long, "1".to_owned()),
                ("/many".to_owned(), many),
            ],
        ),
    ];
    for (case, (limits, puts)) in cases.into_iter().enumerate() {
        fs::write(&config, limits).unwrap();
        let (data, restored) = (at.join(format!("data{case}")), at.join(format!("restored{case}")));
        let mut start = Start::new(&data, disk::address());
        start.config = Some(config.clone());
        let server = start.serve();
        let mut http = Http::new(server.address);
        for (path, value) in puts {
            let answer = http.ask("PUT", &path, &[], &value).unwrap();
            assert_eq!(answer.status, 201, "{}: {answer:?}", &path[..path.len().min(40)]);
        }
        let before = http.ask("GET", "/", &[], "").unwrap().body;
        let made = run(&["backup", &server.address.to_string(), text(&file)]);
        assert!(made.status.success(), "{made:?}");
        assert!(server.stop().success());
        let made = run(&["restore", text(&file), text(&restored)]);
        assert!(made.status.success(), "{made:?}");
        assert!(run(&["check", text(&restored)]).status.success());
        let server = Start::new(&restored, disk::address()).serve();
        let after = Http::new(server.address).ask("GET", "/", &[], "").unwrap().body;
        assert!(before == after, "{} bytes, and {} after", before.len(), after.len());
        assert!(server.stop().success());
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_backup_that_was_changed_is_refused() {
    let mut random = Random(seed());
    let at = disk::directory("changed_backup");
    let address = disk::address();
    let config = at.join("config.toml");
    fs::write(&config, "[limits]\nslice_bytes = 1024\n").unwrap();
    let mut start = Start::new(&at.join("data"), address);
    start.config = Some(config);
    let server = start.serve();
    let value = (0..60).map(|i| (format!("m{i}"), json!({ "i": i, "text": "some text" })));
    let value = Value::Object(value.collect()).to_string();
    Http::new(address).ask("PUT", "/a", &[], &value).unwrap();
    let (file, changed, data) = (at.join("whole"), at.join("changed"), at.join("restored"));
    assert!(run(&["backup", &address.to_string(), text(&file)]).status.success());
    let whole = fs::read(&file).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() >= 4, "{}", String::from_utf8_lossy(&whole));
    let refuses = |what: &str, bytes: &[u8]| {
        fs::write(&changed, bytes).unwrap();
        fails(&["restore", text(&changed), text(&data)], INPUT, "line ");
        assert!(!data.exists(), "{what} leaves something");
    };
    refuses("nothing", b"");
    refuses("half", &whole[..whole.len() / 2]);
    for kept in 0..lines.len() {
        refuses("some lines", &lines[..kept].concat());
    }
    refuses("a line less", &[lines[0], &lines[2..].concat()].concat());
    refuses("a line twice", &[lines[0], &whole].concat());
    refuses("another order", &[lines[1], lines[0], &lines[2..].concat()].concat());
    refuses("a line more", &[&whole, lines[0]].concat());
    refuses(
        "other text",
        &String::from_utf8_lossy(&whole).replace("some text", "some test").into_bytes(),
    );
    for _ in 0..if is_full() { 300 } else { 15 } {
        let mut flipped = whole.clone();
        let bit = random.below(8 * whole.len() as u64 - 8) as usize;
        flipped[bit / 8] ^= 1 << (bit % 8);
        refuses(&format!("bit {bit}"), &flipped);
    }
    // The remains of a `restore` that was killed are not in the way.
    fs::create_dir_all(data.join("restore.partial")).unwrap();
    fs::write(data.join("restore.partial/halfping.redb"), "half").unwrap();
    let restored = run(&["restore", text(&file), text(&data)]);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    assert!(run(&["check", text(&data)]).status.success());
    // No backup can be written into a directory that does not exist.
    fails(
        &["backup", &address.to_string(), text(&at.join("no/such/backup"))],
        INPUT,
        "cannot write",
    );
    drop(server);
    fails(&["backup", &address.to_string(), text(&at.join("of nobody"))], 3, "cannot reach");
    assert!(!at.join("of nobody").exists());
}

/// The contents of a store, read from a server on a copy of it.
fn contents(data: &Path, at: &Path) -> Option<(Value, String)> {
    let copy = at.join("served");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir(&copy).unwrap();
    fs::copy(data.join("halfping.redb"), copy.join("halfping.redb")).unwrap();
    let server =
        Start { console: Some("off"), ..Start::new(&copy, disk::address()) }.try_serve().ok()?;
    Some(tree(server.address))
}

#[test]
fn a_store_of_which_bits_have_changed_is_damaged_or_what_it_was() {
    let mut random = Random(seed());
    let at = disk::directory("flipped");
    let address = disk::address();
    // Cursors are compared as well.
    let start = Start { console: Some("off"), ..Start::new(&at.join("data"), address) };
    let server = start.serve();
    let mut http = Http::new(address);
    for n in 0..300 {
        let pad = "p".repeat(if n % 10 == 0 { 5000 } else { 30 });
        let path = format!("/c/{}/{}", n % 7, n);
        assert!(
            http.ask("PUT", &path, &[], &json!({ "n": n, "pad": pad }).to_string()).unwrap().status
                < 300
        );
        if n % 3 == 0 {
            http.ask("DELETE", &format!("/c/{}/{}", n % 7, n / 2), &[], "").unwrap();
        }
    }
    let before = tree(address);
    // A state whose last transaction may be taken for one that was never finished.
    let (killed, stopped, flipped) = (at.join("killed"), at.join("stopped"), at.join("flipped"));
    http.ask("PUT", "/last", &[], "1").unwrap();
    let last = tree(address);
    server.kill();
    for to in [&killed, &stopped, &flipped] {
        fs::create_dir_all(to).unwrap();
    }
    fs::copy(at.join("data/halfping.redb"), killed.join("halfping.redb")).unwrap();
    let server = start.serve();
    assert_eq!(tree(address), last);
    assert!(server.stop().success());
    fs::copy(at.join("data/halfping.redb"), stopped.join("halfping.redb")).unwrap();

    for (of, may_be_before) in [(&stopped, false), (&killed, true)] {
        let whole = fs::read(of.join("halfping.redb")).unwrap();
        let (mut sound, mut sound_before, mut damaged) = (0, 0, 0);
        for number in 0..if is_full() { 400 } else { 25 } {
            let mut bytes = whole.clone();
            // Any place, but often one near the roots.
            let of = if number % 4 == 0 { 320 } else { bytes.len() as u64 };
            let bit = random.below(8 * of) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(flipped.join("halfping.redb"), &bytes).unwrap();
            let output = run(&["check", text(&flipped)]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => {
                    let found = contents(&flipped, &at);
                    match found {
                        Some(found) if found == last => sound += 1,
                        Some(found) if may_be_before && found == before => sound_before += 1,
                        other => panic!("bit {bit}: said to be sound, but is {other:?}"),
                    }
                }
                Some(INPUT) => {
                    assert!(said.contains("error: cannot use the store"), "bit {bit}: {said}");
                    damaged += 1;
                }
                other => panic!("bit {bit}: {other:?}: {said}"),
            }
        }
        println!(
            "{may_be_before}: {sound} sound, {sound_before} without the last write, {damaged} damaged"
        );
        for len in [0, 1, 100, 4096, whole.len() / 2, whole.len() - 1] {
            fs::write(flipped.join("halfping.redb"), &whole[..len]).unwrap();
            fails(&["check", text(&flipped)], INPUT, "cannot use the store");
            fails(
                &["serve", "--listen", "127.0.0.1:0", "--data", text(&flipped)],
                INPUT,
                "cannot use the store",
            );
        }
    }
}

#[test]
fn what_cannot_be_a_store_is_told_in_one_sentence() {
    let at = disk::directory("mistakes");
    let serve = |data: &Path| {
        vec![
            "serve".to_owned(),
            "--listen".into(),
            "127.0.0.1:0".into(),
            "--data".into(),
            text(data).into(),
        ]
    };
    let refuses = |arguments: &[String], code: i32, says: &str| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        fails(&arguments, code, says)
    };
    // A file in place of the directory, or above it; a directory in place of the file.
    let file = at.join("file");
    fs::write(&file, "x").unwrap();
    refuses(&serve(&file), INPUT, "cannot use the store in");
    refuses(&serve(&file.join("below")), INPUT, "cannot use the store in");
    fs::create_dir_all(at.join("folder/halfping.redb")).unwrap();
    refuses(&serve(&at.join("folder")), INPUT, "cannot use the store in");
    for none in [at.join("nothing"), file.clone()] {
        fails(&["check", text(&none)], INPUT, "there is no directory");
    }
    fails(&["check", text(&at)], INPUT, "there is no halfping.redb");
    assert!(!at.join("halfping.redb").exists());

    // Two servers on one directory, and a check beside a server.
    let data = at.join("data");
    let start = Start::new(&data, disk::address());
    let server = start.serve();
    refuses(&serve(&data), INPUT, "another process has it open");
    fails(&["check", text(&data)], INPUT, "another process has it open");
    assert!(server.stop().success());

    // --data and --memory exclude each other, and mistakes in the configuration are reported with
    // their line.
    fails(&["serve", "--memory", "--data", text(&data)], 2, "cannot be used with");
    for (config, says) in [
        ("data = 5\n", "line 1 (`data = 5`)"),
        ("[regions]\nephemeral = \"/live\"\n", "line 2"),
        ("[regions]\nephemeral = [\"live\"]\n", "is not a pattern"),
        ("[regions]\nephemeral = [\"/\"]\n", "is not a pattern"),
        ("[regions]\nephemeral = [\"/a/**\"]\n", "it stands for a whole name"),
        ("[regions]\nephemerals = []\n", "unknown setting `ephemerals`"),
        ("data = \"\"\n", "data"),
    ] {
        let path = at.join("config.toml");
        fs::write(&path, config).unwrap();
        fails(&["serve", "--listen", "127.0.0.1:0", "--config", text(&path)], INPUT, says);
    }

    // No permission. Root has every permission, so the command then runs as another user.
    let closed = at.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let arguments = serve(&closed);
    if fs::metadata(&closed).unwrap().uid() != 0 {
        refuses(&arguments, INPUT, "Permission denied");
    } else {
        let mut nobody = Command::new("setpriv");
        nobody
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(halfping().get_program());
        match nobody.args(&arguments).output() {
            Ok(output) if output.status.code() == Some(INPUT) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains("Permission denied"), "{said}");
            }
            other => {
                // Written past the test harness, which would capture it.
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED: a directory without permission: {other:?}"
                );
            }
        }
    }
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let at = disk::directory("later_version");
    let data = at.join("data");
    assert!(Start::new(&data, disk::address()).serve().stop().success());
    {
        const META: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");
        let database = redb::Database::create(data.join("halfping.redb")).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(META).unwrap().insert("version", &99u64.to_le_bytes()[..]).unwrap();
        write.commit().unwrap();
    }
    for arguments in [
        vec!["serve", "--listen", "127.0.0.1:0", "--data", text(&data)],
        vec!["check", text(&data)],
    ] {
        fails(&arguments, INPUT, "the store is of version 99; this program knows version 1");
    }
}
