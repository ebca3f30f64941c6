//! Problems as PROTOCOL.md states them, read from it.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

/// The prefix of every problem's type (X1).
const TYPE: &str = "urn:halfping:problem:";

/// Each problem's status: the table of section 7.
fn statuses() -> &'static HashMap<String, u64> {
    static STATUSES: OnceLock<HashMap<String, u64>> = OnceLock::new();
    STATUSES.get_or_init(|| {
        let protocol = include_str!("../../PROTOCOL.md");
        let rows = protocol.lines().filter(|line| line.starts_with("| `"));
        let of_row = |row: &str| -> Vec<(String, u64)> {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let status = cells[2].parse().expect("a status");
            cells[1].split(", ").map(|name| (name.trim_matches('`').to_owned(), status)).collect()
        };
        rows.flat_map(of_row).collect()
    })
}

/// Checks a problem document (X1). Returns its name and status.
#[track_caller]
pub(crate) fn check_problem(document: &Value) -> (&str, u64) {
    let name = document["type"].as_str().and_then(|kind| kind.strip_prefix(TYPE));
    let name = name.unwrap_or_else(|| panic!("a problem has a type: {document}"));
    let status = statuses().get(name).unwrap_or_else(|| panic!("not in PROTOCOL.md: {document}"));
    assert_eq!(document["status"].as_u64(), Some(*status), "{document}");
    assert!(document["title"].is_string() && document["detail"].is_string(), "{document}");
    assert!(document.get("hint").is_none_or(Value::is_string), "{document}");
    let of_limit =
        (document.get("limit").map(Value::is_string), document.get("max").map(Value::is_u64));
    assert!(matches!(of_limit, (None, None) | (Some(true), Some(true))), "{document}");
    assert_ne!(*status, 500, "a bug of ours: {document}");
    (name, *status)
}
