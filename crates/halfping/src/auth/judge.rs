//! Judging writes by rules: by what they change, together with the commit.

use std::cell::Cell;

use halfping_engine::{Effect, Held, Judge, Refusal, State};
use halfping_rules::Side;
use serde_json::{Map, Value};

use super::Rights;
use crate::mutants;

/// Decisions about one write, and rules that they look at together. The engine does nothing else
/// meanwhile: at some 100 ns for each rule, this is a few milliseconds.
const DECISIONS_MAX: usize = 4096;
const LOOKS_MAX: usize = 1 << 16;
/// Bytes of values that conditions read meanwhile.
const READ_BYTES_MAX: usize = 1 << 20;

impl Judge for Rights {
    fn judge(&self, effect: &Effect<'_>) -> Result<(), Refusal> {
        let forbidden = || Refusal::Forbidden(effect.path().clone());
        let grant = self.grant().ok_or_else(forbidden)?;
        let at = effect.path().segments().len();
        let max = DECISIONS_MAX.min(LOOKS_MAX / grant.rules().max(1)).max(1);
        let first = if mutants::is("judged-after") { State::After } else { State::Before };
        let (mut decisions, room) = (0, Cell::new(READ_BYTES_MAX));
        let too_many = || {
            let what = "the write changes too much for rules that look at values; send it in parts";
            Refusal::Limit { limit: "judged_values", max, what: what.into() }
        };
        effect.each(&mut |names, changes| {
            decisions += 1;
            let [before, after] =
                [first, State::After].map(|state| Seen { effect, state, names, room: &room });
            let is_allowed = grant.decide_write(at, names, &before, &after).allowed
                // What is named and stays as it is would be told, if it may not be read either.
                || !changes && grant.decide_read(names, &before).allowed;
            match is_allowed {
                // What could not be looked at has decided nothing.
                _ if decisions > max || room.get() == 0 => Err(too_many()),
                true => Ok(()),
                false => Err(forbidden()),
            }
        })
    }
}

/// One state of a write, along the way to a value that it changes.
struct Seen<'e> {
    effect: &'e Effect<'e>,
    state: State,
    names: &'e [&'e str],
    /// Bytes that may still be read; 0 once they were too few.
    room: &'e Cell<usize>,
}

impl Side for Seen<'_> {
    fn is_there(&self, level: usize) -> bool {
        !matches!(self.effect.at(self.state, &self.names[..level]), Held::Nothing)
    }

    fn value(&self, level: usize, members: &mut dyn Iterator<Item = &[Box<str>]>) -> Option<Value> {
        let names = &self.names[..level];
        match self.effect.at(self.state, names) {
            Held::Nothing => None,
            Held::Leaf(text) => self.parsed(text),
            Held::Object => {
                let mut value = Map::new();
                let mut names = names.to_vec();
                for rest in members {
                    self.add(&mut value, &mut names, rest)?;
                }
                Some(Value::Object(value))
            }
        }
    }
}

impl Seen<'_> {
    fn parsed(&self, text: &str) -> Option<Value> {
        self.room.set(self.room.get().saturating_sub(text.len()));
        (self.room.get() > 0).then(|| serde_json::from_str(text).ok()).flatten()
    }

    /// Copies a member into an object, with the objects on the way there. `None` if it is too large
    /// to be looked at.
    fn add<'n>(
        &self,
        value: &mut Map<String, Value>,
        names: &mut Vec<&'n str>,
        rest: &'n [Box<str>],
    ) -> Option<()> {
        let Some((name, rest)) = rest.split_first() else { return Some(()) };
        names.push(name);
        let is_last = rest.is_empty();
        let added = match self.effect.at(self.state, names) {
            Held::Nothing => None,
            Held::Leaf(text) => Some(self.parsed(text)?),
            Held::Object if is_last => {
                let text = self.effect.text(self.state, names);
                if text.is_none() {
                    self.room.set(0);
                }
                Some(self.parsed(&text?)?)
            }
            Held::Object => {
                let object = value.entry(&**name).or_insert_with(|| Value::Object(Map::new()));
                let beneath = object.as_object_mut()?;
                self.add(beneath, names, rest)?;
                None
            }
        };
        names.pop();
        if let Some(added) = added {
            value.insert(name.to_string(), added);
        }
        Some(())
    }
}
