//! Evaluating a condition where a value lies.
//!
//! An expression has a value or none: `None` is what CEL calls an error (a member that is not
//! there, a comparison of a number with a string), and `&&` and `||` absorb it as CEL says.

use std::cmp::Ordering;

use crate::bounds::WORK_MAX;
use crate::expr::{Expr, Relation, Scalar, StringTest};
use crate::node::{Node, Value};
use crate::number::Number;
use crate::string::Str;

/// The value of an expression.
#[derive(Clone, Debug)]
pub(crate) enum Datum<'v, N> {
    Null,
    Bool(bool),
    Number(Number),
    String(Str<'v>),
    /// A list in the tree.
    List(N),
    /// An object in the tree.
    Object(N),
    /// A list in the condition.
    Elements(Vec<Datum<'v, N>>),
    /// An object in the condition.
    Members(Vec<(&'v str, Datum<'v, N>)>),
}

impl<'v, N: Node<'v>> Datum<'v, N> {
    /// The value of a node.
    pub(crate) fn of(node: N) -> Datum<'v, N> {
        match node.value() {
            Value::Null => Datum::Null,
            Value::Bool(bool) => Datum::Bool(bool),
            Value::Number(number) => Datum::Number(number),
            Value::String(string) => Datum::String(string),
            Value::List => Datum::List(node),
            Value::Object => Datum::Object(node),
        }
    }
}

/// One evaluation.
pub(crate) struct Evaluation<'v, N> {
    root: N,
    key: &'v str,
    /// Work that is left.
    work: usize,
}

