//! The desk of a session: it handles the client's commands and makes the messages. Knows nothing of
//! sockets.

mod identity;

use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use futures_core::future::BoxFuture;
use halfping_engine::{
    Action, Condition, Frame, Json, Path, Reading, Revision, States, Tick, Update,
};
use http::header::ETAG;

use self::identity::{Review, Unproven};
use super::close::Close;
use super::command::{Act, Commands, If, Ref, Step};
use super::credit::Credit;
use super::message::{self, Answer, State};
use crate::access::{Follower, is_own};
use crate::aside::{LARGE_BYTES, aside};
use crate::budget;
use crate::connection::{Connection, Pace};
use crate::delivery::Deliver;
use crate::hub::writing::{commit, creation, etag};
use crate::hub::{Shared, Subscription};
use crate::problem::{Kind, Problem};
use crate::room::{self, Room};
use crate::shape::{Extent, Shape};
use crate::shown::meant;
use crate::tag::Given;
use crate::transports::pulls::Pulls;

/// Steps that a session may do before it is the turn of others. One takes about a microsecond.
pub(super) const STEPS_AT_ONCE: usize = 256;
/// Bytes of a message of state whose making counts as a step.
pub(super) const TOLD_BYTES_A_STEP: usize = 64;
/// Bytes of places that a link needs, or leaves, which count as a step.
const PLACES_BYTES_A_STEP: usize = 256;
/// Steps that a token counts as: a signature takes a tenth of a millisecond.
const AUTH_STEPS: usize = 128;
/// The condition that nothing is there, as a command spells it.
const CREATES: &str = "\"if\": null";

/// One session, apart from its socket.
pub(super) struct Desk {
    pulls: Pulls,
    /// The rest of the client's last message, still to be done. The next one is not looked at
    /// before.
    work: Option<Box<Work>>,
    pace: Pace,
    credit: Option<Box<Credit>>,
    /// The room of the last message until most of it is sent, if it is a large one.
    room: Option<Box<Room>>,
    /// True if its connection has other streams (HTTP/2), so that a message of state needs room.
    is_one_of_many: bool,
    /// The client, which may follow.
    follower: Follower,
}

#[derive(Default)]
struct Work {
    /// The commands of the message; `None` while they are read aside.
    commands: Option<Commands>,
    reading: Option<BoxFuture<'static, (Commands, Option<Step>)>>,
    /// A write that is being made durable; the steps after it wait.
    call: Option<Call>,
    /// The first link that a command could not open or end, until its `ref` is answered.
    refused: Option<(Problem, u32)>,
    /// Links that are looked at again, since the client has other rights; the steps after that
    /// wait.
    review: Option<Review>,
    /// An `auth` that waits for keys; the steps after it wait.
    unproven: Option<Box<Unproven>>,
    /// Of the message, until all that it says is done.
    _room: Option<Room>,
}

struct Call {
    number: Option<Ref>,
    future: BoxFuture<'static, Result<Answer, Problem>>,
}

/// Somewhere to put messages.
pub(super) trait Outbox {
    fn put(&mut self, fill: impl FnOnce(&mut Vec<u8>));
    /// Puts a message of state. `shared`: other sessions may share its encoding, by this frame and
    /// this key.
    fn put_state(
        &mut self,
        state: &State<'_>,
        shared: Option<(&Frame, u128)>,
        fill: impl FnOnce(&mut Vec<u8>),
    );
}

impl Work {
    /// The next step; a command that takes long to read is read aside meanwhile.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Arc<Shared>,
        connection: &Arc<Connection>,
    ) -> Poll<Option<Step>> {
        if let Some(commands) = &mut self.commands {
            let bytes = commands.next_bytes();
            if bytes < LARGE_BYTES {
                return Poll::Ready(commands.next(&shared.limits));
            }
            let (shared, connection) = (shared.clone(), connection.clone());
            self.reading = self.commands.take().map(|mut commands| -> BoxFuture<'static, _> {
                let read = move || {
                    let step = commands.next(&shared.limits);
                    (commands, step)
                };
                Box::pin(async move { aside(connection.turns(), bytes, read).await })
            });
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let (commands, step) = ready!(reading.as_mut().poll(cx));
        (self.commands, self.reading) = (Some(commands), None);
        Poll::Ready(step)
    }
}

