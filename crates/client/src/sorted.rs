//! The order of members that a server and all its readers agree on.

use halfping_shape::{Bounds, Order, ShapeError};
use serde_json::Value;

/// A text that is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the order {order:?} cannot be read: {why}")]
pub struct OrderError {
    /// The text.
    pub order: String,
    why: ShapeError,
}

/// The members of an object with their names, in an order, such as `-speed,driver.name`: what the
/// server gives as `as=list` (Q15). Empty text is by name. What is no object has no members.
///
/// Absent values come before `null`, `false`, `true`, numbers, strings (by code point, as far as
/// their first 256 go), arrays and objects; `-` turns all of this round. What is equal then, or has
/// no order, comes by name. An odd name in an order stands between backticks.
///
/// ```
/// use halfping_client::sorted;
/// use serde_json::json;
///
/// let vehicles = json!({"a": {"speed": 3}, "b": {"speed": 20.5}, "c": {"speed": 3}});
/// let names: Vec<&str> = sorted(&vehicles, "-speed")?.iter().map(|(name, _)| *name).collect();
/// assert_eq!(names, ["b", "a", "c"]);
/// # Ok::<(), halfping_client::OrderError>(())
/// ```
pub fn sorted<'v>(
    value: impl Into<Option<&'v Value>>,
    order: &str,
) -> Result<Vec<(&'v str, &'v Value)>, OrderError> {
    let order = match order {
        "" => Order::by_name(),
        text => Order::parse(text, &Bounds::default())
            .map_err(|why| OrderError { order: text.to_owned(), why })?,
    };
    let members = value.into().and_then(Value::as_object).into_iter().flatten();
    let mut members: Vec<_> = members.map(|(name, member)| (name.as_str(), member)).collect();
    members.sort_by(|one, other| order.compare(*one, *other));
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_that_of_all_clients() {
        let text = include_str!("../../../conformance/order/cases.json");
        let document: Value = serde_json::from_str(text).unwrap();
        let cases = document["cases"].as_array().unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let order = case["order"].as_str().unwrap_or_default();
            let members = sorted(&case["members"], order).unwrap();
            let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
            assert_eq!(Value::from(names), case["sorted"], "{}", case["about"]);
            assert!(members.iter().all(|(name, member)| *member == &case["members"][*name]));
        }
    }

    #[test]
    fn what_is_no_object_has_no_members_and_what_is_no_order_is_refused() {
        assert_eq!(sorted(None, "a").unwrap(), []);
        assert_eq!(sorted(&Value::from(vec![1, 2]), "a").unwrap(), []);
        let error = sorted(None, "-speed,,line").unwrap_err();
        assert_eq!(error.order, "-speed,,line");
        assert!(
            error.to_string().starts_with(
                "the order \"-speed,,line\" cannot be read: column 8: expected the name"
            ),
            "{error}"
        );
    }
}
