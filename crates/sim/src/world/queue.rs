//! A collection that never rests, and a slow reader of it, which must be in step after so many
//! turns whatever the writers do.

use serde_json::{Map, Value, json};

use super::{Outcome, World, check_mirror, ensure};
use crate::client::{Link, Sent};
use crate::model::{Act, Names};
use crate::script::{Fate, If, Writing, show};

/// Members that stay, and those of each turn that come and soon go.
const STAY: usize = 30;
const COME: usize = 2;
/// Objects that go and come back as others.
const RETURN: usize = 5;
/// Turns after which a member that came goes.
const LEAVE_AFTER: usize = 3;
/// Bytes that the reader takes in a turn: a little more than what changes in it.
const TAKEN: usize = 600;
/// Turns that are more than enough for the reader.
const TURNS: usize = 400;

impl World {
    /// Lets a reader take a little after each commit, until it is in step.
    pub(super) fn queue(&mut self, is_nested: bool) -> Outcome {
        let queue: Names = vec!["big".to_owned()];
        let returning = (0..RETURN).map(|i| (format!("r{i}"), json!({ "first": i })));
        let stay = (0..STAY).map(|i| (format!("s{i}"), json!("x".repeat(160))));
        let members: Map<_, _> = returning.chain(stay).collect();
        if !self.write_now(&queue, Act::Put(Value::Object(members)))? {
            return Ok(());
        }
        let path: Names = if is_nested { vec![] } else { queue.clone() };
        let session = self.server().engine.open();
        let mut link = Link::new(0, path.clone());
        self.open_link(session, 0, &link, None)?;
        self.wake();
        let mut in_step = false;
        for turn in 0..TURNS {
            if !self.write_now(&queue, Act::Merge(churn(turn)))? {
                in_step = true; // a journal that fails, or a limit: then there is no queue
            }
            if in_step {
                break;
            }
            let mut taken = 0;
            while taken < TAKEN && !in_step {
                let Some(update) = self.next(session) else {
                    return Err("a reader of what has changed is told nothing".to_owned());
                };
                let frame = update.frame.map_err(|refusal| refusal.to_string())?;
                taken += frame.body.len();
                let body: Value = serde_json::from_slice(&frame.body).map_err(|e| e.to_string())?;
                let cursor = frame.cursor();
                let sent = Sent { tag: 0, generation: 0, kind: frame.kind, body, cursor };
                link.apply(&sent, false)?;
                in_step = cursor.is_some();
            }
            if in_step {
                check_mirror(&link, &self.seen())?;
            }
        }
        self.server().engine.close(session);
        self.wake();
        self.report.count("queues");
        ensure(in_step, || format!("{} is not in step after {TURNS} turns", show(&path)))
    }

    /// A commit from first to last. False when it was not applied.
    fn write_now(&mut self, path: &Names, act: Act) -> Result<bool, String> {
        let before = self.tree.revision;
        self.end(Fate::Works)?;
        self.commit(&[Writing { path: path.clone(), act, condition: If::Nothing }])?;
        self.begin()?;
        self.end(Fate::Works)?;
        Ok(self.tree.revision > before)
    }
}

/// Members that come in this turn, and those that go.
fn churn(turn: usize) -> Value {
    let come = (0..COME).map(|i| (format!("q{turn}-{i}"), json!(turn)));
    let gone = turn.checked_sub(LEAVE_AFTER).into_iter();
    let go = gone.flat_map(|turn| (0..COME).map(move |i| (format!("q{turn}-{i}"), Value::Null)));
    let leaves = (format!("r{}", turn % RETURN), Value::Null);
    let returns = turn
        .checked_sub(1)
        .map(|i| (format!("r{}", i % RETURN), json!({ (format!("t{turn}")): 1 })));
    Value::Object(come.chain(go).chain([leaves]).chain(returns).collect())
}
