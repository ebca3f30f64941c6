//! Encode once: frames kept for the other readers of the same resource (invariant A6).

use std::sync::Arc;

use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::read::frame::Frame;
use crate::read::interest::PointId;

/// Frames kept of one resource. In lock step all readers want the same one; after a pause there are
/// a few groups of them.
const FRAMES_PER_POINT: usize = 4;

/// The frame that a reader needs: its starting revision, and its projection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    pub(crate) point: PointId,
    pub(crate) depth: u32,
    pub(crate) whole: bool,
    pub(crate) from: Revision,
}

/// Note that no change is visible to such a reader, for the next readers of this kind: a change
/// that is hidden from one is hidden from all of them.
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) wish: Wish,
    pub(crate) touched: Revision,
    pub(crate) to: Revision,
}

struct Kept {
    wish: Wish,
    /// The last change of the resource when the frame was made: the frame is valid until the next.
    touched: Revision,
    to: Revision,
    frame: Arc<Frame>,
}

/// Frames kept for other readers. When the newer half is full, the older one is dropped.
pub(crate) struct Sharing {
    newer: Frames,
    older: Frames,
    bytes_max: usize,
}

/// Frames by their places.
#[derive(Default)]
pub(crate) struct Frames {
    kept: HashMap<PointId, Vec<Kept>>,
    bytes: usize,
}

impl Sharing {
    pub(crate) fn new(bytes_max: usize) -> Sharing {
        Sharing { newer: Frames::default(), older: Frames::default(), bytes_max }
    }

    /// The frame that another reader with the same wish was sent, and the cursor after it.
    pub(crate) fn find(&self, wish: &Wish, touched: Revision) -> Option<(Arc<Frame>, Revision)> {
        let kept =
            [&self.newer, &self.older].into_iter().filter_map(|half| half.kept.get(&wish.point));
        let kept = kept.flatten().find(|k| k.wish == *wish && k.touched == touched)?;
        Some((kept.frame.clone(), kept.to))
    }

    /// Keeps a frame for others. Returns frames that had to go, to be dropped where nobody waits.
    #[must_use = "there may be very many of them"]
    pub(crate) fn keep(
        &mut self,
        wish: &Wish,
        touched: Revision,
        frame: &Arc<Frame>,
        to: Revision,
    ) -> Option<Frames> {
        let (len, half) = (frame.body.len(), self.bytes_max / 2);
        if len > half {
            return None;
        }
        let is_full = self.newer.bytes + len > half;
        let gone = is_full.then(|| {
            let full = std::mem::take(&mut self.newer);
            std::mem::replace(&mut self.older, full)
        });
        self.newer.keep(Kept { wish: *wish, touched, to, frame: frame.clone() });
        gone
    }

    /// Drops the frames of a place that has no other readers left.
    pub(crate) fn forget(&mut self, point: PointId) {
        self.newer.forget(point);
        self.older.forget(point);
    }
}

impl Frames {
    fn keep(&mut self, frame: Kept) {
        let kept = self.kept.entry(frame.wish.point).or_default();
        kept.retain(|k| {
            let good = k.touched == frame.touched;
            self.bytes -= if good { 0 } else { k.frame.body.len() };
            good
        });
        if kept.len() == FRAMES_PER_POINT {
            self.bytes -= kept.remove(0).frame.body.len();
        }
        self.bytes += frame.frame.body.len();
        kept.push(frame);
    }

    fn forget(&mut self, point: PointId) {
        for kept in self.kept.remove(&point).unwrap_or_default() {
            self.bytes -= kept.frame.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Epoch;
    use crate::read::frame::Kind;
    use crate::times::Timestamp;

    #[test]
    fn when_it_is_full_the_older_half_goes() {
        let mut sharing = Sharing::new(10_000);
        let now = Revision(1);
        let wish = |point| Wish { point, depth: 1, whole: false, from: now };
        let frame = |bytes| {
            let epoch = Epoch::from_random(7);
            Frame::new(Kind::Merge, vec![b' '; bytes], epoch, Some(now), Timestamp(0))
        };
        let mut gone = Vec::new();
        for point in 0..100 {
            let frame = frame(100);
            gone.extend(sharing.keep(&wish(point), now, &frame, now));
            let kept = (0..=point).filter(|point| sharing.find(&wish(*point), now).is_some());
            let kept: Vec<_> = kept.collect();
            assert!(kept.len() * 100 <= 10_000, "{}", kept.len());
            assert!(kept.len() > 49 || kept.len() as u32 == point + 1, "{}", kept.len());
            assert_eq!(kept.last(), Some(&point));
        }
        let bytes: usize = gone.iter().map(|frames| frames.bytes).sum();
        assert_eq!(bytes + sharing.newer.bytes + sharing.older.bytes, 100 * 100);
        // One that would take more than half is not kept, and takes nothing from others.
        let large = frame(5001);
        assert!(sharing.keep(&wish(7), now, &large, now).is_none());
        sharing.forget(99);
        assert!(sharing.find(&wish(99), now).is_none() && sharing.find(&wish(98), now).is_some());
    }
}
