//! States that clients mean by the `ETag` of a part that they were shown.
//!
//! Such an `ETag` is one of the part's text and names no state (PROTOCOL I28b). So the part is read
//! again, and if it is still what the client was shown, its state now is the one that is meant.

use std::sync::Arc;

use halfping_engine::{Condition, States};

use crate::access::Writable;
use crate::connection::Connection;
use crate::hub::Shared;
use crate::problem::Problem;
use crate::room;
use crate::tag::Given;

/// The condition of a write, with the state that the client means by one of these tags. The engine
/// checks, together with the write, that the resource is still in it.
pub(crate) async fn meant(
    shared: &Arc<Shared>,
    connection: &Connection,
    path: &Writable,
    mut condition: Condition,
    tags: &[Given],
) -> Result<Condition, Problem> {
    let Some(States::These(cursors)) = &mut condition.is else { return Ok(condition) };
    if tags.is_empty() {
        return Ok(condition);
    }
    let Some((reader, path, extent)) = path.shown_in_part() else { return Ok(condition) };
    let (reading, _room) = room::read(shared, connection, &path, &extent, None).await?;
    let value = reading.value.as_deref();
    if tags.contains(&reader.give_shown(&path, &extent, reading.cursor(), value)) {
        cursors.push(reading.cursor());
    }
    Ok(condition)
}
