//! Tells the parents of a Provider that nobody serves them, by live reads and with the rights of its account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::names::field_manager;
use bartizan_contract::{GroupKind, Kind};
use bartizan_engine::object::Projection;
use bartizan_engine::provider::claims::arbitrate;
use bartizan_engine::provider::event::TellUnserved;
use bartizan_engine::status::{self, Outcome, ReportedStatus, StatusInput};
use bartizan_engine::status_shape::StatusShape;
use bartizan_engine::{ApiError, Observed};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::core::DynamicObject;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::controller::startup::{Host, Predecessor};
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::text;
use crate::kubernetes::object::{objects, stamp};
use crate::kubernetes::served::Resource;
use crate::kubernetes::writer::Writer;
use crate::kubernetes::{crds, discovery, impersonation};
use crate::telemetry::timestamp;

/// Parents that are read at once. The content of each is read, since its status is written as a whole.
const PAGE: u32 = 50;
/// Statuses that are written at the same time.
const AT_ONCE: usize = 4;
/// How long a parent is tried again whose status somebody else writes at the same time.
const CONFLICTS: usize = 3;
/// Pause between two pages, so that nobody is kept waiting by parents that nobody serves.
const PAUSE: Duration = Duration::from_millis(50);

/// How many parents could not be told, and one of them with the reason.
type Untold = Option<(usize, String)>;

/// Tells all of them, until `ends`.
pub(super) async fn tell(host: &Host, tell: TellUnserved, run: Option<Predecessor>, ends: CancellationToken) -> Untold {
    if let Some(run) = run {
        run.end().await;
    }
    let name = tell.provider.metadata.name.clone();
    let mut telling = match Telling::new(host, tell) {
        Ok(telling) => telling,
        Err(error) => return Some((1, text(&error))),
    };
    tokio::select! {
        told = telling.all() => if let Err(error) = told {
            // It is not known how many there are.
            telling.failed(text(&error));
        },
        () = ends.cancelled() => {}
    }
    let Telling { told, untold, .. } = telling;
    match &untold {
        None => info!(provider = name, parents = told, "its parents were told that nobody serves them"),
        Some((parents, example)) => {
            warn!(provider = name, parents, "parents could not be told that nobody serves them: {example}")
        }
    }
    untold
}

struct Telling {
    host: Host,
    account: kube::Client,
    tell: TellUnserved,
    told: usize,
    untold: Untold,
}

impl Telling {
    fn new(host: &Host, tell: TellUnserved) -> anyhow::Result<Self> {
        let provider = &tell.provider;
        let user = impersonation::user(&host.provider_namespace, &provider.service_account_name());
        let account = impersonation::acting_as(&host.client, &user, &provider.metadata.name)?;
        Ok(Self { host: host.clone(), account, tell, told: 0, untold: None })
    }

    fn failed(&mut self, example: String) {
        let parents = self.untold.take().map_or(0, |(parents, _)| parents);
        self.untold = Some((parents + 1, example));
    }

    async fn all(&mut self) -> anyhow::Result<()> {
        for kind in self.tell.kinds.clone() {
            let client = &self.host.client;
            let served = in_time(discovery::preferred(client, &kind)).await.with_context(|| format!("kind {kind}"))?;
            // What the cluster does not serve has no objects.
            let Some((version, resource)) = served else { continue };
            let Some(shape) = crds::status_shape(client, &version, &resource.api.plural).await? else { continue };
            if shape.has_room() {
                self.kind(&kind, &version, &resource, &shape).await?;
            }
        }
        Ok(())
    }

