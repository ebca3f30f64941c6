//! Selections: which parts of members, or of a resource, are shown.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::bounds::Bounds;
use crate::error::{ShapeError, ShapeErrorKind};
use crate::expr::Path;
use crate::names::{read_plain, write_first};

/// A selection: `lat,lon,driver(name)` of each member, or with a slash before each path,
/// `/lat,/driver/name`, of the resource itself. `driver.name` is `driver(name)`. Paths with a slash
/// are written as in a URL, with percent-encoded names.
///
/// Selections that show the same are equal: the order of names does not count, and what is shown
/// whole is not shown in parts as well.
///
/// ```
/// use halfping_shape::{Bounds, Selected, Selection};
///
/// let text = "lon, driver(name, age), driver.age, lat";
/// let selection = Selection::parse(text, &Bounds::default())?;
/// assert_eq!(selection.to_string(), "driver(age,name),lat,lon");
/// assert!(matches!(selection.top().name("lat"), Selected::Whole));
/// assert!(matches!(selection.top().name("speed"), Selected::Nothing));
/// let Selected::Part(driver) = selection.top().name("driver") else { panic!() };
/// assert!(matches!(driver.name("name"), Selected::Whole));
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Selection<K = Box<str>> {
    of_resource: bool,
    names: Names<K>,
}

/// Names of one level, each with what is shown beneath.
///
/// ```
/// use halfping_shape::{Bounds, Selected, Selection};
///
/// let selection = Selection::parse("lat,driver(name)", &Bounds::default())?;
/// for (name, selected) in selection.top().iter() {
///     assert_eq!(matches!(selected, Selected::Whole), &**name == "lat");
/// }
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Names<K = Box<str>>(BTreeMap<K, Option<Names<K>>>);

/// The part of a value that a selection shows: see [`Selection`].
#[derive(PartialEq, Eq, Debug)]
pub enum Selected<'s, K = Box<str>> {
    /// Nothing, not even that it is there.
    Nothing,
    /// All of it.
    Whole,
    /// These of its members, if it is an object.
    Part(&'s Names<K>),
}

impl<K> Clone for Selected<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Selected<'_, K> {}

impl<'s, K> Selected<'s, K> {
    fn beneath(names: Option<&'s Names<K>>) -> Selected<'s, K> {
        names.map_or(Selected::Whole, Selected::Part)
    }
}

impl<K: Ord> Names<K> {
    /// The part of the member of this name that is shown.
    pub fn name<Q: Ord + ?Sized>(&self, name: &Q) -> Selected<'_, K>
    where
        K: Borrow<Q>,
    {
        self.0.get(name).map_or(Selected::Nothing, |names| Selected::beneath(names.as_ref()))
    }

    /// The names in order, each with what is shown of it.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Selected<'_, K>)> {
        self.0.iter().map(|(name, names)| (name, Selected::beneath(names.as_ref())))
    }

    fn map<T: Ord>(&self, name: &mut impl FnMut(&K) -> T) -> Names<T> {
        let mut mapped = BTreeMap::new();
        for (known, names) in &self.0 {
            mapped.insert(name(known), names.as_ref().map(|names| names.map(name)));
        }
        Names(mapped)
    }
}

impl Names {
    fn none() -> Names {
        Names(BTreeMap::new())
    }

    /// Adds what is beneath a path: all of it, or the parts.
    fn add(&mut self, path: &[Box<str>], beneath: Option<Names>) {
        let Some((name, path)) = path.split_first() else {
            beneath
                .into_iter()
                .flat_map(|names| names.0)
                .for_each(|(name, names)| self.add(&[name], names));
            return;
        };
        let entry = self.0.entry(name.clone());
        match (path.is_empty(), beneath) {
            (true, None) => *entry.or_insert(None) = None,
            (_, beneath) => {
                if let Some(names) = entry.or_insert_with(|| Some(Names::none())) {
                    names.add(path, beneath);
                }
            }
        }
    }
}

impl Selection {
    /// Reads a selection.
    pub fn parse(text: &str, bounds: &Bounds) -> Result<Selection, ShapeError> {
        if text.len() > bounds.text_bytes {
            return Err(ShapeError::at(text, 0, ShapeErrorKind::TooLong(bounds.text_bytes)));
        }
        let mut reader = Reader { text, at: 0, depth: 0, bounds };
        reader.skip_space();
        let of_resource = reader.next_is('/');
        let names = if of_resource { reader.paths()? } else { reader.list()? };
        match reader.at == text.len() {
            true => Ok(Selection { of_resource, names }),
            false if of_resource => Err(reader.expected("`,` or the end")),
            false => Err(reader.expected("`,`, `(`, `.` or the end")),
        }
    }

