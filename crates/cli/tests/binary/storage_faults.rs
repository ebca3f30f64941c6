//! Disks that are full, read-only or broken while the server uses them: errors that clients get,
//! requests that still work, and writing that resumes by itself. After a kill at the end, no
//! acknowledged write is missing and no refused write is there.
//!
//! These tests mount file systems, and use `strace` to make system calls of the real server fail. A
//! test that cannot do so says that it is skipped; with `CI=true`, a root that can mount must have
//! `strace`. `HALFPING_CRASH=full` repeats each several times.

#![cfg(target_os = "linux")]

use crate::common;
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk::{self, Durable, Http, Start, more, until};
use crate::raw::{Next, Stream};
use crate::session::Session;
use serde_json::json;

const WRITERS: usize = 8;

fn times() -> usize {
    if std::env::var("HALFPING_CRASH").as_deref() == Ok("full") { 10 } else { 1 }
}

/// Reports a skipped test, past the test harness, which would capture the line.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command =
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A file system that is mounted until this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// A small file system in memory. `None`, with a report, where nothing may be mounted.
    fn in_memory(test: &str, size: &str) -> Option<Mount> {
        let at = disk::directory(test);
        let path = at.to_str().unwrap();
        // The remains of a run that was killed.
        succeeds("umount", &["-l", path]);
        if succeeds("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "halfping-test", path])
        {
            return Some(Mount(at));
        }
        skip(&format!("{test}: no tmpfs can be mounted here; run it as root"));
        None
    }

    /// A file system in a file.
    fn in_file(test: &str, image: &Path) -> Option<Mount> {
        let at = disk::directory(test);
        succeeds("umount", &["-l", at.to_str().unwrap()]);
        let mount = Mount(at);
        if mount.again(image) {
            return Some(mount);
        }
        skip(&format!("{test}: no file can be mounted here; run it as root, with loop devices"));
        None
    }

    fn again(&self, image: &Path) -> bool {
        succeeds("mount", &["-o", "loop", image.to_str().unwrap(), self.0.to_str().unwrap()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        succeeds("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

/// Makes system calls of a server fail until this is dropped.
struct Failing(Child);

impl Failing {
    fn has_strace() -> bool {
        if succeeds("strace", &["-e", "inject=fdatasync:error=EIO", "true"]) {
            return true;
        }
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
        let can_mount = Mount::in_memory("can_mount", "1m").is_some();
        assert!(
            !is_ci || !can_mount,
            "strace is missing: `apt-get install strace` (CI=true: nothing may be skipped)"
        );
        skip("faults of system calls: strace cannot be used here; `apt-get install strace`");
        false
    }

    fn begin(server: &Durable, calls: &str, error: &str) -> Failing {
        let mut command = Command::new("strace");
        let pid = server.child.id().to_string();
        command.args(["-f", "-qq", "-p", &pid, "-e", &format!("trace={calls}"), "-e"]);
        command.arg(format!("inject={calls}:error={error}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Failing(command.spawn().unwrap())
    }

    fn end(mut self) {
        self.stop();
    }

    /// `strace` detaches from the server when it is asked to stop, but not when it is killed.
    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writers and the answers to them.
struct Load {
    is_over: Arc<AtomicBool>,
    told: Arc<Told>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Told {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// By resource: the last acknowledged number, and the unanswered ones after it.
    known: Mutex<HashMap<String, (u64, Vec<u64>)>>,
    /// Refused writes, by status and name of the problem.
    how: Mutex<HashMap<(u16, String), u64>>,
    /// Ephemeral writes that succeeded, and others.
    ephemeral: AtomicU64,
    ephemeral_refused: AtomicU64,
}

impl Load {
    fn begin(address: SocketAddr) -> Load {
        let (is_over, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Told::default()));
        let mut threads: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (is_over, told) = (is_over.clone(), told.clone());
                thread::spawn(move || write(address, number, &is_over, &told))
            })
            .collect();
        let (over, also_told) = (is_over.clone(), told.clone());
        threads.push(thread::spawn(move || {
            let mut http = Http::new(address);
            while !over.load(Ordering::Relaxed) {
                let n = also_told.ephemeral.load(Ordering::Relaxed);
                match http.ask("PUT", "/live/x", &[], &n.to_string()) {
                    Ok(answer) if answer.status < 300 => {
                        also_told.ephemeral.fetch_add(1, Ordering::Relaxed)
                    }
                    Ok(_) => also_told.ephemeral_refused.fetch_add(1, Ordering::Relaxed),
                    Err(_) => return,
                };
                thread::sleep(Duration::from_millis(2));
            }
        }));
        Load { is_over, told, threads }
    }

    fn end(self) -> Arc<Told> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.told
    }
}

fn write(address: SocketAddr, number: usize, is_over: &AtomicBool, told: &Told) {
    let mut http = Http::new(address);
    // A path whose write was refused, and yet may be there until the store works again.
    let mut doubted_at: Option<String> = None;
    for n in 1.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        // Some paths are new, so that more room is needed.
        let path = format!("/w/{number}/{}", if n % 10 == 0 { n } else { n % 10 });
        let value = json!({ "n": n, "pad": "p".repeat(if n % 5 == 0 { 3000 } else { 100 }) });
        let outcome = http.ask("PUT", &path, &[], &value.to_string());
        let mut all = told.known.lock().unwrap();
        match outcome {
            Ok(answer) if answer.status < 300 => {
                if let Some(path) = doubted_at.take() {
                    all.entry(path).or_default().1.clear();
                }
                all.insert(path, (n, Vec::new()));
                told.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => {
                // PROTOCOL X3
                assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                *told.how.lock().unwrap().entry((answer.status, answer.problem())).or_default() +=
                    1;
                told.refused.fetch_add(1, Ordering::Relaxed);
                if doubted_at.is_none() {
                    all.entry(path.clone()).or_default().1.push(n);
                    doubted_at = Some(path);
                }
                drop(all);
                thread::sleep(Duration::from_millis(5));
            }
            Err(_) => {
                all.entry(path).or_default().1.push(n);
                return;
            }
        }
    }
}

impl Told {
    fn more_acknowledged(&self, count: u64) {
        more("more writes are acknowledged", &self.acknowledged, count);
    }

    fn more_refused(&self, count: u64) {
        more("more writes are refused", &self.refused, count);
    }

    /// Compares the recorded writes with the server's state.
    fn compare(&self, address: SocketAddr) -> usize {
        let mut http = Http::new(address);
        let known = self.known.lock().unwrap();
        for (path, (acknowledged, doubted)) in known.iter() {
            let answer = http.ask("GET", path, &[], "").unwrap();
            let n = if answer.status == 200 { answer.json()["n"].as_u64().unwrap() } else { 0 };
            assert!(
                n == *acknowledged || doubted.contains(&n),
                "{path} is {n}, not {acknowledged} or {doubted:?}"
            );
        }
        known.len()
    }
}

/// A reader of a stream.
struct Reader {
    stream: Stream,
    frames: usize,
    /// The newest frame, which gives the reason if the stream ended.
    last: String,
}

impl Reader {
    fn open(address: SocketAddr, path: &str) -> Reader {
        let mut stream =
            Stream::open(address, &format!("GET {path}\nAccept: application/x-ndjson"));
        stream.until_synced();
        Reader { stream, frames: 0, last: String::new() }
    }

    /// Takes the frames that have come; the stream has to be open.
    fn take(&mut self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let before = self.frames;
        while Instant::now() < until {
            match self.stream.next_within(Duration::from_millis(20)) {
                Next::Frame(frame) => {
                    self.frames += 1;
                    self.last = frame.raw;
                }
                Next::Nothing => {}
                Next::End => panic!("the stream ended after {:?}", self.last),
            }
        }
        self.frames - before
    }

    /// Waits for the next frame.
    fn one_more(&mut self) {
        until("an update is told", || self.take(Duration::from_millis(20)) > 0);
    }
}

/// One fault, while all else goes on.
struct Case<'a> {
    name: &'a str,
    data: PathBuf,
    status: u16,
    problem: &'a str,
    kind: &'a str,
}

impl Case<'_> {
    /// Runs the case: `begin` starts the fault, `end` ends it.
    fn run<T>(&self, begin: impl Fn(&Durable) -> T, end: impl Fn(&Durable, T)) {
        let address = disk::address();
        let mut start = Start::new(&self.data, address);
        let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.toml", self.name));
        std::fs::write(&config, "[regions]\nephemeral = [\"/live\"]\n").unwrap();
        start.config = Some(config);
        let server = start.serve();
        assert_eq!(server.health(), json!({ "status": "ok", "storage": { "status": "ok" } }));
        let load = Load::begin(address);
        let told = load.told.clone();
        told.more_acknowledged(200);
        let mut durable = Reader::open(address, "/w");
        let mut live = Reader::open(address, "/live");
        for time in 0..times() {
            let faults = format!("halfping_storage_faults_total{{kind=\"{}\"}}", self.kind);
            let trouble = begin(&server);
            told.more_refused(20);
            server.says("the store has failed");
            until("health tells what is wrong", || server.health()["storage"]["kind"] == self.kind);
            let health = server.health();
            assert_eq!(
                (&health["status"], &health["storage"]["status"]),
                (&json!("degraded"), &json!("failed"))
            );
            assert_eq!(server.metric("halfping_storage_works"), 0.0);
            assert!(server.metric(&faults) >= 1.0);
            // Reads go on, and so do streams and ephemeral writes.
            durable.take(Duration::from_millis(100));
            live.take(Duration::from_millis(100));
            more("ephemeral writes go through", &told.ephemeral, 10);
            live.one_more();
            Reader::open(address, "/w");
            let answer = Http::new(address).ask("GET", "/w?depth=1", &[], "").unwrap();
            assert_eq!(answer.status, 200);
            let mut http = Http::new(address);
            let refused = http.ask("PUT", "/w/new", &[], "1").unwrap();
            assert_eq!((refused.status, refused.problem()), (self.status, self.problem.to_owned()));
            assert_eq!(refused.header("retry-after"), Some("1"));
            let mut session = Session::open(address, "/");
            let refused = session.ask(json!({ "put": "/w/new", "value": 1 }));
            assert_eq!(refused["status"], self.status, "{refused}");
            assert!(session.ask(json!({ "put": "/live/y", "value": 1 }))["rev"].is_string());
            assert_eq!(http.ask("GET", "/w/new", &[], "").unwrap().status, 404);

            end(&server, trouble);
            let began = Instant::now();
            told.more_acknowledged(100);
            until("the store works", || server.metric("halfping_storage_works") == 1.0);
            println!("{}, time {time}: writing resumed after {:?}", self.name, began.elapsed());
            server.says("the store works again");
            durable.one_more();
            assert_eq!(server.health()["status"], "ok");
        }
        // The server is killed while it works, and nothing is missing.
        server.kill();
        let told = load.end();
        let server = start.serve();
        let compared = told.compare(address);
        assert_eq!(told.ephemeral_refused.load(Ordering::Relaxed), 0);
        println!(
            "{}: {} acknowledged, refused: {:?}, {compared} resources compared, {} ephemeral writes",
            self.name,
            told.acknowledged.load(Ordering::Relaxed),
            told.how.lock().unwrap(),
            told.ephemeral.load(Ordering::Relaxed),
        );
        assert_eq!(server.health()["status"], "ok");
        assert!(server.stop().success());
        let sound = common::halfping().arg("check").arg(&self.data).output().unwrap();
        assert!(sound.status.success(), "{sound:?}");
    }
}

#[test]
fn a_disk_that_is_full_refuses_writes_until_there_is_room() {
    let Some(mount) = Mount::in_memory("disk_full", "48m") else { return };
    let filler = mount.0.join("filler");
    let case = Case {
        name: "disk_full",
        data: mount.0.join("data"),
        status: 507,
        problem: "storage-full",
        kind: "full",
    };
    case.run(
        |_| {
            let mut file = std::fs::File::create(&filler).unwrap();
            for bytes in [1 << 20, 1 << 12, 1] {
                while file.write_all(&vec![1; bytes]).is_ok() {}
            }
        },
        |_, ()| std::fs::remove_file(&filler).unwrap(),
    );
}

#[test]
fn a_disk_that_fails_refuses_writes_until_it_works() {
    if !Failing::has_strace() {
        return;
    }
    for (calls, error, status, problem, kind) in [
        ("fdatasync", "EIO", 503, "storage-failed", "io"),
        ("pwrite64", "EIO", 503, "storage-failed", "io"),
        ("pwrite64", "ENOSPC", 507, "storage-full", "full"),
        ("fdatasync", "EROFS", 503, "storage-failed", "read-only"),
        ("ftruncate,pwrite64,fdatasync", "EDQUOT", 507, "storage-full", "full"),
    ] {
        let name = format!("strace_{}_{error}", calls.replace(',', "_"));
        let data = disk::directory(&name).join("data");
        let case = Case { name: &name, data, status, problem, kind };
        case.run(|server| Failing::begin(server, calls, error), |_, failing| failing.end());
    }
}

#[test]
fn a_server_that_ends_while_its_disk_fails_has_lost_nothing() {
    if !Failing::has_strace() {
        return;
    }
    for round in 0..2 * times() {
        let (calls, error) = [("fdatasync", "EIO"), ("pwrite64", "ENOSPC")][round / 2 % 2];
        let address = disk::address();
        let start = Start::new(&disk::directory("ends_while_failing").join("data"), address);
        let server = start.serve();
        let load = Load::begin(address);
        load.told.more_acknowledged(100);
        let failing = Failing::begin(&server, calls, error);
        load.told.more_refused(5);
        if round % 2 == 0 {
            server.kill();
            failing.end();
        } else {
            assert!(server.stop().success());
        }
        let told = load.end();
        let mark = start.data.join("halfping.redb.unsynced");
        assert_eq!(mark.exists(), calls == "fdatasync", "what is not on disk is marked");
        let server = start.serve();
        assert!(!mark.exists());
        told.compare(address);
        assert!(server.stop().success());
    }
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told() {
    let Some(mount) = Mount::in_memory("full_at_start", "2m") else { return };
    let start = Start::new(&mount.0.join("data"), disk::address());
    let fill = || {
        let mut file = std::fs::File::create(mount.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    };
    let empty = || std::fs::remove_file(mount.0.join("filler")).unwrap();
    let is_told = |said: &str| {
        let is =
            said.starts_with("error: cannot use the store in ") && said.contains("No space left");
        assert!(is, "{said}");
    };
    fill();
    is_told(&start.try_serve().err().expect("there is no room for a store"));
    empty();
    let server = start.serve();
    assert_eq!(Http::new(start.address).ask("PUT", "/a", &[], "1").unwrap().status, 201);
    server.kill();
    // Reading the state needs no more room.
    fill();
    let server = start.serve();
    assert_eq!(Http::new(start.address).ask("GET", "/a", &[], "").unwrap().body, b"1");
    server.kill();
    empty();
    let server = start.serve();
    assert_eq!(Http::new(start.address).ask("GET", "/a", &[], "").unwrap().body, b"1");
    assert!(server.stop().success());
}

#[test]
fn a_store_that_is_removed_under_the_server_is_noticed() {
    let data = disk::directory("removed").join("data");
    let start = Start::new(&data, disk::address());
    let server = start.serve();
    let mut http = Http::new(start.address);
    assert_eq!(http.ask("PUT", "/a", &[], "1").unwrap().status, 201);
    std::fs::remove_dir_all(&data).unwrap();
    let mut number = 0;
    until("writes are refused", || {
        number += 1;
        http.ask("PUT", "/b", &[], &number.to_string()).unwrap().status == 503
    });
    let health = Http::new(start.address).ask("GET", "/_health", &[], "").unwrap();
    assert!(String::from_utf8_lossy(&health.body).contains("\"degraded\""), "{health:?}");
    assert_eq!(Http::new(start.address).ask("GET", "/a", &[], "").unwrap().body, b"1");
    server.kill();
}

#[test]
fn what_is_durable_does_not_become_ephemeral_by_the_way() {
    let at = disk::directory("becomes_ephemeral");
    let mut start = Start::new(&at.join("data"), disk::address());
    let server = start.serve();
    assert_eq!(Http::new(start.address).ask("PUT", "/shop/a", &[], "1").unwrap().status, 201);
    assert!(server.stop().success());
    let config = at.join("config.toml");
    std::fs::write(&config, "[regions]\nephemeral = [\"/shop/*\"]\n").unwrap();
    start.config = Some(config);
    let said = start.try_serve().err().expect("it would lose what is there");
    assert!(
        said.contains("there is durable state in what is to be ephemeral (values: 1)"),
        "{said}"
    );
    start.config = None;
    let server = start.serve();
    assert_eq!(Http::new(start.address).ask("GET", "/shop/a", &[], "").unwrap().body, b"1");
    assert!(server.stop().success());
}

#[test]
fn a_backup_can_be_restored_to_where_a_disk_is_mounted() {
    let Some(mount) = Mount::in_memory("restore_to_mount", "2m") else { return };
    let at = disk::directory("restore_to_mount_from");
    let start = Start::new(&at.join("data"), disk::address());
    let server = start.serve();
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(Http::new(start.address).ask("PUT", "/a", &[], &large).unwrap().status, 201);
    let (file, to) = (at.join("backup").display().to_string(), mount.0.display().to_string());
    let run = |arguments: &[&str]| common::halfping().args(arguments).output().unwrap();
    assert!(run(&["backup", &start.address.to_string(), &file]).status.success());
    // At first there is no room.
    let full = run(&["restore", &file, &to]);
    assert_eq!(full.status.code(), Some(4), "{full:?}");
    assert!(String::from_utf8_lossy(&full.stderr).contains("No space left"), "{full:?}");
    assert_eq!(std::fs::read_dir(&mount.0).unwrap().count(), 0);
    assert!(succeeds("mount", &["-o", "remount,size=16m", &to]));
    let restored = run(&["restore", &file, &to]);
    assert!(restored.status.success(), "{restored:?}");
    let sound = run(&["check", &to]);
    assert!(sound.status.success(), "{sound:?}");
    drop(server);
}

#[test]
fn a_disk_that_becomes_read_only_refuses_writes_until_it_can_be_written() {
    if !Failing::has_strace() {
        return;
    }
    let Some(mount) = Mount::in_memory("read_only", "64m") else { return };
    let at = mount.0.to_str().unwrap();
    let case = Case {
        name: "read_only",
        data: mount.0.join("data"),
        status: 503,
        problem: "storage-failed",
        kind: "read-only",
    };
    case.run(
        |server| {
            // While the file is open for writing, the system refuses; after a fault it is closed.
            let failing = Failing::begin(server, "fdatasync", "EIO");
            until("it is mounted read-only", || succeeds("mount", &["-o", "remount,ro", at]));
            failing.end();
        },
        |_, ()| assert!(succeeds("mount", &["-o", "remount,rw", at])),
    );
}

#[test]
fn a_file_system_that_shuts_down_can_be_mounted_again_under_the_server() {
    let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shut_down.ext4");
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    if !succeeds("mkfs.ext4", &["-q", image.to_str().unwrap()]) || !succeeds("python3", &["-c", ""])
    {
        return skip("shut_down: it needs mkfs.ext4 and python3");
    }
    let Some(mount) = Mount::in_file("shut_down", &image) else { return };
    let at = mount.0.to_str().unwrap().to_owned();
    let case = Case {
        name: "shut_down",
        data: mount.0.join("data"),
        status: 503,
        problem: "storage-failed",
        kind: "io",
    };
    case.run(
        |_| {
            // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_DEFAULT, which first brings all data to disk.
            // With the other flags, `fdatasync` may return 0 although ext4 has dropped the data: a
            // disk that lies. The server refuses to go on from it, as from an older copy
            // (`an_older_copy_is_not_gone_on_with` in crates/journal/tests/files.rs).
            let code = "import fcntl, os, struct, sys; \
                        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 0))";
            assert!(succeeds("python3", &["-c", code, &at]), "the file system does not shut down");
        },
        |_, ()| {
            // A file system is released when its last file is closed. A mount before that, as while
            // the server tries once more, is of the one that was shut down.
            until("it is mounted again", || {
                succeeds("umount", &["-l", &at]);
                let is_mounted = mount.again(&image);
                is_mounted && std::fs::write(mount.0.join("works"), "").is_ok()
            });
        },
    );
}
