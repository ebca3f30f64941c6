//! `--explain`: how many members have each name that a view reads. A misspelt name is no error: it
//! is absent.

use std::collections::BTreeSet;

use form_urlencoded::parse;
use halfping_client::{Client, RequestError};
use halfping_shape::{Bounds, Condition, Names, Order, Selected, Selection};
use serde_json::Value;

use crate::args::View;
use crate::config::nearest;
use crate::print::printable;
use crate::report::{Blame, Failure, tell};
use crate::target::Target;

/// Names from the top of a member.
type Path = Vec<Box<str>>;

/// Reads the collection once, and says on stderr how many of its members have what the view reads.
pub(crate) async fn explain(target: &Target, view: &View) -> Result<(), Failure> {
    let (place, query) = target.path.split_once('?').unwrap_or((&target.path, ""));
    // Options win over the query.
    let text = |name: &str, option: &Option<String>| {
        let of_query = || parse(query.as_bytes()).find(|(known, _)| known == name);
        let text = option.clone().or_else(|| Some(of_query()?.1.into_owned()));
        text.filter(|text| !text.is_empty())
    };
    let asked = Asked::read(
        text("where", &view.condition),
        text("select", &view.select),
        text("order", &view.order),
    )?;
    // What is beneath the longest path makes no difference.
    let above = usize::from(!asked.of_resource);
    let depth = asked.paths.iter().map(Vec::len).max().unwrap_or(0) + above;
    let client = target.client()?;
    if is_named_view(&client, place).await {
        tell(format_args!("{}", printable(&of_named_view(place))));
        return Ok(());
    }
    let cut = format!("{place}?depth={depth}");
    let reading = client.get(&cut).await.map_err(|e| Failure::request(target, e))?;
    let value: Value = serde_json::from_str(&reading.json)
        .map_err(|error| Failure::new(Blame::Peer, format!("{target}: no JSON: {error}")))?;
    for line in asked.lines(&value) {
        tell(format_args!("{}", printable(&line)));
    }
    Ok(())
}

/// Tells whether there is a view of the server's configuration at a path: such a one refuses a
/// `limit` of the reader's (PROTOCOL Q16a), which fits any other resource.
async fn is_named_view(client: &Client, place: &str) -> bool {
    match client.get(&format!("{place}?limit=1&depth=0")).await {
        Err(RequestError::Refused(refusal)) => refusal.problem.name() == Some("bad-view"),
        _ => false,
    }
}

/// The line for a named view: members of it lack what it does not select, and others are not in it.
fn of_named_view(place: &str) -> String {
    format!(
        "--explain cannot tell: {place} is a view of the server's configuration; \
         ask the resource that it is a view of"
    )
}

/// All that a view reads.
struct Asked {
    paths: BTreeSet<Path>,
    /// True if they are members of the resource itself.
    of_resource: bool,
}

impl Asked {
    fn read(
        condition: Option<String>,
        selection: Option<String>,
        order: Option<String>,
    ) -> Result<Asked, Failure> {
        // The server has bounds of its own, which it tells by itself.
        let bounds = &Bounds { text_bytes: 64 << 10, ..Bounds::default() };
        let wrong = |name: &str, error| Failure::new(Blame::Usage, format!("--{name}: {error}"));
        let mut paths = BTreeSet::new();
        if let Some(text) = condition {
            let condition = Condition::parse(&text, bounds).map_err(|e| wrong("where", e))?;
            paths.extend(condition.reads().into_iter().map(|path| path.names().to_vec()));
        }
        if let Some(text) = order {
            let order = Order::parse(&text, bounds).map_err(|e| wrong("order", e))?;
            paths.extend(order.paths().map(|path| path.names().to_vec()));
        }
        let mut of_resource = false;
        if let Some(text) = selection {
            let selection = Selection::parse(&text, bounds).map_err(|e| wrong("select", e))?;
            add(selection.top(), &[], &mut paths);
            of_resource = selection.is_of_resource();
        }
        match paths.is_empty() {
            true => Err(Failure::new(Blame::Usage, "--explain has no name to tell of")
                .hint("it tells of the names in --where, --select and --order")),
            false => Ok(Asked { paths, of_resource }),
        }
    }

