//! A stream of frames whose reader's identity may end before it does (PROTOCOL I17).

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::task::Context;

use halfping_engine::{Cursor, Path, Tick, Watch};

use super::body::{Chunk, Source, Stream};
use super::encoding::Style;
use super::frames::Frames;
use crate::access::{Allowed, Follower};
use crate::auth::{Standing, reason};
use crate::delivery::Deliver;
use crate::hub::{Shared, Subscription};

/// The frames, and who may have them. A type of its own, so that streams of readers who are not told
/// apart are as small as they can be.
pub(crate) struct Until {
    frames: Frames,
    follower: Follower,
    /// The paths of its links, in order.
    paths: Box<[Path]>,
}

impl Stream<Until> {
    /// A stream of frames for a reader whose identity may end, or have other rights one day.
    pub(crate) fn until(
        subscription: Subscription,
        style: Style,
        since: Option<Cursor>,
        follower: Follower,
        watches: &[Allowed<Watch>],
    ) -> Self {
        let format = style.format;
        let paths = watches.iter().map(|watch| watch.path.clone()).collect();
        let partial = follower.partial();
        let frames = Frames::new(subscription, style, since, partial);
        Stream::new(Until { frames, follower, paths }, format)
    }
}

impl Until {
    /// Writes the problem with which the stream ends, if its reader may not have all that it shows
    /// any more.
    fn end(&mut self, chunk: &mut Chunk) -> ControlFlow<()> {
        let auth_timeout_ms = self.shared().limits.auth_timeout_ms;
        let Some(before) = self.follower.rights().cloned() else {
            return ControlFlow::Continue(());
        };
        let (next, why) = match self.follower.standing(auth_timeout_ms) {
            Standing::Same => return ControlFlow::Continue(()),
            Standing::Other(next) => (Some(next), None),
            Standing::Over(why) => (Some(before.next_of_nobody(auth_timeout_ms)), Some(why)),
        };
        if let Some(next) = next {
            self.follower.take_rights(next);
            self.frames.take_rights(&self.follower);
        }
        let refusal = |path: &Path| self.follower.may_go_on(path, &before).err();
        let mut refused =
            self.paths.iter().zip(0..).filter_map(|(path, link)| Some((link, refusal(path)?)));
        let Some((link, problem)) = refused.next() else { return ControlFlow::Continue(()) };
        let problem = why.map_or(problem, reason);
        self.shared().metrics.refused(&problem);
        self.frames.refuse(link, &problem, chunk);
        ControlFlow::Break(())
    }
}

impl Source for Until {
    fn shared(&self) -> &Arc<Shared> {
        self.frames.shared()
    }

    fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.frames.deliver_to(reader);
    }

    fn fill(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) -> ControlFlow<()> {
        self.end(chunk)?;
        self.frames.fill(cx, chunk)?;
        // They may have changed since, and before there was anybody to wake.
        if !self.follower.stands() {
            cx.waker().wake_by_ref();
        }
        ControlFlow::Continue(())
    }

    fn due(&self) -> Option<Tick> {
        let ends = self.follower.lasts().map(|left| self.shared().clock.tick_in(left));
        self.frames.due().into_iter().chain(ends).min()
    }

    fn look_again(&mut self) {
        self.frames.look_again();
    }

    fn repeat_synced(&mut self, cx: &mut Context<'_>, chunk: &mut Chunk) {
        self.frames.repeat_synced(cx, chunk);
    }
}
