//! The HTTP server of the host: /livez and /readyz, /metrics, /debug/explain, /debug/upgrade, /debug/handover and
//! /debug/status.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use axum::extract::{FromRef, FromRequestParts, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bartizan_engine::ObjectKey;
use bartizan_engine::provider::upgrade_plan::UpgradePlan;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::endpoints::viewer::{Refused, Viewer, Viewers};
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

/// What a debug page shows, and to whom.
#[derive(Clone)]
struct Shown {
    board: Board,
    viewers: Viewers,
}

impl FromRef<Shown> for Board {
    fn from_ref(shown: &Shown) -> Self {
        shown.board.clone()
    }
}

/// Serves until `stop` is cancelled.
///
/// # Errors
/// If the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    board: Board,
    viewers: Viewers,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let debug = Router::new()
        .route("/debug/explain", get(explain))
        .route("/debug/upgrade", get(upgrade))
        .route("/debug/handover", get(hand_over))
        .route("/debug/status", get(status))
        .route_layer(from_fn_with_state(health.clone(), leads))
        .route("/metrics", get(scrape))
        .with_state(Shown { board, viewers });
    let router = Router::new()
        .route("/livez", get(async || "livez check passed\n"))
        .route("/readyz", get(async |State(health): State<Health>| health.readyz()))
        .with_state(health)
        .merge(debug);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await.context("health server")
}

/// Whoever asks has proved who they are.
impl FromRequestParts<Shown> for Viewer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shown: &Shown) -> Result<Self, Refused> {
        shown.viewers.who(&parts.headers).await
    }
}

/// A host that stands by decides nothing, and has nothing to show: another one is to be asked.
async fn leads(State(health): State<Health>, request: Request, next: Next) -> Response {
    match health.why_it_stands_by() {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("this host stands by: {reason}\n")).into_response(),
        None => next.run(request).await,
    }
}

/// The last decisions on one parent, to those who may get it: a list, since two providers may share a kind.
async fn explain(
    State(shown): State<Shown>,
    viewer: Viewer,
    Query(subject): Query<Subject>,
) -> Result<Json<Vec<Explained>>, Refused> {
    let meant = shown.visible(&viewer, &subject).await?;
    Ok(Json(meant.into_iter().map(|(_, explained)| explained).collect()))
}

impl Shown {
    /// The decisions on the parents that are meant and that this viewer may get. To others there seems to be none.
    async fn visible(&self, viewer: &Viewer, subject: &Subject) -> Result<Vec<(ObjectKey, Explained)>, Refused> {
        if matches!(viewer, Viewer::User(_)) && subject.namespace.is_none() {
            // Else one question would be as many reviews as there are namespaces.
            return Err(Refused::Forbidden("name the namespace of the parent".to_owned()));
        }
        let mut visible = Vec::new();
        for (parent, explained) in self.board.find(subject) {
            if self.viewers.may_get(viewer, &parent).await? {
                visible.push((parent, explained));
            }
        }
        match viewer {
            Viewer::User(_) if visible.is_empty() => Err(Refused::Forbidden(format!(
                "this host serves no {} {} that {} may get",
                subject.kind,
                subject.name,
                viewer.name()
            ))),
            _ => Ok(visible),
        }
    }
}

/// The query of /debug/upgrade.
#[derive(serde::Deserialize)]
struct UpgradeQuery {
    provider: String,
}

/// What the next version of a provider would change, to those who may get the Provider: `null` if none waits.
async fn upgrade(
    State(shown): State<Shown>,
    viewer: Viewer,
    Query(query): Query<UpgradeQuery>,
) -> Result<Json<Option<UpgradePlan>>, Refused> {
    shown.viewers.must_get_provider(&viewer, &query.provider).await?;
    Ok(Json(shown.board.upgrade(&query.provider)))
}

/// The query of /debug/handover, beside the parent.
#[derive(serde::Deserialize)]
struct HandOverQuery {
    provider: String,
    #[serde(flatten)]
    parent: Subject,
}

/// What a provider would change of a parent that another one serves, to those who may get both.
async fn hand_over(
    State(shown): State<Shown>,
    viewer: Viewer,
    Query(query): Query<HandOverQuery>,
) -> Result<Json<HandOver>, Refused> {
    shown.viewers.must_get_provider(&viewer, &query.provider).await?;
    let visible = shown.visible(&viewer, &query.parent).await?;
    // Kinds of several groups may have that name: what is looked at is what may be seen.
    let parent = match (&viewer, visible.first()) {
        (Viewer::User(_), Some((key, _))) => Subject { kind: format!("{}.{}", key.kind, key.group), ..query.parent },
        _ => query.parent,
    };
    Ok(Json(shown.board.hand_overs().ask(&query.provider, parent).await))
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
