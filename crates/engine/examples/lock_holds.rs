//! Longest times that one call holds the engine: the longest that a server's other clients wait.
//!
//! ```sh
//! cargo run --release -p halfping-engine --example lock_holds
//! ```
//!
//! Each line is a request that is as bad as the limits allow. Bodies are parsed before, as a server
//! does without the lock. The first figure is the longest call, the second all calls together, with
//! those that continue the work. Both are processor times, so that other work of the machine makes
//! no difference.

#![allow(clippy::unwrap_used, reason = "a measurement ends when something is wrong")]

use std::time::Duration;

use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, Limits, Patch, Path, Revision, SessionId,
    Submitted, Tick, Timestamp, Watch, Write,
};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A name, and the function to run.
type Scenario = (&'static str, fn(&str));

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let scenarios: &[Scenario] = &[
        ("heads", heads),
        ("patches", patches),
        ("appends", appends),
        ("emptied", emptied),
        ("crowd", crowd),
        ("bodies", bodies),
        ("singles", singles),
        ("rewrites", rewrites),
        ("returns", returns),
        ("due", due),
        ("queue", queue),
        ("rows", rows),
        ("sharing", sharing),
    ];
    for (name, scenario) in scenarios.iter().filter(|(name, _)| name.contains(&only)) {
        scenario(name);
    }
}

/// Processor time of this thread.
fn busy() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn engine() -> Engine {
    Engine::new(limits(), Epoch::from_random(7), Timestamp(0))
}

fn limits() -> Limits {
    Limits::default()
}

fn path(text: &str) -> Path {
    Path::parse(text, &limits()).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &limits()).unwrap()
}

fn patch(text: &str) -> Patch {
    Patch::parse(text.as_bytes(), &limits()).unwrap()
}

fn write(at: &str, action: Action) -> Vec<Write> {
    vec![Write { path: path(at), action, condition: Condition::default() }]
}

/// Runs `act`, then all the work that it leaves.
fn measure(
    scenario: &str,
    what: &str,
    engine: &mut Engine,
    act: impl FnOnce(&mut Engine) -> String,
) {
    let begun = busy();
    let outcome = act(engine);
    let mut longest = busy() - begun;
    let (mut all, mut steps) = (longest, 0);
    engine.take_woken();
    while engine.has_work() {
        let begun = busy();
        let husks = engine.work();
        let took = busy() - begun;
        (longest, all, steps) = (longest.max(took), all + took, steps + 1);
        engine.take_woken();
        drop(husks);
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{scenario:>8}  {what:<52} {:>9.2} ms, {:>9.2} ms in {} steps more  {outcome}",
        ms(longest),
        ms(all),
        steps
    );
}

fn commit(engine: &mut Engine, writes: &[Write]) -> String {
    match engine.commit(writes, Timestamp(0)) {
        Ok(_) => "done".into(),
        Err(refusal) => refusal.to_string(),
    }
}

/// A durable commit, from its making until it is applied.
fn commit_durably(engine: &mut Engine, writes: &[Write]) -> String {
    match engine.submit(writes, Timestamp(0)) {
        Submitted::Waits => {
            let batch = engine.take_batch().unwrap();
            format!("{} bytes in the log, {} settled", batch.body.len(), engine.settle().len())
        }
        other => format!("{other:?}").chars().take(80).collect(),
    }
}

/// Puts many members there, in parts that no limit refuses.
fn fill(engine: &mut Engine, at: &str, members: usize, value: impl Fn(usize) -> String) {
    const PART: usize = 4096;
    for part in (0..members).step_by(PART) {
        let names = part..(part + PART).min(members);
        let text: Vec<String> = names.map(|i| format!("\"k{i}\":{}", value(i))).collect();
        let merge = Action::Merge(json(&format!("{{{}}}", text.join(","))));
        engine.commit(&write(at, merge), Timestamp(0)).unwrap();
        engine.take_woken();
    }
}