    async fn kind(
        &mut self,
        kind: &GroupKind,
        version: &Kind,
        resource: &Resource,
        shape: &StatusShape,
    ) -> anyhow::Result<()> {
        let provider = &self.tell.provider;
        let everywhere = [None];
        let namespaces: Vec<Option<String>> = match (&self.host.namespaces, &provider.spec.namespaces) {
            _ if !resource.namespaced => everywhere.to_vec(),
            (host, own) => match bartizan_engine::provider::claims::namespaces(host, own) {
                None => Vec::new(),
                Some(all) if all.is_empty() => everywhere.to_vec(),
                Some(some) => some.into_iter().map(Some).collect(),
            },
        };
        let projection = Arc::new(Projection {
            manager: field_manager(&provider.metadata.name),
            tokenizer: None,
            parents: Vec::new(),
        });
        let resources = Arc::new(BTreeMap::from([(version.clone(), resource.clone())]));
        let metrics = self.host.board.metrics().of(&provider.metadata.name);
        let writer =
            Writer::new(self.account.clone(), self.host.client.clone(), projection.clone(), resources, metrics);
        for namespace in namespaces {
            let api = objects(&self.account, namespace.as_deref(), &resource.api);
            let mut params = ListParams::default().limit(PAGE);
            loop {
                let page = in_time(api.list(&params)).await.with_context(|| format!("{kind} cannot be listed"))?;
                let served = page.items.into_iter().filter(|object| self.serves(kind, object)).collect::<Vec<_>>();
                let parents = served.into_iter().filter_map(|mut object| {
                    stamp(&mut object, version);
                    Observed::project_for(serde_json::to_value(object).ok()?, &projection).ok()
                });
                let telling = &*self;
                let told: Vec<Result<bool, String>> = futures::stream::iter(parents)
                    .map(|parent| telling.one(&writer, version, shape, parent))
                    .buffer_unordered(AT_ONCE)
                    .collect()
                    .await;
                for told in told {
                    match told {
                        Ok(is_news) => self.told += usize::from(is_news),
                        Err(why) => self.failed(why),
                    }
                }
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => break,
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    fn serves(&self, kind: &GroupKind, object: &DynamicObject) -> bool {
        let serves = arbitrate(&self.tell.claims, kind, object.namespace().as_deref(), object.labels()).serves;
        serves == Some(self.tell.provider.metadata.name.as_str())
    }

    /// Tells one parent. Returns whether it did not say so already.
    async fn one(
        &self,
        writer: &Writer,
        kind: &Kind,
        shape: &StatusShape,
        mut parent: Observed,
    ) -> Result<bool, String> {
        let outcome = Outcome::Unserved { reason: self.tell.reason, message: self.tell.message.clone() };
        for _ in 0..CONFLICTS {
            // Of one that was told nothing, nothing is wrong.
            if parent.owned_status.is_null() {
                return Ok(false);
            }
            let live = parent.value();
            let next = status::next(&StatusInput {
                owned: &parent.owned_status,
                live: live.get("status").unwrap_or(&serde_json::Value::Null),
                shape,
                written: &[],
                keeps_ready: self.tell.keeps_ready,
                reported: ReportedStatus::NoAnswer,
                outcome: &outcome,
                generation: parent.generation,
                now: &timestamp::now(),
            });
            let Some(next) = next else { return Ok(false) };
            let version = parent.resource_version.clone();
            match writer.apply_status(kind, &parent, &version, next, shape.is_subresource).await {
                Ok(_) => return Ok(true),
                Err(ApiError::NotFound(_)) => return Ok(false),
                Err(ApiError::Conflict(_)) => {
                    let (namespace, name) = (parent.key.namespace.clone(), parent.key.name.clone());
                    // A list, since accounts may list their parents, and need no other right to read them.
                    let found = writer.named(kind, namespace.as_deref(), &name).await;
                    match found.map(|found| found.into_iter().find(|newer| newer.uid == parent.uid)) {
                        Ok(Some(newer)) => parent = newer,
                        Ok(None) => return Ok(false),
                        Err(error) => return Err(format!("{}: {error}", parent.key)),
                    }
                }
                Err(error) => return Err(format!("{}: {error}", parent.key)),
            }
        }
        Err(format!("{}: its status changes all the time", parent.key))
    }
}
