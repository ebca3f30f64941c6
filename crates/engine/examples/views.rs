//! Cost of views, each beside its floor: commits, making a view, deliveries, bytes, memory.
//!
//! ```sh
//! cargo run --release -p halfping-engine --example views
//! ```
//!
//! Times are processor times of the thread, so that other work of the machine makes little
//! difference. What is compared is measured by turns.

#![allow(clippy::unwrap_used, reason = "a measurement ends when something is wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cap::Cap;
use halfping_engine::{
    Action, Condition, Engine, Epoch, Json, Limits, Path, Revision, SessionId, Tick, Timestamp,
    View, Wanted, Watch, Write,
};
use halfping_shape::{Bounds, Condition as Where, Order, Selection};
use mimalloc::MiMalloc;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// Counts live bytes: those requested, without the allocator's rounding.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// Members of the large collection, and different lines among them.
const MEMBERS: usize = 100_000;
const LINES: usize = 1000;
/// Members of each line that are fast: more than any window shows.
const FAST: usize = 30;
/// Commits that are timed together, and how often.
const COMMITS: usize = 20_000;
const TURNS: usize = 7;
const TOP: usize = 20;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let parts: [(&str, fn()); 6] = [
        ("commits", commits),
        ("making", making),
        ("readers", readers),
        ("bytes", bytes),
        ("resuming", resuming),
        ("memory", memory),
    ];
    for (name, part) in parts.iter().filter(|(name, _)| name.contains(&only)) {
        println!("{name}");
        part();
    }
}

/// Processor time of this thread.
fn busy() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn say(what: &str, figure: String, beside: &str) {
    println!("  {what:<66} {figure:>14}  {beside}");
}

fn path(text: &str) -> Path {
    Path::parse(text, &Limits::default()).unwrap()
}

fn write(at: &str, action: Action) -> [Write; 1] {
    [Write { path: path(at), action, condition: Condition::default() }]
}