    /// The selection with a path that is shown as well: what members are ordered by.
    ///
    /// ```
    /// # use halfping_shape::{Bounds, Order, Selection};
    /// let selection = Selection::parse("lat,lon", &Bounds::default())?;
    /// let order = Order::parse("-speed", &Bounds::default())?;
    /// let selection = order.paths().fold(selection, Selection::with);
    /// assert_eq!(selection.to_string(), "lat,lon,speed");
    /// # Ok::<(), halfping_shape::ShapeError>(())
    /// ```
    pub fn with(mut self, path: &Path) -> Selection {
        self.names.add(path.names(), None);
        self
    }
}

impl<K: Ord> Selection<K> {
    /// True if it is of the resource itself, and not of each of its members.
    pub fn is_of_resource(&self) -> bool {
        self.of_resource
    }

    /// The names at the top.
    pub fn top(&self) -> &Names<K> {
        &self.names
    }

    /// The selection with other names in place of these, each another: see
    /// [`Condition::map`](crate::Condition::map).
    pub fn map<T: Ord>(&self, mut name: impl FnMut(&K) -> T) -> Selection<T> {
        Selection { of_resource: self.of_resource, names: self.names.map(&mut name) }
    }
}

struct Reader<'t, 'b> {
    text: &'t str,
    at: usize,
    depth: usize,
    bounds: &'b Bounds,
}

impl<'t> Reader<'t, '_> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn next_is(&self, c: char) -> bool {
        self.rest().starts_with(c)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.next_is(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expected(&self, what: &str) -> ShapeError {
        ShapeError::at_expected(self.text, self.at, what)
    }

    fn too_deep(&self) -> ShapeError {
        ShapeError::at(self.text, self.at, ShapeErrorKind::TooDeep(self.bounds.depth))
    }

    /// `a,b.c,d(e)`
    fn list(&mut self) -> Result<Names, ShapeError> {
        let mut names = Names::none();
        loop {
            self.skip_space();
            let outer = self.depth;
            let mut path = vec![self.name()?];
            while self.take('.') {
                path.push(self.name()?);
            }
            self.skip_space();
            let mut beneath = None;
            if self.take('(') {
                beneath = Some(self.list()?);
                if !self.take(')') {
                    return Err(self.expected("`,`, `(`, `.` or `)`"));
                }
                self.skip_space();
            }
            self.depth = outer;
            names.add(&path, beneath);
            if !self.take(',') {
                return Ok(names);
            }
        }
    }

    /// A name, one level deeper than the one before.
    fn name(&mut self) -> Result<Box<str>, ShapeError> {
        if self.depth == self.bounds.depth {
            return Err(self.too_deep());
        }
        let Some((name, bytes)) = read_plain(self.rest()) else {
            return Err(self.expected("the name of a member; odd ones go in backticks"));
        };
        self.depth += 1;
        self.at += bytes;
        Ok(name)
    }

    /// `/a,/b/c`
    fn paths(&mut self) -> Result<Names, ShapeError> {
        let mut names = Names::none();
        loop {
            self.skip_space();
            if !self.next_is('/') {
                return Err(self.expected("`/`: each path begins with one, or none does"));
            }
            let mut path = Vec::new();
            while self.take('/') {
                if path.len() == self.bounds.depth {
                    return Err(self.too_deep());
                }
                let end = self.rest().find(|c: char| "/,".contains(c) || c.is_whitespace());
                let encoded = &self.rest()[..end.unwrap_or(self.rest().len())];
                match percent_decode_str(encoded).decode_utf8() {
                    Ok(name) if is_of_path(&name, encoded) => path.push((*name).into()),
                    _ => return Err(self.expected("a name, percent-encoded as in a URL")),
                }
                self.at += encoded.len();
            }
            names.add(&path, None);
            self.skip_space();
            if !self.take(',') {
                return Ok(names);
            }
        }
    }
}

/// True if a name, written like this, can stand in the path of a URL: see `Path` in the engine.
fn is_of_path(name: &str, encoded: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && !name.contains('\0')
        && !encoded.contains(['?', '#'])
        && is_percent_encoded(encoded)
}

/// True if each `%` has its two digits.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        after.len() >= 2 && after.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Characters that are encoded in names of paths.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Writes the selection in its normal form.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of_resource {
            true => write_paths(&self.names, "", &mut false, f),
            false => write_list(&self.names, f),
        }
    }
}

fn write_list(names: &Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (number, (name, selected)) in names.iter().enumerate() {
        if number > 0 {
            f.write_char(',')?;
        }
        write_first(name, f)?;
        if let Selected::Part(names) = selected {
            f.write_char('(')?;
            write_list(names, f)?;
            f.write_char(')')?;
        }
    }
    Ok(())
}

fn write_paths(
    names: &Names,
    above: &str,
    begun: &mut bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (name, selected) in names.iter() {
        let path = format!("{above}/{}", utf8_percent_encode(name, ENCODED));
        if let Selected::Part(names) = selected {
            write_paths(names, &path, begun, f)?;
        } else {
            let comma = if std::mem::replace(begun, true) { "," } else { "" };
            write!(f, "{comma}{path}")?;
        }
    }
    Ok(())
}
