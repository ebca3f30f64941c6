//! Values that a condition or an order can be asked about, where they lie.

use serde_json::Value as Json;

use crate::number::Number;
use crate::string::Str;

/// A value, but for the inside of a list or an object, which is asked of its [`Node`].
///
/// ```
/// use halfping_shape::{JsonText, Node, Number, Value};
///
/// let Value::Number(number) = JsonText("62.5").value() else { panic!() };
/// assert_eq!(number, Number::Double(62.5));
/// assert!(matches!(JsonText("[1,2]").value(), Value::List));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Value<'t> {
    /// `null`, which is a value: absence is another thing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Str<'t>),
    /// An array.
    List,
    /// An object.
    Object,
}

/// A value of a tree, where it lies: a reference that is cheap to copy. Nothing is copied out of
/// the tree to evaluate a condition, and no JSON is made.
///
/// ```
/// use halfping_shape::{Bounds, Condition, Node, Number, Str, Value};
///
/// /// A tree in which names are numbers and values lie in one list.
/// struct Tree(Vec<&'static str>, Vec<Stored>);
///
/// enum Stored {
///     Number(i64),
///     Object(Vec<(usize, usize)>),
/// }
///
/// impl Tree {
///     /// The number of a name; `None` if nothing has this name.
///     fn number(&self, name: &str) -> Option<usize> {
///         self.0.iter().position(|known| *known == name)
///     }
/// }
///
/// #[derive(Clone, Copy)]
/// struct Place<'t>(&'t Tree, usize);
///
/// impl<'t> Place<'t> {
///     fn pairs(self) -> &'t [(usize, usize)] {
///         match &self.0.1[self.1] {
///             Stored::Object(pairs) => pairs,
///             Stored::Number(_) => &[],
///         }
///     }
/// }
///
/// impl<'t> Node<'t> for Place<'t> {
///     type Name = Option<usize>;
///
///     fn member(self, name: &Option<usize>) -> Option<Self> {
///         let (_, value) = self.pairs().iter().find(|(known, _)| Some(*known) == *name)?;
///         Some(Place(self.0, *value))
///     }
///     fn named(self, name: Str<'_>) -> Option<Self> {
///         self.member(&self.0.number(&name.to_text()))
///     }
///     fn value(self) -> Value<'t> {
///         match &self.0.1[self.1] {
///             Stored::Number(int) => Value::Number(Number::Int(*int)),
///             Stored::Object(_) => Value::Object,
///         }
///     }
///     fn size(self) -> usize {
///         self.pairs().len()
///     }
///     fn elements(self) -> impl Iterator<Item = Self> {
///         std::iter::empty()
///     }
///     fn members(self) -> impl Iterator<Item = (Str<'t>, Self)> {
///         self.pairs().iter().map(move |(name, value)| {
///             (Str::plain(self.0.0[*name]), Place(self.0, *value))
///         })
///     }
/// }
///
/// // {"speed": 60, "driver": {"age": 40}}
/// let driver = Stored::Object(vec![(2, 0)]);
/// let vehicle = Stored::Object(vec![(0, 1), (1, 2)]);
/// let values = vec![Stored::Number(40), Stored::Number(60), driver, vehicle];
/// let tree = Tree(vec!["speed", "driver", "age"], values);
///
/// let text = "driver.age < speed && size(driver) == 1 && 'age' in driver && !has(line)";
/// let condition = Condition::parse(text, &Bounds::default())?.map(|name| tree.number(name));
/// assert!(condition.matches(Place(&tree, 3), "42"));
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
pub trait Node<'t>: Copy {
    /// A member's name, as the tree knows it: [`Condition::map`](crate::Condition::map) puts the
    /// tree's own in place of text.
    type Name;

    /// The value of a member; `None` if there is none, or if this is no object.
    fn member(self, name: &Self::Name) -> Option<Self>;

    /// The same by the text of the name.
    fn named(self, name: Str<'_>) -> Option<Self>;

    /// The value, or its kind if it is a list or an object.
    fn value(self) -> Value<'t>;

    /// The number of a list's elements, or of an object's members; 0 for all else.
    fn size(self) -> usize;

    /// The elements of a list; none if this is no list.
    fn elements(self) -> impl Iterator<Item = Self>;

    /// The members of an object; none if this is no object.
    fn members(self) -> impl Iterator<Item = (Str<'t>, Self)>;

    /// Bytes of text to go through to look inside: for a member, the size, the elements or the
    /// members. 0 if it takes no reading. They count as work of an evaluation.
    fn bytes(self) -> usize {
        0
    }
}

impl<'t> Node<'t> for &'t Json {
    type Name = Box<str>;

    fn member(self, name: &Box<str>) -> Option<&'t Json> {
        self.as_object()?.get(&**name)
    }

    fn named(self, name: Str<'_>) -> Option<&'t Json> {
        self.as_object()?.get(&*name.to_text())
    }

    fn value(self) -> Value<'t> {
        match self {
            Json::Null => Value::Null,
            Json::Bool(bool) => Value::Bool(*bool),
            Json::Number(number) => Value::Number(match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Number::Int(int),
                (_, Some(int)) => Number::UInt(int),
                _ => Number::Double(number.as_f64().unwrap_or_default()),
            }),
            Json::String(string) => Value::String(Str::plain(string)),
            Json::Array(_) => Value::List,
            Json::Object(_) => Value::Object,
        }
    }

    fn size(self) -> usize {
        match self {
            Json::Array(elements) => elements.len(),
            Json::Object(members) => members.len(),
            _ => 0,
        }
    }

    fn elements(self) -> impl Iterator<Item = &'t Json> {
        self.as_array().into_iter().flatten()
    }

    fn members(self) -> impl Iterator<Item = (Str<'t>, &'t Json)> {
        let members = self.as_object().into_iter().flatten();
        members.map(|(name, value)| (Str::plain(name), value))
    }
}

