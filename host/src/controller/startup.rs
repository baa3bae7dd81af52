//! Starts a controller: resolves its kinds, checks its rights, loads the token key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::names::{field_manager, finalizer};
use bartizan_contract::provider::{EffectiveLimits, GrantedNamespaces, Provider};
use bartizan_contract::{GroupKind, Kind};
use bartizan_engine::crd_compat::Incompatibility;
use bartizan_engine::object::Projection;
use bartizan_engine::provider::claims::{self, Claim};
use bartizan_engine::provider::event::{ControllerEvent, Hindrance, Purpose};
use bartizan_engine::provider::module::{ModuleInfo, Parent};
use bartizan_engine::provider::upgrade_plan::Preview;
use bartizan_engine::secrets::Tokenizer;
use bartizan_engine::snapshot::ProviderContext;
use bartizan_engine::status_shape::ConditionsRoom;
use bartizan_engine::{Grant, Grants, PodBounds};
use bartizan_runtime::Limits;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::catalog::Runnable;
use crate::controller::reporter::Reporter;
use crate::controller::{Controller, Ended, Inputs, Served, Surroundings};
use crate::controller::{former_kinds, former_namespaces, lacking_crds};
use crate::kubernetes::access_review::{self, NotAllowed};
use crate::kubernetes::backoff;
use crate::kubernetes::crds;
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::discovery::{self, Changes};
use crate::kubernetes::error::text;
use crate::kubernetes::events::Events;
use crate::kubernetes::impersonation;
use crate::kubernetes::served::{Resource, ServedParent};
use crate::kubernetes::token_key;
use crate::kubernetes::writer::Writer;
use crate::reconcile::call_pool::CallPool;
use crate::reconcile::shared::Shared;
use crate::telemetry::explain::Board;
use crate::telemetry::timestamp;

/// Delay between attempts to start.
const START_RETRY: Duration = crate::kubernetes::backoff::PROVIDER_START;
/// An existing CRD is found within this time.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What all providers of a host share.
#[derive(Clone)]
pub(crate) struct Host {
    /// The API server.
    pub(crate) client: Client,
    /// The last decisions.
    pub(crate) board: Board,
    /// Changes of the served kinds.
    pub(crate) changes: Changes,
    /// Runs calls.
    pub(crate) calls: CallPool,
    /// Whether CRDs are installed.
    pub(crate) install_crds: bool,
    /// The host's own namespace.
    pub(crate) system_namespace: String,
    /// Namespace of the accounts that providers act as.
    pub(crate) provider_namespace: String,
    /// Serve only these; none: all.
    pub(crate) namespaces: Vec<String>,
}

/// A controller that still serves.
#[derive(Clone)]
pub(crate) struct Predecessor {
    /// Cancels it.
    pub(crate) stop: CancellationToken,
    /// Cancelled once it has ended.
    pub(crate) ended: CancellationToken,
}

impl Predecessor {
    /// Cancels it and waits for its end: a provider has one writer.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }
}

/// Everything that one provider needs to start.
pub(crate) struct Start {
    /// What all providers share.
    pub(crate) host: Host,
    /// What was declared.
    pub(crate) provider: Provider,
    /// Its version, those that take over from it with the same watches and rights, and those to look at.
    pub(crate) inputs: Inputs,
    /// Reports to the Providers actor.
    pub(crate) reporter: Reporter,
    /// The controller that serves until this one can.
    pub(crate) before: Option<Predecessor>,
    /// Its limits.
    pub(crate) limits: EffectiveLimits,
    /// Kinds that it may ever have written.
    pub(crate) kinds: Vec<GroupKind>,
    /// Whether it serves, or only previews its version.
    pub(crate) purpose: Purpose,
    /// What each Provider claims.
    pub(crate) claims: Arc<[Claim]>,
}

impl Start {
    /// Retries until it can start, then serves until it is cancelled. It restarts when an optional kind is added or removed.
    ///
    /// # Errors
    /// If a watch task ends: without it the index cannot be trusted.
    pub(crate) async fn serve(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let name = self.provider.metadata.name.clone();
        let result = self.work(&name, &stop).await;
        // The next controller waits for the end of this one only.
        if let Some(before) = self.before {
            before.end().await;
        }
        result
    }

    /// Previews what the version would change, with watches of its own, and reports that once.
    ///
    /// # Errors
    /// If a watch task ends.
    pub(crate) async fn preview(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let name = self.provider.metadata.name.clone();
        let version = self.inputs.versions.borrow().version.clone();
        if self.purpose == (Purpose::Preview { compares_crds: true }) {
            tokio::select! {
                crds = self.unfit(&name, &version.module) => self.reporter.report(ControllerEvent::CrdsCompared(crds)),
                () = stop.cancelled() => return Ok(()),
            }
        }
        if let Ok(Some((crd, reason))) = self.unseen(&version.module).await {
            let time = timestamp::now();
            let preview = Preview::unseen(&crd, &reason, &time);
            self.reporter.report(ControllerEvent::Previewed { id: version.id(), preview });
            return Ok(());
        }
        self.work(&name, &stop).await
    }

