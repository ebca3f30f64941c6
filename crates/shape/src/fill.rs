//! Filling in a template: what is known becomes constants, and a condition on a member is left.

use thiserror::Error;

use crate::bounds::FILLED_PARTS_MAX;
use crate::condition::Condition;
use crate::evaluate::{Datum, Evaluation};
use crate::expr::{Expr, Path, Relation, Scalar};
use crate::node::Node;
use crate::normal;
use crate::template::{Known, Template, first};

type Json = serde_json::Value;

/// A thing that a template is filled with.
#[derive(Clone, Copy, Debug)]
pub enum Thing<'t> {
    /// It is known.
    Known(&'t Json),
    /// It is the member of which the condition will be asked.
    Member,
    /// It is that member's own name: `key()`.
    Key,
}

/// A template that was filled in: where it is true.
///
/// ```
/// use halfping_shape::{Bounds, Condition, Filled};
///
/// let late = Condition::parse("late", &Bounds::default())?;
/// let either = Filled::Where(late.clone()).or(Filled::Never);
/// assert_eq!(either, Filled::Where(late));
/// assert_eq!(either.clone().or(Filled::Always), Filled::Always);
/// assert_eq!(either.and(Filled::Never), Filled::Never);
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Filled {
    /// Nowhere: it is false, or has no value.
    Never,
    /// Everywhere.
    Always,
    /// Under this condition on a member.
    Where(Condition),
}

impl Filled {
    fn of(condition: Condition) -> Filled {
        match condition.expr {
            Expr::Constant(Scalar::Bool(true)) => Filled::Always,
            Expr::Constant(Scalar::Bool(false)) => Filled::Never,
            _ => Filled::Where(condition),
        }
    }

    /// True where one of both is.
    #[must_use]
    pub fn or(self, other: Filled) -> Filled {
        match (self, other) {
            (Filled::Always, _) | (_, Filled::Always) => Filled::Always,
            (Filled::Never, one) | (one, Filled::Never) => one,
            (Filled::Where(one), Filled::Where(other)) => Filled::of(one.or(other)),
        }
    }

    /// True where both are.
    #[must_use]
    pub fn and(self, other: Filled) -> Filled {
        match (self, other) {
            (Filled::Never, _) | (_, Filled::Never) => Filled::Never,
            (Filled::Always, one) | (one, Filled::Always) => one,
            (Filled::Where(one), Filled::Where(other)) => Filled::of(one.and(other)),
        }
    }

    /// True if it is true of a member. `key` is the member's own name.
    pub fn holds<'v, N: Node<'v, Name = Box<str>>>(&'v self, member: N, key: &'v str) -> bool {
        match self {
            Filled::Never => false,
            Filled::Always => true,
            Filled::Where(condition) => condition.matches(member, key),
        }
    }
}

/// Error of a template that would become too large: a list or an object in it is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("filled in, the condition has more than {FILLED_PARTS_MAX} parts")]
pub struct TooManyParts;