/// A value as compact JSON text: no white space, no name twice in one object. Text that is not that
/// is no error here; it just is some value.
///
/// ```
/// use halfping_shape::{Bounds, Condition, JsonText};
///
/// let condition = Condition::parse("'x' in tags", &Bounds::default())?;
/// assert!(condition.matches(JsonText(r#"{"tags":["a","x"]}"#), "42"));
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JsonText<'t>(pub &'t str);

impl<'t> JsonText<'t> {
    /// The items of a list or an object, as text.
    fn items(self) -> impl Iterator<Item = &'t str> {
        let mut rest = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = end_of_item(rest);
            let item = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            Some(item)
        })
    }

    fn is_in(self, bracket: char) -> bool {
        self.0.starts_with(bracket)
    }
}

impl<'t> Node<'t> for JsonText<'t> {
    type Name = Box<str>;

    fn member(self, name: &Box<str>) -> Option<JsonText<'t>> {
        self.named(Str::plain(name))
    }

    fn named(self, name: Str<'_>) -> Option<JsonText<'t>> {
        self.members().find(|(other, _)| other.is(name)).map(|(_, value)| value)
    }

    fn value(self) -> Value<'t> {
        match self.0.as_bytes().first() {
            Some(b'"') => Value::String(Str::json(inside(self.0))),
            Some(b'[') => Value::List,
            Some(b'{') => Value::Object,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            _ => Number::of_json(self.0).map_or(Value::Null, Value::Number),
        }
    }

    fn size(self) -> usize {
        match self.is_in('[') || self.is_in('{') {
            true => self.items().count(),
            false => 0,
        }
    }

    fn elements(self) -> impl Iterator<Item = JsonText<'t>> {
        self.is_in('[').then(|| self.items().map(JsonText)).into_iter().flatten()
    }

    fn members(self) -> impl Iterator<Item = (Str<'t>, JsonText<'t>)> {
        let items = self.is_in('{').then(|| self.items()).into_iter().flatten();
        items.filter_map(|item| {
            let (name, value) = item.split_at_checked(end_of_string(item.as_bytes(), 0))?;
            Some((Str::json(inside(name)), JsonText(value.strip_prefix(':')?)))
        })
    }

    fn bytes(self) -> usize {
        match self.value() {
            Value::List | Value::Object => self.0.len(),
            _ => 0,
        }
    }
}

/// The text without what encloses it.
fn inside(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

/// End of the item at the beginning: at a comma, or with the text.
fn end_of_item(items: &str) -> usize {
    let bytes = items.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// End of the string that begins here: behind its quote.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}
