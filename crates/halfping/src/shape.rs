//! Shapes, which readers ask for: one table of parameters, for the query string and for commands of
//! sessions.

use std::sync::Arc;

use halfping_engine::{Limits, Path, Priority, Scope, View, Wanted, Watch};
use halfping_shape::{Bounds, Condition, Order, Selection, ShapeError, ShapeErrorKind};

use crate::auth::Sight;
use crate::hint::shorten;
use crate::problem::{Kind, Problem};
use crate::tag::{self, Given};

/// Milliseconds beyond which a pause makes no difference: a year.
const INTERVAL_MS_MAX: f64 = 365.0 * 24.0 * 3_600_000.0;
/// Updates a second above which a limit makes no difference: clocks here count milliseconds.
const RATE_MAX: f64 = 1000.0;

/// The shape in which a resource is told.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Shape {
    /// Levels of objects to show; `None` for all.
    depth: Option<u32>,
    wanted: Wanted,
    /// The cursor that the reader has. One that cannot be read is as good as none (PROTOCOL C4).
    pub(crate) since: Option<Given>,
    /// The least time between two frames of a link; 0 for none.
    interval_ms: u64,
    /// True for whole values only.
    pub(crate) whole: bool,
    priority: Priority,
}

/// The part of a value that is read once.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Extent {
    /// Levels of objects to show.
    pub(crate) depth: u32,
    pub(crate) view: Option<Arc<View>>,
    /// The path that was asked for, if what is read is a part of another.
    pub(crate) asked: Option<Path>,
}

/// One parameter of a shape.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// Description of its valid values, for errors.
    pub(crate) is: &'static str,
    /// The JSON value that it is in a command. Its text is read as that of a query is.
    pub(crate) json: Json,
    /// True if it shapes an answer that is sent once, too.
    pub(crate) of_plain: bool,
    /// True if it ranks a link among others of its session.
    pub(crate) of_sessions: bool,
    /// Reads the value.
    set: fn(&mut Shape, &str, &Limits) -> Result<(), Wrong>,
}

/// The fault of a parameter's value.
pub(crate) enum Wrong {
    /// It is not what the parameter is.
    Value,
    /// It is no view, for this reason.
    View(Problem),
}

/// The JSON value that a parameter is in a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Json {
    Number,
    Boolean,
    String,
}

/// All parameters. A new one is added here, and to PROTOCOL.
pub(crate) const PARAMETERS: [Parameter; 11] = [
    Parameter {
        name: "depth",
        is: "a number of levels",
        json: Json::Number,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, _| {
            shape.depth = Some(text.parse().map_err(|_| Wrong::Value)?);
            Ok(())
        },
    },
    Parameter {
        name: "select",
        is: "names of members, a string",
        json: Json::String,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, limits| shape.select(text, limits).map_err(Wrong::View),
    },
    Parameter {
        name: "where",
        is: "a condition, a string",
        json: Json::String,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, limits| shape.filter(text, limits).map_err(Wrong::View),
    },
    Parameter {
        name: "order",
        is: "names of members, a string",
        json: Json::String,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, limits| shape.order(text, limits).map_err(Wrong::View),
    },
    Parameter {
        name: "limit",
        is: "a number of members",
        json: Json::Number,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, limits| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // A number that is too large to count is too large.
            let members = is_number.then(|| text.parse().unwrap_or(usize::MAX));
            shape.limit(members.ok_or(Wrong::Value)?, limits).map_err(Wrong::View)
        },
    },
    Parameter {
        name: "count",
        is: "true or false",
        json: Json::Boolean,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, _| {
            shape.wanted.count = flag(text, true).ok_or(Wrong::Value)?;
            Ok(())
        },
    },
    Parameter {
        name: "as",
        is: "list, a string",
        json: Json::String,
        of_plain: true,
        of_sessions: false,
        set: |shape, text, _| {
            shape.wanted.list = text == "list";
            let detail = || format!("'as' is list, not {:?}", shorten(text));
            let is_list = shape.wanted.list.then_some(());
            is_list.ok_or_else(|| Wrong::View(Problem::new(Kind::BadView, detail())))
        },
    },
    Parameter {
        name: "since",
        is: "a cursor, a string",
        json: Json::String,
        of_plain: false,
        of_sessions: false,
        set: |shape, text, _| {
            shape.since = tag::cursor(text);
            Ok(())
        },
    },
    Parameter {
        name: "rate",
        is: "a positive number of updates a second",
        json: Json::Number,
        of_plain: false,
        of_sessions: false,
        set: |shape, text, _| {
            let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && rate.is_finite());
            let rate = rate.ok_or(Wrong::Value)?.min(RATE_MAX);
            shape.interval_ms = (1000.0 / rate).round().min(INTERVAL_MS_MAX) as u64;
            Ok(())
        },
    },
    Parameter {
        name: "delta",
        is: "true or false",
        json: Json::Boolean,
        of_plain: false,
        of_sessions: false,
        set: |shape, text, _| {
            shape.whole = !flag(text, true).ok_or(Wrong::Value)?;
            Ok(())
        },
    },
    Parameter {
        name: "priority",
        is: "a number from 0 to 3",
        json: Json::Number,
        of_plain: false,
        of_sessions: true,
        set: |shape, text, _| {
            shape.priority = text.parse().ok().and_then(Priority::new).ok_or(Wrong::Value)?;
            Ok(())
        },
    },
];