fn heads(name: &str) {
    let mut engine = engine();
    fill(&mut engine, "/f", 50_000, |i| format!("{{\"a\":{i},\"b\":\"{}\"}}", "x".repeat(1100)));
    let len = engine.stats().tree_bytes;
    measure(name, &format!("HEAD of {} MB", len >> 20), &mut engine, |engine| {
        format!("{:?}", engine.metadata(&path("/f")).len)
    });
    measure(name, &format!("GET ?depth=40 of {} MB", len >> 20), &mut engine, |engine| {
        engine
            .read(&path("/f"), 40)
            .map_or_else(|e| e.to_string(), |r| format!("{}", r.value.unwrap().len()))
    });
    fill(&mut engine, "/g", 50_000, |i| format!("{{\"a\":{i},\"b\":\"{}\"}}", "x".repeat(1400)));
    let len = engine.stats().tree_bytes;
    measure(name, &format!("GET /?depth=40 of {} MB", len >> 20), &mut engine, |engine| {
        engine
            .read(&path("/"), 40)
            .map_or_else(|e| e.to_string(), |r| format!("{}", r.value.unwrap().len()))
    });
}

fn patches(name: &str) {
    let mut engine = engine();
    fill(&mut engine, "/f", 100_000, |i| format!("{{\"a\":{i},\"b\":\"{}\"}}", "x".repeat(1100)));
    fill(&mut engine, "/s", 500_000, |i| i.to_string());
    for (at, text) in [
        ("/", r#"[{"op":"test","path":"/f","value":1}]"#.to_owned()),
        ("/", r#"[{"op":"copy","from":"/f","path":"/g"}]"#.to_owned()),
        ("/", r#"[{"op":"move","from":"/f","path":"/g"}]"#.to_owned()),
        ("/", r#"[{"op":"copy","from":"/s","path":"/t"}]"#.to_owned()),
        (
            "/s",
            format!(
                "[{}]",
                vec![r#"{"op":"remove","path":""},{"op":"add","path":"","value":{}}"#; 60_000]
                    .join(",")
            ),
        ),
    ] {
        let action = Action::Patch(patch(&text));
        let what = text.chars().take(44).collect::<String>();
        measure(name, &what, &mut engine, |engine| commit(engine, &write(at, action)));
    }
    let many = |operation: &dyn Fn(usize) -> String, n: usize| {
        format!("[{}]", (0..n).map(operation).collect::<Vec<_>>().join(","))
    };
    let texts = [
        ("removes", many(&|i| format!(r#"{{"op":"remove","path":"/s/k{i}"}}"#), 100_000)),
        ("adds", many(&|i| format!(r#"{{"op":"add","path":"/n/k{i}","value":1}}"#), 80_000)),
        (
            "tests",
            many(
                &|i| {
                    format!(
                        r#"{{"op":"test","path":"/s/k{}","value":{}}}"#,
                        i + 200_000,
                        i + 200_000
                    )
                },
                80_000,
            ),
        ),
        (
            "moves",
            many(&|i| format!(r#"{{"op":"move","from":"/f/k{i}","path":"/n/f{i}"}}"#), 60_000),
        ),
    ];
    engine.commit(&write("/n", Action::Put(json("{}"))), Timestamp(0)).unwrap();
    for (what, text) in texts {
        for n in [1000, usize::MAX] {
            let part = match n {
                usize::MAX => text.clone(),
                n => format!(
                    "{}]",
                    text.match_indices("},{").nth(n).map(|(i, _)| &text[..=i]).unwrap()
                ),
            };
            let action = Action::Patch(patch(&part));
            let what = format!("{} kB of {what}", part.len() >> 10);
            measure(name, &what, &mut engine, |engine| commit(engine, &write("/", action)));
        }
    }
}

fn appends(name: &str) {
    let mut engine = engine();
    let array = |n: usize| format!("[{}]", vec!["1234567"; n].join(","));
    for n in [1, 4, 30] {
        for (what, operation) in [
            ("add /-", r#"{"op":"add","path":"/-","value":1}"#),
            ("add /0", r#"{"op":"add","path":"/0","value":1}"#),
            ("replace /50000", r#"{"op":"replace","path":"/50000","value":[[1]]}"#),
            ("remove /100", r#"{"op":"remove","path":"/100"}"#),
        ] {
            engine.commit(&write("/a", Action::Put(json(&array(125_000)))), Timestamp(0)).unwrap();
            let action = Action::Patch(patch(&format!("[{}]", vec![operation; n].join(","))));
            let what = format!("{n} x {what} on an array of 1 MB");
            measure(name, &what, &mut engine, |engine| commit(engine, &write("/a", action)));
        }
    }
}

fn emptied(name: &str) {
    for (what, durable) in [("in memory", false), ("durable", true)] {
        for action in
            ["PUT {}", "PUT 1", "DELETE", "PUT of 1,000 of them", "merge of null", "patch"]
        {
            let mut engine = engine();
            fill(&mut engine, "/f/g", 1_000_000, |i| i.to_string());
            let some: Vec<String> = (0..1000).map(|i| format!("\"k{i}\":{i}")).collect();
            let writes = match action {
                "PUT {}" => write("/f", Action::Put(json("{}"))),
                "PUT 1" => write("/f/g", Action::Put(json("1"))),
                "DELETE" => write("/f", Action::Delete),
                "merge of null" => write("/", Action::Merge(json(r#"{"f":{"g":null}}"#))),
                "patch" => write(
                    "/",
                    Action::Patch(patch(r#"[{"op":"replace","path":"/f/g","value":{}}]"#)),
                ),
                _ => write("/f/g", Action::Put(json(&format!("{{{}}}", some.join(","))))),
            };
            let what = format!("{action}, over a million members, {what}");
            measure(name, &what, &mut engine, |engine| match durable {
                true => commit_durably(engine, &writes),
                false => commit(engine, &writes),
            });
            let stats = engine.stats();
            println!("          {} names, {} tombstones", stats.names, stats.tombstones);
        }
    }
}

fn crowd(name: &str) {
    for (what, apart) in [("on one place", false), ("each beneath it", true)] {
        let mut engine = engine();
        engine.commit(&write("/p", Action::Put(json("1"))), Timestamp(0)).unwrap();
        engine.take_woken();
        let sessions: Vec<_> = (0..8).map(|_| engine.open()).collect();
        for (i, session) in sessions.iter().enumerate() {
            for tag in 0..99_000 {
                let at = if apart { format!("/p/{i}-{tag}") } else { "/p".to_owned() };
                engine.watch(*session, tag, &Watch::new(path(&at)));
            }
            engine.take_woken();
            while engine.next(*session, Tick(0)).is_some() {}
        }
        let what = format!("800,000 idle links {what}");
        measure(name, &format!("a commit, {what}"), &mut engine, |engine| {
            // A change of an object or leaf into another value is news for all links beneath.
            engine.commit(&write("/", Action::Merge(json(r#"{"p":{}}"#))), Timestamp(0)).unwrap();
            engine.take_woken().len().to_string()
        });
        measure(name, &format!("a session leaves, {what}"), &mut engine, |engine| {
            let _ = engine.end_links(sessions[0], 2048);
            String::new()
        });
    }
}

fn bodies(name: &str) {
    for n in [1_000, 4_000, 8_000, 16_000, 200_000] {
        let object = |value: &dyn Fn(usize) -> String| {
            let members: Vec<String> = (0..n).map(|i| format!("\"n{i}\":{}", value(i))).collect();
            json(&format!("{{{}}}", members.join(",")))
        };
        for durable in [false, true] {
            let mut engine = engine();
            engine.commit(&write("/f", Action::Put(json("{}"))), Timestamp(0)).unwrap();
            let mut timed = |what: &str, action: Action| {
                let what = format!("{what} of {n}{}", if durable { ", durable" } else { "" });
                let writes = write("/f", action);
                measure(name, &what, &mut engine, |engine| match durable {
                    true => commit_durably(engine, &writes),
                    false => commit(engine, &writes),
                });
            };
            timed("PUT of new members", Action::Put(object(&|i| i.to_string())));
            timed("merge of other values", Action::Merge(object(&|i| (i + 1).to_string())));
            timed("PUT of objects over them", Action::Put(object(&|_| "{}".into())));
            timed("merge of nulls", Action::Merge(object(&|_| "null".into())));
        }
    }
}

/// Worst time of one small commit while a tree grows and shrinks.
fn singles(name: &str) {
    let mut engine = engine();
    let mut worst = Duration::ZERO;
    let mut over = [0; 3];
    let mut timed = |engine: &mut Engine, writes: &[Write]| {
        let begun = busy();
        engine.commit(writes, Timestamp(0)).unwrap();
        let took = busy() - begun;
        worst = worst.max(took);
        for (over, ms) in over.iter_mut().zip([1, 5, 20]) {
            *over += usize::from(took > Duration::from_millis(ms));
        }
        engine.take_woken();
        while engine.has_work() {
            engine.work();
        }
    };
    for i in 0..999_999 {
        timed(&mut engine, &write(&format!("/f/name-{i}"), Action::Put(json("1"))));
    }
    for i in 0..999_999 {
        timed(&mut engine, &write(&format!("/f/name-{i}"), Action::Delete));
    }
    println!(
        "{name:>8}  a million members come and go: worst {worst:?}; over 1, 5, 20 ms: {over:?}"
    );
}

/// Pulls a session until it has nothing more to send. As in a server, each pull ends after a number
/// of bytes, or when the engine says that others come first.
fn pull(name: &str, what: &str, engine: &mut Engine, session: SessionId, now: Tick) {
    const AHEAD_BYTES: usize = 16 << 10;
    let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
    let (mut pulls, mut frames) = (0, 0);
    loop {
        let begun = busy();
        let mut bytes = 0;
        while bytes < AHEAD_BYTES
            && let Some(update) = engine.next(session, now)
        {
            bytes += update.frame.map_or(0, |frame| frame.body.len()) + 64;
            frames += 1;
        }
        let is_synced = engine.is_synced(session);
        let took = busy() - begun;
        (longest, all, pulls) = (longest.max(took), all + took, pulls + 1);
        engine.take_woken();
        if is_synced {
            break;
        }
    }
    println!(
        "{name:>8}  {what:<52} {longest:>9.2?}, {all:>9.2?} in {pulls} pulls, {frames} frames"
    );
}

/// Readers that resume on an object of which few members were written very often.
fn rewrites(name: &str) {
    for hot in [1, 2000, 300_000] {
        let mut engine = engine();
        fill(&mut engine, "/f", 1_000_000, |_| "0".into());
        let before = engine.revision();
        let mut worst = Duration::ZERO;
        for i in 0..950_000_usize {
            let at = format!("/f/k{}", i * 7919 % hot);
            let write = write(&at, Action::Put(json(&(i + 1).to_string())));
            let begun = busy();
            engine.commit(&write, Timestamp(0)).unwrap();
            worst = worst.max(busy() - begun);
            engine.take_woken();
        }
        println!("{name:>8}  950,000 writes to {hot} of a million members: worst {worst:?}");
        let session = engine.open();
        for tag in 0..2000 {
            let revision = Revision(before.0 + u64::from(tag));
            let since = Some(Cursor { epoch: Epoch::from_random(7), revision });
            engine.watch(session, tag, &Watch { since, depth: 1, ..Watch::new(path("/f")) });
        }
        engine.take_woken();
        pull(
            name,
            &format!("2,000 readers that come back, {hot} members"),
            &mut engine,
            session,
            Tick(0),
        );
    }
}

/// A reader of an object that another, large object has replaced.
fn returns(name: &str) {
    let mut engine = engine();
    fill(&mut engine, "/f/g", 1000, |i| i.to_string());
    let since = Some(engine.cursor(engine.revision()));
    engine.commit(&write("/f/g", Action::Put(json("1"))), Timestamp(0)).unwrap();
    fill(&mut engine, "/f/g", 500_000, |_| format!("\"{}\"", "x".repeat(100)));
    let session = engine.open();
    engine.watch(session, 0, &Watch { since, ..Watch::new(path("/f")) });
    engine.take_woken();
    pull(name, "a reader of what was replaced by 60 MB", &mut engine, session, Tick(0));
}

/// Links with a rate, all due at once.
fn due(name: &str) {
    let mut engine = engine();
    let session = engine.open();
    for tag in 0..99_000 {
        let watch = Watch { interval_ms: 10, ..Watch::new(path(&format!("/p/{tag}"))) };
        engine.watch(session, tag, &watch);
    }
    engine.take_woken();
    while engine.next(session, Tick(0)).is_some() || !engine.take_woken().is_empty() {}
    fill(&mut engine, "/p", 1, |i| i.to_string());
    while engine.has_work() {
        engine.work();
        engine.take_woken();
    }
    pull(name, "99,000 links whose time has come", &mut engine, session, Tick(100));
}

/// Large durable commits, and more that come while they are written.
fn queue(name: &str) {
    let mut engine = engine();
    let merge = |i: usize| {
        let members: Vec<String> =
            (0..16_000).map(|n| format!("\"n{}\":{i}", n + i * 16_000)).collect();
        write("/f", Action::Merge(json(&format!("{{{}}}", members.join(",")))))
    };
    let longest = |what: &str, took: &[Duration]| {
        println!("{name:>8}  {what:<52} {:>9.2?}", took.iter().max().unwrap());
    };
    let timed = |engine: &mut Engine, act: &mut dyn FnMut(&mut Engine)| {
        let begun = busy();
        act(engine);
        busy() - begun
    };
    let submit = |engine: &mut Engine, writes: &[usize]| -> Vec<Duration> {
        let writes = writes.iter().map(|i| merge(*i));
        let submit = |write: Vec<Write>| {
            timed(engine, &mut |engine| {
                assert_eq!(engine.submit(&write, Timestamp(0)), Submitted::Waits);
            })
        };
        writes.map(submit).collect()
    };
    submit(&mut engine, &(0..24).collect::<Vec<_>>());
    longest(
        "24 large commits are taken",
        &[timed(&mut engine, &mut |engine| drop(engine.take_batch()))],
    );
    longest("24 more get in line", &submit(&mut engine, &(24..48).collect::<Vec<_>>()));
    let mut settled = Vec::new();
    loop {
        let mut count = 0;
        settled.push(timed(&mut engine, &mut |engine| count = engine.settle_some(4096).len()));
        engine.take_woken();
        if count == 0 {
            break;
        }
    }
    longest("24 large commits are applied, one by one", &settled);
}

/// A checkpoint of many rows.
fn rows(name: &str) {
    let mut engine = engine();
    let row = |i: usize| format!("{{\"a\":{i},\"b\":\"{}\"}}", "x".repeat(4000));
    for part in 0..16 {
        let members: Vec<String> =
            (0..1000).map(|i| format!("\"k{}\":{}", part * 1000 + i, row(i))).collect();
        let merge = Action::Merge(json(&format!("{{{}}}", members.join(","))));
        engine.commit(&write("/f", merge), Timestamp(0)).unwrap();
        engine.take_woken();
    }
    let begun = busy();
    let checkpoint = engine.checkpoint();
    println!(
        "{name:>8}  {:<52} {:>9.2?}",
        format!("{} rows of 4 kB", checkpoint.rows.len()),
        busy() - begun
    );
}

/// Shared frames that are kept, when there are too many.
fn sharing(name: &str) {
    let mut engine = engine();
    let sessions = [engine.open(), engine.open()];
    for session in sessions {
        for tag in 0..60_000 {
            engine.watch(session, tag, &Watch::new(path(&format!("/p/{tag}"))));
        }
    }
    engine.take_woken();
    let mut worst = Duration::ZERO;
    for round in 0..24 {
        for part in 0..60 {
            let value = format!("\"{round}-{}\"", "x".repeat(100));
            let members = (0..1000).map(|i| format!("\"{}\":{value}", part * 1000 + i));
            let members = members.collect::<Vec<_>>().join(",");
            engine
                .commit(&write("/p", Action::Merge(json(&format!("{{{members}}}")))), Timestamp(0))
                .unwrap();
            engine.take_woken();
            loop {
                let begun = busy();
                let update = engine.next(sessions[0], Tick(0));
                worst = worst.max(busy() - begun);
                if update.is_none() && engine.take_woken().is_empty() {
                    break;
                }
            }
            while engine.has_work() {
                drop(engine.work());
            }
        }
    }
    println!("{name:>8}  {:<52} {worst:>9.2?}", "frames of 100 bytes that are kept: the worst");
}
