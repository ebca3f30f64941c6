//! Credit: the bytes of state that may be on their way to a client that says what it has handled
//! (PROTOCOL L10).

use std::collections::VecDeque;

use halfping_engine::Revision;

/// The largest window that makes a difference: connections hold less.
const WINDOW_MAX: usize = 16 << 20;

/// A window on what is on its way.
#[derive(Debug)]
pub(super) struct Credit {
    window: usize,
    sent: VecDeque<(Revision, usize)>,
    on_its_way: usize,
}

impl Credit {
    /// A window of so many bytes; those on their way already do not count. `None` for a window of
    /// nothing, which switches credit off.
    pub(super) fn new(window: usize) -> Option<Box<Credit>> {
        let window = window.min(WINDOW_MAX);
        (window > 0).then(|| Box::new(Credit { window, sent: VecDeque::new(), on_its_way: 0 }))
    }

    /// Bytes that may be sent now.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.on_its_way)
    }

    pub(super) fn send(&mut self, revision: Revision, bytes: usize) {
        self.on_its_way += bytes;
        match self.sent.back_mut() {
            Some((last, of_it)) if *last == revision => *of_it += bytes,
            _ => self.sent.push_back((revision, bytes)),
        }
    }

    /// Notes that everything up to the message of this revision has been handled. With links that
    /// wait for their rate, a later message may be of an earlier revision, so it is looked for; if
    /// it is not there (any more), age counts.
    pub(super) fn ack(&mut self, revision: Revision) {
        let handled = match self.sent.iter().rposition(|(sent, _)| *sent == revision) {
            Some(place) => place + 1,
            None => self.sent.iter().take_while(|(sent, _)| *sent < revision).count(),
        };
        self.on_its_way -= self.sent.drain(..handled).map(|(_, bytes)| bytes).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handled_makes_room() {
        let mut credit = Credit::new(100).unwrap();
        credit.send(Revision(1), 60);
        credit.send(Revision(1), 20);
        credit.send(Revision(2), 70);
        assert_eq!(credit.room(), 0);
        credit.ack(Revision(1));
        assert_eq!(credit.room(), 30);
        credit.send(Revision(1), 10);
        credit.ack(Revision(1));
        assert_eq!(credit.room(), 100, "the one of revision 2 came before");
        credit.send(Revision(3), 10);
        credit.ack(Revision(9));
        assert_eq!(credit.room(), 100);
        assert!(Credit::new(0).is_none());
    }
}
