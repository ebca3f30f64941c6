//! The tree of a condition.

use crate::node::Node;
use crate::number::Number;

/// A way down through objects: at least one name.
///
/// ```
/// use halfping_shape::{Bounds, Order};
/// use serde_json::json;
///
/// let order = Order::parse("driver.name", &Bounds::default())?;
/// let path = order.paths().next().unwrap();
/// assert_eq!(path.names(), ["driver".into(), "name".into()]);
/// let vehicle = json!({"driver": {"name": "Kim"}});
/// assert_eq!(path.follow(&vehicle), Some(&json!("Kim")));
/// assert_eq!(path.to_string(), "driver.name");
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path<K = Box<str>>(Box<[K]>);

impl<K> Path<K> {
    /// A path of these names. There must be one.
    pub(crate) fn new(names: Vec<K>) -> Path<K> {
        debug_assert!(!names.is_empty(), "a path has a name");
        Path(names.into())
    }

    /// The path of a member of what this one leads to.
    pub(crate) fn child(self, name: K) -> Path<K> {
        let mut names = self.0.into_vec();
        names.push(name);
        Path::new(names)
    }

    /// Its names, from the top.
    pub fn names(&self) -> &[K] {
        &self.0
    }

    /// The value at the end of the path, from a value on; `None` if it leads nowhere.
    pub fn follow<'t, N: Node<'t, Name = K>>(&self, from: N) -> Option<N> {
        self.0.iter().try_fold(from, N::member)
    }

    /// The path with other names in place of these.
    pub(crate) fn map<T>(&self, name: &mut impl FnMut(&K) -> T) -> Path<T> {
        Path(self.0.iter().map(name).collect())
    }
}

/// A constant that is no list: a value of an [`Equality`](crate::Equality).
///
/// ```
/// use halfping_shape::{Number, Scalar};
///
/// assert_eq!(Scalar::Number(Number::Int(1)), Scalar::Number(Number::Double(1.0)));
/// assert_ne!(Scalar::String("1".into()), Scalar::Number(Number::Int(1)));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; equal numbers are equal whatever their kind.
    Number(Number),
    /// A string.
    String(Box<str>),
}

/// A comparison of two values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Relation {
    /// The relation that holds exactly where this one does not.
    pub(crate) fn negated(self) -> Relation {
        match self {
            Relation::Equal => Relation::NotEqual,
            Relation::NotEqual => Relation::Equal,
            Relation::Less => Relation::GreaterEqual,
            Relation::LessEqual => Relation::Greater,
            Relation::Greater => Relation::LessEqual,
            Relation::GreaterEqual => Relation::Less,
        }
    }

    /// The same relation, said from the other side.
    pub(crate) fn turned(self) -> Relation {
        match self {
            Relation::Equal | Relation::NotEqual => self,
            Relation::Less => Relation::Greater,
            Relation::LessEqual => Relation::GreaterEqual,
            Relation::Greater => Relation::Less,
            Relation::GreaterEqual => Relation::LessEqual,
        }
    }
}

/// A test of two strings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum StringTest {
    Contains,
    EndsWith,
    StartsWith,
}

/// An expression. The order of its kinds is the order of operands in the normal form, in which
/// constants come last.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Expr<K = Box<str>> {
    /// The member's own name: `key()`.
    Key,
    Path(Path<K>),
    Size(Box<Expr<K>>),
    Compare(Relation, Box<(Expr<K>, Expr<K>)>),
    In(Box<(Expr<K>, Expr<K>)>),
    Has(Path<K>),
    Test(StringTest, Box<(Expr<K>, Expr<K>)>),
    Not(Box<Expr<K>>),
    And(Vec<Expr<K>>),
    Or(Vec<Expr<K>>),
    List(Vec<Expr<K>>),
    /// An object that is known, in the order of its names. No text is read as one: it comes of a
    /// template's things.
    Object(Vec<(Box<str>, Expr<K>)>),
    Constant(Scalar),
}

/// The type of an expression's value, as far as it is known before it is evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Any,
    Bool,
    Null,
    Number,
    String,
    List,
}

impl<K> Expr<K> {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Expr::Path(_) | Expr::Object(_) => Kind::Any,
            Expr::Key | Expr::Constant(Scalar::String(_)) => Kind::String,
            Expr::Size(_) | Expr::Constant(Scalar::Number(_)) => Kind::Number,
            Expr::List(_) => Kind::List,
            Expr::Constant(Scalar::Null) => Kind::Null,
            _ => Kind::Bool,
        }
    }

    /// The expressions right beneath.
    pub(crate) fn parts(&self) -> Vec<&Expr<K>> {
        match self {
            Expr::Key | Expr::Path(_) | Expr::Has(_) | Expr::Constant(_) => Vec::new(),
            Expr::Size(one) | Expr::Not(one) => vec![&**one],
            Expr::Compare(_, two) | Expr::In(two) | Expr::Test(_, two) => vec![&two.0, &two.1],
            Expr::And(parts) | Expr::Or(parts) | Expr::List(parts) => parts.iter().collect(),
            Expr::Object(members) => members.iter().map(|(_, value)| value).collect(),
        }
    }

    /// Levels of operators, calls and lists, itself included.
    pub(crate) fn height(&self) -> usize {
        1 + self.parts().into_iter().map(Expr::height).max().unwrap_or(0)
    }

    /// Gives each path that the expression reads, as often as it does.
    pub(crate) fn each_path<'e>(&'e self, give: &mut impl FnMut(&'e Path<K>)) {
        if let Expr::Path(path) | Expr::Has(path) = self {
            give(path);
        }
        self.parts().into_iter().for_each(|part| part.each_path(give));
    }

    /// True if the member's own name is asked for.
    pub(crate) fn reads_key(&self) -> bool {
        matches!(self, Expr::Key) || self.parts().into_iter().any(Expr::reads_key)
    }

    pub(crate) fn map<T>(&self, name: &mut impl FnMut(&K) -> T) -> Expr<T> {
        fn two<K, T>(
            two: &(Expr<K>, Expr<K>),
            name: &mut impl FnMut(&K) -> T,
        ) -> Box<(Expr<T>, Expr<T>)> {
            Box::new((two.0.map(name), two.1.map(name)))
        }
        fn many<K, T>(many: &[Expr<K>], name: &mut impl FnMut(&K) -> T) -> Vec<Expr<T>> {
            many.iter().map(|expr| expr.map(name)).collect()
        }
        match self {
            Expr::Key => Expr::Key,
            Expr::Path(path) => Expr::Path(path.map(name)),
            Expr::Size(one) => Expr::Size(Box::new(one.map(name))),
            Expr::Compare(relation, pair) => Expr::Compare(*relation, two(pair, name)),
            Expr::In(pair) => Expr::In(two(pair, name)),
            Expr::Has(path) => Expr::Has(path.map(name)),
            Expr::Test(test, pair) => Expr::Test(*test, two(pair, name)),
            Expr::Not(one) => Expr::Not(Box::new(one.map(name))),
            Expr::And(parts) => Expr::And(many(parts, name)),
            Expr::Or(parts) => Expr::Or(many(parts, name)),
            Expr::List(elements) => Expr::List(many(elements, name)),
            Expr::Object(members) => {
                let members = members.iter().map(|(key, value)| (key.clone(), value.map(name)));
                Expr::Object(members.collect())
            }
            Expr::Constant(scalar) => Expr::Constant(scalar.clone()),
        }
    }
}
