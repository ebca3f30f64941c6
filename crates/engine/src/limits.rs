//! Every bound of a Halfping server, in one place (invariant A9).
//!
//! The engine heeds the first group, the server around it the second. Each is a member of the
//! config's `[limits]` table, and each refusal names the member that was reached.

use serde::{Deserialize, Serialize};

/// The bounds of one server. All of them are "at most"; none can be switched off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Nesting of objects and arrays in one body. Readers' parsers commonly stop at 128.
    pub json_depth: usize,
    /// Nesting of objects and arrays in the whole tree, counted from the root, as a `GET` of the
    /// root shows it. Readers' parsers commonly stop at 128.
    pub tree_depth: usize,
    /// Members of one object, counted after the write.
    pub members_per_object: usize,
    /// Bytes of one member name (UTF-8, unescaped).
    pub key_bytes: usize,
    /// Segments of one path.
    pub path_depth: usize,
    /// Removed members that one object remembers, so that old cursors can be told of them. The
    /// oldest are forgotten first; a cursor from before that gets a snapshot of the object.
    pub tombstones_per_object: usize,
    /// Removed members remembered over all objects: beyond it, no newly removed one is.
    pub tombstones: usize,
    /// Bytes of the names of removed members that are remembered, over all objects: beyond it, an
    /// object forgets its oldest when it changes.
    pub tombstone_bytes: usize,
    /// Bytes of the whole tree as JSON. In memory it takes two to four times as many.
    pub tree_bytes: usize,
    /// Members that one commit writes, at all levels, and operations of a patch. While a commit is
    /// worked out, the engine does nothing else: about a millisecond for two thousand.
    pub members_per_commit: usize,
    /// Work of one JSON Patch, in bytes that it scans: about a nanosecond each. Comparing, copying
    /// and rewriting are charged in proportion.
    pub patch_work_bytes: usize,
    /// Bytes of one frame before it is cut into several.
    pub slice_bytes: usize,
    /// Bytes of one value that is sent in one piece: a plain answer. Larger ones can be kept, and
    /// read in part, with a cut, or as a stream.
    pub value_bytes: usize,
    /// Bytes of an object that is sent whole with each change, to readers without deltas. A reader
    /// that wants more of it takes deltas, or a cut.
    pub whole_frame_bytes: usize,
    /// Bytes of notes for readers in the middle of a large state: members that left it meanwhile
    /// and are not remembered otherwise. A reader that takes nothing for so long that notes have to
    /// be dropped begins anew.
    pub walk_notes_bytes: usize,
    /// Bytes of encodings kept to be shared between readers of the same resource.
    pub shared_encoding_bytes: usize,

    /// Bytes of one request body.
    pub body_bytes: usize,
    /// Milliseconds without enough of a body, or of a session's message, before it is refused:
    /// patience that runs out with time, comes back with the bytes that arrive, and never is more
    /// than this.
    pub body_timeout_ms: u64,
    /// Bytes of a body, or of a session's message, that bring back a second of that patience: a
    /// body or message that is slower for long is refused.
    pub body_bytes_per_second: usize,
    /// Milliseconds in which a request's header has to arrive, also the next one of a connection
    /// that is kept open.
    pub header_timeout_ms: u64,
    /// Bytes of a request's path and query.
    pub uri_bytes: usize,
    /// Open connections.
    pub connections: usize,
    /// Bytes that the kernel may hold unsent of one connection before it is given more. Their
    /// content is decided already, so the bound is small; it is enough to keep a fast connection
    /// busy while the next bytes are made. 4294967295 leaves it to the kernel.
    pub unsent_bytes: u32,
    /// Links over all streams of one connection.
    pub links_per_connection: usize,
    /// Links of all connections.
    pub links: usize,
    /// Bytes of the places where links stand, over all connections: each costs some for itself and
    /// those of its name, once for all links.
    pub places_bytes: usize,
    /// Bytes of the places where the links of one connection stand. Here each link is charged for
    /// the whole way to its place, even if others share it.
    pub places_bytes_per_connection: usize,
    /// Bytes of a condition, of a selection, and of an order: `where`, `select` and `order`.
    pub view_text_bytes: usize,
    /// Members that a view shows at most if it has a `limit`: the largest that it may have.
    pub window_members: usize,
    /// Distinct views that links look through, over all connections. Links that ask for the same
    /// in other words share one.
    pub views: usize,
    /// Links of one connection that look through a view, distinct or not.
    pub views_per_connection: usize,
    /// Conditions that every changed member of a collection has to be asked about, since they
    /// require no equality, and orders into which it has to be put whatever its values: of one
    /// collection. Such a condition and its order count as two. Each costs every commit into it
    /// some tens to hundreds of nanoseconds.
    pub unindexed_lenses: usize,
    /// Rows of the orders of views, in all: one for each member that fulfils the view's condition,
    /// for each order of it that somebody looks through. A row takes some 48 bytes.
    pub view_rows: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub http2_streams_per_connection: u32,
    /// Writes a second of each connection, sustained; one second's worth may come at once.
    pub writes_per_second: u32,
    /// Bytes of one message from a WebSocket's client, also after decompression.
    pub message_bytes: usize,
    /// Bytes of messages a second of each session, after decompression and sustained; one second's
    /// worth may come at once. Faster messages are read later.
    pub message_bytes_per_second: u32,
    /// Commands a second of each session, sustained; one second's worth may come at once.
    pub commands_per_second: u32,
    /// Milliseconds without a word from a session's client after which it is pinged.
    pub ping_ms: u64,
    /// Milliseconds without a word from a session's client, also not to pings, after which it is
    /// closed.
    pub silence_ms: u64,
    /// Milliseconds in which the client of a session has to say who it is, where nobody gets in
    /// without a credential.
    pub auth_timeout_ms: u64,
    /// Seconds that a long poll may wait.
    pub wait_seconds: u64,
    /// Bytes that a stream may make ahead of its connection.
    pub ahead_bytes: usize,
    /// Bytes of answers that clients have not taken yet, and of bodies that are being read, over
    /// all connections. An answer or body that is larger than all of it is held alone.
    pub buffered_bytes: usize,
    /// Bytes of untaken answers, and of bodies being read, of one connection. Beyond that its
    /// requests wait for their turn, and others do not.
    pub buffered_bytes_per_connection: usize,
    /// Milliseconds in which there has to be room for an answer before the request is refused; and
    /// for which a client may take nothing of an answer whose room others want, before it is given
    /// up. This patience comes back with the bytes that are taken.
    pub answer_timeout_ms: u64,
    /// Bytes of an answer that bring back a second of that patience: an answer that is taken more
    /// slowly for long is given up when others want its room.
    pub answer_bytes_per_second: usize,
    /// Milliseconds after which an answer of which nothing is taken is given up, whether others
    /// want its room or not.
    pub answer_idle_ms: u64,
    /// Bytes of requests over HTTP/2 that are not answered yet, over all connections: their heads
    /// as they are in memory, and 2 KiB for each.
    pub heads_bytes: usize,
    /// Bytes of requests over HTTP/2 that are not answered yet, of one connection.
    pub heads_bytes_per_connection: usize,
    /// Milliseconds that a drain waits for requests in progress.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            json_depth: 64,
            tree_depth: 96,
            members_per_object: 1_000_000,
            key_bytes: 1024,
            path_depth: 32,
            tombstones_per_object: 1024,
            tombstones: 1_000_000,
            tombstone_bytes: 64 << 20,
            tree_bytes: 2 << 30,
            members_per_commit: 16_384,
            patch_work_bytes: 4 << 20,
            slice_bytes: 64 << 10,
            value_bytes: 64 << 20,
            whole_frame_bytes: 1 << 20,
            walk_notes_bytes: 16 << 20,
            shared_encoding_bytes: 64 << 20,
            body_bytes: 4 << 20,
            body_timeout_ms: 30_000,
            body_bytes_per_second: 2 << 10,
            header_timeout_ms: 10_000,
            uri_bytes: 8 << 10,
            connections: 65_536,
            unsent_bytes: 16 << 10,
            links_per_connection: 100_000,
            links: 10_000_000,
            places_bytes: 1 << 30,
            places_bytes_per_connection: 128 << 20,
            view_text_bytes: 1024,
            window_members: 1_000,
            views: 10_000,
            views_per_connection: 1_000,
            unindexed_lenses: 64,
            view_rows: 4_000_000,
            http2_streams_per_connection: 256,
            writes_per_second: 50_000,
            message_bytes: 4 << 20,
            message_bytes_per_second: 16 << 20,
            commands_per_second: 250_000,
            ping_ms: 25_000,
            silence_ms: 120_000,
            auth_timeout_ms: 10_000,
            wait_seconds: 60,
            ahead_bytes: 16 << 10,
            buffered_bytes: 1 << 30,
            buffered_bytes_per_connection: 64 << 20,
            answer_timeout_ms: 30_000,
            answer_bytes_per_second: 16 << 10,
            answer_idle_ms: 600_000,
            heads_bytes: 512 << 20,
            heads_bytes_per_connection: 32 << 20,
            drain_ms: 5_000,
        }
    }
}

