//! Templates: conditions that speak of several things, some of which are known before the others.

use crate::bounds::Bounds;
use crate::error::ShapeError;
use crate::evaluate::Evaluation;
use crate::expr::{Expr, Path};
use crate::node::{Node, Value};
use crate::normal;
use crate::parse;
use crate::string::Str;
use crate::things::Things;

type Json = serde_json::Value;

/// A condition that speaks of things by their names: `resource.owner == claims.sub`. It has the
/// language of [`Condition`](crate::Condition), but that the first name of each path is that of a
/// thing, and no `key()`. It is kept in its normal form.
///
/// Once some of the things are known, [`fill`](Template::fill) makes of it a condition on the
/// members of a collection. [`evaluate`](Template::evaluate) asks it of things that are all known.
///
/// ```
/// use halfping_shape::{Bounds, Filled, Template, Thing, Things};
/// use serde_json::json;
///
/// let things = Things { whole: &["claims", "order"], by_member: &["resource"] };
/// let text = "resource.owner == claims.sub || 'support' in claims.roles";
/// let template = Template::parse(text, &Bounds::default(), things)?;
///
/// let claims = json!({"sub": "u1", "roles": ["sales"]});
/// let filled = template.fill(&[("claims", Thing::Known(&claims)), ("resource", Thing::Member)]);
/// let Ok(Filled::Where(condition)) = filled else { panic!() };
/// assert_eq!(condition.to_string(), r#"owner == "u1""#);
///
/// let order = json!({"owner": "u1"});
/// assert_eq!(template.evaluate(&[("claims", &claims), ("resource", &order)]), Some(true));
///
/// let error = Template::parse("owner == claims.sub", &Bounds::default(), things).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "column 1: there is no `owner` here; there are `claims`, `order`, `resource`; \
///      a member of the resource is `resource.owner`"
/// );
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Template {
    /// That a thing is there, by itself, is written as `has` of a path of one name.
    pub(crate) expr: Expr,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str, bounds: &Bounds, things: Things<'_>) -> Result<Template, ShapeError> {
        let expr = parse::parse_condition(text, bounds, Some(things))?;
        Ok(Template { expr: normal::condition(expr) })
    }

    /// The template that is true where this one is false, false where it is true, and has no value
    /// where it has none. So where it is true, this one is false for sure.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Template, Things};
    /// # use serde_json::json;
    /// let things = Things { whole: &[], by_member: &["resource"] };
    /// let secret = Template::parse("resource.secret", &Bounds::default(), things)?;
    /// let resource = json!({"secret": false});
    /// assert_eq!(secret.negated().evaluate(&[("resource", &resource)]), Some(true));
    /// assert_eq!(secret.negated().evaluate(&[("resource", &json!({}))]), None);
    /// # Ok::<(), halfping_shape::ShapeError>(())
    /// ```
    #[must_use]
    pub fn negated(&self) -> Template {
        Template { expr: normal::condition(Expr::Not(Box::new(self.expr.clone()))) }
    }

    /// Truth of the template for these things, of which all of each is known. A thing that is not
    /// among them is not there.
    pub fn evaluate(&self, things: &[(&str, &Json)]) -> Option<bool> {
        Evaluation::new(Known::Things(things), "").truth(&self.expr)
    }

    /// True if it speaks of this thing.
    pub fn speaks_of(&self, thing: &str) -> bool {
        self.mentions(thing) > 0
    }

    /// The number of times that it speaks of this thing.
    pub fn mentions(&self, thing: &str) -> usize {
        let mut mentions = 0;
        self.expr.each_path(&mut |path| mentions += usize::from(first(path) == thing));
        mentions
    }

    /// The members of a thing that it reads, each by its names from there on; none of them is the
    /// thing itself.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Template, Things};
    /// let things = Things { whole: &[], by_member: &["new", "resource"] };
    /// let text = "new.owner.id == resource.owner.id && new.open";
    /// let template = Template::parse(text, &Bounds::default(), things)?;
    /// let of_new: Vec<String> = template.members_of("new").map(|names| names.join(".")).collect();
    /// assert_eq!(of_new, ["open", "owner.id"]);
    /// # Ok::<(), halfping_shape::ShapeError>(())
    /// ```
    pub fn members_of(&self, thing: &str) -> impl Iterator<Item = &[Box<str>]> {
        let mut members = Vec::new();
        self.expr.each_path(&mut |path| match path.names() {
            [of, names @ ..] if **of == *thing && !names.is_empty() => members.push(names),
            _ => {}
        });
        members.sort_unstable();
        members.dedup();
        members.into_iter()
    }

    /// The parts of which each has to be true: the operands of its `&&`, or itself.
    pub fn conjuncts(&self) -> Vec<Template> {
        let parts = conjuncts(&self.expr).iter();
        parts.map(|part| Template { expr: part.clone() }).collect()
    }
}

pub(crate) fn conjuncts(expr: &Expr) -> &[Expr] {
    match expr {
        Expr::And(parts) => parts,
        other => std::slice::from_ref(other),
    }
}

/// The thing that a path begins with.
pub(crate) fn first(path: &Path) -> &str {
    &path.names()[0]
}

/// All things that are known, or a value in one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'v> {
    Things(&'v [(&'v str, &'v Json)]),
    Value(&'v Json),
}

impl<'v> Known<'v> {
    fn json(self) -> Option<&'v Json> {
        match self {
            Known::Things(_) => None,
            Known::Value(value) => Some(value),
        }
    }
}

impl<'v> Node<'v> for Known<'v> {
    type Name = Box<str>;

    fn member(self, name: &Box<str>) -> Option<Known<'v>> {
        match self {
            Known::Things(things) => {
                let thing = things.iter().find(|(known, _)| *known == &**name)?;
                Some(Known::Value(thing.1))
            }
            Known::Value(value) => value.member(name).map(Known::Value),
        }
    }

    fn named(self, name: Str<'_>) -> Option<Known<'v>> {
        self.json()?.named(name).map(Known::Value)
    }

    fn value(self) -> Value<'v> {
        self.json().map_or(Value::Object, Node::value)
    }

    fn size(self) -> usize {
        self.json().map_or(0, Node::size)
    }

    fn elements(self) -> impl Iterator<Item = Known<'v>> {
        self.json().into_iter().flat_map(Node::elements).map(Known::Value)
    }

    fn members(self) -> impl Iterator<Item = (Str<'v>, Known<'v>)> {
        let members = self.json().into_iter().flat_map(Node::members);
        members.map(|(name, value)| (name, Known::Value(value)))
    }
}
