//! Bindings: the names that a template leaves to a variable.

use std::collections::BTreeSet;

use crate::evaluate::{Datum, Evaluation};
use crate::expr::{Expr, Relation};
use crate::node::Node;
use crate::normal;
use crate::template::{Known, Template, conjuncts, first};

type Json = serde_json::Value;

/// The names for which a template can be true, or have no value: for all others it is false.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Any name.
    Any,
    /// One of these.
    Names {
        /// The names.
        names: BTreeSet<Box<str>>,
        /// The template without the part that leaves only these names. For one of them it has the
        /// value of the whole.
        rest: Template,
    },
}

impl Template {
    /// True if it binds a variable: it requires that the variable is equal to something known, or
    /// among it (`team in me.teams`, `user == claims.sub`).
    pub fn binds(&self, variable: &str, known: &[&str]) -> bool {
        let is_known = |name: &str| known.contains(&name);
        conjuncts(&self.expr).iter().any(|part| binder(part, variable, &is_known).is_some())
    }

    /// The names that it leaves to a variable, given what is known.
    ///
    /// ```
    /// use halfping_shape::{Binding, Bounds, Template, Things};
    /// use serde_json::json;
    ///
    /// let things = Things { whole: &["me", "team"], by_member: &["resource"] };
    /// let text = "team in me.teams && resource.open";
    /// let template = Template::parse(text, &Bounds::default(), things)?;
    /// let me = json!({"teams": ["red", "blue"]});
    /// let binding = template.binding("team", &[("me", &me)]);
    /// let Binding::Names { names, rest } = binding else { panic!() };
    /// assert_eq!(names, ["blue".into(), "red".into()].into());
    /// assert_eq!(rest, Template::parse("resource.open", &Bounds::default(), things)?);
    /// // Without a list the template has no value, rather than being false.
    /// assert_eq!(template.binding("team", &[("me", &json!({}))]), Binding::Any);
    /// # Ok::<(), halfping_shape::ShapeError>(())
    /// ```
    pub fn binding(&self, variable: &str, known: &[(&str, &Json)]) -> Binding {
        let is_known = |name: &str| known.iter().any(|(known, _)| *known == name);
        let parts = conjuncts(&self.expr);
        let binders = parts.iter().map(|part| binder(part, variable, &is_known)).enumerate();
        let Some((place, binder)) = binders.filter_map(|(at, of)| Some((at, of?))).next() else {
            return Binding::Any;
        };
        let (Binder::Is(expr) | Binder::In(expr)) = binder;
        let value = Evaluation::new(Known::Things(known), "").value(expr);
        let names = match (binder, value) {
            (_, None) => return Binding::Any,
            (Binder::Is(_), Some(value)) => name(value).into_iter().collect(),
            (Binder::In(_), Some(value)) => match value {
                Datum::List(list) => list.elements().filter_map(|of| name(Datum::of(of))).collect(),
                Datum::Elements(elements) => elements.into_iter().filter_map(name).collect(),
                Datum::Object(object) => {
                    object.members().map(|(name, _)| name.to_text().into()).collect()
                }
                // Nothing is in it, and nothing is not.
                _ => return Binding::Any,
            },
        };
        let rest = [&parts[..place], &parts[place + 1..]].concat();
        Binding::Names { names, rest: Template { expr: normal::condition(Expr::And(rest)) } }
    }
}

/// The other operand of a comparison with a variable.
#[derive(Clone, Copy)]
enum Binder<'e> {
    Is(&'e Expr),
    In(&'e Expr),
}

fn binder<'e>(
    part: &'e Expr,
    variable: &str,
    is_known: &dyn Fn(&str) -> bool,
) -> Option<Binder<'e>> {
    let is_variable = |expr: &Expr| match expr {
        Expr::Path(path) => path.names().len() == 1 && first(path) == variable,
        _ => false,
    };
    let binder = match part {
        Expr::Compare(Relation::Equal, two) if is_variable(&two.0) => Binder::Is(&two.1),
        Expr::Compare(Relation::Equal, two) if is_variable(&two.1) => Binder::Is(&two.0),
        Expr::In(two) if is_variable(&two.0) => Binder::In(&two.1),
        _ => return None,
    };
    let (Binder::Is(expr) | Binder::In(expr)) = binder;
    let mut all_known = true;
    expr.each_path(&mut |path| all_known &= first(path) != variable && is_known(first(path)));
    all_known.then_some(binder)
}

/// The name that a value is, if it is text.
fn name(value: Datum<'_, Known<'_>>) -> Option<Box<str>> {
    match value {
        Datum::String(string) => Some(string.to_text().into()),
        _ => None,
    }
}
