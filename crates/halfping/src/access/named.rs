//! Named views: views with a URL of their own, which the configuration has. The door resolves
//! them: behind it there are only paths of the tree, and what is shown of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use halfping_engine::{Limits, Path, View, Wanted};
use serde::Deserialize;
use thiserror::Error;

use super::{OWN, own_name};
use crate::problem::{Kind, Problem};
use crate::shape::Shape;

/// A view with a URL of its own, as configuration has it. What is left out shows all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedView {
    /// The path at which it is read. What the tree has there is hidden.
    pub path: String,
    /// The path of the resource that it is a view of.
    pub from: String,
    /// Only members for which this is true: `where` of a URL.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// Only these parts of each member, or of the resource: `select` of a URL.
    pub select: Option<String>,
    /// The order of members, for `limit`: `order` of a URL.
    pub order: Option<String>,
    /// Only so many members, the first in that order.
    pub limit: Option<usize>,
    /// True for the number of members instead of the members.
    #[serde(default)]
    pub count: bool,
}

/// Views with URLs of their own: each is read, watched and streamed as any resource is, and never
/// written.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::collections::BTreeMap;
///
/// use halfping::{Api, Limits, NamedView, NamedViews, Options};
/// use serde_json::json;
///
/// let fastest = NamedView {
///     path: "/fastest".to_owned(),
///     from: "/vehicles".to_owned(),
///     order: Some("-speed".to_owned()),
///     limit: Some(1),
///     ..NamedView::default()
/// };
/// let views = NamedViews::new(&[fastest], &Limits::default())?;
/// let api = Api::new(Options { views, ..Options::default() });
/// api.put("/vehicles", &json!({ "1": { "speed": 62 }, "2": { "speed": 20 } })).await?;
/// let fastest: Option<BTreeMap<String, serde_json::Value>> = api.get("/fastest")?;
/// assert_eq!(fastest.unwrap().into_keys().collect::<Vec<_>>(), ["1"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct NamedViews(Arc<BTreeMap<Names, Named>>);

/// The names of a path.
type Names = Box<[Box<str>]>;

#[derive(Debug)]
struct Named {
    from: Path,
    wanted: Wanted,
}

/// Error of a named view that there cannot be.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the view {path}: {why}")]
pub struct NamedViewError {
    /// The place of the view among those given, from 0.
    pub place: usize,
    /// The path that it was to have.
    pub path: String,
    /// The setting that is wrong, as configuration spells it.
    pub setting: &'static str,
    /// The reason, with the column where a text is wrong.
    pub why: String,
}

impl NamedViews {
    /// Reads views. None may be at or beneath another, or be a view of another.
    pub fn new(views: &[NamedView], limits: &Limits) -> Result<NamedViews, NamedViewError> {
        let mut named = NamedViews::default();
        for (place, view) in views.iter().enumerate() {
            let (path, view) = named.read(view, limits).map_err(|wrong| wrong.of(place, view))?;
            Arc::get_mut(&mut named.0).expect("nobody else has it").insert(path, view);
        }
        for (place, view) in views.iter().enumerate() {
            let from = Path::parse(&view.from, limits).expect("it was read above");
            if let Some((names, other)) = named.above(from.segments()) {
                let rest = &from.segments()[names.len()..];
                return Err(Wrong("from", of_another(names, other, rest)).of(place, view));
            }
        }
        Ok(named)
    }

