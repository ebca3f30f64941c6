//! The two clocks: the time of day, which goes on the wire, and one that never goes back, for
//! waiting.

use std::time::{Duration, Instant, SystemTime};

use halfping_engine::{Tick, Timestamp};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// The time of day.
    wall: fn() -> SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { start: Instant::now(), wall: SystemTime::now }
    }

    /// A clock with another time of day.
    #[cfg(test)]
    pub(crate) fn with(wall: fn() -> SystemTime) -> Clock {
        Clock { wall, ..Clock::new() }
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick(self.start.elapsed().as_millis() as u64)
    }

    /// The tick after so much time from now.
    pub(crate) fn tick_in(&self, time: Duration) -> Tick {
        Tick(self.tick().0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.start + Duration::from_millis(tick.0)
    }

    /// The wall clock's reading. It may go back.
    pub(crate) fn now(&self) -> Timestamp {
        let since = (self.wall)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as u64)
    }
}