impl Desk {
    pub(super) fn new(subscription: Subscription, has_links: bool, follower: Follower) -> Desk {
        let mut pulls = Pulls::new(subscription, has_links);
        let (work, pace, credit, room) = (None, Pace::default(), None, None);
        pulls.take_rights(follower.partial());
        Desk { pulls, work, pace, credit, room, is_one_of_many: false, follower }
    }

    /// Has room held for large messages of state from now on.
    pub(super) fn hold_room_for_state(&mut self) {
        self.is_one_of_many = true;
    }

    /// True if its connection has other streams.
    pub(super) fn is_one_of_many(&self) -> bool {
        self.is_one_of_many
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.pulls.shared()
    }

    /// Has news delivered to this reader.
    pub(super) fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.pulls.deliver_to(reader);
    }

    /// Time at which there will be more to tell even without news.
    pub(super) fn due(&self) -> Option<Tick> {
        let ends = self.follower.lasts().map(|left| self.shared().clock.tick_in(left));
        self.pulls.due().into_iter().chain(ends).min()
    }

    /// Looks again, since a link's time has come.
    pub(super) fn look_again(&mut self) {
        self.pulls.look_again();
    }

    /// True if there is a link that could be told something.
    pub(super) fn has_links(&self) -> bool {
        self.pulls.subscription.has_links()
    }

    /// Has `synced` sent (again) with the next message of state, as soon as it is true.
    pub(super) fn owe_synced(&mut self) {
        self.pulls.owe_synced();
    }

    /// True if there is a large message that is not sent yet.
    pub(super) fn has_room(&self) -> bool {
        self.room.is_some()
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        self.pulls.subscription.connection()
    }

    /// True if there is nothing to tell before there is news.
    pub(super) fn is_at_rest(&self) -> bool {
        self.pulls.is_at_rest()
    }

    /// True if all that the client asked for has been done.
    pub(super) fn is_free(&self) -> bool {
        self.work.is_none()
    }

    /// Takes a message, and the room that it has, if it is large.
    pub(super) fn receive(&mut self, text: String, room: Option<Room>) {
        self.shared().metrics.bytes_in.inc_by(text.len() as u64);
        self.begin(Commands::new(text), room);
    }

    /// Takes the commands of a message. They are done in steps.
    pub(super) fn begin(&mut self, commands: Commands, room: Option<Room>) {
        debug_assert!(self.is_free(), "a message is taken when the one before it is done");
        self.work =
            Some(Box::new(Work { commands: Some(commands), _room: room, ..Work::default() }));
    }

    /// Does one step, if there is one and nothing is in its way. Returns the steps that it counts
    /// as.
    pub(super) fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut impl Outbox,
    ) -> Poll<Result<usize, Close>> {
        // There is no next step before most of the last answer was sent.
        self.room = None;
        let Some(work) = &mut self.work else { return Poll::Pending };
        if let Some(review) = work.review.take() {
            return Poll::Ready(Ok(self.review(review, out)));
        }
        if let Some(call) = &mut work.call {
            let done = ready!(call.future.as_mut().poll(cx));
            let number = call.number;
            work.call = None;
            let done = done.map(|answer| self.identified(answer));
            self.settle(number, done, out);
            return Poll::Ready(Ok(1));
        }
        if ready!(self.poll_unproven(cx, out)).is_some() {
            return Poll::Ready(Ok(AUTH_STEPS));
        }
        // Every command is judged by the rights of its moment.
        if self.look_at_rights()? {
            return Poll::Ready(Ok(1));
        }
        let Some(work) = &mut self.work else { return Poll::Pending };
        let (shared, connection) =
            (self.pulls.subscription.shared(), self.pulls.subscription.connection());
        let Some(step) = ready!(work.poll_next(cx, shared, connection)) else {
            self.work = None;
            return Poll::Ready(Ok(1));
        };
        if !matches!(step.act, Act::Done) {
            self.shared().metrics.commands.inc();
            let per_second = self.shared().limits.commands_per_second;
            if !self.pace.keep(per_second, Instant::now()) {
                let (limit, max) = ("commands_per_second", per_second as usize);
                let problem = Problem::limit(
                    Kind::CommandRate,
                    limit,
                    max,
                    "too many commands a second of one session",
                );
                out.put(|out| message::error(&problem, None, false, out));
                return Poll::Ready(Err(Close::CommandRate));
            }
        }
        let auth_steps = if matches!(step.act, Act::Auth(Some(_))) { AUTH_STEPS } else { 0 };
        let before = self.pulls.subscription.places_bytes();
        self.step(step, out);
        let places_bytes = before.abs_diff(self.pulls.subscription.places_bytes());
        Poll::Ready(Ok(1 + auth_steps + places_bytes / PLACES_BYTES_A_STEP))
    }

    fn step(&mut self, Step { number, act }: Step, out: &mut impl Outbox) {
        match act {
            Act::Watch(link, path, shape) => match self.watch(link, path, &shape) {
                Ok(()) => self.pulls.owe_synced(),
                Err(problem) => self.refuse_link(number, link, problem, out),
            },
            Act::Unwatch(link) => {
                if !self.pulls.subscription.unwatch(link) {
                    let problem =
                        Problem::new(Kind::UnknownLink, format!("the session has no link {link}"));
                    self.refuse_link(number, link, problem, out);
                }
            }
            Act::Done => match (number, self.work.as_mut().and_then(|work| work.refused.take())) {
                (Some(number), Some((problem, link))) => {
                    out.put(|out| message::refusal(number, &problem, Some(link), out));
                }
                (number, _) => self.settle(number, Ok(Answer::done()), out),
            },
            Act::Get(path, shape) => {
                let (path, extent) = match self.follower.read(path, &shape) {
                    Ok(read) => read,
                    Err(problem) => return self.settle(number, Err(problem), out),
                };
                let small = match is_own(&path) {
                    true => None,
                    false => self.shared().read_small(&path, &extent, budget::SMALL_BYTES),
                };
                match small {
                    Some(read) => {
                        let read = read.map_err(Problem::from);
                        let follower = &self.follower;
                        let found = read.and_then(|read| found(follower, &path, &extent, read));
                        self.settle(number, found, out);
                    }
                    None => {
                        let (shared, connection) =
                            (self.shared().clone(), self.connection().clone());
                        let follower = self.follower.clone();
                        let future = Box::pin(async move {
                            shared.refresh(&path).await;
                            let foreseen = shared.metadata(&path).len;
                            let read = room::read(&shared, &connection, &path, &extent, foreseen);
                            let (reading, room) = read.await?;
                            let found = found(&follower, &path, &extent, reading)?;
                            Ok(Answer { room: Some(room), ..found })
                        });
                        self.call(Call { number, future });
                    }
                }
            }
            Act::Write(path, action, condition) => {
                self.write(number, path, action, condition, out);
            }
            Act::Post(path, value) => self.post(number, path, value, out),
            Act::Credit(window) => self.credit = Credit::new(window),
            Act::Ack(given) => {
                let cursor = self.follower.take(given);
                let shared = self.pulls.shared();
                let ours = cursor.filter(|cursor| shared.cursor(cursor.revision) == *cursor);
                if let (Some(cursor), Some(credit)) = (ours, &mut self.credit) {
                    credit.ack(cursor.revision);
                }
            }
            Act::Auth(token) => self.auth(number, token, out),
            Act::Refuse(problem, Some(link)) => self.refuse_link(number, link, problem, out),
            Act::Refuse(problem, None) => self.settle(number, Err(problem), out),
        }
    }

    fn watch(&mut self, link: u32, path: Path, shape: &Shape) -> Result<(), Problem> {
        let watch = self.follower.watch(path, shape)?;
        self.shared().refresh_in_place(&watch.path);
        self.pulls.subscription.watch(link, &watch)?;
        self.pulls.note(watch.since.map_or(Revision::NONE, |since| since.revision));
        Ok(())
    }

    /// The condition of a write that the client says, and the tag that may be of what it was shown.
    fn condition(&self, condition: If) -> (Condition, Option<Given>) {
        let (states, tag) = match condition {
            If::Always => return Default::default(),
            If::Nothing => {
                let is_not = Some(States::Any);
                return (Condition { is_not, ..Condition::default() }, None);
            }
            If::Something => (States::Any, None),
            If::State(given) => {
                let cursor = given.and_then(|given| self.follower.take(given));
                let tag = given.filter(|given| cursor.is_none() && given.open().is_none());
                (States::These(cursor.into_iter().collect()), tag)
            }
        };
        (Condition { is: Some(states), ..Condition::default() }, tag)
    }

    /// Refuses to open or end a link. A command's `ref` has one answer, which tells of the first
    /// such link; the others are told apart.
    fn refuse_link(
        &mut self,
        number: Option<Ref>,
        link: u32,
        problem: Problem,
        out: &mut impl Outbox,
    ) {
        self.shared().metrics.refused(&problem);
        // A link that has the number already goes on, whatever is wrong with the one that would
        // take it.
        let ends = !self.pulls.subscription.has_link(link);
        match (number, &mut self.work) {
            (Some(_), Some(work)) if work.refused.is_none() => work.refused = Some((problem, link)),
            _ => out.put(|out| message::error(&problem, Some(link), ends, out)),
        }
    }

    fn settle(
        &mut self,
        number: Option<Ref>,
        done: Result<Answer, Problem>,
        out: &mut impl Outbox,
    ) {
        let shared = self.shared();
        match (number, done) {
            (Some(number), Ok(mut answer)) => {
                out.put(|out| message::answer(number, &answer, out));
                self.room = answer.room.take().map(Box::new);
            }
            (None, Ok(_)) => {}
            (number, Err(problem)) => {
                let problem = problem.with_tag(|tag| self.follower.give_tag(tag));
                shared.metrics.refused(&problem);
                out.put(|out| match number {
                    Some(number) => message::refusal(number, &problem, None, out),
                    None => message::error(&problem, None, false, out),
                });
            }
        }
    }

    fn write(
        &mut self,
        number: Option<Ref>,
        path: Path,
        action: Action,
        condition: If,
        out: &mut impl Outbox,
    ) {
        let is_delete = matches!(action, Action::Delete);
        if is_delete && path.is_root() {
            let problem = Problem::new(Kind::MethodNotAllowed, "the root cannot be removed");
            return self.settle(
                number,
                Err(problem.hint("{\"put\":\"/\",\"value\":{}} empties the tree")),
                out,
            );
        }
        let path = if is_delete { self.follower.delete(path) } else { self.follower.write(path) };
        let path = match self.may_write(path) {
            Ok(path) => path,
            Err(problem) => return self.settle(number, Err(problem), out),
        };
        let (shared, connection) = (self.shared().clone(), self.connection().clone());
        let (condition, tag) = self.condition(condition);
        let follower = self.follower.clone();
        let future = Box::pin(async move {
            let condition = meant(&shared, &connection, &path, condition, tag.as_slice()).await?;
            let write = path.write(action, condition)?;
            let (created, revision) = commit(&shared, &connection, write, CREATES).await?;
            let status = match (is_delete, created) {
                (true, _) => 204,
                (false, true) => 201,
                (false, false) => 200,
            };
            let cursor = Some(follower.give(shared.cursor(revision)));
            Ok(Answer { status, cursor, ..Answer::default() })
        });
        self.call(Call { number, future });
    }

    /// The same path, if the connection may make one more write now.
    fn may_write<P>(&self, path: Result<P, Problem>) -> Result<P, Problem> {
        let path = path?;
        self.connection().write()?;
        Ok(path)
    }

    fn is_reviewing(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.review.is_some())
    }

    /// Has links looked at before anything else is done or told.
    fn begin_review(&mut self, review: Review) {
        self.work.get_or_insert_default().review = Some(review);
    }

    fn call(&mut self, call: Call) {
        if let Some(work) = &mut self.work {
            work.call = Some(call);
        }
    }

    fn post(&mut self, number: Option<Ref>, path: Path, value: Json, out: &mut impl Outbox) {
        let parent = match self.may_write(self.follower.create(path)) {
            Ok(parent) => parent,
            Err(problem) => return self.settle(number, Err(problem), out),
        };
        let (shared, connection) = (self.shared().clone(), self.connection().clone());
        let follower = self.follower.clone();
        let future = Box::pin(async move {
            let (_, write) = creation(&shared, &parent, value)?;
            let path = Some(write.write.path.to_string());
            let (_, revision) = commit(&shared, &connection, write, CREATES).await?;
            let cursor = Some(follower.give(shared.cursor(revision)));
            Ok(Answer { status: 201, cursor, path, ..Answer::default() })
        });
        self.call(Call { number, future });
    }

    /// Sends what there is to send now, in one message read at one revision, when all before it
    /// was sent. Returns the steps that this counts as: 0 if there is nothing; then `waker` is
    /// woken by news.
    pub(super) fn tell(&mut self, waker: &Waker, out: &mut impl Outbox) -> Result<usize, Close> {
        if self.look_at_rights()? {
            waker.wake_by_ref();
            return Ok(0);
        }
        let credit = self.credit.as_ref().map_or(usize::MAX, |credit| credit.room());
        if credit == 0 {
            return Ok(0); // an `ack` will come
        }
        let bytes_max =
            credit.min(self.shared().limits.ahead_bytes).saturating_sub(message::AROUND_MESSAGE);
        let pull = match self.pulls.pull(waker, bytes_max, |_| message::AROUND_FRAME) {
            Some(pull) if !pull.is_empty() => pull,
            _ => {
                // Rights may have changed since, and before there was anybody to wake.
                if !self.follower.stands() {
                    waker.wake_by_ref();
                }
                return Ok(0);
            }
        };
        let bytes = message::AROUND_MESSAGE + pull.bytes;
        if self.is_one_of_many {
            self.room = None;
            let (shared, connection) = (self.shared(), self.connection());
            let room = (bytes > budget::SMALL_BYTES)
                .then(|| Room::try_reserve(shared, connection, bytes, bytes));
            self.room = room.transpose().map_err(Close::without_room)?.map(Box::new);
        }
        let shared = self.pulls.shared();
        let times = pull.updates().filter_map(|update| Some(update.frame.as_ref().ok()?.time));
        let revision = pull.synced.unwrap_or(pull.revision);
        let cursor = shared.cursor(revision);
        let time =
            times.max().unwrap_or_else(|| shared.with_engine(|engine| engine.time_of(cursor)));
        let cursor = self.pulls.give(cursor);
        let state = State { cursor, time, pull: &pull };
        let mut len = bytes;
        let fill = |out: &mut Vec<u8>| {
            let before = out.len();
            message::state(&state, out);
            len = out.len() - before;
        };
        let held_by_others = match pull.only() {
            // Other sessions are told the same, if it is their only news and their link has the
            // same number.
            Some(Update { tag, frame: Ok(frame), .. }) if Arc::strong_count(frame) > 1 => {
                let synced = u128::from(state.is_synced());
                let key = cursor.key() ^ (u128::from(*tag) << 1) ^ synced;
                Some((&**frame, key))
            }
            _ => None,
        };
        out.put_state(&state, held_by_others, fill);
        self.pulls.subscription.count_bytes(len);
        if let Some(credit) = &mut self.credit {
            credit.send(revision, len);
        }
        for update in pull.updates().filter(|update| update.frame.is_err()) {
            self.pulls.subscription.unwatch(update.tag);
        }
        Ok(1 + len / TOLD_BYTES_A_STEP)
    }
}

/// The answer to a `get`.
fn found(
    follower: &Follower,
    path: &Path,
    extent: &Extent,
    reading: Reading,
) -> Result<Answer, Problem> {
    let cursor = follower.give_shown(path, extent, reading.cursor(), reading.value.as_deref());
    if reading.value.is_some() {
        return Ok(Answer::reading(cursor, reading));
    }
    let detail = format!("there is nothing at {}", extent.asked(path));
    Err(Problem::new(Kind::NotFound, detail).header(ETAG, etag(cursor)))
}
