//! The task of a session: bytes in, bytes out, and time.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use halfping_engine::{Frame, Limits};
use halfping_websocket::{Ended, Incoming, Socket, encode_text};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::close::Close;
use super::desk::{Desk, Outbox, STEPS_AT_ONCE};
use super::message::State;
use crate::budget::SMALL_BYTES;
use crate::connection::Pace;
use crate::delivery::{Deliver, Drive};
use crate::patience::{Patience, Taking};
use crate::room::{Room, Wanted};
use crate::transports::encoding::Encoding;

/// Bytes of answers that may wait for the client to read them before no more of its commands are
/// handled.
const ANSWERS_BYTES_MAX: usize = 64 << 10;
/// Bytes that a message counts as at least, of those that a session may send in a second.
const MESSAGE_BYTES_MIN: usize = 64;
/// Time that the client may take to close after it was told to.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A session on its socket.
pub(super) struct Driver<I> {
    socket: Socket<I>,
    desk: Desk,
    /// Fires no later than there is something to look at; the cause is found then.
    timer: Pin<Box<Sleep>>,
    /// True if the timer will wake the task.
    is_timed: bool,
    /// Time at which the client was last heard.
    heard: Instant,
    /// Number of pings since then.
    pings: u32,
    /// Pace of the bytes of messages that it may send.
    pace: Pace,
    /// True if it has sent more than it may: its next message is read later.
    is_ahead: bool,
    /// The message that is not whole yet.
    begun: Option<Box<Begun>>,
    /// A large message of which not all is sent.
    unsent: Option<Box<Unsent>>,
    phase: Phase,
}

// Every session has one: with its TCP connection and the 48 bytes around it, it takes the 320 bytes
// that an allocator gives it. Fields that are needed only while something is in progress are boxed.
const _: () = assert!(std::mem::size_of::<Driver<()>>() <= 240);

/// A message that is not whole yet.
struct Begun {
    number: u32,
    bytes: usize,
    patience: Patience,
    /// Once it is large.
    room: Option<Room>,
}

/// A large message of which not all is sent.
struct Unsent {
    bytes: usize,
    taking: Taking,
    wanted: Wanted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is on its way.
    Closing,
    /// The close frame has been sent, and the client is to answer.
    Closed,
    /// The close frame was the answer to the client's.
    Answering,
}

/// The end of a session.
enum End {
    /// Its connection is gone.
    Gone,
    /// The client asked for it.
    Asked(Option<u16>),
    /// It is closed from this side.
    Close(Close),
}

