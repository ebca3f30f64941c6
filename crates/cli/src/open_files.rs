//! The number of files and connections that this process may have open.

use halfping::Limits;
use tracing::{info, warn};

/// Files that a process has open besides its connections.
pub(crate) const SPARE_FILES: u64 = 64;
/// Connections that any server should have.
const CONNECTIONS_MIN: u64 = 1000;

/// Raises the number to the most that the system allows, and returns that. `None`: there is no
/// bound, or it is unknown.
///
/// The needed number is tried as well: some systems name a maximum that they do not grant.
pub(crate) fn raise(needed: u64) -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let is_less = |count: Option<u64>| {
            limit.current.is_some_and(|now| count.is_none_or(|count| now < count))
        };
        for current in [limit.maximum, Some(needed)] {
            if is_less(current)
                && setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).is_ok()
            {
                break;
            }
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    {
        let _ = needed;
        None
    }
}

/// Raises the number, and says so if it is too small for so many connections.
pub(crate) fn raise_for_connections(connections: usize) {
    let needed = (connections as u64).saturating_add(SPARE_FILES);
    let Some(allowed) = raise(needed).filter(|allowed| *allowed < needed) else { return };
    let reached = allowed.saturating_sub(SPARE_FILES);
    let what = format!("the system allows {allowed} open files: about {reached} connections");
    if is_too_small(connections, reached) {
        warn!(
            "{what}, and not {connections} (limits.connections); raise it (`ulimit -Hn {needed}`, \
             LimitNOFILE={needed} in systemd), or lower limits.connections"
        );
    } else {
        info!("{what}");
    }
}

/// True if so few connections are a fault: fewer than asked for, or hardly any. The default of
/// limits.connections is more than most servers ever have.
fn is_too_small(connections: usize, reached: u64) -> bool {
    connections != Limits::default().connections || reached < CONNECTIONS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_the_system_is_a_fault_only_for_connections_that_were_asked_for() {
        let default = Limits::default().connections;
        assert!(!is_too_small(default, 19_936));
        assert!(is_too_small(default, 960));
        assert!(is_too_small(default + 1, 19_936));
    }

    #[cfg(unix)]
    #[test]
    fn a_number_that_is_larger_than_what_is_needed_stays() {
        let most = raise(1);
        assert_eq!(raise(1), most, "it is the most that is allowed already");
    }
}
