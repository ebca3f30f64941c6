//! Stores of older versions of this program can be opened by all newer ones.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::fs;
use std::path::{Path, PathBuf};

use halfping_engine::{
    Action, Condition, Cursor, Json, Limits, Path as Place, Regions, Revision, Submitted,
    Timestamp, Write,
};
use halfping_journal::{FILE, FaultKind, Store, check, open};
use redb::TableDefinition;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-1")
}

/// A writable copy of the fixture.
fn copy(test: &str) -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).unwrap();
    fs::copy(fixture().join(FILE), copy.join(FILE)).unwrap();
    copy
}

/// Contents of the fixture: all kinds of values, names and rows.
fn commits() -> Vec<Vec<(&'static str, Option<String>)>> {
    let put = |path, value: &str| (path, Some(value.to_owned()));
    let large: Vec<String> = (0..60)
        .map(|i| format!("\"bus-{i}\":{{\"lat\":47.{i},\"note\":\"{}\"}}", "-".repeat(60)))
        .collect();
    vec![
        vec![put("/vehicles", &format!("{{{}}}", large.join(",")))],
        vec![put(
            "/plain",
            r#"{"null":null,"big":123456789012345678901234567890,"list":[1,{"x":[]}],"":{}}"#,
        )],
        vec![put("/odd", r#"{"zero\u0000name":1,"käse/~ \"":"ü"}"#)],
        vec![("/vehicles/bus-7", None), put("/vehicles/bus-8/lat", "1e2")],
        vec![put("/vehicles/bus-60", "true"), ("/plain/null", None)],
    ]
}

/// Makes the fixture. Done once for each version of the format, and never again.
#[test]
#[ignore = "it makes the fixture of a new version"]
fn make_the_fixture() {
    let limits = Limits::default();
    let _ = fs::remove_dir_all(fixture());
    let store = Store::open(&fixture(), 0x1234_5678_9abc).unwrap();
    let mut opened =
        open(store, limits.clone(), Regions::default(), Timestamp(1), &mut |_| {}).unwrap();
    opened.committer.start(&mut opened.engine).unwrap();
    for (i, commit) in commits().into_iter().enumerate() {
        let write = |(path, value): (&str, Option<String>)| Write {
            path: Place::parse(path, &limits).unwrap(),
            action: value.map_or(Action::Delete, |v| {
                Action::Put(Json::parse(v.as_bytes(), &limits).unwrap())
            }),
            condition: Condition::default(),
        };
        let writes: Vec<Write> = commit.into_iter().map(write).collect();
        assert_eq!(opened.engine.submit(&writes, Timestamp(1000 + i as u64)), Submitted::Waits);
        let mut transaction = opened.committer.begin(&mut opened.engine).unwrap();
        if i == 3 {
            // The rows then have a history, and the log has one more commit.
            let outcome = opened.committer.write(&transaction);
            opened.committer.end(&mut opened.engine, &transaction, outcome).unwrap();
            transaction = opened.committer.begin_last(&mut opened.engine).unwrap();
        }
        let outcome = opened.committer.write(&transaction);
        opened.committer.end(&mut opened.engine, &transaction, outcome).unwrap();
    }
}

#[test]
fn a_store_of_version_1_is_opened() {
    let store = Store::open(&copy("version-1"), 0).unwrap();
    let opened =
        open(store, Limits::default(), Regions::default(), Timestamp(2000), &mut |_| {}).unwrap();
    let engine = opened.engine;
    assert_eq!((engine.revision(), opened.replayed), (Revision(6), 1));
    assert_eq!(engine.cursor(Revision(6)), Cursor::parse("123456789abc.6").unwrap());
    let read = |path: &str| {
        let reading =
            engine.read(&Place::parse(path, &Limits::default()).unwrap(), u32::MAX).unwrap();
        let value = reading.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
        (value.unwrap_or_default(), reading.revision.0, reading.time.0)
    };
    let plain = r#"{"big":123456789012345678901234567890,"list":[1,{"x":[]}],"":{}}"#;
    assert_eq!(read("/plain"), (plain.to_owned(), 6, 1004));
    assert_eq!(read("/odd").0, "{\"zero\\u0000name\":1,\"käse/~ \\\"\":\"ü\"}");
    assert_eq!(read("/vehicles/bus-7"), (String::new(), 5, 1003));
    assert_eq!(read("/vehicles/bus-8/lat"), ("1e2".to_owned(), 5, 1003));
    assert_eq!(read("/vehicles/bus-9").1, 2);
    assert!(read("/vehicles").0.ends_with(",\"bus-60\":true}"), "members keep their order");
    assert_eq!(read("/vehicles").0.matches("bus-").count(), 60);
}

#[test]
fn a_sound_store_is_said_to_be() {
    let found = check(&copy("sound"), &mut |_| {}).unwrap();
    assert_eq!((found.engine.revision(), found.replayed), (Revision(6), 1));
}

#[test]
fn a_store_of_another_version_is_not_opened() {
    let directory = copy("another-version");
    let database = redb::Database::create(directory.join(FILE)).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("version", &2u64.to_le_bytes()[..]).unwrap();
    write.commit().unwrap();
    drop(database);
    let fault = Store::open(&directory, 0).err().unwrap();
    assert_eq!(fault.kind, FaultKind::Version);
    assert_eq!(fault.to_string(), "the store is of version 2; this program knows version 1");
}
