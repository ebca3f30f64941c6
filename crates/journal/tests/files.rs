//! The file of a store, and what other programs may do to it.

// The helpers here are tests too; clippy sees only functions marked so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use halfping_engine::{
    Action, Condition, Engine, Json, Limits, Path as At, Regions, Submitted, Timestamp, Write,
};
use halfping_journal::{Committer, FILE, FaultKind, Journal, Store, Transaction, check, open};

fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&directory);
    directory
}

fn opened(directory: &Path) -> (Engine, Committer<Store>) {
    let store = Store::open(directory, 7).unwrap();
    let mut opened =
        open(store, Limits::default(), Regions::default(), Timestamp(0), &mut |_| {}).unwrap();
    opened.committer.start(&mut opened.engine).unwrap();
    (opened.engine, opened.committer)
}

fn batch(engine: &mut Engine, value: &str) -> Transaction {
    let write = Write {
        path: At::parse("/a", &Limits::default()).unwrap(),
        action: Action::Put(Json::parse(value.as_bytes(), &Limits::default()).unwrap()),
        condition: Condition::default(),
    };
    assert_eq!(engine.submit(&[write], Timestamp(1)), Submitted::Waits);
    Transaction { batch: engine.take_batch(), ..Transaction::default() }
}

/// A store with one value in it, open.
fn with_one(directory: &Path) -> (Engine, Store, halfping_engine::Revision) {
    let (mut engine, committer) = opened(directory);
    let mut store = committer.into_journal();
    let transaction = batch(&mut engine, "1");
    store.write(&transaction).unwrap();
    engine.settle();
    (engine, store, transaction.batch.unwrap().last)
}

#[test]
fn a_store_in_use_is_left_alone() {
    let directory = directory("in_use");
    let (_, store, _) = with_one(&directory);
    assert_eq!(Store::open(&directory, 7).err().unwrap().kind, FaultKind::InUse);
    assert_eq!(check(&directory, &mut |_| {}).err().unwrap().kind, FaultKind::InUse);
    drop(store);
    assert!(check(&directory, &mut |_| {}).is_ok());
}

#[cfg(unix)]
#[test]
fn a_store_is_for_its_owner_only() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = directory("owner_only");
    let inside = directory.join("inside");
    drop(opened(&inside));
    assert_eq!((mode(&inside), mode(&inside.join(FILE))), (0o700, 0o600));

    // A directory that others may read, with the remains of an attempt, and with a link in its
    // place.
    let shared = directory.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    let (partial, other) = (shared.join(format!("{FILE}.partial")), directory.join("other"));
    fs::write(&other, "not ours").unwrap();
    symlink(&other, &partial).unwrap();
    drop(opened(&shared));
    assert_eq!((mode(&shared), mode(&shared.join(FILE))), (0o755, 0o600));
    assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");
    assert!(fs::symlink_metadata(shared.join(FILE)).unwrap().is_file());
    fs::remove_file(shared.join(FILE)).unwrap();
    fs::write(&partial, "half a store").unwrap();
    drop(opened(&shared));
    assert_eq!(mode(&shared.join(FILE)), 0o600);
}

#[test]
fn what_somebody_else_has_used_since_a_fault_is_theirs() {
    let directory = directory("used_since");
    let (_, mut store, newest) = with_one(&directory);
    // Reading a store does not use it.
    store.close();
    assert!(check(&directory, &mut |_| {}).is_ok());
    store.recover(newest).unwrap();
    store.close();
    drop(opened(&directory));
    let fault = store.recover(newest).unwrap_err();
    assert!(fault.kind == FaultKind::InUse && fault.what.contains("has used it"), "{fault:?}");
}

#[test]
fn an_older_copy_is_not_gone_on_with() {
    let directory = directory("older_copy");
    let (mut engine, mut store, newest) = with_one(&directory);
    store.close();
    let file = directory.join(FILE);
    fs::copy(&file, directory.join("copy")).unwrap();
    store.recover(newest).unwrap();
    let transaction = batch(&mut engine, "2");
    store.write(&transaction).unwrap();
    engine.settle();
    store.close();
    fs::rename(directory.join("copy"), &file).unwrap();
    let fault = store.recover(transaction.batch.unwrap().last).unwrap_err();
    assert!(fault.kind == FaultKind::Damaged && fault.what.contains("it lacks"), "{fault:?}");
}

#[test]
fn a_store_that_went_is_not_made_anew_behind_the_engine_s_back() {
    let directory = directory("went");
    let (_, mut store, newest) = with_one(&directory);
    store.close();
    fs::remove_file(directory.join(FILE)).unwrap();
    assert_eq!(store.recover(newest).unwrap_err().kind, FaultKind::Io);
    assert!(!Store::is_in(&directory));
}

#[test]
fn what_a_crash_left_of_the_first_start_does_no_harm() {
    let directory = directory("first_start");
    fs::create_dir_all(&directory).unwrap();
    for left in [&b""[..], &[0; 70_000], b"anything"] {
        fs::write(directory.join(format!("{FILE}.partial")), left).unwrap();
        drop(opened(&directory));
        fs::remove_file(directory.join(FILE)).unwrap();
    }
}

#[test]
fn what_is_no_store_is_damaged() {
    let directory = directory("no_store");
    fs::create_dir_all(&directory).unwrap();
    for text in [&b""[..], b"x", &[0; 70_000], &[b'x'; 70_000]] {
        fs::write(directory.join(FILE), text).unwrap();
        for outcome in
            [Store::open(&directory, 7).map(drop), check(&directory, &mut |_| {}).map(drop)]
        {
            assert_eq!(outcome.unwrap_err().kind, FaultKind::Damaged);
        }
        assert_eq!(fs::read(directory.join(FILE)).unwrap(), text, "it is left as it was");
    }
}

#[test]
fn what_a_failed_sync_left_is_written_again_by_the_next_process() {
    let directory = directory("unsynced");
    drop(with_one(&directory));
    let mark = directory.join(format!("{FILE}.unsynced"));
    fs::write(&mark, "").unwrap();
    let before = fs::metadata(directory.join(FILE)).unwrap().len();
    let (engine, _store) = opened(&directory);
    assert_eq!(engine.read(&At::ROOT, 9).unwrap().value.unwrap().to_vec(), br#"{"a":1}"#);
    assert!(!mark.exists());
    assert!(fs::metadata(directory.join(FILE)).unwrap().len() <= 2 * before);
}
