//! The attacks, and how much memory the server's limits allow each to take.

use halfping::Limits;

use crate::args::Attack;

/// Connections of `slowhttptest`.
pub(super) const SLOW_CONNECTIONS: u64 = 1000;
/// What it says that a body has.
pub(super) const SLOW_BODY_BYTES: u64 = 8192;
/// Length of the value that is read slowly.
pub(super) const SLOW_VALUE_BYTES: u64 = 100_000;
pub(super) const SILENT_CONNECTIONS: u64 = 5000;
/// Bodies and messages that are sent at the same time.
pub(super) const AT_ONCE: u64 = 4;
pub(super) const LARGE_BYTES: u64 = 100 << 20;
/// Sessions that ask for many things at once and never read an answer.
pub(super) const FLOODS: u64 = 8;
pub(super) const UNREAD_STREAMS: u64 = 200;
pub(super) const UNREAD_BYTES: u64 = 1 << 20;

/// Of a connection: its task, its timers, and what HTTP keeps of it beside its buffers.
const CONNECTION_BYTES: u64 = 8 << 10;
/// A link, its place and its number in the session.
const LINK_BYTES: u64 = 200;
/// What the allocator may hold beyond what is in use, and what commits of the time before leave.
const SLACK_BYTES: u64 = 8 << 20;

impl Attack {
    pub(super) const ALL: [Attack; 13] = [
        Attack::Nothing,
        Attack::SlowHeaders,
        Attack::SlowBody,
        Attack::SlowRead,
        Attack::IdleConnections,
        Attack::HalfPrefaces,
        Attack::LargeBodies,
        Attack::LargeMessages,
        Attack::DepthBombs,
        Attack::CommandFloods,
        Attack::UnreadLinks,
        Attack::UnreadStreams,
        Attack::UnreadStrings,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Attack::Nothing => "nothing",
            Attack::SlowHeaders => "slow-headers",
            Attack::SlowBody => "slow-body",
            Attack::SlowRead => "slow-read",
            Attack::IdleConnections => "idle-connections",
            Attack::HalfPrefaces => "half-prefaces",
            Attack::LargeBodies => "large-bodies",
            Attack::LargeMessages => "large-messages",
            Attack::DepthBombs => "depth-bombs",
            Attack::CommandFloods => "command-floods",
            Attack::UnreadLinks => "unread-links",
            Attack::UnreadStreams => "unread-streams",
            Attack::UnreadStrings => "unread-strings",
        }
    }

    /// The letter by which `slowhttptest` knows it.
    pub(super) fn slowhttptest(self) -> Option<&'static str> {
        match self {
            Attack::SlowHeaders => Some("-H"),
            Attack::SlowBody => Some("-B"),
            Attack::SlowRead => Some("-X"),
            _ => None,
        }
    }

    /// Bytes by which the server may grow, and how that is computed.
    pub(super) fn bound(self, limits: &Limits) -> (u64, &'static str) {
        let (body, message) = (limits.body_bytes as u64, limits.message_bytes as u64);
        // As in the server: a head's target has its limit, the rest 4 KiB.
        let head = (limits.uri_bytes as u64 + (4 << 10)).max(8 << 10);
        let ahead = limits.ahead_bytes as u64;
        let (bytes, formula) = match self {
            Attack::Nothing => (0, "0"),
            Attack::SlowHeaders | Attack::IdleConnections | Attack::HalfPrefaces => {
                let count = if self == Attack::SlowHeaders { SLOW_CONNECTIONS } else { SILENT_CONNECTIONS };
                (count * (CONNECTION_BYTES + head), "connections x (8 KiB + uri_bytes + 4 KiB)")
            }
            Attack::SlowBody => (
                SLOW_CONNECTIONS * (CONNECTION_BYTES + head + SLOW_BODY_BYTES.min(body)),
                "connections x (8 KiB + uri_bytes + 4 KiB + what was declared, at most body_bytes)",
            ),
            Attack::SlowRead => (
                SLOW_CONNECTIONS * (CONNECTION_BYTES + 2 * head + SLOW_VALUE_BYTES),
                "connections x (8 KiB + 2 x (uri_bytes + 4 KiB) + the value, at most value_bytes)",
            ),
            // A body that grows is copied, and what is read of it is there beside it.
            Attack::LargeBodies => (AT_ONCE * 3 * body, "bodies at once x 3 x body_bytes"),
            Attack::LargeMessages => (AT_ONCE * 3 * message, "messages at once x 3 x message_bytes"),
            Attack::DepthBombs => (AT_ONCE * 4 * body.max(message), "bodies at once x 4 x body_bytes"),
            Attack::CommandFloods => (FLOODS * 8 * message, "sessions x 8 x message_bytes"),
            Attack::UnreadLinks => (
                limits.links_per_connection as u64 * LINK_BYTES + 4 * ahead,
                "links_per_connection x 200 + 4 x ahead_bytes",
            ),
            Attack::UnreadStreams => (
                UNREAD_STREAMS * (CONNECTION_BYTES + ahead + 2 * limits.slice_bytes as u64)
                    + limits.shared_encoding_bytes as u64,
                "streams x (8 KiB + ahead_bytes + 2 x slice_bytes) + shared_encoding_bytes",
            ),
            Attack::UnreadStrings => (
                UNREAD_STREAMS * (CONNECTION_BYTES + ahead + UNREAD_BYTES)
                    + limits.shared_encoding_bytes as u64,
                "streams x (8 KiB + ahead_bytes + the string, at most value_bytes) + shared_encoding_bytes",
            ),
        };
        (bytes + SLACK_BYTES, formula)
    }
}
