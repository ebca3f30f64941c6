//! A session whose client is heard only once: its commands are the body of a request, and its
//! messages are the answer (PROTOCOL M4).

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use halfping_engine::{Frame, Kind, Tick};

use super::command::Commands;
use super::desk::{Desk, Outbox, STEPS_AT_ONCE};
use super::message::State;
use crate::access::Follower;
use crate::connection::Connection;
use crate::delivery::Deliver;
use crate::hub::{Shared, Subscription};
use crate::problem::Problem;
use crate::room::Room;
use crate::seen::Transport;
use crate::tag::Given;
use crate::transports::body::{Chunk, Source, Stream};
use crate::transports::encoding::{Encoding, Format};
use crate::transports::sse::{self, Id};

/// Approximate bytes around the one frame of a message that is shared.
const AROUND_EVENT: usize = 160;

/// Opens a session that knows all commands of its client already. `since` is the cursor that the
/// client gave outside of them.
pub(crate) fn once(
    shared: &Arc<Shared>,
    follower: Follower,
    connection: &Arc<Connection>,
    format: Format,
    (mut commands, room): (Commands, Option<Room>),
    since: Option<Given>,
) -> Result<Stream<Once>, Problem> {
    let subscription = Subscription::new(shared, &follower, connection, Transport::Events, &[])?;
    let mut desk = Desk::new(subscription, false, follower);
    commands.resume(since);
    desk.begin(commands, room);
    Ok(Stream::new(Once { desk, format }, format))
}

/// The session, apart from its connection.
pub(crate) struct Once {
    desk: Desk,
    format: Format,
}

/// The receiver of its messages: each is an event or a line.
struct Messages<'a> {
    format: Format,
    chunk: &'a mut Chunk,
}

impl Outbox for Messages<'_> {
    fn put(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        write(self.format, Id::None, self.chunk.buffer(), fill);
    }

    fn put_state(
        &mut self,
        state: &State<'_>,
        shared: Option<(&Frame, u128)>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let Messages { format, chunk } = self;
        match shared {
            Some((frame, key)) => {
                let encoding = match *format {
                    Format::Sse => Encoding::MessageEvent,
                    Format::Ndjson => Encoding::MessageLine,
                };
                chunk.push(encoding.of(frame, key, || {
                    let mut out = Vec::with_capacity(frame.body.len() + AROUND_EVENT);
                    write(*format, id(state), &mut out, fill);
                    out
                }));
            }
            None => write(*format, id(state), chunk.buffer(), fill),
        }
    }
}

fn write(format: Format, id: Id, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    match format {
        Format::Sse => sse::event(None, id, out, fill),
        Format::Ndjson => {
            fill(out);
            out.push(b'\n');
        }
    }
}

/// The cursor in a message, with which its reader comes back.
fn id(state: &State<'_>) -> Id {
    let begins_anew = state.pull.updates().any(|update| {
        update
            .frame
            .as_ref()
            .is_ok_and(|frame| frame.kind == Kind::Snapshot && frame.revision.is_none())
    });
    match state.is_synced() {
        true => Id::Cursor(state.cursor),
        false if begins_anew => Id::Forget,
        false => Id::None,
    }
}

impl Source for Once {
    fn shared(&self) -> &Arc<Shared> {
        self.desk.shared()
    }

    fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.desk.deliver_to(reader);
    }

    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> ControlFlow<()> {
        let Once { desk, format } = self;
        let shared = desk.shared().clone();
        let mut out = Messages { format: *format, chunk };
        let mut steps_left = STEPS_AT_ONCE;
        while !desk.is_free() && out.chunk.len() < shared.limits.ahead_bytes {
            if steps_left == 0 {
                // Others have waited long enough.
                cx.waker().wake_by_ref();
                return ControlFlow::Continue(());
            }
            match desk.poll_step(cx, &mut out) {
                Poll::Ready(Ok(steps)) => steps_left = steps_left.saturating_sub(steps),
                Poll::Ready(Err(close)) => {
                    if let Some(limit) = close.limit() {
                        shared.metrics.limit_hit(limit);
                    }
                    return ControlFlow::Break(());
                }
                Poll::Pending => return ControlFlow::Continue(()),
            }
        }
        // As on a socket: not in the middle of a message that changes what is to be told. Without a
        // link, there is nothing to come.
        let has_ended = match desk.is_free().then(|| desk.tell(cx.waker(), &mut out)) {
            Some(Ok(steps)) => steps == 0 && !desk.has_links(),
            Some(Err(_)) => true,
            None => false,
        };
        if has_ended {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn due(&self) -> Option<Tick> {
        self.desk.due()
    }

    fn look_again(&mut self) {
        self.desk.look_again();
    }

    fn repeat_synced(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) {
        self.desk.owe_synced();
        // If the stream ends, it does so when it is asked again.
        let _ = self.fill(cx, chunk);
    }
}