/// Nesting beyond which no setting may go: the engine walks values by recursion.
const DEPTH_MAX: usize = 768;
/// Members of an object beyond which no setting may go: a slot is numbered in 32 bits.
const MEMBERS_MAX: usize = 1 << 30;

impl Limits {
    /// The widest bounds of a tree, for data that was accepted already under other bounds.
    pub fn widest() -> Limits {
        Limits {
            json_depth: DEPTH_MAX,
            tree_depth: DEPTH_MAX,
            members_per_object: MEMBERS_MAX,
            key_bytes: usize::MAX,
            path_depth: DEPTH_MAX,
            tree_bytes: usize::MAX,
            members_per_commit: usize::MAX,
            patch_work_bytes: usize::MAX,
            value_bytes: usize::MAX,
            ..Limits::default()
        }
    }

    /// The same limits with some of them changed.
    ///
    /// ```
    /// let limits = halfping_engine::Limits::default().with(|limits| limits.path_depth = 16);
    /// assert_eq!(limits.path_depth, 16);
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Limits)) -> Limits {
        change(&mut self);
        self
    }

    /// Checks that all values can work; the error names the member that cannot, and the reason.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("json_depth", self.json_depth),
            ("members_per_object", self.members_per_object),
            ("members_per_commit", self.members_per_commit),
            ("path_depth", self.path_depth),
            ("patch_work_bytes", self.patch_work_bytes),
            ("value_bytes", self.value_bytes),
            ("whole_frame_bytes", self.whole_frame_bytes),
            ("tree_bytes", self.tree_bytes),
            ("body_bytes", self.body_bytes),
            ("connections", self.connections),
            ("links_per_connection", self.links_per_connection),
            ("links", self.links),
            ("places_bytes", self.places_bytes),
            ("places_bytes_per_connection", self.places_bytes_per_connection),
            ("http2_streams_per_connection", self.http2_streams_per_connection as usize),
            ("writes_per_second", self.writes_per_second as usize),
            ("body_timeout_ms", self.body_timeout_ms as usize),
            ("body_bytes_per_second", self.body_bytes_per_second),
            ("answer_bytes_per_second", self.answer_bytes_per_second),
            ("header_timeout_ms", self.header_timeout_ms as usize),
            ("message_bytes", self.message_bytes),
            ("message_bytes_per_second", self.message_bytes_per_second as usize),
            ("commands_per_second", self.commands_per_second as usize),
            ("ping_ms", self.ping_ms as usize),
            ("silence_ms", self.silence_ms as usize),
            ("auth_timeout_ms", self.auth_timeout_ms as usize),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("limits.{name} must be at least 1"));
        }
        let ranges = [
            ("json_depth", self.json_depth, 1, DEPTH_MAX),
            ("path_depth", self.path_depth, 1, DEPTH_MAX),
            ("tree_depth", self.tree_depth, 1, DEPTH_MAX),
            // Long enough for the names of the server's own, such as `/_health`.
            ("key_bytes", self.key_bytes, 8, usize::MAX),
            ("uri_bytes", self.uri_bytes, 8, usize::MAX),
            ("slice_bytes", self.slice_bytes, 1 << 10, 16 << 20),
            ("view_text_bytes", self.view_text_bytes, 1, 64 << 10),
            ("window_members", self.window_members, 1, 1 << 20),
            ("ahead_bytes", self.ahead_bytes, 8 << 10, 1 << 20),
            // A part of it is the time between two looks.
            ("answer_timeout_ms", self.answer_timeout_ms as usize, 8, 86_400_000),
            ("answer_idle_ms", self.answer_idle_ms as usize, 8, 86_400_000),
            (
                "buffered_bytes_per_connection",
                self.buffered_bytes_per_connection,
                64 << 10,
                1 << 40,
            ),
            ("buffered_bytes", self.buffered_bytes, 64 << 10, 1 << 40),
            ("heads_bytes_per_connection", self.heads_bytes_per_connection, 64 << 10, 1 << 40),
            ("heads_bytes", self.heads_bytes, 64 << 10, 1 << 40),
            ("unsent_bytes", self.unsent_bytes as usize, 4 << 10, u32::MAX as usize),
            ("members_per_object", self.members_per_object, 1, MEMBERS_MAX),
        ];
        for (name, value, min, max) in ranges {
            if value < min || value > max {
                let range = match max {
                    usize::MAX => format!("at least {min}"),
                    max => format!("between {min} and {max}"),
                };
                return Err(format!("limits.{name} must be {range}, not {value}"));
            }
        }
        let parts = [
            (
                "answer_timeout_ms",
                self.answer_timeout_ms as usize,
                "answer_idle_ms",
                self.answer_idle_ms as usize,
            ),
            (
                "buffered_bytes_per_connection",
                self.buffered_bytes_per_connection,
                "buffered_bytes",
                self.buffered_bytes,
            ),
            (
                "heads_bytes_per_connection",
                self.heads_bytes_per_connection,
                "heads_bytes",
                self.heads_bytes,
            ),
        ];
        for (part, value, whole, max) in parts {
            if value > max {
                let why = format!("must be at most limits.{whole}, {max}, not {value}");
                return Err(format!("limits.{part} {why}"));
            }
        }
        Ok(())
    }
}
