//! Publishing at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::{Delivery, Load};

/// Beats a second above which one beat publishes several updates.
const BEATS_PER_SECOND_MAX: u32 = 2000;

/// Calls `publish` `rate` times a second for a while, and handles arrivals meanwhile. Between turns
/// it calls `look`.
pub(super) fn steadily(
    load: &mut Load,
    rate: u32,
    time: Duration,
    mut publish: impl FnMut(&mut Load) -> Result<()>,
    mut look: impl FnMut(),
    mut take: impl FnMut(Delivery),
) -> Result<()> {
    let metronome = Metronome::start(load, rate.min(BEATS_PER_SECOND_MAX));
    let start = Instant::now();
    let mut done = 0;
    loop {
        let now = start.elapsed();
        if now >= time {
            break;
        }
        let due = (now.as_secs_f64() * f64::from(rate)) as u64;
        while done < due {
            publish(load)?;
            done += 1;
        }
        look();
        load.turn(time - now, &mut take)?;
    }
    drop(metronome);
    Ok(())
}

/// The handle of a thread that wakes the load when the next update is due: the system's own wait
/// for sockets counts in milliseconds.
struct Metronome(Arc<AtomicBool>);

impl Metronome {
    fn start(load: &Load, rate: u32) -> Metronome {
        let alarm = load.alarm();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::spawn(move || {
            let start = Instant::now();
            for beat in 1.. {
                let at = Duration::from_secs(1) * beat / rate;
                thread::sleep(at.saturating_sub(start.elapsed()));
                if stopped.load(Ordering::Relaxed) || alarm.wake().is_err() {
                    break;
                }
            }
        });
        Metronome(stop)
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
