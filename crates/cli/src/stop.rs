//! Reasons to stop: Ctrl-C, SIGTERM, or the end of the process that started this one.

use std::io;

use crate::log;
use crate::report::tell;

/// Ends this process when its stdin ends: it does not outlive the process that holds the other
/// side, however that one ends.
pub(crate) fn with_stdin() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
}

/// Resolves when the server is asked to stop. A second request ends the process at once.
pub(crate) async fn requested() {
    signal().await;
    match log::is_json() {
        true => tracing::info!("stopping; again to stop at once"),
        false => tell(format_args!("stopping; again to stop at once")),
    }
    tokio::spawn(async {
        signal().await;
        std::process::exit(130); // What a shell reports for a process ended by Ctrl-C.
    });
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
