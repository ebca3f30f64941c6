//! Halfping inside an axum application: your routes beside live resources, with one source of
//! truth.
//!
//! `cargo run -p halfping --example axum`, then `curl -N 'http://127.0.0.1:3000/live/orders?watch'`
//! and, in another terminal, `curl -X POST http://127.0.0.1:3000/orders/42/ship`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use halfping::{Api, Commit, Error, Options, Refusal};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    status: String,
    items: u32,
}

/// Business logic writes what it decides; everybody who watches the order, the list or the count is
/// told.
async fn ship(
    State(api): State<Api>,
    Path(id): Path<u32>,
) -> Result<StatusCode, (StatusCode, String)> {
    let path = format!("/orders/{id}");
    let refused = |error: Error| (StatusCode::CONFLICT, error.to_string());
    loop {
        let order = api.read::<Order>(&path).map_err(refused)?;
        let count = api.read::<u32>("/shipped").map_err(refused)?;
        let shipped = match &order.value {
            Some(Order { status, items }) if status == "packed" => {
                Order { status: "shipped".into(), items: *items }
            }
            _ => return Err((StatusCode::CONFLICT, format!("order {id} is not packed\n"))),
        };
        // Compare and set: both are as they were read, or nothing is written.
        let commit = Commit::new()
            .put(&path, &shipped)
            .if_unchanged(&order)
            .put("/shipped", &(count.value.unwrap_or(0) + 1))
            .if_unchanged(&count);
        match api.commit(commit).await {
            Ok(_) => return Ok(StatusCode::NO_CONTENT),
            Err(Error::Refused(Refusal::Precondition(_))) => {} // somebody was faster: look again
            Err(error) => return Err(refused(error)),
        }
    }
}

/// Your routes, and the live resources beside them.
pub(crate) fn app(api: &Api) -> axum::Router {
    axum::Router::new()
        .route("/orders/{id}/ship", post(ship))
        .nest_service("/live", api.router())
        .with_state(api.clone())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::new(Options::default());
    api.put("/orders/42", &Order { status: "packed".into(), items: 3 }).await?;

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app(&api))
        .with_graceful_shutdown(api.drain_on(asked_to_stop()))
        .await?)
}

/// Resolves on Ctrl-C, and on SIGTERM, by which services and containers are stopped.
async fn asked_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminated) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
