//! Orders: in which order members are shown.

use std::cmp::Ordering;
use std::fmt;

use crate::bounds::Bounds;
use crate::error::{ShapeError, ShapeErrorKind};
use crate::expr::Path;
use crate::names::read_plain;
use crate::node::{Node, Value};
use crate::string::Str;

/// Code points of a string that count for the order: keys have a bound. Strings that differ only
/// behind them are equal.
const STRING_CHARS_MAX: usize = 256;

/// An order of members by some of their values, such as `-speed,line`: `-` for descending.
///
/// It is total over all JSON: absent ones first, then `null`, `false`, `true`, numbers,
/// strings, arrays and objects. Numbers compare as doubles, strings by code point, as far as their
/// first 256 go. All arrays are equal, and so are all objects. Descending is the exact opposite.
/// Members that are equal in all that come in order of their names by code point, also in a
/// descending order. An order without paths is by name alone.
///
/// ```
/// use halfping_shape::{Bounds, Order};
/// use serde_json::json;
///
/// let order = Order::parse("-speed, line", &Bounds::default())?;
/// let (slow, fast) = (json!({"speed": 3}), json!({"speed": 20.5}));
/// assert!(order.compare(("a", &fast), ("b", &slow)).is_lt());
/// assert!(order.key(&fast) < order.key(&slow));
/// assert_eq!(order.to_string(), "-speed,line");
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Order<K = Box<str>> {
    columns: Box<[Column<K>]>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Column<K> {
    path: Path<K>,
    descending: bool,
}

impl Order {
    /// Reads an order. A path that was there before decides nothing, and is left out.
    pub fn parse(text: &str, bounds: &Bounds) -> Result<Order, ShapeError> {
        if text.len() > bounds.text_bytes {
            return Err(ShapeError::at(text, 0, ShapeErrorKind::TooLong(bounds.text_bytes)));
        }
        let mut columns: Vec<Column<Box<str>>> = Vec::new();
        let mut at = skip_space(text, 0);
        loop {
            let start = at;
            let descending = text[at..].starts_with('-');
            at += usize::from(descending);
            let path;
            (path, at) = read_path(text, at, bounds)?;
            if columns.iter().all(|column| column.path != path) {
                if columns.len() == bounds.order_paths {
                    let kind = ShapeErrorKind::TooManyPaths(bounds.order_paths);
                    return Err(ShapeError::at(text, start, kind));
                }
                columns.push(Column { path, descending });
            }
            at = skip_space(text, at);
            if at == text.len() {
                return Ok(Order { columns: columns.into() });
            }
            if !text[at..].starts_with(',') {
                return Err(ShapeError::at_expected(text, at, expected_behind(&text[at..])));
            }
            at = skip_space(text, at + 1);
        }
    }

    /// The order by name: of a `limit` without an order.
    pub fn by_name() -> Order {
        Order { columns: Box::default() }
    }
}

impl<K> Order<K> {
    /// The paths that it reads.
    pub fn paths(&self) -> impl Iterator<Item = &Path<K>> {
        self.columns.iter().map(|column| &column.path)
    }

    /// The order with other names in place of these: see [`Condition::map`](crate::Condition::map).
    pub fn map<T>(&self, mut name: impl FnMut(&K) -> T) -> Order<T> {
        let column = |column: &Column<K>| Column {
            path: column.path.map(&mut name),
            descending: column.descending,
        };
        Order { columns: self.columns.iter().map(column).collect() }
    }

    /// Compares two members, each with its name: the smaller one comes first.
    pub fn compare<'a, 'b, A, B>(&self, one: (&str, A), other: (&str, B)) -> Ordering
    where
        A: Node<'a, Name = K>,
        B: Node<'b, Name = K>,
    {
        let of_column = |column: &Column<K>| {
            let ordering = at(&column.path, one.1).compare(at(&column.path, other.1));
            if column.descending { ordering.reverse() } else { ordering }
        };
        let ordering = self.columns.iter().map(of_column).find(|ordering| ordering.is_ne());
        ordering.unwrap_or_else(|| one.0.cmp(other.0))
    }

    /// A key of a member: keys compare, as bytes, like the members do without their names.
    pub fn key<'t, N: Node<'t, Name = K>>(&self, member: N) -> SortKey {
        let mut draft = Draft::default();
        for column in &self.columns {
            draft.flip = if column.descending { u8::MAX } else { 0 };
            at(&column.path, member).write(&mut draft);
        }
        draft.key()
    }
}

/// Writes the order in its normal form.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, column) in self.columns.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let sign = if column.descending { "-" } else { "" };
            write!(f, "{comma}{sign}{}", column.path)?;
        }
        Ok(())
    }
}

fn read_path(text: &str, start: usize, bounds: &Bounds) -> Result<(Path, usize), ShapeError> {
    let (mut names, mut at) = (Vec::new(), start);
    loop {
        let Some((name, bytes)) = read_plain(&text[at..]) else {
            return Err(ShapeError::at_expected(
                text,
                at,
                "the name of a member; odd ones go in backticks",
            ));
        };
        names.push(name);
        if names.len() > bounds.depth {
            return Err(ShapeError::at(text, at, ShapeErrorKind::TooDeep(bounds.depth)));
        }
        at += bytes;
        if !text[at..].starts_with('.') {
            return Ok((Path::new(names), at));
        }
        at += 1;
    }
}

