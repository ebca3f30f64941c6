//! The two clocks: the time of day, which goes on the wire, and one that never goes back, for waiting.

use std::time::{Duration, Instant, SystemTime};

use halfping_engine::{Tick, Timestamp};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick(self.start.elapsed().as_millis() as u64)
    }

    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.start + Duration::from_millis(tick.0)
    }

    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as u64)
    }
}
