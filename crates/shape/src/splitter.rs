//! Finding, among many conditions, those that a resource may fulfil.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::bounds::WORK_MAX;
use crate::equality::{Equality, Subject};
use crate::expr::Scalar;
use crate::node::{Node, Value};
use crate::number::Number;
use crate::string::{JSON_BYTES_MAX, Str};

/// Conditions by the values at which they can be true. Among ten thousand conditions such as
/// `owner == "u7"`, those that concern a resource are found by one look at its `owner`.
///
/// ```
/// use halfping_shape::{Bounds, Condition, Splitter};
/// use serde_json::json;
///
/// let texts = ["owner == 'u7' && open", "owner in ['u1', 'u7']", "owner == 'u2'", "size > 3"];
/// let mut splitter = Splitter::default();
/// for (number, text) in texts.iter().enumerate() {
///     let condition = Condition::parse(text, &Bounds::default())?;
///     splitter.insert(condition.equalities().as_deref(), number);
/// }
/// let mut found = Vec::new();
/// splitter.find(&json!({"owner": "u7"}), "42", &mut found);
/// assert_eq!(found, [0, 1, 3]); // which still have to be evaluated
/// assert_eq!(splitter.unindexed(), 1);
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
///
/// `T` stands for a condition. A condition without equalities is among the [`unindexed`] ones,
/// which are found for every resource.
///
/// [`unindexed`]: Splitter::unindexed
#[derive(Debug)]
pub struct Splitter<T, K = Box<str>> {
    subjects: BTreeMap<Subject<K>, Values<T>>,
    unindexed: Vec<T>,
}

/// Conditions by a value of one subject. Most values have one: no list has room for more than is in
/// it.
#[derive(Debug)]
struct Values<T> {
    strings: HashMap<Box<str>, Box<[T]>>,
    numbers: HashMap<Number, Box<[T]>>,
    null: Box<[T]>,
    bools: [Box<[T]>; 2],
    /// Bytes of the longest string that was ever among them: longer ones are not looked for.
    longest: usize,
}

impl<T, K> Default for Splitter<T, K> {
    fn default() -> Splitter<T, K> {
        Splitter { subjects: BTreeMap::new(), unindexed: Vec::new() }
    }
}

impl<T: Copy + Ord, K: Clone + Ord> Splitter<T, K> {
    /// Puts a condition in. `equalities` is what
    /// [`Condition::equalities`](crate::Condition::equalities) gives.
    pub fn insert(&mut self, equalities: Option<&[Equality<K>]>, condition: T) {
        let Some(equalities) = equalities else {
            self.unindexed.push(condition);
            return;
        };
        for equality in equalities {
            let values = self.subjects.entry(equality.subject.clone()).or_insert_with(Values::new);
            for value in &equality.values {
                edit(values.list(value), |list| list.push(condition));
            }
        }
    }

    /// Takes a condition out that was put in with the same equalities.
    pub fn remove(&mut self, equalities: Option<&[Equality<K>]>, condition: T) {
        let Some(equalities) = equalities else {
            take(&mut self.unindexed, condition);
            return;
        };
        for equality in equalities {
            let Some(values) = self.subjects.get_mut(&equality.subject) else { continue };
            for value in &equality.values {
                edit(values.list(value), |list| take(list, condition));
                values.forget_if_empty(value);
            }
            if values.is_empty() {
                self.subjects.remove(&equality.subject);
            }
        }
    }

