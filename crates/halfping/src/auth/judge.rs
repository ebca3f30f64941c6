//! Judging writes by rules: by what they change, together with the commit.

use halfping_engine::{Effect, Held, Judge, Refusal, State};
use halfping_rules::Side;
use serde_json::{Map, Value};

use super::Rights;

/// Decisions about one write. The engine does nothing else meanwhile: at a microsecond or so for
/// each rule, this is a few milliseconds.
const DECISIONS_MAX: usize = 4096;

impl Judge for Rights {
    fn judge(&self, effect: &Effect<'_>) -> Result<(), Refusal> {
        let forbidden = || Refusal::Forbidden(effect.path().clone());
        let grant = self.grant().ok_or_else(forbidden)?;
        let at = effect.path().segments().len();
        let mut decisions = 0;
        effect.each(&mut |names| {
            decisions += 1;
            if decisions > DECISIONS_MAX {
                let what = "the write changes too many values for rules that look at values; send \
                            it in parts";
                let (limit, max) = ("judged_values", DECISIONS_MAX);
                return Err(Refusal::Limit { limit, max, what: what.into() });
            }
            let [before, after] =
                [State::Before, State::After].map(|state| Seen { effect, state, names });
            let decision = grant.decide_write(at, names, &before, &after);
            decision.allowed.then_some(()).ok_or_else(forbidden)
        })
    }
}

/// One state of a write, along the way to a value that it changes.
struct Seen<'e> {
    effect: &'e Effect<'e>,
    state: State,
    names: &'e [&'e str],
}

impl Side for Seen<'_> {
    fn is_there(&self, level: usize) -> bool {
        !matches!(self.effect.at(self.state, &self.names[..level]), Held::Nothing)
    }

    fn value(&self, level: usize, members: &mut dyn Iterator<Item = &[Box<str>]>) -> Option<Value> {
        let names = &self.names[..level];
        match self.effect.at(self.state, names) {
            Held::Nothing => None,
            Held::Leaf(text) => serde_json::from_str(text).ok(),
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
            Held::Leaf(text) => Some(serde_json::from_str(text).ok()?),
            Held::Object if is_last => {
                let text = self.effect.text(self.state, names)?;
                Some(serde_json::from_str(&text).ok()?)
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
