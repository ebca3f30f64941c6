//! Cost of single steps: `cargo bench -p halfping-shape`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use halfping_shape::{Bounds, Condition, JsonText, Order, Splitter};
use serde_json::{Value as Json, json};

/// Conditions that a splitter knows.
const MANY: usize = 10_000;

fn condition(text: &str) -> Condition {
    Condition::parse(text, &Bounds::default()).expect("a good condition")
}

fn vehicle() -> Json {
    json!({
        "line": "U4", "owner": "u7077", "lat": 52.520008, "lon": 13.404954, "speed": 62.5,
        "delay": 3, "stops": ["a", "b", "c"], "driver": {"name": "Kim", "shift": 2}, "open": false,
    })
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    let texts = [
        ("small", "speed > 50".to_owned()),
        ("usual", "speed > 50 && line in ['U4', 'U6'] || has(driver.name) && !open".to_owned()),
        ("largest", format!("line in ['{}']", ["U4444"; 100].join("', '"))),
    ];
    for (name, text) in texts {
        group.bench_function(name, |b| b.iter(|| condition(black_box(&text))));
    }
    group.finish();
}

fn evaluating(c: &mut Criterion) {
    let (tree, text) = (vehicle(), vehicle().to_string());
    let mut group = c.benchmark_group("evaluate");
    for text in
        ["owner == 'u7'", "owner == 'u7077' && line == 'U4'", "speed > 50", "line in ['U3', 'U4']"]
    {
        let condition = condition(text);
        group.bench_function(text, |b| {
            b.iter(|| condition.matches(black_box(&tree), "42"));
        });
    }
    let fast = condition("speed > 50");
    group.bench_function("speed > 50, text", |b| {
        b.iter(|| fast.matches(black_box(JsonText(&text)), "42"));
    });
    group.finish();
}

fn finding(c: &mut Criterion) {
    let tree = vehicle();
    let mut splitter = Splitter::default();
    for owner in 0..MANY {
        splitter.insert(condition(&format!("owner == 'u{owner}'")).equalities().as_deref(), owner);
    }
    let mut found = Vec::new();
    c.bench_function("find one of 10,000 conditions", |b| {
        b.iter(|| splitter.find(black_box(&tree), "42", &mut found));
    });
    assert_eq!(found, [7077]);
}

fn ordering(c: &mut Criterion) {
    let (one, mut other) = (vehicle(), vehicle());
    other["line"] = json!("U6");
    let order = Order::parse("-speed,line", &Bounds::default()).expect("a good order");
    c.bench_function("key of -speed,line", |b| b.iter(|| order.key(black_box(&one))));
    c.bench_function("compare by -speed,line", |b| {
        b.iter(|| order.compare(("a", black_box(&one)), ("b", black_box(&other))));
    });
}

criterion_group!(benches, reading, evaluating, finding, ordering);
criterion_main!(benches);