    fn read(&self, view: &NamedView, limits: &Limits) -> Result<(Names, Named), Wrong> {
        let parse = |name: &'static str, text: &str| {
            Path::parse(text, limits).map_err(|error| Wrong(name, format!("'{name}': {error}")))
        };
        let path = parse("path", &view.path)?;
        let from = parse("from", &view.from)?;
        if path.is_root() || own_name(&path).is_some() {
            return Err(Wrong(
                "path",
                "'path': the root, and names that begin with '_' there, are the server's own"
                    .to_owned(),
            ));
        }
        if own_name(&from).is_some_and(|name| name != OWN) {
            return Err(Wrong("from", format!("'from': there is no resource at {from}")));
        }
        let mut others = self.0.keys();
        let near = |other: &&Names| {
            other.starts_with(path.segments()) || path.segments().starts_with(other)
        };
        if let Some(other) = others.find(near) {
            return Err(Wrong(
                "path",
                format!("'path': there is a view at {} already", url(other)),
            ));
        }
        Ok((path.segments().into(), Named { from, wanted: wanted(view, limits)? }))
    }

    /// The view at a path, or above it. No view is beneath another, so it is the last one that does
    /// not come after the path.
    fn above(&self, path: &[Box<str>]) -> Option<(&Names, &Named)> {
        let upto = (Bound::Unbounded, Bound::Included(path));
        self.0.range::<[Box<str>], _>(upto).next_back().filter(|(names, _)| path.starts_with(names))
    }

    /// A reader's request at a path, in terms of the tree.
    pub(super) fn resolve<'s>(
        &self,
        path: Path,
        shape: &'s Shape,
    ) -> Result<(Path, Cow<'s, Shape>), Problem> {
        let Some((names, named)) = self.above(path.segments()) else {
            return Ok((path, Cow::Borrowed(shape)));
        };
        let from = &named.from;
        let rest = &path.segments()[names.len()..];
        if !rest.is_empty() {
            let instead = beneath(from, rest);
            let detail = format!("nothing is beneath {}, a view of {from}", url(names));
            return Err(Problem::new(Kind::NotFound, detail).hint(format!("read {instead}")));
        }
        let shape = shape.of_named(&named.wanted).map_err(|name| {
            let detail = format!("'{name}' cannot be asked of {path}, a view of {from} already");
            Problem::new(Kind::BadView, detail)
                .hint(format!("ask it of {from}; a 'where' can be added, before order and limit"))
        })?;
        Ok((from.clone(), Cow::Owned(shape)))
    }

    /// Checks that a path is not that of a view, or beneath one.
    pub(super) fn may_write(&self, path: &Path) -> Result<(), Problem> {
        let Some((names, Named { from, .. })) = self.above(path.segments()) else { return Ok(()) };
        let detail = format!("{} is a view: nothing can be written at {path}", url(names));
        let hint = match &path.segments()[names.len()..] {
            // A write to the resource itself would replace all its members.
            [] => format!("write to the members of {from}"),
            rest => format!("write to {}", beneath(from, rest)),
        };
        Err(Problem::new(Kind::ReadOnly, detail).hint(hint))
    }

    /// The paths at which there are views.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.0.keys().map(|names| path_of(names))
    }

    /// All views by their paths, each told by the path that it is of and, behind a `?`, what it
    /// shows of that.
    pub(crate) fn told(&self) -> BTreeMap<String, String> {
        let told = |(names, Named { from, wanted }): (&Names, &Named)| {
            let view = View::new(wanted.clone()).map(|view| format!("?{}", view.text()));
            (url(names), format!("{from}{}", view.unwrap_or_default()))
        };
        self.0.iter().map(told).collect()
    }
}

/// A setter of a part of a shape.
type Set = fn(&mut Shape, &str, &Limits) -> Result<(), Problem>;

/// The members that a view is to show.
fn wanted(view: &NamedView, limits: &Limits) -> Result<Wanted, Wrong> {
    let mut shape = Shape::default();
    let texts: [(_, _, Set); 3] = [
        ("where", &view.condition, Shape::filter),
        ("select", &view.select, Shape::select),
        ("order", &view.order, Shape::order),
    ];
    for (name, text, set) in texts {
        let Some(text) = text else { continue };
        set(&mut shape, text, limits).map_err(|problem| Wrong(name, problem.in_words()))?;
    }
    if let Some(members) = view.limit {
        shape.limit(members, limits).map_err(|problem| Wrong("limit", problem.in_words()))?;
    }
    if view.count {
        shape.count();
    }
    // A reader may have `as=list` without a limit; a view of the configuration is no list.
    if shape.wanted().order.is_some() && view.limit.is_none() && !view.count {
        let why = "'order' without 'limit': say how many are wanted, such as limit = 20";
        return Err(Wrong("order", why.to_owned()));
    }
    shape.extent().map_err(|problem| Wrong("path", problem.in_words()))?;
    Ok(shape.wanted().clone())
}