fn json(value: &Value) -> Json {
    Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

fn view(condition: &str, order: &str, limit: usize) -> Arc<View> {
    let bounds = Bounds::default();
    let view = View::new(Wanted {
        condition: (!condition.is_empty()).then(|| Where::parse(condition, &bounds).unwrap()),
        selection: None::<Selection>,
        order: (!order.is_empty()).then(|| Order::parse(order, &bounds).unwrap()),
        limit: (limit > 0).then_some(limit),
        ..Wanted::default()
    });
    Arc::new(view.unwrap())
}

fn top() -> Arc<View> {
    view("", "-speed", TOP)
}

fn top_of_line(line: usize) -> Arc<View> {
    view(&format!("line == \"L{line}\""), "-speed", TOP)
}

/// Vehicle number `i` of [`MEMBERS`]: the first of each line are fast.
fn vehicle(i: usize) -> Value {
    let speed = if i / LINES < FAST { 1000 + i % 997 } else { i % 900 };
    json!({
        "line": format!("L{}", i % LINES), "speed": speed, "headsign": "801 TECH RIDGE",
        "latitude": 30.26 + i as f64 * 1e-5, "longitude": -97.74,
        "bearing": i % 360, "doors": "closed",
    })
}

fn engine(members: usize) -> Engine {
    let limits = Limits::default().with(|limits| {
        limits.views = 100_000;
        limits.links = 1_000_000;
    });
    let mut engine = Engine::new(limits, Epoch::from_random(7), Timestamp(0));
    for part in (0..members).step_by(1000) {
        let range = part..(part + 1000).min(members);
        let object: Value = range.map(|i| (format!("k{i}"), vehicle(i))).collect();
        commit(&mut engine, &write("/v", Action::Merge(json(&object))));
    }
    engine
}

fn commit(engine: &mut Engine, writes: &[Write]) -> Vec<SessionId> {
    engine.commit(writes, Timestamp(0)).unwrap();
    let woken = engine.take_woken();
    while engine.has_work() {
        drop(engine.work());
        engine.take_woken();
    }
    woken
}

fn open(engine: &mut Engine, view: Option<&Arc<View>>, since: Option<Revision>) -> SessionId {
    let session = engine.open();
    let since = since.map(|revision| engine.cursor(revision));
    let watch = Watch { view: view.cloned(), since, ..Watch::new(path("/v")) };
    engine.watch(session, 0, &watch);
    engine.take_woken();
    session
}

/// Takes all that a session is told: bytes, frames, and the longest call.
fn drain(engine: &mut Engine, session: SessionId) -> (usize, usize, Duration) {
    let (mut bytes, mut frames, mut longest) = (0, 0, Duration::ZERO);
    loop {
        let begun = busy();
        let update = engine.next(session, Tick(0));
        longest = longest.max(busy() - begun);
        let is_woken = engine.take_woken().contains(&session);
        match update {
            Some(update) => {
                bytes += update.frame.unwrap().body.len();
                frames += 1;
            }
            None if is_woken => {}
            None => return (bytes, frames, longest),
        }
    }
}

/// Changes of slow vehicles, far below every window's bound; those of the next turn are others.
fn slow_changes(turn: usize) -> Vec<[Write; 1]> {
    let slow = (0..COMMITS).map(|n| FAST * LINES + n * 7919 % (MEMBERS - FAST * LINES));
    let speed = |i: usize| json!({ "speed": (i * 31 + turn % 2 * 450) % 900 });
    slow.map(|i| write(&format!("/v/k{i}"), Action::Merge(json(&speed(i))))).collect()
}

fn commits() {
    type Open = fn(&mut Engine) -> Vec<SessionId>;
    let one: Open = |engine| vec![open(engine, Some(&top()), None)];
    let lines: Open =
        |engine| (0..LINES).map(|line| open(engine, Some(&top_of_line(line)), None)).collect();
    let unindexed: Open = |engine| {
        (0..50)
            .map(|n| open(engine, Some(&view(&format!("speed > {}", 5000 + n), "", 0)), None))
            .collect()
    };
    let crowd: Open = |engine| {
        let views: Vec<_> = (0..100).map(|n| view(&format!("line == \"N{n}\""), "", 0)).collect();
        (0..10_000).map(|n| open(engine, Some(&views[n % 100]), None)).collect()
    };
    let cases: [(&str, Open, &str); 5] = [
        ("no view (the floor)", |_| Vec::new(), ""),
        ("one top-20 view, below its bound", one, "goal + 1.5 µs"),
        ("1,000 distinct `line == …` top-20 views, below their bounds", lines, "goal + 2 µs"),
        ("10,000 readers in 100 distinct views, none concerned", crowd, "goal + 3 µs"),
        ("50 distinct `speed > …` views, none concerned", unindexed, ""),
    ];
    let mut engines: Vec<Engine> = cases
        .iter()
        .map(|(_, open, _)| {
            let mut engine = engine(MEMBERS);
            for session in open(&mut engine) {
                drain(&mut engine, session);
            }
            engine
        })
        .collect();
    let mut figures = vec![Vec::new(); cases.len()];
    for turn in 0..=TURNS {
        let changes = slow_changes(turn);
        for (engine, figures) in engines.iter_mut().zip(&mut figures) {
            let begun = busy();
            for writes in &changes {
                engine.commit(writes, Timestamp(0)).unwrap();
                black_box(engine.take_woken());
            }
            // The first turn warms up.
            if turn > 0 {
                figures.push(micros(busy() - begun) / changes.len() as f64);
            }
        }
    }
    let floor = median(figures[0].clone());
    for ((what, _, goal), figures) in cases.iter().zip(figures) {
        let figure = median(figures);
        say(
            &format!("commit with {what}"),
            format!("{figure:.2} µs"),
            &format!("+ {:.2} {goal}", figure - floor),
        );
    }
}

fn making() {
    let mut engine = engine(MEMBERS);
    let ms = |time: Duration| format!("{:.2} ms", micros(time) / 1000.0);
    let (mut sums, mut longests, mut gets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let begun = busy();
        let session = open(&mut engine, Some(&top()), None);
        let (_, _, longest) = drain(&mut engine, session);
        sums.push(micros(busy() - begun));
        longests.push(micros(longest));
        engine.close(session);
        engine.end_kept_views();
        let begun = busy();
        let read = engine.read_in_steps(&path("/v"), u32::MAX, Some(&top())).unwrap();
        let mut longest = busy() - begun;
        if let halfping_engine::Read::InSteps(mut copying) = read {
            loop {
                let begun = busy();
                let copied = engine.copy_on(&mut copying).unwrap();
                longest = longest.max(busy() - begun);
                if copied.is_some() {
                    break;
                }
            }
            drop(engine.end_copy(copying));
        }
        gets.push((micros(busy() - begun), micros(longest)));
        engine.end_kept_views();
    }
    let micro = |figure: f64| Duration::from_secs_f64(figure / 1e6);
    // What a program does that has all values as numbers: sort them, with their names.
    let values: Vec<Value> = (0..MEMBERS).map(vehicle).collect();
    let begun = busy();
    let mut rows: Vec<(u64, usize)> = values
        .iter()
        .enumerate()
        .map(|(i, value)| (u64::MAX - value["speed"].as_u64().unwrap(), i))
        .collect();
    rows.sort_unstable();
    black_box(&rows);
    let floor = busy() - begun;
    say(
        "making a top-20 view of 100,000, until its first state",
        ms(micro(median(sums))),
        &format!("goal 40 ms; sorting ready numbers {}", ms(floor)),
    );
    say("  the longest call, for which others wait", ms(micro(median(longests))), "goal 2 ms");
    let (all, longest) = gets.into_iter().unzip();
    say(
        "a GET of it while nobody looks through it",
        ms(micro(median(all))),
        &format!("longest call {}", ms(micro(median(longest)))),
    );
}

fn readers() {
    const READERS: usize = 1000;
    let mut engine = engine(MEMBERS / 100);
    let mut figures = [Vec::new(), Vec::new()];
    let mut made = Vec::new();
    for turn in 0..TURNS {
        for (is_view, figures) in figures.iter_mut().enumerate() {
            let shape = (is_view == 1).then(top);
            let sessions: Vec<SessionId> =
                (0..READERS).map(|_| open(&mut engine, shape.as_ref(), None)).collect();
            for session in &sessions {
                drain(&mut engine, *session);
            }
            let mut took = Duration::ZERO;
            let before = engine.stats();
            for n in 0..20 {
                // The fastest of all, which the view shows first.
                let change = json(&json!({ "speed": 5000 + turn * 100 + n }));
                commit(&mut engine, &write("/v/k1", Action::Merge(change)));
                let begun = busy();
                for session in &sessions {
                    // Its turn may be over, and be given again at once.
                    while engine.next(*session, Tick(0)).is_none()
                        && !engine.take_woken().is_empty()
                    {}
                }
                took += busy() - begun;
                engine.take_woken();
            }
            let stats = engine.stats();
            let frames = stats.frames - before.frames;
            assert_eq!(frames, 20 * READERS as u64);
            if is_view == 1 {
                made.push((frames - (stats.frames_shared - before.frames_shared)) as f64 / 20.0);
            }
            figures.push(micros(took) * 1000.0 / frames as f64);
            sessions.into_iter().for_each(|session| engine.close(session));
        }
    }
    let [plain, viewed] = figures.map(median);
    say(
        "1,000 readers of one top-20 view: frames made for one change",
        format!("{:.0}", median(made)),
        "goal 1",
    );
    say(
        "  engine's time of one of its deliveries",
        format!("{viewed:.0} ns"),
        &format!("of the whole resource {plain:.0} ns"),
    );
}

/// A picture of the first 20, by a program that shares nothing with the engine.
fn window(rows: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut names: Vec<&String> = rows.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(rows[*name]["speed"].as_u64().unwrap()));
    names.truncate(TOP);
    names.into_iter().map(|name| (name.clone(), rows[name].clone())).collect()
}

