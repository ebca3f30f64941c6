//! `halfping get`.

use std::io::{self, IsTerminal, Write};

use form_urlencoded::byte_serialize;

use crate::args::{Form, Get, View};
use crate::explain::explain;
use crate::print::{self, members, printable};
use crate::report::{Blame, Failure, tell};

pub(crate) async fn get(args: Get) -> Result<(), Failure> {
    let target = &args.url;
    let query = target.path.split_once('?').map_or("", |(_, query)| query);
    if query.split('&').any(|parameter| parameter.split('=').next() == Some("watch")) {
        return Err(Failure::new(
            Blame::Usage,
            format!("{target} is a stream, and get reads once"),
        )
        .hint(format!("halfping watch {target}")));
    }
    if args.view.explain {
        explain(target, &args.view).await?;
    }
    let View { condition, select, order, limit, count, form, .. } = &args.view;
    let shape = [
        ("depth", args.depth.map(|depth| depth.to_string())),
        ("where", condition.clone()),
        ("select", select.clone()),
        ("order", order.clone()),
        ("limit", limit.map(|members| members.to_string())),
        ("count", count.then(|| "true".to_owned())),
        ("as", form.map(|Form::List| "list".to_owned())),
    ];
    let mut path = target.path.clone();
    for (name, value) in shape.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let mark = if path.contains('?') { '&' } else { '?' };
        let value: String = byte_serialize(value.as_bytes()).collect();
        path.push_str(&format!("{mark}{name}={value}"));
    }
    let reading =
        target.client()?.get(&path).await.map_err(|error| Failure::request(target, error))?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(print::json(&reading.json, stdout.is_terminal()).as_bytes())?;
    if !reading.json.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()?;
    // Paths with slashes, of which it tells, go with none of these.
    let is_alone =
        args.depth.is_none() && condition.is_none() && order.is_none() && limit.is_none();
    if is_alone
        && let Some(names) = select.as_deref()
        && let Some(hint) = hint(names, &reading.json)
    {
        tell(format_args!("hint: {}", printable(&hint)));
    }
    Ok(())
}

/// The hint where names without slashes have selected nothing: they may have been meant as members
/// of the resource itself.
fn hint(names: &str, shown: &str) -> Option<String> {
    let members = members(shown);
    let has_shown_one = members.iter().any(|(_, member)| !self::members(member.get()).is_empty());
    if names.is_empty() || names.starts_with('/') || members.is_empty() || has_shown_one {
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.,".contains(c);
    let meant = match names.chars().all(is_plain) {
        true => format!("/{}", names.replace('.', "/").replace(',', ",/")),
        false => "/NAME,/NAME".to_owned(),
    };
    Some(format!(
        "no member shown has any of `{names}` in it; for members of the resource itself: \
         --select {meant}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_that_has_shown_nothing_is_told_of_slashes() {
        let flat = r#"{"route":"26","position":{},"tags":[{"status":1}]}"#;
        for (names, meant) in [
            ("status", "--select /status"),
            ("status,position.lat", "--select /status,/position/lat"),
            ("position(lat)", "--select /NAME,/NAME"),
        ] {
            let hint = hint(names, flat).expect(names);
            assert!(hint.contains(names) && hint.ends_with(meant), "{hint}");
        }
        for (names, shown) in [
            ("status", r#"{"a":{"status":1},"b":{}}"#),
            ("/status", flat),
            ("", flat),
            ("status", "{}"),
            ("status", "7"),
        ] {
            assert_eq!(hint(names, shown), None, "{names} {shown}");
        }
    }
}
