//! Equalities that a condition requires: by them it is found from a value, without being
//! evaluated.

use std::collections::BTreeSet;

use crate::expr::{Expr, Path, Relation, Scalar};

/// The part of a resource that an [`Equality`] compares.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject<K = Box<str>> {
    /// The resource's own name.
    Key,
    /// The value of a member.
    Is(Path<K>),
    /// The elements of a list, or the names of an object's members.
    Has(Path<K>),
}

/// An equality that a condition requires: it can be true only where the subject of one of its
/// equalities is one of the values. There it still has to be evaluated.
///
/// ```
/// use halfping_shape::{Bounds, Condition, Scalar, Subject};
///
/// let condition = Condition::parse("line in ['U4', 'U6'] && speed > 50", &Bounds::default())?;
/// let equalities = condition.equalities().expect("it requires a line");
/// let Subject::Is(path) = &equalities[0].subject else { panic!() };
/// assert_eq!(path.to_string(), "line");
/// assert!(equalities[0].values.contains(&Scalar::String("U4".into())));
///
/// let condition = Condition::parse("line == 'U4' || speed > 50", &Bounds::default())?;
/// assert_eq!(condition.equalities(), None);
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Equality<K = Box<str>> {
    /// The part of a resource that is compared.
    pub subject: Subject<K>,
    /// The values, each once.
    pub values: BTreeSet<Scalar>,
}

/// The equalities of a condition.
pub(crate) fn of<K: Clone + Ord>(expr: &Expr<K>) -> Option<Vec<Equality<K>>> {
    match expr {
        Expr::Compare(Relation::Equal, two) => match &two.1 {
            Expr::Constant(scalar) => one(subject(&two.0)?, [scalar]),
            _ => None,
        },
        Expr::In(two) => match (&two.0, &two.1) {
            (of, Expr::List(elements)) => {
                let scalars: Option<Vec<&Scalar>> = elements.iter().map(scalar).collect();
                one(subject(of)?, scalars?)
            }
            (Expr::Constant(scalar), Expr::Path(path)) => one(Subject::Has(path.clone()), [scalar]),
            _ => None,
        },
        Expr::Path(path) => one(Subject::Is(path.clone()), [&Scalar::Bool(true)]),
        Expr::Not(of) => match &**of {
            Expr::Path(path) => one(Subject::Is(path.clone()), [&Scalar::Bool(false)]),
            _ => None,
        },
        // Any operand will do: the one that is true for the fewest values.
        Expr::And(parts) => parts.iter().filter_map(of).min_by_key(|equalities| cost(equalities)),
        // Any operand can make it true, so all are needed.
        Expr::Or(parts) => {
            let parts: Option<Vec<Vec<Equality<K>>>> = parts.iter().map(of).collect();
            Some(parts?.into_iter().flatten().collect())
        }
        Expr::Constant(Scalar::Bool(false)) => Some(Vec::new()),
        _ => None,
    }
}

/// True if a condition that has equalities is true wherever one of them is.
pub(crate) fn suffice<K>(expr: &Expr<K>) -> bool {
    match expr {
        Expr::And(_) => false,
        Expr::Or(parts) => parts.iter().all(suffice),
        // A list of the resource can be too long for an evaluation.
        Expr::In(two) => matches!(two.1, Expr::List(_)),
        _ => true,
    }
}

fn scalar<K>(expr: &Expr<K>) -> Option<&Scalar> {
    match expr {
        Expr::Constant(scalar) => Some(scalar),
        _ => None,
    }
}

fn subject<K: Clone>(expr: &Expr<K>) -> Option<Subject<K>> {
    match expr {
        Expr::Key => Some(Subject::Key),
        Expr::Path(path) => Some(Subject::Is(path.clone())),
        _ => None,
    }
}

fn one<'s, K>(
    subject: Subject<K>,
    values: impl IntoIterator<Item = &'s Scalar>,
) -> Option<Vec<Equality<K>>> {
    Some(vec![Equality { subject, values: values.into_iter().cloned().collect() }])
}

/// The number of values to look for. A truth value finds half of all resources, so it is the
/// last choice.
fn cost<K>(equalities: &[Equality<K>]) -> (usize, usize) {
    let is_bool = |value: &&Scalar| matches!(value, Scalar::Bool(_));
    let values = || equalities.iter().flat_map(|equality| &equality.values);
    (values().filter(is_bool).count(), values().count())
}