impl<I> Outbox for Socket<I>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    fn put(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        self.write_text(fill);
    }

    fn put_state(
        &mut self,
        _: &State<'_>,
        shared: Option<(&Frame, u128)>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some((frame, key)) = shared else { return self.put(fill) };
        let compress = self.compresses();
        let encoding = if compress { Encoding::DeflatedMessage } else { Encoding::Message };
        self.write_encoded(encoding.of(frame, key, || encode_text(compress, fill)));
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    pub(super) fn new(socket: Socket<I>, desk: Desk) -> Driver<I> {
        let now = Instant::now();
        let limits = &desk.shared().limits;
        let timer = Box::pin(sleep_until(now + Duration::from_millis(limits.ping_ms)));
        Driver {
            socket,
            desk,
            timer,
            is_timed: false,
            heard: now,
            pings: 0,
            pace: Pace::default(),
            is_ahead: false,
            begun: None,
            unsent: None,
            phase: Phase::Open,
        }
    }

    /// Has news delivered to this reader.
    pub(super) fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.desk.deliver_to(reader);
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Driver { socket, desk, .. } = self;
        let answers_max = answers_bytes_max(desk);
        let mut steps_left = STEPS_AT_ONCE;
        // Once the socket has nothing more to read, it wakes the task when it has.
        let mut has_input = true;
        loop {
            if desk.shared().is_draining() {
                return Poll::Ready(End::Close(Close::Draining));
            }
            let mut idle = true;
            let was_full = socket.unsent_bytes() >= answers_max;
            if let (true, Some(begun)) = (was_full, &mut self.begun) {
                // Nobody reads the rest of its message meanwhile.
                begun.patience.renew();
            }
            while steps_left > 0 && socket.unsent_bytes() < answers_max {
                match desk.poll_step(cx, socket) {
                    Poll::Ready(Ok(steps)) => {
                        (idle, steps_left) = (false, steps_left.saturating_sub(steps));
                    }
                    Poll::Ready(Err(close)) => return Poll::Ready(End::Close(close)),
                    Poll::Pending => break,
                }
            }
            self.is_ahead = self.is_ahead && self.pace.resumes(Instant::now().into_std()).is_some();
            if !desk.is_free() || self.is_ahead {
                // Nothing is done for a client that has left.
                if socket.poll_left(cx).is_ready() {
                    return Poll::Ready(End::Gone);
                }
            } else if has_input && steps_left > 0 && socket.unsent_bytes() < answers_max {
                let next = socket.poll_next(cx);
                has_input = next.is_ready();
                if has_input {
                    (self.heard, self.pings) = (Instant::now(), 0);
                    (idle, steps_left) = (false, steps_left - 1);
                }
                // A message goes on through the control frames that come between its own.
                let before = self.begun.take();
                let mut room = None;
                match socket.in_progress() {
                    Some(number) => {
                        let same = before.filter(|begun| begun.number == number);
                        let mut begun = same.unwrap_or_else(|| {
                            let patience = Patience::for_body(&desk.shared().limits);
                            Box::new(Begun { number, bytes: 0, patience, room: None })
                        });
                        let bytes = socket.in_progress_bytes();
                        begun.patience.earn(bytes.saturating_sub(begun.bytes));
                        begun.bytes = bytes;
                        if let Err(close) = have_room(desk, &mut begun.room, bytes) {
                            return Poll::Ready(End::Close(close));
                        }
                        self.begun = Some(begun);
                    }
                    None => room = before.and_then(|begun| begun.room),
                }
                match next {
                    Poll::Ready(Ok(Incoming::Text(text))) => {
                        let bytes = text.len().max(MESSAGE_BYTES_MIN);
                        let (now, per_second) =
                            (self.heard.into_std(), desk.shared().limits.message_bytes_per_second);
                        self.pace.charge(bytes, per_second, now);
                        self.is_ahead = self.pace.resumes(now).is_some();
                        if self.is_ahead {
                            desk.shared().metrics.limit_hit("message_bytes_per_second");
                        }
                        if let Err(close) = have_room(desk, &mut room, text.len()) {
                            return Poll::Ready(End::Close(close));
                        }
                        desk.receive(text, room);
                    }
                    Poll::Ready(Ok(Incoming::Ping(_) | Incoming::Pong)) | Poll::Pending => {}
                    Poll::Ready(Ok(Incoming::Binary(_))) => {
                        return Poll::Ready(End::Close(Close::Binary));
                    }
                    Poll::Ready(Ok(Incoming::Close(code))) => return Poll::Ready(End::Asked(code)),
                    Poll::Ready(Err(Ended::Violation(violation))) => {
                        return Poll::Ready(End::Close(Close::Violation(violation)));
                    }
                    Poll::Ready(Err(_)) => {
                        // It may have closed only its own direction, and wait for its answers.
                        let _ = socket.poll_ready(cx);
                        return Poll::Ready(End::Gone);
                    }
                }
            }
            match socket.poll_ready(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
                Poll::Ready(Ok(())) => {
                    self.unsent = None;
                    // State is decided when the connection can take it, and not in the middle of a
                    // message that changes what is to be told.
                    if desk.is_free() {
                        match desk.tell(cx.waker(), socket) {
                            Ok(steps) => {
                                idle &= steps == 0;
                                steps_left = steps_left.saturating_sub(steps);
                            }
                            Err(close) => return Poll::Ready(End::Close(close)),
                        }
                    }
                }
                Poll::Pending => {}
            }
            // Work that waited for room has it now.
            idle &= !(was_full && socket.unsent_bytes() < answers_max);
            if steps_left == 0 {
                // Others have waited long enough. What is written by now is sent before.
                if let Poll::Ready(Err(_)) = socket.poll_ready(cx) {
                    return Poll::Ready(End::Gone);
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if idle {
                break;
            }
        }
        self.poll_time(cx)
    }

    /// Handles all that is due by time, and has the timer fire early enough for the next look.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let Driver { socket, desk, .. } = self;
            let limits = &desk.shared().limits;
            let ping = Duration::from_millis(limits.ping_ms);
            let silence = self.heard + Duration::from_millis(limits.silence_ms);
            let unsent = socket.unsent_bytes();
            if !desk.has_room() || unsent == 0 {
                self.unsent = None;
            } else if self.unsent.is_none() {
                self.unsent = Some(Box::new(Unsent::new(unsent, limits)));
            }
            let whole = self.begun.as_ref().map(|begun| begun.patience.next_look());
            let taken = self.unsent.as_ref().map(|unsent| unsent.taking.next_look());
            let resumes =
                if self.is_ahead { self.pace.resumes(Instant::now().into_std()) } else { None };
            let resumes = resumes.map(Instant::from_std);
            let due = desk.due().map(|tick| Instant::from_std(desk.shared().clock.instant(tick)));
            let next_ping = self.heard + ping * (self.pings + 1);
            let next = [Some(next_ping.min(silence)), whole, taken, due, resumes]
                .into_iter()
                .flatten()
                .min();
            let next = next.unwrap_or(silence);
            if self.timer.deadline() > next || self.timer.is_elapsed() {
                self.timer.as_mut().reset(next);
                self.is_timed = false;
            }
            // The timer has had the task's waker since it was last polled.
            if self.is_timed {
                return Poll::Pending;
            }
            self.is_timed = true;
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if whole.is_some_and(|whole| whole <= now)
                && self.begun.as_mut().is_some_and(|begun| begun.patience.is_over(false))
            {
                return Poll::Ready(End::Close(Close::MessageTimeout));
            }
            if let Some(limit) = self.unsent.as_mut().and_then(|large| large.look(desk, unsent)) {
                desk.shared().metrics.limit_hit(limit);
                return Poll::Ready(End::Gone);
            }
            if unsent > 0 || self.is_ahead {
                // A client that does not take what it is sent cannot hear pings: it is slow, not
                // gone (PROTOCOL L11). Nor is a client that is not listened to.
                (self.heard, self.pings) = (now, 0);
            } else if silence.min(next_ping) <= now {
                // Time that the server itself slept through, as on a machine that was suspended, is
                // not the client's silence: it has been asked nothing (PROTOCOL L11).
                self.heard += now - silence.min(next_ping);
                if silence <= next_ping {
                    return Poll::Ready(End::Close(Close::Silence));
                }
                socket.write_ping();
                self.pings += 1;
            }
            let is_due = due.is_some_and(|due| due <= now);
            if is_due {
                desk.look_again();
            }
            let may_go_on = self.is_ahead && self.pace.resumes(now.into_std()).is_none();
            if is_due || may_go_on || self.socket.unsent_bytes() > 0 {
                // Messages written here, or due by now, are sent on the next round.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Sends the close frame. `None` if there is nobody left to send it to.
    fn end(&mut self, end: End) -> Option<Phase> {
        let phase = match end {
            End::Gone => return None,
            End::Asked(code) => {
                self.socket.write_close_answer(code);
                Phase::Answering
            }
            End::Close(close) => {
                if let Some(limit) = close.limit() {
                    self.desk.shared().metrics.limit_hit(limit);
                }
                tracing::debug!(code = close.code(), "a session is closed");
                self.socket.write_close(close.code(), &close.reason());
                Phase::Closing
            }
        };
        self.timer.as_mut().reset(Instant::now() + CLOSE_PATIENCE);
        Some(phase)
    }
}

/// Has room for so many bytes of a message. What is small needs none.
fn have_room(desk: &Desk, room: &mut Option<Room>, bytes: usize) -> Result<(), Close> {
    if bytes <= SMALL_BYTES {
        return Ok(());
    }
    let (shared, connection) = (desk.shared(), desk.connection());
    let held = Room::try_hold(room, shared, connection, bytes, bytes);
    held.map_err(Close::without_room)
}

/// Bytes of answers that may wait. Where a connection has many sessions, what is small has no room.
fn answers_bytes_max(desk: &Desk) -> usize {
    if desk.is_one_of_many() { SMALL_BYTES } else { ANSWERS_BYTES_MAX }
}

impl Unsent {
    fn new(bytes: usize, limits: &Limits) -> Unsent {
        Unsent { bytes, taking: Taking::new(limits), wanted: Wanted::default() }
    }

    /// Checks how fast it is taken, now that `bytes` are not sent. Returns the limit by which it is
    /// given up, if it is.
    fn look(&mut self, desk: &Desk, bytes: usize) -> Option<&'static str> {
        let is_wanted = self.wanted.look(desk.shared(), desk.connection());
        if bytes < self.bytes {
            self.taking.took(self.bytes - bytes);
        }
        self.bytes = bytes;
        self.taking.ended_by(&desk.shared().limits, is_wanted[0])
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drive for Driver<I> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::Open {
            let end = ready!(self.poll_open(cx));
            match self.end(end) {
                Some(phase) => self.phase = phase,
                None => return Poll::Ready(()),
            }
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.phase != Phase::Closed {
            let said = ready!(self.socket.poll_ready(cx)).is_ok()
                && ready!(self.socket.poll_shutdown(cx)).is_ok();
            // The server closes the connection, once both sides have said that they will (RFC 6455,
            // section 7.1.1).
            if !said || self.phase == Phase::Answering {
                return Poll::Ready(());
            }
            self.phase = Phase::Closed;
        }
        loop {
            match ready!(self.socket.poll_next(cx)) {
                Ok(Incoming::Close(_)) => return Poll::Ready(()),
                Ok(_) => {}
                Err(Ended::Violation(_)) => return self.socket.poll_drained(cx),
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn deliver(&mut self, cx: &mut Context<'_>) -> bool {
        let Driver { socket, desk, .. } = self;
        // With answers waiting for room, there may be commands that wait for the same.
        let waits = !desk.is_free() || socket.unsent_bytes() >= answers_bytes_max(desk);
        if self.phase != Phase::Open || desk.shared().is_draining() || waits {
            return false;
        }
        let mut steps_left = STEPS_AT_ONCE;
        loop {
            match socket.poll_ready(cx) {
                // A delivering task gives no more than a turn; the reader's own task goes on.
                Poll::Ready(Ok(())) if steps_left == 0 && !desk.is_at_rest() => return false,
                Poll::Ready(Ok(())) if desk.is_free() => {
                    self.unsent = None;
                    match desk.tell(cx.waker(), socket) {
                        // A link that waits for its rate needs the timer.
                        Ok(0) => return desk.due().is_none(),
                        Ok(steps) => steps_left = steps_left.saturating_sub(steps),
                        // The reader's own task sends the close.
                        Err(close) => {
                            self.phase = self.end(End::Close(close)).unwrap_or(self.phase);
                            return false;
                        }
                    }
                }
                Poll::Ready(Ok(())) | Poll::Pending => return true,
                Poll::Ready(Err(_)) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use halfping_engine::{Action, Condition, Json, Path, Write};
    use tokio::io::ReadBuf;

    use super::super::desk::TOLD_BYTES_A_STEP;
    use super::*;
    use crate::access::{Access, NamedViews};
    use crate::hub::{Shared, Subscription};
    use crate::seen::Transport;
    use crate::shape::Shape;

    /// A connection that says nothing, and takes all that it is given.
    #[derive(Clone, Default)]
    struct Taker(Arc<AtomicUsize>);

    impl Taker {
        fn taken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl AsyncRead for Taker {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Taker {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.fetch_add(bytes.len(), Ordering::Relaxed);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn put(shared: &Shared, path: &Path, value: &str) {
        let action = Action::Put(Json::parse(value.as_bytes(), &shared.limits).unwrap());
        let write = Write { path: path.clone(), action, condition: Condition::default() };
        shared.with_state(|state| state.engine.commit(&[write], shared.clock.now())).unwrap();
        shared.with_state(crate::hub::State::take_woken);
        while shared.with_state(|state| state.engine.has_work()) {
            shared.with_state(|state| drop(state.engine.work()));
            shared.with_state(crate::hub::State::take_woken);
        }
    }

    #[tokio::test]
    async fn a_turn_has_an_end_however_many_links_have_news_and_however_fast_it_is_taken() {
        let links = 5_000;
        let shared = Shared::new(Limits::default(), None);
        let path = Path::parse("/place", &shared.limits).unwrap();
        put(&shared, &path, "1");
        let follower = Access::of_program(NamedViews::default()).follow().unwrap();
        let watches = vec![follower.watch(path.clone(), &Shape::default()).unwrap(); links];
        let transport = Transport::WebSocket;
        let subscription =
            Subscription::new(&shared, &follower, &shared.foreign, transport, &watches).unwrap();
        let desk = Desk::new(subscription, true, follower);
        let taker = Taker::default();
        let mut driver = Driver::new(Socket::new(taker.clone(), &[], 1 << 20, false), desk);

        // The last message of a turn may begin before its end.
        let turn_bytes = STEPS_AT_ONCE * TOLD_BYTES_A_STEP + 2 * shared.limits.ahead_bytes;
        let cx = &mut Context::from_waker(Waker::noop());
        for delivered in [false, true] {
            let before = taker.taken();
            if delivered {
                put(&shared, &path, "2");
                assert!(!driver.deliver(cx), "the reader's own task has to go on");
            }
            let mut turns = 0;
            let mut taken = taker.taken();
            assert!(taken - before <= turn_bytes, "{} bytes delivered at once", taken - before);
            loop {
                assert!(driver.poll(cx).is_pending());
                let more = taker.taken() - taken;
                assert!(more <= turn_bytes, "{more} bytes in one turn");
                if more == 0 {
                    break;
                }
                (taken, turns) = (taken + more, turns + 1);
            }
            let told = taken - before;
            assert!(told > 10 * links, "all links are told: {told} bytes");
            assert!(turns >= told / turn_bytes - 1, "{turns} turns");
        }
    }
}
