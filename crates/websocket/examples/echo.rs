//! Echo server: the one that Autobahn's test suite connects to (`cargo xtask test autobahn`).
//!
//! `cargo run -p halfping-websocket --example echo -- 127.0.0.1:0`

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::task::{Poll, ready};

use halfping_websocket::{Ended, Handshake, Incoming, Socket};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming as Body};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The largest message of Autobahn.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request)) });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(async move { drop(connection.await) });
    }
}

fn answer(mut request: hyper::Request<Body>) -> hyper::Response<Empty<Bytes>> {
    let upgrade = hyper::upgrade::on(&mut request);
    match Handshake::read(&request.into_parts().0, false) {
        Ok(Some(handshake)) => {
            let deflate = handshake.deflate;
            tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await
                    && let Err(error) = echo(upgraded, deflate).await
                {
                    eprintln!("{error}");
                }
            });
            handshake.response(None)
        }
        _ => {
            let mut response = hyper::Response::default();
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            response
        }
    }
}

async fn echo(upgraded: Upgraded, deflate: bool) -> Result<(), Box<dyn Error>> {
    let mut socket = Socket::new(TokioIo::new(upgraded), &[], MESSAGE_BYTES_MAX, deflate);
    loop {
        let incoming = poll_fn(|cx| match socket.poll_next(cx) {
            // `poll_ready` also answers pings.
            Poll::Pending => match socket.poll_ready(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                _ => Poll::Pending,
            },
            next => next,
        });
        let incoming = incoming.await;
        poll_fn(|cx| socket.poll_ready(cx)).await?;
        match incoming {
            Ok(Incoming::Text(text)) => {
                socket.write_text(|out| out.extend_from_slice(text.as_bytes()));
            }
            Ok(Incoming::Binary(bytes)) => socket.write_binary(&bytes),
            Ok(Incoming::Ping(_) | Incoming::Pong) => {}
            Ok(Incoming::Close(code)) => {
                socket.write_close_answer(code);
                break;
            }
            Err(Ended::Violation(violation)) => {
                socket.write_close(violation.code(), &violation.to_string());
                break;
            }
            Err(Ended::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        poll_fn(|cx| socket.poll_ready(cx)).await?;
    }
    poll_fn(|cx| {
        ready!(socket.poll_ready(cx))?;
        socket.poll_shutdown(cx)
    })
    .await?;
    poll_fn(|cx| socket.poll_drained(cx)).await;
    Ok(())
}