impl<'v, N: Node<'v>> Evaluation<'v, N> {
    /// An evaluation at a member of this name.
    pub(crate) fn new(root: N, key: &'v str) -> Evaluation<'v, N> {
        Evaluation { root, key, work: WORK_MAX }
    }

    /// Truth of an expression.
    pub(crate) fn truth(&mut self, expr: &'v Expr<N::Name>) -> Option<bool> {
        match expr {
            Expr::And(parts) => self.decided(parts, false),
            Expr::Or(parts) => self.decided(parts, true),
            Expr::Not(of) => self.truth(of).map(|truth| !truth),
            Expr::Has(path) => {
                let (last, above) = path.names().split_last()?;
                let above = self.follow(above)?;
                self.charge(above.bytes())?;
                // Only an object can be asked.
                matches!(above.value(), Value::Object).then(|| above.member(last).is_some())
            }
            Expr::Compare(relation, two) => {
                let (one, other) = (self.value(&two.0)?, self.value(&two.1)?);
                self.compare(*relation, &one, &other)
            }
            Expr::In(two) => self.is_in(&two.0, &two.1),
            Expr::Test(test, two) => match (self.value(&two.0)?, self.value(&two.1)?) {
                (Datum::String(text), Datum::String(part)) => self.test(*test, text, part),
                _ => None,
            },
            other => match self.value(other)? {
                Datum::Bool(bool) => Some(bool),
                _ => None,
            },
        }
    }

    /// The value of the expression.
    pub(crate) fn value(&mut self, expr: &'v Expr<N::Name>) -> Option<Datum<'v, N>> {
        self.charge(1)?;
        match expr {
            Expr::Key => Some(Datum::String(Str::plain(self.key))),
            Expr::Path(path) => self.follow(path.names()).map(Datum::of),
            Expr::Size(of) => {
                let of = self.value(of)?;
                let size = match of {
                    Datum::String(string) => {
                        self.charge(string.bytes())?;
                        string.chars().count()
                    }
                    Datum::List(node) | Datum::Object(node) => {
                        self.charge(node.bytes())?;
                        node.size()
                    }
                    Datum::Elements(elements) => elements.len(),
                    Datum::Members(members) => members.len(),
                    _ => return None,
                };
                Some(Datum::Number(Number::Int(size as i64)))
            }
            Expr::List(elements) => {
                let values = elements.iter().map(|element| self.value(element));
                values.collect::<Option<_>>().map(Datum::Elements)
            }
            Expr::Object(members) => {
                let members =
                    members.iter().map(|(name, value)| Some((&**name, self.value(value)?)));
                members.collect::<Option<_>>().map(Datum::Members)
            }
            Expr::Constant(scalar) => Some(of_scalar(scalar)),
            truth => self.truth(truth).map(Datum::Bool),
        }
    }

    /// Truth of parts of which one that is `decisive` decides.
    fn decided(&mut self, parts: &'v [Expr<N::Name>], decisive: bool) -> Option<bool> {
        let mut otherwise = Some(!decisive);
        for part in parts {
            match self.truth(part) {
                Some(truth) if truth == decisive => return Some(decisive),
                Some(_) => {}
                None => otherwise = None,
            }
        }
        otherwise
    }

    /// The value at the end of these names, if it is there.
    fn follow(&mut self, names: &[N::Name]) -> Option<N> {
        names.iter().try_fold(self.root, |node, name| {
            self.charge(node.bytes())?;
            node.member(name)
        })
    }

    fn charge(&mut self, work: usize) -> Option<()> {
        self.work = self.work.checked_sub(work)?;
        Some(())
    }

    fn compare(
        &mut self,
        relation: Relation,
        one: &Datum<'v, N>,
        other: &Datum<'v, N>,
    ) -> Option<bool> {
        if let Relation::Equal | Relation::NotEqual = relation {
            return self.equal(one, other).map(|equal| equal == (relation == Relation::Equal));
        }
        let ordering = match (one, other) {
            (Datum::Number(one), Datum::Number(other)) => one.cmp(other),
            (Datum::Bool(one), Datum::Bool(other)) => one.cmp(other),
            (Datum::String(one), Datum::String(other)) => {
                self.charge(one.bytes().min(other.bytes()))?;
                one.compare(*other)
            }
            _ => return None,
        };
        Some(match relation {
            Relation::Less => ordering == Ordering::Less,
            Relation::LessEqual => ordering != Ordering::Greater,
            Relation::Greater => ordering == Ordering::Greater,
            _ => ordering != Ordering::Less,
        })
    }

    fn test(&mut self, test: StringTest, text: Str<'v>, part: Str<'v>) -> Option<bool> {
        self.charge(text.bytes() + part.bytes())?;
        let (text, part) = (text.to_text(), part.to_text());
        Some(match test {
            StringTest::Contains => text.contains(&*part),
            StringTest::EndsWith => text.ends_with(&*part),
            StringTest::StartsWith => text.starts_with(&*part),
        })
    }

    fn is_in(&mut self, one: &'v Expr<N::Name>, other: &'v Expr<N::Name>) -> Option<bool> {
        let one = self.value(one)?;
        if let Expr::List(elements) = other {
            // Without a list of the values: this is what most conditions do.
            let mut found = false;
            for element in elements {
                let element = self.value(element)?;
                found = found || self.equal(&one, &element)?;
            }
            return Some(found);
        }
        match self.value(other)? {
            Datum::List(list) => {
                self.charge(list.bytes())?;
                for element in list.elements() {
                    self.charge(1)?;
                    if self.equal(&one, &Datum::of(element))? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Datum::Object(object) => match one {
                Datum::String(name) => {
                    self.charge(object.bytes() + name.bytes())?;
                    Some(object.named(name).is_some())
                }
                // Names are strings.
                _ => Some(false),
            },
            Datum::Members(members) => {
                self.charge(members.len())?;
                let is_name =
                    |name: &str| matches!(one, Datum::String(one) if one.is(Str::plain(name)));
                Some(members.iter().any(|(name, _)| is_name(name)))
            }
            _ => None,
        }
    }

    /// Equality of two values: those of different types are not. `None` only when there is no
    /// work left.
    fn equal(&mut self, one: &Datum<'v, N>, other: &Datum<'v, N>) -> Option<bool> {
        self.charge(1)?;
        match (one, other) {
            (Datum::Null, Datum::Null) => Some(true),
            (Datum::Bool(one), Datum::Bool(other)) => Some(one == other),
            (Datum::Number(one), Datum::Number(other)) => Some(one == other),
            (Datum::String(one), Datum::String(other)) => {
                self.charge(one.bytes().min(other.bytes()))?;
                Some(one.is(*other))
            }
            (Datum::List(one), Datum::List(other)) => {
                self.charge(one.bytes() + other.bytes())?;
                self.all_equal(one.elements().map(Datum::of), other.elements().map(Datum::of))
            }
            (Datum::List(one), Datum::Elements(other)) => {
                self.charge(one.bytes())?;
                self.all_equal(one.elements().map(Datum::of), other.iter().cloned())
            }
            (Datum::Elements(one), Datum::List(other)) => {
                self.charge(other.bytes())?;
                self.all_equal(one.iter().cloned(), other.elements().map(Datum::of))
            }
            (Datum::Elements(one), Datum::Elements(other)) => {
                self.all_equal(one.iter().cloned(), other.iter().cloned())
            }
            (Datum::Object(one), Datum::Object(other)) => self.objects_equal(*one, *other),
            (Datum::Object(object), Datum::Members(members))
            | (Datum::Members(members), Datum::Object(object)) => self.object_has(*object, members),
            (Datum::Members(one), Datum::Members(other)) => {
                // Both are in the order of their names.
                let names = one.iter().zip(other).all(|(one, other)| one.0 == other.0);
                let values = |members: &[(_, Datum<'v, N>)]| -> Vec<Datum<'v, N>> {
                    members.iter().map(|(_, value)| value.clone()).collect()
                };
                match names {
                    true => self.all_equal(values(one).into_iter(), values(other).into_iter()),
                    false => Some(false),
                }
            }
            _ => Some(false),
        }
    }

    fn all_equal(
        &mut self,
        one: impl Iterator<Item = Datum<'v, N>>,
        mut other: impl Iterator<Item = Datum<'v, N>>,
    ) -> Option<bool> {
        for value in one {
            match other.next() {
                Some(counterpart) if self.equal(&value, &counterpart)? => {}
                _ => return Some(false),
            }
        }
        Some(other.next().is_none())
    }

    /// Equality of an object in the tree with one in the condition.
    fn object_has(&mut self, object: N, members: &[(&'v str, Datum<'v, N>)]) -> Option<bool> {
        self.charge(object.bytes())?;
        if object.size() != members.len() {
            return Some(false);
        }
        for (name, value) in members {
            self.charge(object.bytes() + name.len())?;
            match object.named(Str::plain(name)) {
                Some(counterpart) if self.equal(&Datum::of(counterpart), value)? => {}
                _ => return Some(false),
            }
        }
        Some(true)
    }

    fn objects_equal(&mut self, one: N, other: N) -> Option<bool> {
        self.charge(2 * one.bytes() + other.bytes())?;
        if one.size() != other.size() {
            return Some(false);
        }
        for (name, value) in one.members() {
            self.charge(other.bytes() + name.bytes())?;
            match other.named(name) {
                Some(counterpart) if self.equal(&Datum::of(value), &Datum::of(counterpart))? => {}
                _ => return Some(false),
            }
        }
        Some(true)
    }
}

fn of_scalar<N>(scalar: &Scalar) -> Datum<'_, N> {
    match scalar {
        Scalar::Null => Datum::Null,
        Scalar::Bool(bool) => Datum::Bool(*bool),
        Scalar::Number(number) => Datum::Number(*number),
        Scalar::String(string) => Datum::String(Str::plain(string)),
    }
}
