//! The HTTP server of the host: /livez and /readyz, /metrics, /debug/explain, /debug/upgrade, /debug/handover and
//! /debug/status.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bartizan_engine::provider::upgrade_plan::UpgradePlan;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::telemetry::explain::{Board, Explained};
use crate::telemetry::hand_over::HandOver;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{self, Load};
use crate::telemetry::subject::Subject;

/// Listens, and logs the address.
///
/// # Errors
/// If the address cannot be bound.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--listen {address}"))?;
    let address = listener.local_addr().context("--listen")?;
    info!(%address, "listening on http://{address}");
    Ok(listener)
}

/// Serves until `stop` is cancelled.
///
/// # Errors
/// If the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    board: Board,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let debug = Router::new()
        .route("/debug/explain", get(explain))
        .route("/debug/upgrade", get(upgrade))
        .route("/debug/handover", get(hand_over))
        .route("/debug/status", get(status))
        .route_layer(from_fn_with_state(health.clone(), leads))
        .route("/metrics", get(scrape))
        .with_state(board);
    let router = Router::new()
        .route("/livez", get(async || "livez check passed\n"))
        .route("/readyz", get(async |State(health): State<Health>| health.readyz()))
        .with_state(health)
        .merge(debug);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await.context("health server")
}

/// A host that stands by decides nothing, and has nothing to show: another one is to be asked.
async fn leads(State(health): State<Health>, request: Request, next: Next) -> Response {
    match health.why_it_stands_by() {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("this host stands by: {reason}\n")).into_response(),
        None => next.run(request).await,
    }
}

/// The last decisions on one parent: a list, since two providers may share a kind.
async fn explain(State(board): State<Board>, Query(subject): Query<Subject>) -> Json<Vec<Explained>> {
    Json(board.find(&subject))
}

/// The query of /debug/upgrade.
#[derive(serde::Deserialize)]
struct UpgradeQuery {
    provider: String,
}

/// What the next version of a provider would change: `null` if none waits. It shows the content of objects, so that only clients on this
/// machine or in this pod get it. A port-forward is such a client, and needs rights.
async fn upgrade(
    State(board): State<Board>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Query(query): Query<UpgradeQuery>,
) -> Result<Json<Option<UpgradePlan>>, StatusCode> {
    from_here(client)?;
    Ok(Json(board.upgrade(&query.provider)))
}

/// The query of /debug/handover, beside the parent.
#[derive(serde::Deserialize)]
struct HandOverQuery {
    provider: String,
    #[serde(flatten)]
    parent: Subject,
}

/// What a provider would change of a parent that another one serves. As of an upgrade, it shows the content of objects.
async fn hand_over(
    State(board): State<Board>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Query(query): Query<HandOverQuery>,
) -> Result<Json<HandOver>, StatusCode> {
    from_here(client)?;
    Ok(Json(board.hand_overs().ask(&query.provider, query.parent).await))
}

fn from_here(client: SocketAddr) -> Result<(), StatusCode> {
    if client.ip().to_canonical().is_loopback() { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
}

/// The load of each provider: numbers and kinds.
async fn status(State(board): State<Board>) -> Json<BTreeMap<String, Load>> {
    Json(board.metrics().loads())
}

/// The metrics for Prometheus.
async fn scrape(State(board): State<Board>) -> Result<([(HeaderName, &'static str); 1], String), StatusCode> {
    let text = board.metrics().render().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_changes_of_an_upgrade_and_of_a_hand_over_are_shown_on_this_machine_only() {
        let ask = async |from: &str| {
            let query = UpgradeQuery { provider: "minio".to_owned() };
            let from = ConnectInfo(SocketAddr::new(from.parse().unwrap(), 1));
            let parent = Subject { kind: "k".to_owned(), namespace: None, name: "n".to_owned() };
            let parent = Query(HandOverQuery { provider: "minio".to_owned(), parent });
            let handed_over = hand_over(State(Board::default()), from, parent).await.map(|_| None);
            let upgraded = upgrade(State(Board::default()), from, Query(query)).await.map(|Json(plan)| plan);
            assert_eq!(handed_over, upgraded);
            upgraded
        };
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(local).await, Ok(None), "{local}");
        }
        for other in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(ask(other).await, Err(StatusCode::FORBIDDEN), "{other}");
        }
    }
}