    /// A line for each path.
    fn lines(&self, value: &Value) -> Vec<String> {
        let members: Vec<&Value> = match value {
            value if self.of_resource => vec![value],
            Value::Object(members) => members.values().collect(),
            _ => return vec!["the resource is no object: it has no members".to_owned()],
        };
        self.paths.iter().map(|path| self.line(path, &members)).collect()
    }

    fn line(&self, path: &Path, members: &[&Value]) -> String {
        let (had, all) = (follow(members, path).len(), members.len());
        let name = path.join(".");
        let count = match (self.of_resource, had) {
            (true, 0) => format!("{name}: is not there"),
            (true, _) => format!("{name}: is there"),
            (false, _) => format!("{name}: in {had} of {all} members"),
        };
        match meant(members, path) {
            Some(near) => format!("{count}; did you mean {near}?"),
            None => count,
        }
    }
}

/// The values at the end of a path, of some members.
fn follow<'v>(values: &[&'v Value], path: &[Box<str>]) -> Vec<&'v Value> {
    let end = |value: &'v Value| path.iter().try_fold(value, |at, name| at.get(&**name));
    values.iter().copied().filter_map(end).collect()
}

/// The path that was probably meant, with another name for the first that nobody has.
fn meant(members: &[&Value], path: &Path) -> Option<String> {
    let missing = (0..path.len()).find(|end| follow(members, &path[..=*end]).is_empty())?;
    let above = follow(members, &path[..missing]);
    let objects = above.iter().filter_map(|value| value.as_object());
    let names: BTreeSet<&str> = objects.flat_map(|object| object.keys()).map(|n| &**n).collect();
    let mut path: Vec<&str> = path.iter().map(|name| &**name).collect();
    path[missing] = nearest(path[missing], &Vec::from_iter(names))?;
    Some(path.join("."))
}

/// Adds the paths of a selection that are shown whole.
fn add(names: &Names, above: &[Box<str>], paths: &mut BTreeSet<Path>) {
    for (name, selected) in names.iter() {
        let path = [above, std::slice::from_ref(name)].concat();
        match selected {
            Selected::Part(names) => add(names, &path, paths),
            _ => drop(paths.insert(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(condition: &str, selection: &str, order: &str, value: &Value) -> Vec<String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Asked::read(text(condition), text(selection), text(order)).unwrap().lines(value)
    }

    #[test]
    fn a_name_that_no_member_has_is_told_with_the_one_that_was_probably_meant() {
        let fleet = json!({
            "a": { "speed": 1, "line": "U4", "driver": { "name": "Ada" } },
            "b": { "speed": 2 },
            "c": 7,
        });
        let said = lines("speeed > 1 && line == 'U4'", "driver(nam)", "-speed,xyzzy", &fleet);
        let expect = [
            "driver.nam: in 0 of 3 members; did you mean driver.name?",
            "line: in 1 of 3 members",
            "speed: in 2 of 3 members",
            "speeed: in 0 of 3 members; did you mean speed?",
            "xyzzy: in 0 of 3 members",
        ];
        assert_eq!(said, expect);
        let said = lines("", "/a/sped,/b", "", &fleet);
        assert_eq!(said, ["a.sped: is not there; did you mean a.speed?", "b: is there"]);
        assert_eq!(
            lines("n > 1", "", "", &json!(3)),
            ["the resource is no object: it has no members"]
        );
        assert_eq!(lines("n > 1", "", "", &json!({})), ["n: in 0 of 0 members"]);
    }

    #[test]
    fn what_reads_no_name_cannot_be_explained() {
        for condition in [None, Some("key() == 'a'".to_owned())] {
            assert!(Asked::read(condition, None, None).is_err());
        }
    }
}