    fn is_preview(&self) -> bool {
        matches!(self.purpose, Purpose::Preview { .. })
    }

    /// Where it shows what it decides. A controller that only previews shows nothing of its own.
    fn board(&self) -> Board {
        if self.is_preview() { Board::default() } else { self.host.board.clone() }
    }

    /// Incompatibilities of the module's CRDs with those of the cluster. Retries until they are known.
    async fn unfit(&self, name: &str, module: &ModuleInfo) -> Vec<Incompatibility> {
        loop {
            let error = match crds::incompatible_with_cluster(&self.host.client, &module.manifest.crds).await {
                Ok(crds) => return crds,
                Err(error) => error,
            };
            let reason = format!("it is not known whether its CustomResourceDefinitions fit: {}", text(&error));
            self.wait(&reason);
            error!(provider = name, "{reason}");
            tokio::time::sleep(backoff::after(START_RETRY, &error)).await;
        }
    }

    /// A CRD that is there without the version that the module needs, where it is the host that would bring that: nothing of this kind
    /// can be looked at before.
    async fn unseen(&self, module: &ModuleInfo) -> anyhow::Result<Option<(String, String)>> {
        if self.host.install_crds {
            for parent in &module.parents {
                if crds::serves_others_only(&self.host.client, parent).await? {
                    let reason = format!("its parents cannot be looked at before {} is served", parent.kind.version);
                    return Ok(Some((parent.crd.clone(), reason)));
                }
            }
        }
        Ok(None)
    }

