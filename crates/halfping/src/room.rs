//! Room for bodies of requests and for answers, held until a client has sent or taken all of it
//! (invariant A9).
//!
//! Code that holds bytes for a client holds room for them, of its connection's share and of the
//! server's. There is room again when the bytes are dropped, wherever they are by then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use halfping_engine::{Path, Reading};
use http::request::Parts;
use http::{HeaderMap, Request, header};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::access::Allowed;
use crate::budget::{Budget, KEPT_BYTES, SMALL_BYTES, UNIT, units};
use crate::connection::Connection;
use crate::hub::Shared;
use crate::problem::Problem;
use crate::shape::Extent;

/// Checks for wanted room: the numbers of times that others were left without, at the look before.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Option<[u64; 4]>);

/// Room that somebody has; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
    /// True if it is part of the room for small answers and bodies.
    is_small: bool,
}

/// Room for the head of a request over HTTP/2, for as long as any of that is kept.
#[derive(Clone, Debug)]
pub(crate) struct HeadRoom(Arc<Mutex<HeadPermits>>);

#[derive(Debug)]
struct HeadPermits {
    own: OwnedSemaphorePermit,
    /// Room of all connections; `None` while the connection holds little.
    all: Option<OwnedSemaphorePermit>,
    /// Bytes that are left without the headers.
    without_headers: usize,
}

/// Bytes that a request is counted as besides its head.
const REQUEST_BYTES: usize = 2 << 10;
/// Bytes that one header takes in memory besides its name and its value, and its place in the
/// table's index.
const HEADER_BYTES: usize = 128;

impl Wanted {
    /// Tells whether room of this connection was wanted since the look before: large room, and
    /// small.
    pub(crate) fn look(&mut self, shared: &Shared, connection: &Connection) -> [bool; 2] {
        let [own_large, own_small] =
            [false, true].map(|is_small| &connection.share(is_small).budget);
        let budgets = [own_large, shared.budget_of(false), own_small, shared.budget_of(true)];
        let now = budgets.map(Budget::denied);
        let before = self.0.replace(now).unwrap_or(now);
        [0, 2].map(|which| now[which..which + 2] != before[which..which + 2])
    }
}

impl HeadRoom {
    /// Room for the head of a request, if there is any now: until it has its turn, the head is in
    /// memory.
    pub(crate) fn try_reserve<B>(
        shared: &Shared,
        connection: &Connection,
        request: &Request<B>,
    ) -> Result<HeadRoom, Problem> {
        let headers = request.headers();
        let texts: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let places = headers.capacity().max(headers.len());
        let bytes = REQUEST_BYTES + HEADER_BYTES * places + texts + target;
        let heads = connection.heads();
        let own = heads.try_take(bytes)?;
        let is_kept = heads.taken() <= KEPT_BYTES;
        let all = (!is_kept).then(|| shared.heads_budget.try_take(bytes)).transpose()?;
        // A later answer needs the origin that it is for, and the state that the client has.
        let known = [header::ORIGIN, header::IF_NONE_MATCH];
        let known = known.iter().flat_map(|name| headers.get_all(name));
        let known: usize = known.map(http::HeaderValue::len).sum();
        let without_headers = REQUEST_BYTES + known + target;
        Ok(HeadRoom(Arc::new(Mutex::new(HeadPermits { own, all, without_headers }))))
    }

    /// Drops the headers of a request that is going to wait for long, and gives back their room.
    pub(crate) fn drop_headers(request: &mut Parts) {
        request.headers = HeaderMap::new();
        if let Some(HeadRoom(permits)) = request.extensions.get::<HeadRoom>() {
            let permits = &mut *permits.lock();
            let kept = permits.without_headers;
            [Some(&mut permits.own), permits.all.as_mut()]
                .into_iter()
                .flatten()
                .for_each(|permit| shrink(permit, kept));
        }
    }
}

/// Gives back the room that is not needed for so many bytes.
fn shrink(permit: &mut OwnedSemaphorePermit, bytes: usize) {
    drop(permit.split(permit.num_permits().saturating_sub(units(bytes) as usize)));
}

impl Room {
    /// True if it is part of the room for small answers and bodies.
    pub(crate) fn is_small(&self) -> bool {
        self.is_small
    }

