//! Halfping inside an axum application: your routes beside live resources, with one source of truth.
//!
//! `cargo run -p halfping --example axum`, then `curl -N 'http://127.0.0.1:3000/live/orders?watch'` and, in another terminal,
//! `curl -X POST http://127.0.0.1:3000/orders/42/ship`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use halfping::{Api, Commit, Options};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    status: String,
    items: u32,
}

/// Business logic writes what it decides; everybody who watches the order, the list or the count is told.
async fn ship(State(api): State<Api>, Path(id): Path<u32>) -> Result<StatusCode, (StatusCode, String)> {
    let path = format!("/orders/{id}");
    let refused = |error: halfping::Error| (StatusCode::CONFLICT, error.to_string());
    let order: Option<Order> = api.get(&path).map_err(refused)?;
    let shipped: u32 = api.get("/shipped").map_err(refused)?.unwrap_or(0);
    match order {
        Some(order) if order.status == "packed" => {
            let commit =
                Commit::new().put(&format!("{path}/status"), "shipped").put("/shipped", &(shipped + 1));
            api.commit(commit).await.map_err(refused)?;
            Ok(StatusCode::NO_CONTENT)
        }
        _ => Err((StatusCode::CONFLICT, format!("order {id} is not packed\n"))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::new(Options::default());
    api.put("/orders/42", &Order { status: "packed".into(), items: 3 }).await?;

    let app = axum::Router::new()
        .route("/orders/{id}/ship", post(ship))
        .nest_service("/live", api.router())
        .with_state(api);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