/// A setting that is wrong, and the reason.
struct Wrong(&'static str, String);

impl Wrong {
    fn of(self, place: usize, view: &NamedView) -> NamedViewError {
        let Wrong(setting, why) = self;
        NamedViewError { place, path: view.path.clone(), setting, why }
    }
}

/// The reason why what a view is of cannot be another view, at these names.
fn of_another(names: &Names, other: &Named, rest: &[Box<str>]) -> String {
    let from = beneath(&other.from, rest);
    match other.from.segments().starts_with(names) {
        true => format!("the view at {} cannot be of what it hides", url(names)),
        false => {
            format!("a view cannot be of another view, {}: write from = \"{from}\"", url(names))
        }
    }
}

/// The path of what is beneath another.
fn beneath(path: &Path, names: &[Box<str>]) -> Path {
    names.iter().fold(path.clone(), |path, name| path.child(name))
}

fn path_of(names: &[Box<str>]) -> Path {
    beneath(&Path::ROOT, names)
}

/// Names as a path in a URL.
fn url(names: &[Box<str>]) -> String {
    path_of(names).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(path: &str, from: &str) -> NamedView {
        NamedView { path: path.to_owned(), from: from.to_owned(), ..NamedView::default() }
    }

    #[test]
    fn a_view_that_cannot_be_is_refused_with_its_setting() {
        // PROTOCOL Q16
        let text = |text: &str| Some(text.to_owned());
        let top = view("/top", "/v");
        for (views, setting, says) in [
            (vec![view("top", "/v")], "path", "begins with '/'"),
            (vec![view("/", "/v")], "path", "the root"),
            (vec![view("/_top", "/v")], "path", "the server's own"),
            (vec![view("/top", "/_health")], "from", "no resource at /_health"),
            (vec![view("/top", "/v?a")], "from", "'?'"),
            (vec![top.clone(), view("/top/", "/w")], "path", "a view at /top already"),
            (vec![top.clone(), view("/top/x", "/w")], "path", "a view at /top already"),
            (vec![view("/a/b", "/w"), view("/a", "/w")], "path", "a view at /a/b already"),
            (vec![view("/a", "/top"), top.clone()], "from", "view, /top: write from = \"/v\""),
            (vec![view("/a", "/top/1"), top.clone()], "from", "write from = \"/v/1\""),
            (vec![view("/a", "/a/b")], "from", "the view at /a cannot be of what it hides"),
            (vec![NamedView { condition: text("n >"), ..top.clone() }], "where", "column 4"),
            (vec![NamedView { select: text("a b"), ..top.clone() }], "select", "column 3"),
            (vec![NamedView { order: text("-"), ..top.clone() }], "order", "column 2"),
            (vec![NamedView { order: text("-n"), ..top.clone() }], "order", "limit = 20"),
            (vec![NamedView { limit: Some(0), ..top.clone() }], "limit", "at least 1"),
            (vec![NamedView { limit: Some(1001), ..top.clone() }], "limit", "at most 1000"),
            (vec![NamedView { limit: Some(1), count: true, ..top.clone() }], "path", "'limit'"),
        ] {
            let error = NamedViews::new(&views, &Limits::default()).unwrap_err();
            assert_eq!(error.setting, setting, "{error}");
            assert_eq!(error.path, views[error.place].path, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        let views = [top, view("/topmost", "/v"), view("/v/top", "/v"), view("/own", "/_server")];
        assert_eq!(NamedViews::new(&views, &Limits::default()).unwrap().paths().count(), 4);
    }

    #[test]
    fn a_path_is_of_the_view_above_it_and_of_no_other() {
        let views = [view("/b", "/v"), view("/b!", "/v"), view("/c/d", "/v")];
        let views = NamedViews::new(&views, &Limits::default()).unwrap();
        for (path, above) in [
            ("/", None),
            ("/a", None),
            ("/b", Some("/b")),
            ("/b/x", Some("/b")),
            ("/b/~/y", Some("/b")),
            ("/b!/y", Some("/b!")),
            ("/b0", None),
            ("/c", None),
            ("/c/d/e", Some("/c/d")),
            ("/c/e", None),
            ("/d", None),
        ] {
            let path = Path::parse(path, &Limits::default()).unwrap();
            let found = views.above(path.segments()).map(|(names, _)| url(names));
            assert_eq!(found.as_deref(), above, "{path}");
        }
    }
}
