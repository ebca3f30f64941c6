//! The normal form: conditions that differ in spelling become equal.
//!
//! Every step keeps the value of the expression for every resource, also where it has none: `&&`
//! and `||` are flat, their operands sorted and each there once; `!` stands only where nothing can
//! take it in; comparisons have their constant on the right; comparisons of one thing with several
//! constants are one `in`; what reads nothing is worked out; numbers have one spelling. No theory
//! of numbers: `a > 1 && a > 2` stays as it is.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::evaluate::{Datum, Evaluation};
use crate::expr::{Expr, Kind, Relation, Scalar};

/// The normal form of an expression whose value only counts if it is true or false.
pub(crate) fn condition(expr: Expr) -> Expr {
    truth(expr, false)
}

/// The normal form of an expression whose value counts, whatever it is.
pub(crate) fn value(expr: Expr) -> Expr {
    let normal = match expr {
        Expr::Not(_) | Expr::And(_) | Expr::Or(_) => {
            let normal = truth(expr, false);
            match normal.kind() {
                Kind::Bool => normal,
                // It has a value only if it is true or false: `!!a`, not `a`.
                _ => Expr::Not(Box::new(Expr::Not(Box::new(normal)))),
            }
        }
        Expr::Compare(relation, two) => compare(relation, value(two.0), value(two.1)),
        Expr::In(two) => is_in(value(two.0), value(two.1)),
        Expr::Test(test, two) => Expr::Test(test, Box::new((value(two.0), value(two.1)))),
        Expr::Size(of) => Expr::Size(Box::new(value(*of))),
        Expr::List(elements) => Expr::List(elements.into_iter().map(value).collect()),
        Expr::Object(members) => {
            let members = members.into_iter().map(|(name, member)| (name, value(member)));
            Expr::Object(members.collect())
        }
        Expr::Constant(Scalar::Number(number)) => Expr::Constant(Scalar::Number(number.normal())),
        other => other,
    };
    folded(normal)
}

/// The normal form of a condition, or of its opposite.
fn truth(expr: Expr, negated: bool) -> Expr {
    match expr {
        Expr::Not(of) => truth(*of, !negated),
        // De Morgan's laws hold with three values as well.
        Expr::And(parts) => joined(parts, negated, negated),
        Expr::Or(parts) => joined(parts, negated, !negated),
        other => match value(other) {
            normal if !negated => normal,
            Expr::Constant(Scalar::Bool(bool)) => Expr::Constant(Scalar::Bool(!bool)),
            Expr::Compare(relation, two) => compare(relation.negated(), two.0, two.1),
            normal => Expr::Not(Box::new(normal)),
        },
    }
}

/// `&&` of the parts, or with `or` their `||`.
fn joined(parts: Vec<Expr>, negated: bool, or: bool) -> Expr {
    let mut flat = Vec::new();
    for part in parts {
        match (truth(part, negated), or) {
            (Expr::Or(inner), true) | (Expr::And(inner), false) => flat.extend(inner),
            (part, _) => flat.push(part),
        }
    }
    // `true || x` is true whatever x is; `false || x` is x.
    let decisive = |part: &Expr| *part == Expr::Constant(Scalar::Bool(or));
    if flat.iter().any(decisive) {
        return Expr::Constant(Scalar::Bool(or));
    }
    flat.retain(|part| *part != Expr::Constant(Scalar::Bool(!or)));
    let mut flat = merged(flat, or);
    flat.sort();
    flat.dedup();
    match flat.len() {
        0 => Expr::Constant(Scalar::Bool(!or)),
        1 => flat.remove(0),
        _ if or => Expr::Or(flat),
        _ => Expr::And(flat),
    }
}