/// The least text that takes one picture to another: a merge patch.
fn least(before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> usize {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut patch = Map::new();
    for name in names {
        match (before.get(name), now.get(name)) {
            (Some(old), Some(new)) if old != new => {
                let fields = new.as_object().unwrap().iter();
                let changed = fields.filter(|(field, value)| old.get(field) != Some(value));
                let changed = changed.map(|(field, value)| (field.clone(), value.clone()));
                patch.insert(name.clone(), Value::Object(changed.collect()));
            }
            (None, Some(new)) => drop(patch.insert(name.clone(), new.clone())),
            (Some(_), None) => drop(patch.insert(name.clone(), Value::Null)),
            _ => {}
        }
    }
    if patch.is_empty() { 0 } else { Value::Object(patch).to_string().len() }
}

/// A thousand rows, a fifth of which change each tick.
struct Ticking {
    engine: Engine,
    rows: BTreeMap<String, Value>,
    random: u64,
}

impl Ticking {
    fn new() -> Ticking {
        let mut rows = BTreeMap::new();
        for i in 0..1000 {
            let mut row = vehicle(i);
            row["speed"] = json!(i * 7919 % 9973 * 10);
            rows.insert(format!("k{i}"), row);
        }
        let mut engine = engine(0);
        let all: Value = rows.iter().map(|(name, row)| (name.clone(), row.clone())).collect();
        commit(&mut engine, &write("/v", Action::Put(json(&all))));
        Ticking { engine, rows, random: 7 }
    }

    fn tick(&mut self) {
        let mut patch = Map::new();
        for n in 0..200 {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = format!("k{}", (self.random >> 33) as usize * 5 % 1000 + n % 5);
            let Some(row) = self.rows.get_mut(&name) else { continue };
            let speed = row["speed"].as_u64().unwrap();
            let step = (self.random >> 20) % 2001;
            row["speed"] = json!((speed + step).saturating_sub(1000));
            row["bearing"] = json!((self.random >> 11) % 360);
            patch.insert(name, json!({ "speed": row["speed"], "bearing": row["bearing"] }));
        }
        commit(&mut self.engine, &write("/v", Action::Merge(json(&Value::Object(patch)))));
    }
}

fn bytes() {
    let mut ticking = Ticking::new();
    let session = open(&mut ticking.engine, Some(&top()), None);
    drain(&mut ticking.engine, session);
    let whole = open(&mut ticking.engine, None, None);
    drain(&mut ticking.engine, whole);
    let (mut told, mut floor, mut all) = (0, 0, 0);
    for _ in 0..500 {
        let before = window(&ticking.rows);
        ticking.tick();
        floor += least(&before, &window(&ticking.rows));
        told += drain(&mut ticking.engine, session).0;
        all += drain(&mut ticking.engine, whole).0;
    }
    let ratio = told as f64 / floor as f64;
    say(
        "1,000 rows, a fifth changes each tick, top 20: bytes a tick",
        format!("{}", told / 500),
        &format!(
            "changed members of the window {}: {ratio:.2} x, goal 1.1 x; all rows {}",
            floor / 500,
            all / 500
        ),
    );
}

fn resuming() {
    for ticks in [1, 10, 100, 1000] {
        let mut ticking = Ticking::new();
        let looker = open(&mut ticking.engine, Some(&top()), None);
        drain(&mut ticking.engine, looker);
        let calm = view("line == \"L7\" || line == \"L8\"", "", 0);
        let shows = |rows: &BTreeMap<String, Value>| -> BTreeMap<String, Value> {
            let shown = rows.iter().filter(|(_, row)| row["line"] == "L7" || row["line"] == "L8");
            shown.map(|(name, row)| (name.clone(), row.clone())).collect()
        };
        let (first, of_lines) = (window(&ticking.rows), shows(&ticking.rows));
        let since = ticking.engine.revision();
        for _ in 0..ticks {
            ticking.tick();
        }
        let mut told = |view: &Arc<View>| {
            let session = open(&mut ticking.engine, Some(view), Some(since));
            let (bytes, ..) = drain(&mut ticking.engine, session);
            ticking.engine.close(session);
            bytes
        };
        let (window_told, lines_told) = (told(&top()), told(&calm));
        let floor = least(&first, &window(&ticking.rows));
        let lines_floor = least(&of_lines, &shows(&ticking.rows));
        say(
            &format!("resumed after {ticks} ticks, top 20: bytes"),
            format!("{window_told}"),
            &format!(
                "visible change {floor}: {:.2} x, goal 1.1 x",
                window_told as f64 / floor as f64
            ),
        );
        say(
            "  a condition that nobody looked through: bytes",
            format!("{lines_told}"),
            &format!("visible change {lines_floor}"),
        );
    }
}

fn memory() {
    const EQUAL: usize = 10_000;
    let mut engine = engine(MEMBERS);
    let grown =
        |engine: &mut Engine, views: &mut dyn FnMut(usize) -> Option<Arc<View>>, count: usize| {
            let before = ALLOCATOR.allocated();
            let sessions: Vec<SessionId> = (0..count)
                .map(|n| {
                    let view = views(n);
                    let session = open(engine, view.as_ref(), None);
                    drain(engine, session);
                    session
                })
                .collect();
            let after = ALLOCATOR.allocated();
            let bytes = (after - before) as f64 - (count * size_of::<SessionId>()) as f64;
            sessions.into_iter().for_each(|session| engine.close(session));
            while engine.has_work() {
                drop(engine.work());
                engine.take_woken();
            }
            bytes / count as f64
        };
    // The tables have grown to their size before anything is measured.
    grown(&mut engine, &mut |_| Some(view("line == \"none\"", "", 0)), EQUAL);
    let keeper = open(&mut engine, Some(&view("line == \"none\"", "", 0)), None);
    let plain = grown(&mut engine, &mut |_| Some(view("line == \"none\"", "", 0)), EQUAL);
    engine.close(keeper);
    let one_view = top();
    let rows = grown(&mut engine, &mut |_| Some(one_view.clone()), 1);
    let keeper = open(&mut engine, Some(&one_view), None);
    drain(&mut engine, keeper);
    let equal = grown(&mut engine, &mut |_| Some(one_view.clone()), EQUAL);
    engine.close(keeper);
    let conditions =
        grown(&mut engine, &mut |n| Some(view(&format!("line == \"N{n}\""), "", 0)), LINES);
    let distinct =
        grown(&mut engine, &mut |n| Some(view(&format!("line == \"N{n}\""), "-speed", TOP)), LINES);
    let lines = grown(&mut engine, &mut |n| Some(top_of_line(n)), LINES);
    say("bytes of a reader of one condition, with its session", format!("{plain:.0}"), "");
    say("  of a reader of one top-20 view", format!("{equal:.0}"), "goal: no more");
    say("  of a distinct condition", format!("{:.0}", conditions - plain), "beside that; goal 512");
    say(
        "  of a distinct top-20 view that shows nothing",
        format!("{:.0}", distinct - plain),
        "beside that; goal 512 beside its ranking",
    );
    say(
        "  of a distinct top-20 view of 100 members",
        format!("{:.0}", lines - plain),
        "beside that",
    );
    say(
        "a top-20 view of 100,000: bytes a member",
        format!("{:.1}", (rows - plain) / MEMBERS as f64),
        "goal 48",
    );
}