    /// Puts into `found`, in place of what is there, the conditions that may be true of a resource,
    /// in their order, each once. `key` is the resource's own name. No condition that is true of it
    /// is missing.
    pub fn find<'v, N: Node<'v, Name = K>>(&self, resource: N, key: &str, found: &mut Vec<T>) {
        found.clear();
        found.extend(&self.unindexed);
        for (subject, values) in &self.subjects {
            match subject {
                Subject::Key => values.find_string(Str::plain(key), found),
                Subject::Is(path) => {
                    if let Some(node) = path.follow(resource) {
                        values.find(node.value(), found);
                    }
                }
                Subject::Has(path) => {
                    if let Some(node) = path.follow(resource) {
                        values.find_inside(node, found);
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
    }

    /// The parts of a resource that it looks at: nothing else decides which conditions are found.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject<K>> {
        self.subjects.keys()
    }

    /// The number of conditions that have no equalities, and are found for every resource.
    pub fn unindexed(&self) -> usize {
        self.unindexed.len()
    }

    /// True if it looks at a resource's own name: otherwise any will do.
    pub fn reads_key(&self) -> bool {
        self.subjects.contains_key(&Subject::Key)
    }

    /// True if there is no condition in it.
    pub fn is_empty(&self) -> bool {
        self.unindexed.is_empty() && self.subjects.is_empty()
    }
}

impl<T: Copy + Ord> Values<T> {
    fn new() -> Values<T> {
        Values {
            strings: HashMap::new(),
            numbers: HashMap::new(),
            null: Box::default(),
            bools: [Box::default(), Box::default()],
            longest: 0,
        }
    }

    fn list(&mut self, value: &Scalar) -> &mut Box<[T]> {
        match value {
            Scalar::Null => &mut self.null,
            Scalar::Bool(bool) => &mut self.bools[usize::from(*bool)],
            Scalar::Number(number) => self.numbers.entry(*number).or_default(),
            Scalar::String(string) => {
                self.longest = self.longest.max(string.len());
                self.strings.entry(string.clone()).or_default()
            }
        }
    }

    fn forget_if_empty(&mut self, value: &Scalar) {
        match value {
            Scalar::Number(number)
                if self.numbers.get(number).is_some_and(|list| list.is_empty()) =>
            {
                self.numbers.remove(number);
            }
            Scalar::String(string)
                if self.strings.get(string).is_some_and(|list| list.is_empty()) =>
            {
                self.strings.remove(string);
            }
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.strings.is_empty()
            && self.numbers.is_empty()
            && self.null.is_empty()
            && self.bools.iter().all(|list| list.is_empty())
    }

    fn find_string(&self, string: Str<'_>, found: &mut Vec<T>) {
        if string.bytes() <= self.longest.saturating_mul(JSON_BYTES_MAX) {
            found.extend(self.strings.get(&*string.to_text()).into_iter().flatten());
        }
    }

    fn find(&self, value: Value<'_>, found: &mut Vec<T>) {
        match value {
            Value::Null => found.extend(&self.null),
            Value::Bool(bool) => found.extend(&self.bools[usize::from(bool)]),
            Value::Number(number) => found.extend(self.numbers.get(&number).into_iter().flatten()),
            Value::String(string) => self.find_string(string, found),
            Value::List | Value::Object => {}
        }
    }

    /// Looks up the elements of a list, or the names of an object's members.
    fn find_inside<'v, N: Node<'v>>(&self, node: N, found: &mut Vec<T>) {
        // A condition cannot be evaluated there either, so it is not true.
        if node.bytes() > WORK_MAX {
            return;
        }
        match node.value() {
            Value::List => node.elements().for_each(|element| self.find(element.value(), found)),
            Value::Object if node.size() > self.strings.len() => {
                for (name, list) in &self.strings {
                    if node.named(Str::plain(name)).is_some() {
                        found.extend(list);
                    }
                }
            }
            Value::Object => node.members().for_each(|(name, _)| self.find_string(name, found)),
            _ => {}
        }
    }
}

/// Changes a list, which then has no more room than it needs.
fn edit<T>(list: &mut Box<[T]>, edit: impl FnOnce(&mut Vec<T>)) {
    let mut items = std::mem::take(list).into_vec();
    edit(&mut items);
    *list = items.into();
}

fn take<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if let Some(at) = list.iter().position(|other| *other == item) {
        list.swap_remove(at);
    }
}
