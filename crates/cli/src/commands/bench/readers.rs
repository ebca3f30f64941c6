//! Readers: event streams of one value, each on a connection of its own.

use std::sync::Arc;

use halfping_client::{Event, Frame, PathError, Watch};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use super::tally::Tally;

/// Readers that are opened at the same time.
const BATCH: u32 = 50;

/// All readers. They end when this is dropped.
pub(super) struct Readers {
    tasks: JoinSet<()>,
    tally: Arc<Tally>,
    /// The first result of each reader: its state, or the reason why it has none.
    first: Sender<Result<(), String>>,
    firsts: Receiver<Result<(), String>>,
    count: u32,
    refusal: Option<String>,
}

impl Readers {
    pub(super) fn new(tally: Arc<Tally>) -> Readers {
        let (first, firsts) = channel(BATCH as usize);
        Readers { tasks: JoinSet::new(), tally, first, firsts, count: 0, refusal: None }
    }

    /// Opens so many more readers, up to the first batch in which one is refused. Reports the
    /// number of readers as it grows.
    pub(super) async fn open(
        &mut self,
        more: u32,
        watch: impl Fn() -> Result<Watch, PathError>,
        shown: impl Fn(u32),
    ) -> Result<(), PathError> {
        let mut left = more;
        while left > 0 && self.refusal.is_none() {
            let batch = left.min(BATCH);
            for _ in 0..batch {
                self.tasks.spawn(read(watch()?, Arc::clone(&self.tally), self.first.clone()));
            }
            for _ in 0..batch {
                match self.firsts.recv().await {
                    Some(Err(why)) => self.refusal = Some(why),
                    _ => self.count += 1,
                }
                shown(self.count);
            }
            left -= batch;
        }
        Ok(())
    }

    /// The number of open readers.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The reason of the first refusal.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// One reader: waits for its state, then counts each newer value.
async fn read(mut watch: Watch, tally: Arc<Tally>, first: Sender<Result<(), String>>) {
    let mut first = Some(first);
    let mut last = None;
    loop {
        let (why, is_over) = match watch.next().await {
            Ok(Event::Frame(frame)) => {
                let number = number(&frame);
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(())).await;
                } else if number > last {
                    number.into_iter().for_each(|number| tally.deliver(number));
                }
                last = last.max(number);
                continue;
            }
            Ok(Event::Connected { .. }) => continue,
            Ok(Event::Lost { why, .. }) => (why.to_string(), false),
            Err(error) => (error.to_string(), true),
        };
        match first.take() {
            Some(first) => {
                let _ = first.send(Err(why)).await;
                return;
            }
            None => tally.cut(),
        }
        if is_over {
            return;
        }
    }
}

/// The number in the value of a frame.
fn number(frame: &Frame) -> Option<u64> {
    let text = frame.value.as_deref()?.get().strip_prefix('"')?;
    u64::from_str_radix(text.get(..16)?, 16).ok()
}