    async fn work(&mut self, name: &str, stop: &CancellationToken) -> anyhow::Result<()> {
        // Once: if somebody else changes a CRD, this host does not fight for it.
        let mut installs = self.host.install_crds && !self.is_preview();
        loop {
            // Marked before anything is read: later changes cause another attempt.
            let mut changes = self.host.changes.clone();
            changes.mark_unchanged();
            let version = self.inputs.versions.borrow_and_update().clone();
            let prepared = tokio::select! {
                prepared = self.prepare(name, &version, installs) => prepared,
                () = stop.cancelled() => return Ok(()),
            };
            match prepared {
                Ok((controller, optional, parents)) => {
                    installs = false;
                    let controller = self.begin(&version, controller).await;
                    self.report_required(&parents);
                    let client = &self.host.client;
                    let optional = discovery::until_changed(client.clone(), optional, changes.clone());
                    let parents = crds::until_changed(client.clone(), parents, changes);
                    let changed = async {
                        tokio::select! {
                            () = optional => {}
                            () = parents => {}
                        }
                    };
                    let questions = self.board().hand_overs().of(name);
                    // In a task of its own, so that it delays no parent; it ends when this is dropped.
                    let mut beside = JoinSet::new();
                    beside.spawn(controller.foresight().answer(self.inputs.versions.clone(), questions));
                    let comparing = lacking_crds::report(
                        self.host.client.clone(),
                        self.reporter.clone(),
                        self.inputs.versions.clone(),
                        self.host.changes.clone(),
                    );
                    let ended = tokio::select! {
                        ended = controller.run(stop, &mut self.inputs, changed) => ended?,
                        never = comparing => match never {},
                        Some(failed) = beside.join_next() => match failed {
                            Ok(never) => match never {},
                            Err(error) => return Err(error.into()),
                        },
                    };
                    match ended {
                        Ended::Stopped | Ended::Previewed => return Ok(()),
                        // It was said.
                        Ended::WentBack => {}
                        Ended::KindsChanged => info!(
                            provider = name,
                            "an optional kind came or went, or a parent's changed: starting anew"
                        ),
                    }
                    continue;
                }
                Err(error) => {
                    let reason = text(&error);
                    let hindrance = error.downcast_ref().map_or(Hindrance::Wait, NotAllowed::hindrance);
                    self.reporter.report(ControllerEvent::Waiting { reason: reason.clone(), hindrance });
                    error!(provider = name, "cannot start yet: {reason}");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(START_RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Takes over from the previous controller, unless it only previews.
    async fn begin(&mut self, version: &Runnable, controller: Controller) -> Controller {
        if self.is_preview() {
            self.reporter.report(ControllerEvent::Began);
            return controller.only_preview(version);
        }
        if let Some(before) = self.before.take() {
            before.end().await;
        }
        self.reporter.report(ControllerEvent::Began);
        controller
    }

    /// Reports what it waits for.
    fn wait(&self, reason: &str) {
        self.reporter.report(ControllerEvent::waiting(reason.to_owned()));
    }

    /// Reports the kinds of parents on which nothing can be said before the provider gave a status.
    fn report_required(&self, parents: &[(Parent, ServedParent)]) {
        let required = parents.iter().filter(|(_, served)| !served.status.required().is_empty());
        let kinds = required.map(|(parent, served)| {
            let fields: Vec<String> = served.status.required().iter().map(|field| format!("status.{field}")).collect();
            format!("{} requires {}", parent.crd, fields.join(", "))
        });
        let kinds = kinds.collect::<Vec<_>>().join("; ");
        self.reporter.report(ControllerEvent::StatusRequires { fields: (!kinds.is_empty()).then_some(kinds) });
    }

    /// A controller, the optional kinds that it was made for, and its parents.
    async fn prepare(&self, name: &str, next: &Runnable, installs: bool) -> anyhow::Result<Prepared> {
        let version = &next.version;
        let (module, manifest) = (&version.module, &version.module.manifest);
        if installs {
            for crd in &manifest.crds {
                crds::install(&self.host.client, crd).await?;
            }
        }
        let key = token_key::load(&self.host.client, &self.host.system_namespace).await?;
        let (served, optional) = self.served(name, module).await?;
        let namespaces = self.namespaces()?;
        let mut served = served;
        let user = impersonation::user(&self.host.provider_namespace, &self.provider.service_account_name());
        let client = impersonation::acting_as(&self.host.client, &user, name)?;
        if !self.provider.spec.allow_host_secrets {
            access_review::check_host(&client, &user, &self.host.system_namespace).await?;
        }
        former_kinds::leave_without_rights(&client, &user, &mut served, &namespaces).await?;
        access_review::check(&client, &user, &served, manifest.finalizes, &namespaces).await?;
        let server = in_time(self.host.client.apiserver_version()).await.context("version of the API server")?;
        let granted = &self.provider.spec.grants;
        let grant = |resource: &Resource, namespaces: Vec<GrantedNamespaces>| Grant {
            namespaced: resource.namespaced,
            namespaces,
        };
        let writes = |kinds: &BTreeMap<Kind, Resource>| {
            let granted_in = kinds.iter().map(|(kind, resource)| {
                let grants = granted.children.iter().filter(|grant| grant.covers(kind));
                (kind.clone(), grant(resource, grants.map(|grant| grant.namespaces.clone()).collect()))
            });
            granted_in.collect()
        };
        let related = served.related.iter().map(|(kind, resource)| {
            let grants = granted.related.iter().filter(|grant| grant.covers(kind));
            (kind.clone(), grant(resource, grants.map(|grant| grant.namespaces.clone()).collect()))
        });
        let grants = Grants {
            children: writes(&served.children),
            former: writes(&served.former),
            related: related.collect(),
            pods: PodBounds::of(granted),
        };
        let parents = served.parents.iter().map(|(kind, parent)| (kind.clone(), parent.resource.clone()));
        let others = [&served.children, &served.former, &served.descendants, &served.related];
        let resources = parents.chain(others.into_iter().flatten().map(|(kind, found)| (kind.clone(), found.clone())));
        let projection = Arc::new(Projection {
            manager: field_manager(name),
            tokenizer: Some(Tokenizer::new(key, name, manifest.sensitive.clone())),
            parents: served.parents.keys().cloned().collect(),
        });
        let kinds = |kinds: &BTreeMap<Kind, Resource>| kinds.keys().cloned().collect();
        let context = ProviderContext {
            name: name.to_owned(),
            version: manifest.version.clone(),
            digest: module.digest.clone(),
            settings: version.given(),
            max_children: to_usize(self.limits.children),
            grants,
            finalizes: manifest.finalizes,
            keeps_ready: manifest.keeps_ready,
            finalizer: finalizer(name),
            child_kinds: kinds(&served.children),
            written_kinds: served.children.keys().chain(served.former.keys()).cloned().collect(),
            descendant_kinds: kinds(&served.descendants),
            related_kinds: kinds(&served.related),
            cluster_version: server.git_version,
        };
        let board = self.board();
        let reporter = if self.is_preview() { self.reporter.only_previews() } else { self.reporter.clone() };
        let shared = Shared {
            context: Arc::new(context),
            module: next.module.clone(),
            limits: Limits::from(self.limits),
            concurrency: to_usize(self.limits.concurrency),
            writer: Writer::new(
                client.clone(),
                self.host.client.clone(),
                projection,
                Arc::new(resources.collect()),
                board.metrics().of(name),
            ),
            events: Events::new(self.host.client.clone(), &field_manager(name)),
            calls: self.host.calls.clone(),
        };
        let former = match self.is_preview() {
            true => BTreeSet::new(),
            false => {
                former_namespaces::find(&client, &self.provider, &served, &namespaces, &self.host.namespaces).await
            }
        };
        let mut watched = namespaces;
        for namespace in former {
            let alone = std::slice::from_ref(&namespace);
            match access_review::check(&client, &user, &served, manifest.finalizes, alone).await {
                Ok(()) => watched.push(namespace),
                Err(error) => {
                    warn!(
                        provider = name,
                        namespace,
                        "its parents there are not let go of, although it claims none: {}",
                        text(&error)
                    );
                }
            }
        }
        let surroundings = Surroundings { claims: self.claims.clone(), reporter, board };
        let found = |parent: &Parent| Some((parent.clone(), served.parents.get(&parent.kind)?.clone()));
        let parents = module.parents.iter().filter_map(found).collect();
        let controller = Controller::new(&client, shared, served, &watched, surroundings);
        Ok((controller, optional, parents))
    }

    /// The namespaces to watch: those of the Provider that the host serves; none: all.
    ///
    /// # Errors
    /// If they have none in common.
    fn namespaces(&self) -> anyhow::Result<Vec<String>> {
        let host = &self.host.namespaces;
        claims::namespaces(host, &self.provider.spec.namespaces).with_context(|| {
            format!("this host serves {} only (--namespace), and spec.namespaces names none of them", host.join(", "))
        })
    }

    /// How the cluster serves what the provider works with, and the optional kinds among that.
    async fn served(&self, name: &str, module: &ModuleInfo) -> anyhow::Result<(Served, Vec<(Kind, bool)>)> {
        let mut served = Served::default();
        for parent in &module.parents {
            let mut established = std::pin::pin!(crds::established(&self.host.client, parent));
            let found = match tokio::time::timeout(AT_ONCE, &mut established).await {
                Ok(found) => found?,
                // It does not exist: it will be installed before there are parents.
                Err(_)
                    if self.is_preview()
                        && self.host.install_crds
                        && !crds::exists(&self.host.client, parent).await? =>
                {
                    continue;
                }
                // Reported only if it takes long: otherwise it would alternate with the actual reason.
                Err(_) => {
                    self.wait(&format!("waiting for CustomResourceDefinition {}", parent.crd));
                    info!(provider = name, crd = parent.crd, "waiting until it is Established");
                    established.await?
                }
            };
            if found.status.conditions() == ConditionsRoom::None {
                warn!(
                    provider = name, kind = %parent.kind,
                    "the CustomResourceDefinition has no room for conditions: what they would say is sent as events"
                );
            }
            served.parents.insert(parent.kind.clone(), found);
        }
        let manifest = &module.manifest;
        let mut optional = Vec::new();
        let grants = &self.provider.spec.grants;
        let writes = manifest.children.iter().map(|asked| (asked.kind(), asked.optional, Role::Child));
        let sees = manifest.descendants.iter().map(|asked| (asked.kind(), asked.optional, Role::Descendant));
        let reads = manifest.related.iter().map(|asked| (asked.kind(), asked.optional, Role::Related));
        for (kind, is_optional, role) in writes.chain(sees).chain(reads) {
            let is_granted = match role {
                Role::Child => grants.covers_child(&kind),
                Role::Descendant => grants.covers_descendant(&kind),
                Role::Related => grants.covers_related(&kind).is_some(),
            };
            // A kind that is not granted is absent for the provider; required kinds were checked before.
            if !is_granted {
                served.optional.insert(GroupKind::from(&kind).to_string(), false);
                continue;
            }
            let found =
                in_time(discovery::discover(&self.host.client, &kind)).await.with_context(|| format!("kind {kind}"))?;
            if is_optional {
                served.optional.insert(GroupKind::from(&kind).to_string(), found.is_some());
                optional.push((kind.clone(), found.is_some()));
            }
            let slot = match role {
                Role::Child => &mut served.children,
                Role::Descendant => &mut served.descendants,
                Role::Related => &mut served.related,
            };
            match found {
                Some(resource) => {
                    slot.insert(kind, resource);
                }
                None if is_optional => {}
                None => anyhow::bail!("kind {kind}, which the provider works with, is not served by this cluster"),
            }
        }
        former_kinds::add(&self.host.client, &self.kinds, &mut served).await?;
        // One that goes must not be watched any more.
        optional.extend(served.former.keys().map(|kind| (kind.clone(), true)));
        Ok((served, optional))
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A controller, the optional kinds that it was made for, and its parents.
type Prepared = (Controller, Vec<(Kind, bool)>, Vec<(Parent, ServedParent)>);

/// The role of a kind.
#[derive(Clone, Copy)]
enum Role {
    Child,
    Descendant,
    Related,
}