impl Template {
    /// The condition on a member that is left when the other things are known. It is true of a
    /// member exactly where the template is true of all things. (Where it is false, or without a
    /// value, may differ: [`negated`](Template::negated) asks for that.)
    ///
    /// A thing that is not given is not there, and nothing read of it has a value. The member is
    /// there: `resource == null` is false.
    pub fn fill(&self, things: &[(&str, Thing<'_>)]) -> Result<Filled, TooManyParts> {
        let known: Vec<(&str, &Json)> = things
            .iter()
            .filter_map(|(name, thing)| match thing {
                Thing::Known(value) => Some((*name, *value)),
                _ => None,
            })
            .collect();
        let mut room = FILLED_PARTS_MAX;
        let role = |name: &str| {
            let thing = things.iter().find(|(known, _)| *known == name);
            thing.map_or(Role::Absent, |(_, thing)| match thing {
                Thing::Known(_) => Role::Known,
                Thing::Member => Role::Member,
                Thing::Key => Role::Key,
            })
        };
        let filled = Filling {
            role: &role,
            known: &mut |expr, _| {
                let value = Evaluation::new(Known::Things(&known), "").value(expr);
                value.map_or_else(|| Ok(never()), |value| constant(value, &mut room))
            },
        }
        .fill(&self.expr, Use::Truth)?;
        Ok(Filled::of(Condition::from(certain(normal::condition(filled)))))
    }

    /// True if a condition that comes of it can be found by a value, and need not be asked of every
    /// member: it requires an equality, wherever it speaks of members at all. `by_member` and `key`
    /// are the things that will be the member and its name.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Template, Things};
    /// let things = Things { whole: &["claims"], by_member: &["resource"] };
    /// let template = |text| Template::parse(text, &Bounds::default(), things).unwrap();
    /// let staff = template("'staff' in claims.roles || resource.team in claims.teams");
    /// assert!(staff.requires_equality(&["resource"], None));
    /// assert!(!template("resource.level < claims.level").requires_equality(&["resource"], None));
    /// ```
    pub fn requires_equality(&self, by_member: &[&str], key: Option<&str>) -> bool {
        let role = |name: &str| match name {
            name if by_member.contains(&name) => Role::Member,
            name if key == Some(name) => Role::Key,
            _ => Role::Known,
        };
        let some = || Expr::Constant(Scalar::String(Box::default()));
        let outline = Filling {
            role: &role,
            known: &mut |expr, used| {
                Ok(match (used, expr) {
                    (_, Expr::Constant(scalar)) => Expr::Constant(scalar.clone()),
                    // If it is true, the rest does not matter.
                    (Use::Truth, _) => Expr::Constant(Scalar::Bool(false)),
                    (Use::Value, _) => some(),
                    (Use::List, _) => Expr::List(vec![some()]),
                })
            },
        }
        .fill(&self.expr, Use::Truth);
        outline.is_ok_and(|outline| Condition::from(outline).equalities().is_some())
    }
}

/// The part that a thing has when a template is filled in.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Known,
    Member,
    Key,
    Absent,
}

/// The use that is made of an expression.
#[derive(Clone, Copy)]
enum Use {
    Truth,
    Value,
    /// It is on the right of `in`.
    List,
}

/// An expression being filled in.
struct Filling<'f> {
    role: &'f dyn Fn(&str) -> Role,
    /// That which comes in place of an expression that speaks of known things only.
    known: &'f mut dyn FnMut(&Expr, Use) -> Result<Expr, TooManyParts>,
}

impl Filling<'_> {
    fn fill(&mut self, expr: &Expr, used: Use) -> Result<Expr, TooManyParts> {
        let mut is_known = true;
        expr.each_path(&mut |path| is_known &= (self.role)(first(path)) == Role::Known);
        if is_known {
            return (self.known)(expr, used);
        }
        Ok(match expr {
            Expr::Path(path) => match (self.role)(first(path)) {
                Role::Key if path.names().len() == 1 => Expr::Key,
                Role::Member => below(path).map_or_else(never, Expr::Path),
                _ => never(),
            },
            Expr::Has(path) => match (self.role)(first(path)) {
                // The member itself is there.
                Role::Member => below(path).map_or(Expr::Constant(Scalar::Bool(true)), Expr::Has),
                Role::Absent if path.names().len() == 1 => Expr::Constant(Scalar::Bool(false)),
                _ => never(),
            },
            Expr::Size(of) => Expr::Size(Box::new(self.fill(of, Use::Value)?)),
            Expr::Not(of) => Expr::Not(Box::new(self.fill(of, Use::Truth)?)),
            Expr::Compare(relation, two) => Expr::Compare(*relation, self.two(two, Use::Value)?),
            Expr::Test(test, two) => Expr::Test(*test, self.two(two, Use::Value)?),
            Expr::In(two) => {
                let mut two = self.two(two, Use::List)?;
                if let Expr::Object(members) = &mut two.1 {
                    // Names can be looked for by their values, as elements of a list can.
                    let names = std::mem::take(members).into_iter().map(|(name, _)| name);
                    let names = names.map(|name| Expr::Constant(Scalar::String(name)));
                    two.1 = Expr::List(names.collect());
                }
                Expr::In(two)
            }
            Expr::And(parts) => Expr::And(self.many(parts, Use::Truth)?),
            Expr::Or(parts) => Expr::Or(self.many(parts, Use::Truth)?),
            Expr::List(elements) => Expr::List(self.many(elements, Use::Value)?),
            // They read nothing, so they are known.
            Expr::Key | Expr::Object(_) | Expr::Constant(_) => expr.clone(),
        })
    }

    fn two(&mut self, two: &(Expr, Expr), second: Use) -> Result<Box<(Expr, Expr)>, TooManyParts> {
        Ok(Box::new((self.fill(&two.0, Use::Value)?, self.fill(&two.1, second)?)))
    }

    fn many(&mut self, many: &[Expr], used: Use) -> Result<Vec<Expr>, TooManyParts> {
        many.iter().map(|expr| self.fill(expr, used)).collect()
    }
}