/// That which may stand behind a path, with what was probably meant where something else does.
fn expected_behind(text: &str) -> &'static str {
    let rest = text.trim_start_matches(|c: char| c == ':' || c.is_whitespace());
    let word = rest.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "desc" | "descending" => "`,`, `.` or the end; descending is `-speed`",
        "asc" | "ascending" => "`,`, `.` or the end; ascending is `speed`, descending `-speed`",
        _ if text.starts_with('(') => "`,`, `.` or the end; write `driver.name`",
        _ => "`,`, `.` or the end",
    }
}

fn skip_space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}

/// The part of a value that counts for the order.
enum Rank<'t> {
    Absent,
    Null,
    Bool(bool),
    Number(f64),
    String(Str<'t>),
    Array,
    Object,
}

fn at<'t, N: Node<'t>>(path: &Path<N::Name>, member: N) -> Rank<'t> {
    match path.follow(member).map(Node::value) {
        None => Rank::Absent,
        Some(Value::Null) => Rank::Null,
        Some(Value::Bool(bool)) => Rank::Bool(bool),
        // Zero has no sign here.
        Some(Value::Number(number)) => Rank::Number(number.to_double() + 0.0),
        Some(Value::String(string)) => Rank::String(string),
        Some(Value::List) => Rank::Array,
        Some(Value::Object) => Rank::Object,
    }
}

impl Rank<'_> {
    fn kind(&self) -> u8 {
        match self {
            Rank::Absent => 1,
            Rank::Null => 2,
            Rank::Bool(false) => 3,
            Rank::Bool(true) => 4,
            Rank::Number(_) => 5,
            Rank::String(_) => 6,
            Rank::Array => 7,
            Rank::Object => 8,
        }
    }

    fn compare(self, other: Rank<'_>) -> Ordering {
        match (self, other) {
            (Rank::Number(one), Rank::Number(other)) => one.total_cmp(&other),
            (Rank::String(one), Rank::String(other)) => counted(one).cmp(counted(other)),
            (one, other) => one.kind().cmp(&other.kind()),
        }
    }

    /// Writes bytes that compare like the values, none of them the beginning of another.
    fn write(self, out: &mut Draft) {
        out.extend(&[self.kind()]);
        match self {
            Rank::Number(double) => {
                let bits = double.to_bits();
                // Negative ones in turned order, before the others.
                let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
                out.extend(&ordered.to_be_bytes());
            }
            Rank::String(string) => {
                for c in counted(string) {
                    match c {
                        // So that a zero alone can be the end, and smaller than all that goes on.
                        '\0' => out.extend(&[0, 1]),
                        c => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                out.extend(&[0, 0]);
            }
            _ => {}
        }
    }
}

/// The characters of a string that count.
fn counted(string: Str<'_>) -> impl Iterator<Item = char> {
    string.chars().take(STRING_CHARS_MAX)
}

/// Bytes of a key that need no allocation: two numbers, or a number and a short string.
const SHORT: usize = 22;

/// A member's place in an order, but for its name: 24 bytes, and more for long strings. A set of
/// (key, name) is sorted by the order.
///
/// ```
/// use halfping_shape::{Bounds, Order};
/// use serde_json::json;
/// use std::collections::BTreeSet;
///
/// let order = Order::parse("-speed", &Bounds::default())?;
/// let vehicles = [("a", json!({"speed": 3})), ("b", json!({"speed": 9})), ("c", json!({}))];
/// let mut ranking = BTreeSet::new();
/// for (name, vehicle) in vehicles {
///     ranking.insert((order.key(&vehicle), name));
/// }
/// let names: Vec<&str> = ranking.iter().map(|(_, name)| *name).collect();
/// assert_eq!(names, ["b", "a", "c"]);
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SortKey(Bytes);

#[derive(Clone, Debug)]
enum Bytes {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const _: () = assert!(std::mem::size_of::<SortKey>() == 24);

/// A key as it is written.
#[derive(Default)]
struct Draft {
    short: [u8; SHORT],
    /// Bytes that are written.
    len: usize,
    /// All of them, if they are more than fit above.
    long: Vec<u8>,
    /// The bits that are turned: all for a descending order.
    flip: u8,
}

impl Draft {
    fn extend(&mut self, bytes: &[u8]) {
        let (start, flip) = (self.len, self.flip);
        self.len += bytes.len();
        let bytes = bytes.iter().map(|byte| byte ^ flip);
        match self.short.get_mut(start..self.len) {
            Some(room) => room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte),
            None => {
                if self.long.is_empty() {
                    self.long.extend_from_slice(&self.short[..start]);
                }
                self.long.extend(bytes);
            }
        }
    }

    fn key(self) -> SortKey {
        SortKey(match self.long.is_empty() {
            true => Bytes::Short { len: self.len as u8, bytes: self.short },
            false => Bytes::Long(self.long.into()),
        })
    }
}

impl SortKey {
    #[inline(never)]
    fn compare_bytes(&self, other: &SortKey) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }

    /// The bytes, which compare as the members do.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { len, bytes } => &bytes[..usize::from(*len)],
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for SortKey {
    #[inline]
    fn eq(&self, other: &SortKey) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SortKey {}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &SortKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortKey {
    #[inline]
    fn cmp(&self, other: &SortKey) -> Ordering {
        // None is the beginning of another, so zeros behind them make no difference. The first
        // eight bytes tell most keys apart.
        let head = |bytes: &[u8; SHORT]| bytes.first_chunk().copied().map(u64::from_be_bytes);
        if let (Bytes::Short { bytes: one, .. }, Bytes::Short { bytes: other, .. }) =
            (&self.0, &other.0)
            && head(one) != head(other)
        {
            return head(one).cmp(&head(other));
        }
        self.compare_bytes(other)
    }
}
