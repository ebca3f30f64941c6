//! Conditions: which members of a collection are shown.

use std::collections::BTreeSet;
use std::fmt;

use crate::bounds::Bounds;
use crate::equality::{self, Equality};
use crate::error::ShapeError;
use crate::evaluate::Evaluation;
use crate::expr::{Expr, Path, Relation, Scalar};
use crate::node::Node;
use crate::normal;
use crate::parse;

/// A condition in a subset of CEL, in its normal form: conditions that mean the same, in other
/// words or another order, are equal, have equal hashes and are written alike. (Not all of them:
/// what is done is said with the normal form.)
///
/// `K` is a member's name: text, until [`map`](Condition::map) puts a tree's own names in its
/// place.
///
/// ```
/// use halfping_shape::{Bounds, Condition};
///
/// let fast = Condition::parse("speed > 50 && line in ['U4', 'U6']", &Bounds::default())?;
/// let vehicle = serde_json::json!({"line": "U4", "speed": 62.5});
/// assert!(fast.matches(&vehicle, "42"));
///
/// let same = "(line == 'U6' || line == \"U4\") && 50.0 < speed";
/// let same = Condition::parse(same, &Bounds::default())?;
/// assert_eq!(fast, same);
/// assert_eq!(same.to_string(), r#"speed > 50 && line in ["U4", "U6"]"#);
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Condition<K = Box<str>> {
    pub(crate) expr: Expr<K>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// let error = Condition::parse("speed = 50", &Bounds::default()).unwrap_err();
    /// assert_eq!(error.to_string(), "column 7: one `=` means nothing here: write `==`");
    /// ```
    pub fn parse(text: &str, bounds: &Bounds) -> Result<Condition, ShapeError> {
        Ok(Condition::from(parse::parse_condition(text, bounds, None)?))
    }

    /// The condition that a member has this name.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// assert_eq!(Condition::of_key("42").to_string(), r#"key() == "42""#);
    /// ```
    pub fn of_key(name: &str) -> Condition {
        let two = (Expr::Key, Expr::Constant(Scalar::String(name.into())));
        Condition { expr: Expr::Compare(Relation::Equal, Box::new(two)) }
    }

    /// The condition that a member has another name than this.
    pub fn of_other_key(name: &str) -> Condition {
        let two = (Expr::Key, Expr::Constant(Scalar::String(name.into())));
        Condition { expr: Expr::Compare(Relation::NotEqual, Box::new(two)) }
    }

    /// The condition that is true of everything.
    pub fn always() -> Condition {
        Condition { expr: Expr::Constant(Scalar::Bool(true)) }
    }

    /// A condition that is true where both are.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// # let parse = |text| Condition::parse(text, &Bounds::default()).unwrap();
    /// assert_eq!(parse("a && c").and(parse("b")), parse("a && b && c"));
    /// ```
    pub fn and(self, other: Condition) -> Condition {
        Condition::from(Expr::And(vec![self.expr, other.expr]))
    }

    /// A condition that is true where one of both is.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// # let parse = |text| Condition::parse(text, &Bounds::default()).unwrap();
    /// assert_eq!(parse("line == 'U4'").or(parse("line == 'U6'")), parse("line in ['U4', 'U6']"));
    /// ```
    pub fn or(self, other: Condition) -> Condition {
        Condition::from(Expr::Or(vec![self.expr, other.expr]))
    }
}

impl From<Expr> for Condition {
    /// The condition of an expression, in its normal form.
    fn from(expr: Expr) -> Condition {
        Condition { expr: normal::condition(expr) }
    }
}

impl<K> Condition<K> {
    /// True if the condition is true of a resource. `key` is the resource's own name.
    pub fn matches<'v, N: Node<'v, Name = K>>(&'v self, resource: N, key: &'v str) -> bool {
        self.evaluate(resource, key) == Some(true)
    }

    /// Truth of the condition for a resource; `None` where it can be neither, as CEL has it: a
    /// member is not there or of another type, and no other part of the condition decides. It is
    /// also `None` where the evaluation would take too long: where large texts are compared or
    /// searched.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// # let parse = |text| Condition::parse(text, &Bounds::default()).unwrap();
    /// let vehicle = serde_json::json!({"speed": 60});
    /// assert_eq!(parse("line == 'U4'").evaluate(&vehicle, "42"), None);
    /// assert_eq!(parse("!(line == 'U4')").evaluate(&vehicle, "42"), None);
    /// assert_eq!(parse("line == 'U4' || speed > 50").evaluate(&vehicle, "42"), Some(true));
    /// assert_eq!(parse("line == 'U4' && speed < 50").evaluate(&vehicle, "42"), Some(false));
    /// ```
    pub fn evaluate<'v, N: Node<'v, Name = K>>(
        &'v self,
        resource: N,
        key: &'v str,
    ) -> Option<bool> {
        Evaluation::new(resource, key).truth(&self.expr)
    }

    /// True if it asks for the resource's own name: for `key()`.
    pub fn reads_key(&self) -> bool {
        self.expr.reads_key()
    }

    /// The equalities of which it requires one, so that not every condition has to be evaluated for
    /// every resource. `None` if it requires none: see [`Equality`].
    pub fn equalities(&self) -> Option<Vec<Equality<K>>>
    where
        K: Clone + Ord,
    {
        equality::of(&self.expr)
    }

    /// True if it has equalities and is true wherever one of them is: found by them, it need not be
    /// evaluated.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// # let parse = |text| Condition::parse(text, &Bounds::default()).unwrap();
    /// assert!(parse("line in ['U4', 'U6']").equalities_suffice());
    /// assert!(!parse("line in ['U4', 'U6'] && speed > 50").equalities_suffice());
    /// ```
    pub fn equalities_suffice(&self) -> bool
    where
        K: Clone + Ord,
    {
        equality::suffice(&self.expr) && self.equalities().is_some()
    }

    /// The condition with other names in place of these. Call it with a tree's own way to find or
    /// hold a name: see [`Node`].
    pub fn map<T>(&self, mut name: impl FnMut(&K) -> T) -> Condition<T> {
        Condition { expr: self.expr.map(&mut name) }
    }
}

impl<K: Ord> Condition<K> {
    /// The paths that it reads, each once.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Condition};
    /// let text = "driver.age > 40 && has(driver) && line == 'U4'";
    /// let condition = Condition::parse(text, &Bounds::default())?;
    /// let reads: Vec<String> = condition.reads().iter().map(ToString::to_string).collect();
    /// assert_eq!(reads, ["driver", "driver.age", "line"]);
    /// let guards: Vec<String> = condition.guards().iter().map(ToString::to_string).collect();
    /// assert_eq!(guards, ["driver", "line"]);
    /// # Ok::<(), halfping_shape::ShapeError>(())
    /// ```
    pub fn reads(&self) -> BTreeSet<&Path<K>> {
        let mut reads = BTreeSet::new();
        self.expr.each_path(&mut |path| {
            reads.insert(path);
        });
        reads
    }

    /// The paths that it reads, without those beneath others: when nothing at or beneath these
    /// changes (nor above them, as far as it takes them away), the condition is as true as before.
    pub fn guards(&self) -> Vec<&Path<K>> {
        let mut guards: Vec<&Path<K>> = Vec::new();
        // A path comes right before those beneath it.
        for path in self.reads() {
            if !guards.last().is_some_and(|above| path.names().starts_with(above.names())) {
                guards.push(path);
            }
        }
        guards
    }
}

/// Writes the normal form: what [`Condition::parse`] reads as the same condition, given bounds that
/// are wide enough.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