    /// Room for so many bytes, as soon as there is any.
    pub(crate) async fn reserve(
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
    ) -> Result<Room, Problem> {
        let until = Instant::now() + Duration::from_millis(shared.limits.answer_timeout_ms);
        // Small answers do not wait behind large ones, which wait for others.
        let is_small = bytes <= SMALL_BYTES;
        let share = connection.share(is_small);
        // First its own share: waiting for that keeps nothing from others.
        let own = share.budget.take(bytes, until).await?;
        if is_small && let Some(all) = shared.kept_budget.take_kept(&share.budget, bytes) {
            return Ok(Room { own, all, is_small });
        }
        let budget = shared.budget_of(is_small);
        let turn = timeout_at(until, share.turn.lock()).await;
        let _turn = turn.map_err(|_| budget.is_full())?;
        Ok(Room { own, all: budget.take(bytes, until).await?, is_small })
    }

    /// Room for so many bytes, if there is any now. `at_most`: the bytes that it is going to be, if
    /// that is known.
    pub(crate) fn try_reserve(
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
        at_most: usize,
    ) -> Result<Room, Problem> {
        let is_small = at_most.max(bytes) <= SMALL_BYTES;
        let own_budget = &connection.share(is_small).budget;
        let own = own_budget.try_take(bytes)?;
        let kept = is_small.then(|| shared.kept_budget.take_kept(own_budget, bytes)).flatten();
        let all = kept.map_or_else(|| shared.budget_of(is_small).try_take(bytes), Ok)?;
        Ok(Room { own, all, is_small })
    }

    /// Reserves room for so many bytes, or grows the room that there is. `at_most`: the final size,
    /// if that is known.
    pub(crate) fn try_hold(
        room: &mut Option<Room>,
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
        at_most: usize,
    ) -> Result<(), Problem> {
        match room {
            Some(room) => room.try_grow(shared, connection, bytes)?,
            None => *room = Some(Room::try_reserve(shared, connection, bytes, at_most)?),
        }
        Ok(())
    }

    /// Grows to room for so many bytes, if there is any now.
    pub(crate) fn try_grow(
        &mut self,
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
    ) -> Result<(), Problem> {
        if self.is_small {
            // It may be large by now.
            *self = Room::try_reserve(shared, connection, bytes, bytes)?;
            return Ok(());
        }
        let own = &connection.share(false).budget;
        for (permit, budget) in [(&mut self.own, own), (&mut self.all, shared.budget_of(false))] {
            // A holder of all of it is alone already.
            let more = (budget.share(bytes) as usize).saturating_sub(permit.num_permits());
            if more > 0 {
                permit.merge(budget.try_take(UNIT * more)?);
            }
        }
        Ok(())
    }

    /// Splits off a part for so many bytes, if it has more than that.
    pub(crate) fn split(&mut self, bytes: usize) -> Option<Room> {
        let units = units(bytes) as usize;
        let has_more = self.own.num_permits() > units && self.all.num_permits() > units;
        has_more.then(|| {
            Some(Room {
                own: self.own.split(units)?,
                all: self.all.split(units)?,
                is_small: self.is_small,
            })
        })?
    }

    /// Gives back the room that is not needed for so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        for permit in [&mut self.own, &mut self.all] {
            shrink(permit, bytes);
        }
    }
}

/// Reads a value when there is room for it. `foreseen`: its length a moment ago.
pub(crate) async fn read(
    shared: &Arc<Shared>,
    connection: &Connection,
    path: &Allowed<Path>,
    extent: &Extent,
    foreseen: Option<usize>,
) -> Result<(Reading, Room), Problem> {
    let mut bytes = foreseen.unwrap_or(0).min(shared.limits.value_bytes);
    loop {
        let mut room = Room::reserve(shared, connection, bytes).await?;
        match shared.read_within(connection.turns(), path, extent, bytes).await {
            Ok(reading) => {
                let reading = reading?;
                room.shrink(reading.value.as_ref().map_or(0, Bytes::len));
                return Ok((reading, room));
            }
            // It may have grown when its turn comes.
            Err(len) => bytes = len,
        }
    }
}
