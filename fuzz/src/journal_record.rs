//! Records of a store on disk: rows and commits. A file may hold anything; records that are
//! accepted have to behave like sound ones.

use halfping_engine::{
    Action, Condition, Engine, Epoch, Json, Limits, Path, Regions, Restoring, Revision, Submitted,
    Timestamp, Write,
};

/// Parts of the input: each with its length in a byte before it.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        let (part, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        self.0 = rest;
        Some(part)
    }
}

/// Reads rows (key and body, up to an empty body), then batches. `None`: damage was detected.
fn restore(data: &[u8]) -> Option<Restoring> {
    let mut parts = Parts(data);
    let mut restoring = Restoring::new(Limits::default(), Epoch::from_random(1), Timestamp(1));
    let (mut place, mut last) = (0, None);
    while let (Some(key), Some(body)) = (parts.next(), parts.next()) {
        if body.is_empty() {
            break;
        }
        // A store has each key once, in order.
        if last.replace(key).is_some_and(|last| last >= key) {
            return None;
        }
        restoring.row(key, place, body).ok()?;
        place += 1;
    }
    if place > 0 {
        restoring.rows_end(Revision(1 << 20), &[0]).ok()?;
    }
    while let Some(batch) = parts.next() {
        restoring.batch(batch, None).ok()?;
    }
    Some(restoring)
}

fn value(engine: &Engine) -> Option<bytes::Bytes> {
    engine.read(&Path::ROOT, u32::MAX).ok()?.value
}

/// Restores a tree, continues from it, and compares the new writes upon another copy.
pub fn journal_record(data: &[u8]) {
    let Some(restored) = restore(data) else { return };
    let mut engine = restored.finish(Regions::default());
    let limits = Limits::default();
    // The accepted tree is JSON if its texts are. Nobody checks the texts, since pages have
    // checksums.
    if value(&engine)
        .is_none_or(|value| serde_json::from_slice::<serde_json::Value>(&value).is_err())
    {
        return;
    }
    for (path, text) in [("/a/b", "1"), ("/a", r#"{"c":{"d":null}}"#), ("/b", "[1]")] {
        let Ok(path) = Path::parse(path, &limits) else { return };
        let Ok(json) = Json::parse(text.as_bytes(), &limits) else { return };
        let write = Write { path, action: Action::Put(json), condition: Condition::default() };
        let _: Submitted = engine.submit(&[write], Timestamp(2));
    }
    let checkpoint = engine.checkpoint();
    engine.complete_checkpoint(&checkpoint);
    let Some(batch) = engine.take_batch() else { return };
    let _ = engine.settle();
    if batch.body.is_empty() {
        return;
    }
    let mut again = restore(data).expect("it was restored before");
    again.batch(&batch.body, None).expect("its own commits are sound");
    let again = again.finish(Regions::default());
    let parsed = |engine: &Engine| {
        serde_json::from_slice::<serde_json::Value>(&value(engine).unwrap_or_default()).ok()
    };
    assert_eq!(parsed(&again), parsed(&engine));
    assert_eq!(again.revision(), engine.revision());
}