/// Puts comparisons of one thing with constants together: of `||` those that ask whether it is
/// equal, of `&&` those that ask whether it is not.
fn merged(parts: Vec<Expr>, or: bool) -> Vec<Expr> {
    let mut others = Vec::new();
    let mut choices: Vec<(Expr, Vec<Expr>)> = Vec::new();
    for part in parts {
        match choice(part, or) {
            Ok((of, mut constants)) => match choices.iter_mut().find(|(known, _)| *known == of) {
                Some((_, known)) => known.append(&mut constants),
                None => choices.push((of, constants)),
            },
            Err(part) => others.push(part),
        }
    }
    others.extend(choices.into_iter().map(|(of, constants)| {
        match is_in(of, Expr::List(constants)) {
            Expr::Compare(relation, two) if !or => Expr::Compare(relation.negated(), two),
            is_in if !or => Expr::Not(Box::new(is_in)),
            is_in => is_in,
        }
    }));
    others
}

/// An operand and the constants that the part compares it with; the part itself, if it does not.
fn choice(part: Expr, or: bool) -> Result<(Expr, Vec<Expr>), Expr> {
    let wanted = if or { Relation::Equal } else { Relation::NotEqual };
    match part {
        Expr::Compare(relation, two) if relation == wanted && is_constant(&two.1) => {
            Ok((two.0, vec![two.1]))
        }
        Expr::In(two) if or && is_choice(&two.1) => Ok((two.0, elements(two.1))),
        Expr::Not(of) => match *of {
            Expr::In(two) if !or && is_choice(&two.1) => Ok((two.0, elements(two.1))),
            other => Err(Expr::Not(Box::new(other))),
        },
        other => Err(other),
    }
}

/// True if it is a list of constants with something in it. `a in []` reads `a`, which may not be
/// there.
fn is_choice(expr: &Expr) -> bool {
    matches!(expr, Expr::List(elements) if !elements.is_empty() && elements.iter().all(is_constant))
}

fn elements(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::List(elements) => elements,
        other => vec![other],
    }
}

/// A constant, or a list of constants.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Constant(_) => true,
        Expr::List(elements) => elements.iter().all(is_constant),
        // What is known.
        Expr::Object(_) => true,
        _ => false,
    }
}

/// A comparison, the smaller operand first: so constants come last.
fn compare(relation: Relation, one: Expr, other: Expr) -> Expr {
    match one.cmp(&other) {
        Ordering::Less => Expr::Compare(relation, Box::new((one, other))),
        Ordering::Equal => Expr::Compare(relation.min(relation.turned()), Box::new((one, other))),
        Ordering::Greater => Expr::Compare(relation.turned(), Box::new((other, one))),
    }
}

fn is_in(one: Expr, other: Expr) -> Expr {
    let Expr::List(mut elements) = other else { return Expr::In(Box::new((one, other))) };
    elements.sort();
    elements.dedup();
    match elements.len() {
        1 => compare(Relation::Equal, one, elements.remove(0)),
        _ => Expr::In(Box::new((one, Expr::List(elements)))),
    }
}

/// The value of an expression that reads nothing and has one; else the expression.
fn folded(expr: Expr) -> Expr {
    let is_as_it_is = matches!(expr, Expr::Constant(_) | Expr::List(_) | Expr::Object(_));
    if is_as_it_is || !reads_nothing(&expr) {
        return expr;
    }
    let scalar = match Evaluation::new(&Json::Null, "").value(&expr) {
        Some(Datum::Null) => Scalar::Null,
        Some(Datum::Bool(bool)) => Scalar::Bool(bool),
        Some(Datum::Number(number)) => Scalar::Number(number.normal()),
        Some(Datum::String(string)) => Scalar::String(string.to_text().into()),
        _ => return expr,
    };
    Expr::Constant(scalar)
}

/// True if the expression has the same value for every resource, or for every one none.
pub(crate) fn reads_nothing(expr: &Expr) -> bool {
    !matches!(expr, Expr::Key | Expr::Path(_) | Expr::Has(_))
        && expr.parts().into_iter().all(reads_nothing)
}
