//! Times at which checkpoints are made: often enough that none of them makes commits wait for long.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::{
    Action, Condition, Json, Limits, Path, Regions, Submitted, Timestamp, Write,
};
use halfping_journal::{Memory, open};

const EPOCH: u64 = 7;

/// Rows of the checkpoints of commits that write so many members each, one after the other.
fn checkpoints(commits: &[usize]) -> Vec<Option<usize>> {
    let disk = Memory::new(EPOCH);
    let opened =
        open(disk, Limits::default(), Regions::default(), Timestamp(0), &mut |_| {}).unwrap();
    let (mut engine, mut committer) = (opened.engine, opened.committer);
    committer.start(&mut engine).unwrap();
    let mut first = 0;
    let mut commit = |members: &usize| {
        let text: Vec<String> =
            (first..first + members).map(|member| format!("\"{member:06}\":0")).collect();
        first += members;
        let text = format!("{{{}}}", text.join(","));
        let body = Json::parse(text.as_bytes(), &Limits::default()).unwrap();
        let path = Path::ROOT.child("c");
        let write = Write { path, action: Action::Merge(body), condition: Condition::default() };
        assert!(matches!(engine.submit(&[write], Timestamp(0)), Submitted::Waits));
        let transaction = committer.begin(&mut engine).unwrap();
        let outcome = committer.write(&transaction);
        committer.end(&mut engine, &transaction, outcome).unwrap();
        transaction.checkpoint.map(|checkpoint| checkpoint.rows.len())
    };
    commits.iter().map(&mut commit).collect()
}

#[test]
fn the_rows_of_large_commits_are_written_before_they_are_many() {
    // 14 bytes a member: by the bytes of the log alone, a checkpoint would have 75,000 rows.
    let made = checkpoints(&[1000; 20]);
    let sizes: Vec<usize> = made.iter().flatten().copied().collect();
    assert!(sizes.len() >= 3, "{made:?}");
    assert!(sizes.iter().all(|rows| *rows < 6000), "{made:?}");
    // Nor does each commit make one.
    assert!(made.iter().filter(|made| made.is_none()).count() > 10, "{made:?}");
}

#[test]
fn one_large_commit_is_followed_by_one_checkpoint() {
    let made = checkpoints(&[1, 8000, 1, 1, 1]);
    let first = made.iter().position(Option::is_some).unwrap();
    assert_eq!(made.iter().flatten().count(), 2, "{made:?}");
    assert_eq!(first, 1, "{made:?}");
}