/// The path without the thing that it begins with; `None` if there is no more of it.
fn below(path: &Path) -> Option<Path> {
    let names = &path.names()[1..];
    (!names.is_empty()).then(|| Path::new(names.to_vec()))
}

/// An expression that has no value: nothing comes before `null`.
fn never() -> Expr {
    let null = || Expr::Constant(Scalar::Null);
    Expr::Compare(Relation::Less, Box::new((null(), null())))
}

/// A value as a constant expression. `room` is the number of parts that it may still take.
fn constant(value: Datum<'_, Known<'_>>, room: &mut usize) -> Result<Expr, TooManyParts> {
    *room = room.checked_sub(1).ok_or(TooManyParts)?;
    let scalar = match value {
        Datum::Null => Scalar::Null,
        Datum::Bool(bool) => Scalar::Bool(bool),
        Datum::Number(number) => Scalar::Number(number),
        Datum::String(string) => Scalar::String(string.to_text().into()),
        Datum::List(list) => {
            let elements = list.elements().map(|element| constant(Datum::of(element), room));
            return elements.collect::<Result<_, _>>().map(Expr::List);
        }
        Datum::Elements(elements) => {
            let elements = elements.into_iter().map(|element| constant(element, room));
            return elements.collect::<Result<_, _>>().map(Expr::List);
        }
        Datum::Object(object) => {
            let members = object.members().map(|(name, value)| {
                Ok((name.to_text().into(), constant(Datum::of(value), room)?))
            });
            let mut members = members.collect::<Result<Vec<_>, _>>()?;
            members.sort();
            return Ok(Expr::Object(members));
        }
        Datum::Members(members) => {
            let members =
                members.into_iter().map(|(name, value)| Ok((name.into(), constant(value, room)?)));
            return members.collect::<Result<_, _>>().map(Expr::Object);
        }
    };
    Ok(Expr::Constant(scalar))
}

/// The normal form with `false` for each part that has no value, whatever the member is. `!` stands
/// only before what it can go no deeper into, so the whole is true exactly where it was.
fn certain(expr: Expr) -> Expr {
    match expr {
        Expr::And(parts) => Expr::And(parts.into_iter().map(certain).collect()),
        Expr::Or(parts) => Expr::Or(parts.into_iter().map(certain).collect()),
        part if has_no_truth(&part) => Expr::Constant(Scalar::Bool(false)),
        part => part,
    }
}

fn has_no_truth(expr: &Expr) -> bool {
    let nothing = Evaluation::new(&Json::Null, "");
    match expr {
        expr if normal::reads_nothing(expr) => { nothing }.truth(expr).is_none(),
        Expr::Not(of) => has_no_truth(of),
        expr => has_no_value(expr),
    }
}

/// True if the expression has no value for sure: a part without which it has none has none.
fn has_no_value(expr: &Expr) -> bool {
    match expr {
        expr if normal::reads_nothing(expr) => {
            Evaluation::new(&Json::Null, "").value(expr).is_none()
        }
        Expr::Compare(_, two) | Expr::In(two) | Expr::Test(_, two) => {
            has_no_value(&two.0) || has_no_value(&two.1)
        }
        Expr::Size(of) => has_no_value(of),
        Expr::List(elements) => elements.iter().any(has_no_value),
        _ => false,
    }
}
