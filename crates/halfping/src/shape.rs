//! Shapes, which readers ask for: one table of parameters, for the query string and for commands of
//! sessions.

use halfping_engine::{Cursor, Path, Priority, Watch};

use crate::tag;

/// Milliseconds beyond which a pause makes no difference: a year.
const INTERVAL_MS_MAX: f64 = 365.0 * 24.0 * 3_600_000.0;
/// Updates a second above which a limit makes no difference: clocks here count milliseconds.
const RATE_MAX: f64 = 1000.0;

/// The shape in which a resource is told.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Shape {
    /// Levels of objects to show; `None` for all.
    depth: Option<u32>,
    /// The cursor that the reader has. One that cannot be read is as good as none (PROTOCOL C4).
    pub(crate) since: Option<Cursor>,
    /// The least time between two frames of a link; 0 for none.
    interval_ms: u64,
    /// True for whole values only.
    pub(crate) whole: bool,
    priority: Priority,
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
    /// Reads the value; `None` if it is not valid.
    set: fn(&mut Shape, &str) -> Option<()>,
}

/// The JSON value that a parameter is in a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Json {
    Number,
    Boolean,
    String,
}

/// All parameters. A new one is added here, and to PROTOCOL.
pub(crate) const PARAMETERS: [Parameter; 5] = [
    Parameter {
        name: "depth",
        is: "a number of levels",
        json: Json::Number,
        of_plain: true,
        of_sessions: false,
        set: |shape, text| {
            shape.depth = Some(text.parse().ok()?);
            Some(())
        },
    },
    Parameter {
        name: "since",
        is: "a cursor, a string",
        json: Json::String,
        of_plain: false,
        of_sessions: false,
        set: |shape, text| {
            shape.since = tag::cursor(text);
            Some(())
        },
    },
    Parameter {
        name: "rate",
        is: "a positive number of updates a second",
        json: Json::Number,
        of_plain: false,
        of_sessions: false,
        set: |shape, text| {
            let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && rate.is_finite())?;
            shape.interval_ms = (1000.0 / rate.min(RATE_MAX)).round().min(INTERVAL_MS_MAX) as u64;
            Some(())
        },
    },
    Parameter {
        name: "delta",
        is: "true or false",
        json: Json::Boolean,
        of_plain: false,
        of_sessions: false,
        set: |shape, text| {
            shape.whole = !flag(text, true)?;
            Some(())
        },
    },
    Parameter {
        name: "priority",
        is: "a number from 0 to 3",
        json: Json::Number,
        of_plain: false,
        of_sessions: true,
        set: |shape, text| {
            shape.priority = text.parse().ok().and_then(Priority::new)?;
            Some(())
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

    /// Reads a value into a shape; `None` if it is not valid.
    pub(crate) fn set(&self, shape: &mut Shape, text: &str) -> Option<()> {
        (self.set)(shape, text)
    }
}

impl Shape {
    /// Levels of objects to show.
    pub(crate) fn depth(&self) -> u32 {
        self.depth.unwrap_or(u32::MAX)
    }

    /// A link to a resource in this shape.
    pub(crate) fn watch(&self, path: Path) -> Watch {
        Watch {
            since: self.since,
            depth: self.depth(),
            whole: self.whole,
            interval_ms: self.interval_ms,
            priority: self.priority,
            ..Watch::new(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(pairs: &[(&str, &str)]) -> Option<Shape> {
        let mut shape = Shape::default();
        for (name, text) in pairs {
            Parameter::named(name).expect("a parameter").set(&mut shape, text)?;
        }
        Some(shape)
    }

    #[test]
    fn each_parameter_reads_what_it_says_that_it_is() {
        let shape =
            shaped(&[("depth", "2"), ("rate", "0.5"), ("delta", "false"), ("priority", "3")]);
        let watch = shape.expect("all are values").watch(Path::default());
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
        ] {
            assert_eq!(shaped(&[(name, text)]), None, "{name}={text}");
        }
    }

    #[test]
    fn a_rate_has_ends_at_which_it_makes_no_difference() {
        let interval = |rate: &str| shaped(&[("rate", rate)]).map(|shape| shape.interval_ms);
        assert_eq!(interval("1e9"), Some(1));
        assert_eq!(interval("1e-300"), Some(INTERVAL_MS_MAX as u64));
    }

    #[test]
    fn a_cursor_that_cannot_be_read_is_as_good_as_none() {
        // PROTOCOL C4
        assert_eq!(shaped(&[("since", "x")]), Some(Shape::default()));
    }
}
