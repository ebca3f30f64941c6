//! Reasons to stop: Ctrl-C, SIGTERM, or the end of the process that started this one.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::log;
use crate::report::tell;

/// Time within which several signals are one request: `timeout` signals a process and then its
/// group, and a terminal and a shell may both pass on Ctrl-C.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Ends this process when its stdin ends: it does not outlive the process that holds the other
/// side, however that one ends.
pub(crate) fn with_stdin() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
}

/// Resolves when the process is asked to stop. A further request ends it at once.
pub(crate) async fn requested() {
    asked().await;
    tokio::spawn(async {
        again().await;
        at_once();
    });
}

/// Resolves when the process is asked to stop, and says so.
pub(crate) async fn asked() {
    signal().await;
    match log::is_json() {
        true => tracing::info!("stopping; again to stop at once"),
        false => tell(format_args!("stopping; again to stop at once")),
    }
}

/// Resolves when the process is asked again, after it was [`asked`] a moment ago.
pub(crate) async fn again() {
    let one_until = Instant::now() + ONE_REQUEST;
    loop {
        signal().await;
        if Instant::now() >= one_until {
            return;
        }
    }
}

/// Ends this process.
pub(crate) fn at_once() -> ! {
    std::process::exit(130) // The code that a shell reports for a process ended by Ctrl-C.
}

async fn signal() {
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