/// A flag as a query spells it, where its name alone stands for `when_empty`.
pub(crate) fn flag(text: &str, when_empty: bool) -> Option<bool> {
    match text {
        "" => Some(when_empty),
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

impl Parameter {
    /// The parameter of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Parameter> {
        PARAMETERS.iter().find(|parameter| parameter.name == name)
    }

    /// Reads a value into a shape.
    pub(crate) fn set(&self, shape: &mut Shape, text: &str, limits: &Limits) -> Result<(), Wrong> {
        (self.set)(shape, text, limits)
    }
}

impl Shape {
    /// Shows only members of which a condition is true, besides what it asks of them already. An
    /// empty text is no condition (PROTOCOL Q9c).
    pub(crate) fn filter(&mut self, text: &str, limits: &Limits) -> Result<(), Problem> {
        if text.is_empty() {
            return Ok(());
        }
        let condition = Condition::parse(text, &bounds(limits));
        let condition = condition.map_err(|error| not_a_view("where", &error))?;
        self.wanted.condition = Some(match self.wanted.condition.take() {
            Some(before) => before.and(condition),
            None => condition,
        });
        Ok(())
    }

    /// Shows only these parts; all, if the text is empty.
    pub(crate) fn select(&mut self, text: &str, limits: &Limits) -> Result<(), Problem> {
        if text.is_empty() {
            return Ok(());
        }
        let selection = Selection::parse(text, &bounds(limits));
        self.wanted.selection = Some(selection.map_err(|error| not_a_view("select", &error))?);
        Ok(())
    }

    /// Puts the members in this order; in none, if the text is empty.
    pub(crate) fn order(&mut self, text: &str, limits: &Limits) -> Result<(), Problem> {
        if text.is_empty() {
            return Ok(());
        }
        let order = Order::parse(text, &bounds(limits));
        self.wanted.order = Some(order.map_err(|error| not_a_view("order", &error))?);
        Ok(())
    }

    /// Shows only so many members, the first in order.
    pub(crate) fn limit(&mut self, members: usize, limits: &Limits) -> Result<(), Problem> {
        let max = limits.window_members;
        match members {
            0 => return Err(Problem::new(Kind::BadView, "'limit' is at least 1")),
            _ if members > max => {
                let detail = "too many members of 'limit'";
                return Err(Problem::limit(Kind::BadView, "window_members", max, detail));
            }
            _ => self.wanted.limit = Some(members),
        }
        Ok(())
    }

    /// Shows the number of members in their place.
    pub(crate) fn count(&mut self) {
        self.wanted.count = true;
    }

    /// Shows an array of names and members, in order.
    pub(crate) fn list(&mut self) {
        self.wanted.list = true;
    }

    /// The part of a resource that it shows.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The parameters among these that are given, in this order.
    fn given<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> impl Iterator<Item = &'static str> + Clone {
        let Wanted { condition, selection, order, limit, count, list, .. } = &self.wanted;
        let is_given = move |name: &&str| match *name {
            "where" => condition.is_some(),
            "select" => selection.is_some(),
            "order" => order.is_some(),
            "limit" => limit.is_some(),
            "count" => *count,
            "as" => *list,
            _ => false,
        };
        names.into_iter().filter(is_given)
    }

    /// This shape of what a named view shows: members have to fulfil both conditions. The error is
    /// the parameter that the named view leaves no room for.
    pub(crate) fn of_named(&self, named: &Wanted) -> Result<Shape, &'static str> {
        if let Some(name) = self.given(["select", "order", "limit", "count"]).next() {
            return Err(name);
        }
        let condition = match (named.condition.clone(), self.wanted.condition.clone()) {
            (Some(named), Some(own)) => Some(named.and(own)),
            (named, own) => named.or(own),
        };
        let wanted = Wanted { condition, list: self.wanted.list, ..named.clone() };
        Ok(Shape { wanted, ..self.clone() })
    }

    /// This shape of what may be seen. The error is the parameter that cannot be asked of it.
    pub(crate) fn in_sight(&self, sight: Sight) -> Result<Shape, &'static str> {
        let own = &self.wanted;
        let wanted = match sight.only_condition() {
            // A view of the members that may be seen, as any other.
            Some(seen) if *own != Wanted::default() || !sight.shows_itself() => {
                // Also one that is always true: a value that has no members has none in sight.
                let condition = match own.condition.clone() {
                    Some(own) => Some(own.and(seen)),
                    None => Some(seen),
                };
                Wanted { condition, scope: Some(Scope::All), ..own.clone() }
            }
            _ => {
                if let Some(name) =
                    self.given(["where", "select", "order", "limit", "count", "as"]).next()
                {
                    return Err(name);
                }
                let Sight { of, condition, scope, .. } = sight;
                Wanted { of, condition, scope: Some(scope), ..Wanted::default() }
            }
        };
        Ok(Shape { wanted, ..self.clone() })
    }

    /// Checks that its parts go with each other, in whatever order they came. `has_deltas`: it is
    /// told what changes.
    fn agree(&self, has_deltas: bool) -> Result<(), Problem> {
        let Wanted { selection, order, limit, count, list, .. } = &self.wanted;
        let is_of_resource = selection.as_ref().is_some_and(Selection::is_of_resource);
        let mut of_members = self.given(["where", "count", "order", "limit", "as"]);
        if is_of_resource && let Some(name) = of_members.clone().next() {
            let detail = format!(
                "'{name}' is about members of the resource, 'select' with slashes about itself"
            );
            return Err(Problem::new(Kind::BadView, detail)
                .hint("leave out the slashes to select parts of each member"));
        }
        let of_list = of_members.find(|name| !["where", "count"].contains(name));
        if *count && let Some(name) = of_list.or(selection.as_ref().map(|_| "select")) {
            let detail = format!("'count' is a number, to which '{name}' makes no difference");
            return Err(Problem::new(Kind::BadView, detail)
                .hint(format!("leave out '{name}'; 'where' says what is counted")));
        }
        if order.is_some() && limit.is_none() && !list {
            let detail = "'order' without 'limit': members of an object are in no order";
            return Err(Problem::new(Kind::BadView, detail)
                .hint("say how many are wanted, such as limit=20, or read them with as=list"));
        }
        if *list && has_deltas {
            let detail = "'as=list' is an array, which is told whole, and these are deltas";
            return Err(Problem::new(Kind::BadView, detail).hint("add delta=false"));
        }
        Ok(())
    }

    /// The part of a value that is read once in this shape.
    pub(crate) fn extent(&self) -> Result<Extent, Problem> {
        self.agree(false)?;
        Ok(self.part())
    }

    /// A link to a resource in this shape, which begins anew.
    pub(crate) fn watch(&self, path: Path) -> Result<Watch, Problem> {
        self.agree(!self.whole)?;
        let Extent { depth, view, .. } = self.part();
        Ok(Watch {
            view,
            depth,
            whole: self.whole,
            interval_ms: self.interval_ms,
            priority: self.priority,
            ..Watch::new(path)
        })
    }

    fn part(&self) -> Extent {
        let view = View::new(self.wanted.clone()).map(Arc::new);
        Extent { depth: self.depth.unwrap_or(u32::MAX), view, asked: None }
    }
}

