//! `halfping serve`: an API on a port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;

use halfping::{Api, Console, Cors, Options, Server};
use halfping_pages::Pages;
use tracing::{info, warn};

use crate::args::Serve;
use crate::config::Config;
use crate::log;
use crate::log::LogFormat;
use crate::report::{Blame, Failure, tell};
use crate::{forward_auth, keys, open_files, reload, stop, storage};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

pub(crate) async fn serve(args: Serve) -> Result<(), Failure> {
    log::start(&args.log);
    let config = Config::read(args.config.as_deref(), &args.limit)?;
    if args.until_stdin_ends {
        stop::with_stdin();
    }
    let listen = at_port(args.listen.or(config.listen).unwrap_or(LISTEN), args.port);
    let mut options = config.options(args.access.asked(args.open)?, listen)?;
    if let Some(forward) = config.forward() {
        options.auth = forward_auth::asking(options.auth, forward)?;
    }
    probe(listen)?;
    warn_of(&options, listen, "--open");
    // Where there are rules, they say who is shown data: the page has none.
    let console = match options.console {
        Console::Loopback if options.auth.has_rules() => Console::On,
        console => console,
    };
    // One future for the whole run: with two, a request between them would be lost.
    let mut stop = pin!(stop::requested());
    let api = tokio::select! {
        opened = storage::open(&args.storage, config.data.as_deref(), options) => opened?,
        // Nothing was acknowledged yet, so nothing has to be finished.
        () = &mut stop => return Ok(()),
    };
    let server = with_pages(bind(listen, api.clone()).await?, console, false);
    let log_format = args.log.log_format;
    keys::fetch_for(&api);
    reload::follow(&api, args, &config, listen);
    let url = announce(&server, log_format);
    open_files::raise_for_connections(config.limits.connections);
    if log_format == LogFormat::Text {
        tell(format_args!("try: curl -N '{url}/?watch'"));
    }
    run(server, &api, stop).await
}

/// Replaces the port of an address, if one is asked for.
pub(crate) fn at_port(mut listen: SocketAddr, port: Option<u16>) -> SocketAddr {
    listen.set_port(port.unwrap_or(listen.port()));
    listen
}

/// Warns at the start of settings that let others in or forbid writing. `open`: the flag that lets
/// everybody write.
pub(crate) fn warn_of(options: &Options, listen: SocketAddr, open: &str) {
    if options.closed {
        warn!(
            "nobody can write: {listen} can be reached from elsewhere, and there are no rules. Say who may write, by [auth] and [[rule]] in the configuration; or \
             listen on 127.0.0.1, behind a proxy that asks who they are; or {open} lets everybody write (open = true, HALFPING_OPEN=1)"
        );
        warn!("anybody who reaches {listen} may read everything");
    } else if options.is_for_everybody(listen) && !options.read_only {
        warn!("anybody who reaches {listen} may read and write everything, as {open} says");
    }
    if options.auth.is_on() && !options.auth.has_rules() {
        warn!(
            "there is [auth] and no [[rule]]: everybody who gets in may {} everything",
            if options.read_only || options.closed { "read" } else { "read and write" }
        );
    }
    if options.cors == Cors::Any {
        let what = if options.read_only || options.closed { "read" } else { "read and write" };
        warn!("CORS is open: any page that somebody opens in a browser may {what} here");
    }
    if options.read_only {
        info!("read-only: nothing can be written through HTTP");
    }
}

/// Fails early if the address is taken: opening a store can take a while.
pub(crate) fn probe(listen: SocketAddr) -> Result<(), Failure> {
    match std::net::TcpListener::bind(listen) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(cannot_listen(listen, &error))
        }
        // Any other error is reported when the server binds.
        _ => Ok(()),
    }
}

fn cannot_listen(listen: SocketAddr, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Blame::Peer, format!("cannot listen on {listen}: {error}"));
    if error.kind() == std::io::ErrorKind::AddrInUse {
        let other = listen.port().checked_add(1).unwrap_or(7070);
        failure.hint(format!(
            "another server runs there; --port {other} takes another port, --port 0 any that is free"
        ))
    } else {
        failure
    }
}

pub(crate) async fn bind(listen: SocketAddr, api: Api) -> Result<Server, Failure> {
    Server::bind(listen, api).await.map_err(|error| cannot_listen(listen, &error))
}

/// Adds pages to the server beside its API. `console`: the requests for which the console's page is
/// there; where clients are told apart, they log in on it.
pub(crate) fn with_pages(server: Server, console: Console, demo: bool) -> Server {
    server.beside(move |request| {
        // Most requests are for the API: that is seen at once.
        if !request.uri().path().starts_with("/_") {
            return None;
        }
        let console = console.is_open_for(request.headers(), request.uri());
        let pages = Pages { console, demo };
        pages.answer(request.method(), request.uri().path(), request.headers())
    })
}

/// Prints where the server listens, in the log's format. Returns a URL that works on this machine.
pub(crate) fn announce(server: &Server, format: LogFormat) -> String {
    let address = server.local_addr();
    let url = format!("http://{}", reachable(address));
    match format {
        LogFormat::Text => {
            tell(format_args!(
                "halfping {} listening on http://{address}",
                env!("CARGO_PKG_VERSION")
            ));
        }
        LogFormat::Json => info!(address = %address, "listening"),
    }
    url
}

/// Serves until asked to stop; then waits until all readers are told and all commits are stored.
pub(crate) async fn run(
    server: Server,
    api: &Api,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let served = server.run(stop).await;
    api.close().await;
    served.map_err(|error| Failure::new(Blame::Peer, format!("the server failed: {error}")))?;
    info!("stopped");
    Ok(())
}

/// Replaces the address "any" by loopback: one can listen on it, but not connect to it.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_by_loopback() {
        let check = |address: &str, expect: &str| {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expect);
        };
        check("0.0.0.0:1", "127.0.0.1:1");
        check("[::]:1", "[::1]:1");
        check("10.0.0.1:1", "10.0.0.1:1");
    }
}
