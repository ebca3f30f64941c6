//! Encode once: frames kept for the other readers of the same resource (invariant A6).

use std::sync::Arc;

use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::frame::Frame;
use crate::interest::PointId;

/// Frames kept of one resource. In lock step all readers want the same one; after a pause there are a few groups of them.
const FRAMES_PER_POINT: usize = 4;

/// What a reader is about to be told: from where, and in which projection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    pub(crate) point: PointId,
    pub(crate) depth: u32,
    pub(crate) whole: bool,
    pub(crate) from: Revision,
}

/// Word that nothing has changed that such a reader can see, for those who ask next: what is hidden from one is hidden from all of them.
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) wish: Wish,
    pub(crate) touched: Revision,
    pub(crate) to: Revision,
}

struct Kept {
    wish: Wish,
    /// The last change of the resource when the frame was made: it is good until the next.
    touched: Revision,
    to: Revision,
    frame: Arc<Frame>,
}

pub(crate) struct Sharing {
    kept: HashMap<PointId, Vec<Kept>>,
    bytes: usize,
    bytes_max: usize,
}

impl Sharing {
    pub(crate) fn new(bytes_max: usize) -> Sharing {
        Sharing { kept: HashMap::new(), bytes: 0, bytes_max }
    }

    /// The frame that another reader with the same wish was sent, and the cursor after it.
    pub(crate) fn find(&self, wish: &Wish, touched: Revision) -> Option<(Arc<Frame>, Revision)> {
        let kept = self.kept.get(&wish.point)?.iter().find(|k| k.wish == *wish && k.touched == touched)?;
        Some((kept.frame.clone(), kept.to))
    }

    pub(crate) fn keep(&mut self, wish: &Wish, touched: Revision, frame: &Arc<Frame>, to: Revision) {
        let len = frame.body.len();
        if len > self.bytes_max {
            return;
        }
        if self.bytes + len > self.bytes_max {
            (self.kept, self.bytes) = (HashMap::new(), 0);
        }
        let kept = self.kept.entry(wish.point).or_default();
        kept.retain(|k| {
            let good = k.touched == touched;
            self.bytes -= if good { 0 } else { k.frame.body.len() };
            good
        });
        if kept.len() == FRAMES_PER_POINT {
            self.bytes -= kept.remove(0).frame.body.len();
        }
        self.bytes += len;
        kept.push(Kept { wish: *wish, touched, to, frame: frame.clone() });
    }

    /// Nobody is left to share with.
    pub(crate) fn forget(&mut self, point: PointId) {
        for kept in self.kept.remove(&point).unwrap_or_default() {
            self.bytes -= kept.frame.body.len();
        }
    }
}