impl Extent {
    /// All of a value.
    pub(crate) const ALL: Extent = Extent { depth: u32::MAX, view: None, asked: None };

    pub(crate) fn is_all(&self) -> bool {
        *self == Extent::ALL
    }

    /// True if it is the part of something that its reader may see: then what else is there is
    /// nothing to the reader.
    pub(crate) fn is_in_sight(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_in_sight())
    }

    /// The path as it was asked for, where this is read.
    pub(crate) fn asked<'p>(&'p self, path: &'p Path) -> &'p Path {
        self.asked.as_ref().unwrap_or(path)
    }
}

/// The bounds of what a reader may ask for.
fn bounds(limits: &Limits) -> Bounds {
    Bounds { text_bytes: limits.view_text_bytes, ..Bounds::default() }
}

/// The problem of a text that is no condition or selection.
fn not_a_view(name: &str, error: &ShapeError) -> Problem {
    match error.kind {
        ShapeErrorKind::TooLong(max) => {
            let detail = format!("too many bytes of '{name}'");
            Problem::limit(Kind::BadView, "view_text_bytes", max, detail)
        }
        _ => Problem::new(Kind::BadView, format!("'{name}', {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(pairs: &[(&str, &str)]) -> Result<Shape, Option<Problem>> {
        let mut shape = Shape::default();
        for (name, text) in pairs {
            let parameter = Parameter::named(name).expect("a parameter");
            let done = parameter.set(&mut shape, text, &Limits::default());
            done.map_err(|wrong| match wrong {
                Wrong::Value => None,
                Wrong::View(problem) => Some(problem),
            })?;
        }
        Ok(shape)
    }

    /// A link in a shape; else why it is no view.
    fn watched(pairs: &[(&str, &str)]) -> Result<Watch, String> {
        let problem = |problem: Problem| {
            assert_eq!(problem.kind(), Kind::BadView, "{pairs:?}");
            String::from_utf8(problem.to_json()).unwrap()
        };
        let shape = shaped(pairs).map_err(|wrong| problem(wrong.expect("values of their kind")))?;
        shape.watch(Path::default()).map_err(problem)
    }

    #[test]
    fn each_parameter_reads_what_it_says_that_it_is() {
        let watch =
            watched(&[("depth", "2"), ("rate", "0.5"), ("delta", "false"), ("priority", "3")]);
        let watch = watch.unwrap();
        assert_eq!((watch.depth, watch.interval_ms, watch.whole), (2, 2000, true));
        assert_eq!(Some(watch.priority), Priority::new(3));
        for (name, text) in [
            ("depth", "x"),
            ("depth", "-1"),
            ("rate", "0"),
            ("rate", "-1"),
            ("rate", "NaN"),
            ("rate", "1e400"),
            ("delta", "maybe"),
            ("priority", "4"),
            ("limit", ""),
            ("limit", "x"),
            ("limit", "-1"),
            ("limit", "1.5"),
            ("count", "maybe"),
        ] {
            assert!(matches!(shaped(&[(name, text)]), Err(None)), "{name}={text}");
        }
    }

    #[test]
    fn parts_of_a_view_go_with_each_other_in_any_order() {
        // PROTOCOL Q11 to Q15
        let fits: &[(&[(&str, &str)], &str)] = &[
            (&[("order", "-speed,line"), ("limit", "20")], "limit=20&order=-speed,line"),
            (&[("limit", "1000")], "limit=1000"),
            (&[("count", ""), ("where", "a > 1")], "count&where=a > 1"),
            (&[("as", "list"), ("order", "a"), ("delta", "false")], "as=list&order=a"),
            (&[("count", "false"), ("limit", "2")], "limit=2"),
            (
                &[("select", "b"), ("order", "a"), ("limit", "2"), ("where", "a > 1")],
                "limit=2&order=a&select=a,b&where=a > 1",
            ),
        ];
        for (pairs, text) in fits {
            for turn in 0..pairs.len() {
                let mut pairs = pairs.to_vec();
                pairs.rotate_left(turn);
                let view = watched(&pairs).unwrap().view.expect("a view");
                assert_eq!(view.text(), *text, "{pairs:?}");
            }
        }
        let clashes: &[(&[(&str, &str)], &str)] = &[
            (&[("order", "-speed")], "limit=20"),
            (&[("as", "list")], "add delta=false"),
            (&[("as", "list"), ("order", "a"), ("limit", "2")], "add delta=false"),
            (&[("count", "true"), ("order", "a")], "leave out 'order'"),
            (&[("count", "true"), ("limit", "2")], "leave out 'limit'"),
            (&[("count", "true"), ("select", "a")], "leave out 'select'"),
            (&[("count", "true"), ("as", "list"), ("delta", "false")], "leave out 'as'"),
            (&[("select", "/a"), ("where", "a")], "'where' is about members"),
            (&[("select", "/a"), ("order", "a"), ("limit", "2")], "'order' is about members"),
            (&[("select", "/a"), ("limit", "2")], "'limit' is about members"),
            (&[("select", "/a"), ("count", "true")], "'count' is about members"),
            (&[("select", "/a"), ("as", "list"), ("delta", "false")], "'as' is about members"),
        ];
        for (pairs, says) in clashes {
            for turn in 0..pairs.len() {
                let mut pairs = pairs.to_vec();
                pairs.rotate_left(turn);
                let why = watched(&pairs).unwrap_err();
                assert!(why.contains(says), "{pairs:?}: {why}");
            }
        }
        for (name, text, says) in [
            ("order", "-", "'order', column 2: expected"),
            ("order", "a b", "'order', column 3: expected"),
            ("order", "a,b,c,d,e", "4 paths"),
            ("limit", "0", "at least 1"),
            ("limit", "1001", "window_members"),
            ("limit", "99999999999999999999999", "window_members"),
            ("as", "array", "list"),
            ("as", "", "list"),
        ] {
            let why = watched(&[(name, text)]).unwrap_err();
            assert!(why.contains(says), "{name}={text}: {why}");
        }
        // Once, an array is as good as an object.
        assert!(shaped(&[("as", "list")]).unwrap().extent().is_ok());
    }

    #[test]
    fn a_rate_has_ends_at_which_it_makes_no_difference() {
        let interval = |rate: &str| watched(&[("rate", rate)]).unwrap().interval_ms;
        assert_eq!(interval("1e9"), 1);
        assert_eq!(interval("1e-300"), INTERVAL_MS_MAX as u64);
    }

    #[test]
    fn a_cursor_that_cannot_be_read_is_as_good_as_none() {
        // PROTOCOL C4
        assert_eq!(shaped(&[("since", "x")]).unwrap(), Shape::default());
    }
}
