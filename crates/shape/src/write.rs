//! The text of conditions.

use std::fmt::{self, Formatter};

use crate::expr::{Expr, Path, Relation, Scalar, StringTest};
use crate::names;

/// The precedence of an expression: where a tighter one has to stand, it has parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Or,
    And,
    Relation,
    Unary,
    Member,
}

impl Expr {
    fn level(&self) -> Level {
        match self {
            Expr::Or(_) => Level::Or,
            Expr::And(_) => Level::And,
            Expr::Compare(..) | Expr::In(_) => Level::Relation,
            Expr::Not(_) => Level::Unary,
            // It may begin with a minus.
            Expr::Constant(Scalar::Number(_)) => Level::Unary,
            _ => Level::Member,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Key => f.write_str("key()"),
            Expr::Path(path) => write_path(path, true, f),
            Expr::Size(of) => write!(f, "size({of})"),
            Expr::Compare(relation, two) => infix(&two.0, sign(*relation), &two.1, f),
            Expr::In(two) => infix(&two.0, "in", &two.1, f),
            Expr::Has(path) => {
                f.write_str("has(")?;
                write_path(path, false, f)?;
                f.write_str(")")
            }
            Expr::Test(test, two) => {
                at_least(Level::Member, &two.0, f)?;
                write!(f, ".{}({})", name(*test), two.1)
            }
            Expr::Not(of) => {
                f.write_str("!")?;
                at_least(Level::Unary, of, f)
            }
            Expr::And(parts) => joined(parts, " && ", Level::Relation, f),
            Expr::Or(parts) => joined(parts, " || ", Level::And, f),
            Expr::List(elements) => {
                f.write_str("[")?;
                joined(elements, ", ", Level::Or, f)?;
                f.write_str("]")
            }
            Expr::Object(members) => {
                f.write_str("{")?;
                for (number, (name, value)) in members.iter().enumerate() {
                    f.write_str(if number > 0 { ", " } else { "" })?;
                    names::write_string(name, f)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
            Expr::Constant(Scalar::Null) => f.write_str("null"),
            Expr::Constant(Scalar::Bool(bool)) => write!(f, "{bool}"),
            Expr::Constant(Scalar::Number(number)) => write!(f, "{number}"),
            Expr::Constant(Scalar::String(string)) => names::write_string(string, f),
        }
    }
}

/// Writes it as a condition or an order would: `` driver.`first name` ``.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_path(self, false, f)
    }
}

fn write_path(path: &Path, index: bool, f: &mut Formatter<'_>) -> fmt::Result {
    for (number, name) in path.names().iter().enumerate() {
        match number {
            0 => names::write_first(name, f)?,
            _ => names::write_next(name, index, f)?,
        }
    }
    Ok(())
}

fn infix(one: &Expr, sign: &str, other: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    at_least(Level::Unary, one, f)?;
    write!(f, " {sign} ")?;
    at_least(Level::Unary, other, f)
}

fn joined(parts: &[Expr], sign: &str, level: Level, f: &mut Formatter<'_>) -> fmt::Result {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            f.write_str(sign)?;
        }
        at_least(level, part, f)?;
    }
    Ok(())
}

fn at_least(level: Level, expr: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    match expr.level() < level {
        true => write!(f, "({expr})"),
        false => write!(f, "{expr}"),
    }
}

fn sign(relation: Relation) -> &'static str {
    match relation {
        Relation::Equal => "==",
        Relation::NotEqual => "!=",
        Relation::Less => "<",
        Relation::LessEqual => "<=",
        Relation::Greater => ">",
        Relation::GreaterEqual => ">=",
    }
}

fn name(test: StringTest) -> &'static str {
    match test {
        StringTest::Contains => "contains",
        StringTest::EndsWith => "endsWith",
        StringTest::StartsWith => "startsWith",
    }
}
