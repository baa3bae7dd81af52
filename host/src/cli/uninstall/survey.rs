//! Looks at what of Bartizan there is in a cluster. Everything is read before anything is changed, so that whoever lacks a right learns it
//! first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::names::{HOST_FIELD_MANAGER, PROVIDER_GROUP, PROVIDER_KIND, PROVIDER_LABEL, field_manager};
use bartizan_contract::{GroupKind, Kind};
use bartizan_engine::Observed;
use bartizan_engine::plan::{self, FinalizerStep, Release};
use bartizan_engine::provider::claims::Claim;
use kube::api::ListParams;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::args::UninstallArgs;
use super::plan::{Named, Parent, Plan, is_of_another};
use crate::cli::{lease, parent};
use crate::kubernetes::error::api_message;
use crate::kubernetes::lease::NAME as LEASE;
use crate::kubernetes::metadata::each_metadata;
use crate::kubernetes::resources::{self, Named as Served};
use crate::kubernetes::token_key;

/// What all objects of this project carry.
const PART_OF: &str = "app.kubernetes.io/part-of=bartizan";
/// The kind of CustomResourceDefinitions.
const CRD: (&str, &str) = ("apiextensions.k8s.io", "CustomResourceDefinition");
/// Kinds of labelled objects that go, wherever they are: group, kind. In this order.
const ANYWHERE: [(&str, &str); 6] = [
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
];
/// Kinds of labelled objects that go in the host's two namespaces.
const OWN: [(&str, &str); 4] = [
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("", "Service"),
    ("", "ServiceAccount"),
];

/// An object, and how the API server serves it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) served: Served,
    pub(super) meta: PartialObjectMeta<DynamicObject>,
}

impl Found {
    /// Its name for people.
    pub(super) fn named(&self) -> Named {
        let kind = GroupKind::from(&self.kind).to_string();
        Named { kind, namespace: self.meta.namespace(), name: self.meta.name_any() }
    }
}

/// Kinds of objects.
#[derive(Default)]
struct Kinds {
    parents: BTreeSet<GroupKind>,
    children: BTreeSet<GroupKind>,
}

/// A child, and how the API server serves it.
type Child = (Served, Arc<Observed>);

/// What there is.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) plan: Plan,
    pub(super) parents: Vec<Found>,
    /// Children to release.
    pub(super) releases: Vec<(Served, Release)>,
    pub(super) providers: Vec<Found>,
    pub(super) crds: Vec<Found>,
    pub(super) deployments: Vec<Found>,
    pub(super) objects: Vec<Found>,
}

/// Looks at everything.
pub(super) async fn look(client: &Client, args: &UninstallArgs) -> anyhow::Result<Survey> {
    let served = resources::served(client).await.map_err(api_message).context("the kinds of the cluster")?;
    let look = Look { client, args, served: &served };
    let mut survey = Survey::default();
    let held = lease::of(client, &args.system_namespace).await.context("the Lease of the host")?;
    (survey.plan.lease, survey.plan.works) = (held.text, held.is_current);
    survey.providers = look.all((PROVIDER_GROUP, PROVIDER_KIND), None, "").await?;
    survey.plan.providers = survey.providers.iter().map(|provider| provider.meta.name_any()).collect();
    let known = look.known(!survey.providers.is_empty()).await?;
    look.crds(&known.parents, &mut survey).await?;
    look.children(&known.children, &mut survey).await?;
    look.objects(&mut survey).await?;
    Ok(survey)
}

struct Look<'a> {
    client: &'a Client,
    args: &'a UninstallArgs,
    served: &'a [Served],
}

impl Look<'_> {
    fn find(&self, (group, kind): (&str, &str)) -> Option<&Served> {
        self.served.iter().find(|served| served.kind.group == group && served.kind.kind == kind)
    }

    /// The metadata of the objects of a kind that match, if the cluster serves it.
    async fn all(&self, kind: (&str, &str), namespace: Option<&str>, selector: &str) -> anyhow::Result<Vec<Found>> {
        match self.find(kind) {
            Some(served) => self.list(served, namespace, selector).await,
            None => Ok(Vec::new()),
        }
    }

    async fn list(&self, served: &Served, namespace: Option<&str>, selector: &str) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        let api = served.api(self.client, namespace);
        let mut params = ListParams::default();
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        let listed = each_metadata(&api, params, |meta| {
            found.push(Found { kind: served.kind.clone(), served: served.clone(), meta });
        });
        listed.await.with_context(|| format!("{} cannot be listed", GroupKind::from(&served.kind)))?;
        Ok(found)
    }

    /// The kinds that Providers claim, and those that they have written.
    async fn known(&self, has_providers: bool) -> anyhow::Result<Kinds> {
        if !has_providers {
            return Ok(Kinds::default());
        }
        let providers = parent::providers(self.client).await?;
        let owned =
            providers.iter().filter_map(|provider| provider.status.active.as_ref()).flat_map(|active| &active.owns);
        let claims = parent::claims(&providers);
        Ok(Kinds {
            parents: owned.cloned().chain(claims.iter().flat_map(Claim::kinds)).collect(),
            children: providers.iter().flat_map(|provider| provider.status.kinds.clone()).collect(),
        })
    }

    /// The CustomResourceDefinitions that were installed with Bartizan, and the parents of all kinds.
    async fn crds(&self, claimed: &BTreeSet<GroupKind>, survey: &mut Survey) -> anyhow::Result<()> {
        let mut claimed = claimed.clone();
        let labelled = self.all(CRD, None, "").await?.into_iter().filter(is_installed);
        for crd in labelled {
            // `objectstores.minio.rook.io`.
            let name = crd.meta.name_any();
            let (plural, group) = name.split_once('.').unwrap_or((&name, ""));
            let served =
                self.served.iter().find(|served| served.kind.group == group && served.resource.api.plural == plural);
            let kind = served.map(|served| GroupKind::from(&served.kind));
            let is_of_host = group == PROVIDER_GROUP;
            let parents = match served {
                Some(served) if !is_of_host => self.list(served, None, "").await?,
                _ => Vec::new(),
            };
            if let Some(kind) = kind {
                claimed.remove(&kind);
            }
            let goes = is_of_host || !self.args.keep_crds;
            let hangs = parents.iter().any(|parent| !others(parent).is_empty());
            if goes && !hangs {
                survey.plan.crds.push(name);
                survey.crds.push(crd);
            } else if goes {
                survey.plan.held.push(name);
            } else {
                survey.plan.stays.push(format!("CustomResourceDefinition {name}: --keep-crds"));
            }
            survey.plan.parents.extend(parents.iter().map(|parent| Parent {
                finalizers: if goes { others(parent) } else { Vec::new() },
                ..of_parent(parent, goes && !hangs)
            }));
            survey.parents.extend(parents);
        }
        for kind in claimed {
            let Some(served) = self.find((&kind.group, &kind.kind)) else { continue };
            let plural = &served.resource.api.plural;
            survey.plan.stays.push(format!(
                "CustomResourceDefinition {plural}.{}: it was not installed with Bartizan (it is not labelled {PART_OF})",
                kind.group
            ));
            let parents = self.list(served, None, "").await?;
            survey.plan.parents.extend(parents.iter().map(|parent| of_parent(parent, false)));
            survey.parents.extend(parents);
        }
        Ok(())
    }

    /// What has the labels of a child, of every kind that the cluster serves: Providers that knew the kinds may be gone.
    async fn children(&self, known: &BTreeSet<GroupKind>, survey: &mut Survey) -> anyhow::Result<()> {
        // By the UID of the parent and the provider.
        let mut children: BTreeMap<(String, String), Vec<Child>> = BTreeMap::new();
        for served in self.served.iter().filter(|served| served.can_list && served.kind.kind != "Event") {
            let listed = match self.list(served, None, PROVIDER_LABEL).await {
                // As of an aggregated API that is down. If a Provider may have written it, or nobody knows, that stops here.
                Err(error) if !known.is_empty() && !known.contains(&GroupKind::from(&served.kind)) => {
                    eprintln!("not looked at, since no Provider has written any: {error:#}");
                    continue;
                }
                listed => listed?,
            };
            for Found { kind, meta, .. } in listed {
                let provider = meta.labels().get(PROVIDER_LABEL).cloned().unwrap_or_default();
                let child = observed(&kind, &meta, &provider)?;
                let owner = child.owner_uid.clone().unwrap_or_default();
                children.entry((owner, provider)).or_default().push((served.clone(), Arc::new(child)));
            }
        }
        for (parent, entry) in survey.parents.iter().zip(&mut survey.plan.parents) {
            let uid = parent.meta.uid().unwrap_or_default();
            let of_parent = children.range((uid.clone(), String::new())..).take_while(|((owner, _), _)| *owner == uid);
            for ((_, provider), children) in of_parent {
                let observed = observed(&parent.kind, &parent.meta, provider)?;
                for (served, child) in children {
                    let alone = std::slice::from_ref(child);
                    let releases = plan::let_go(provider, &observed, alone, FinalizerStep::Keep).releases;
                    entry.children += releases.len();
                    survey.releases.extend(releases.into_iter().map(|release| (served.clone(), release)));
                }
            }
        }
        Ok(())
    }

    /// The host's Deployments, rights, accounts and namespaces.
    async fn objects(&self, survey: &mut Survey) -> anyhow::Result<()> {
        let UninstallArgs { system_namespace, provider_namespace, .. } = self.args;
        survey.deployments = self.all(("apps", "Deployment"), Some(system_namespace), PART_OF).await?;
        for kind in ANYWHERE {
            survey.objects.extend(self.all(kind, None, PART_OF).await?);
        }
        for kind in OWN {
            for namespace in [system_namespace, provider_namespace] {
                survey.objects.extend(self.all(kind, Some(namespace), PART_OF).await?);
            }
        }
        let leases = self.all(("coordination.k8s.io", "Lease"), Some(system_namespace), "").await?;
        survey.objects.extend(leases.into_iter().filter(|found| found.meta.name_any() == LEASE));
        let secrets = self.all(("", "Secret"), Some(system_namespace), "").await?;
        let has_key = secrets.iter().any(|found| found.meta.name_any() == token_key::NAME);
        if has_key {
            survey.plan.stays.push(format!(
                "Secret {system_namespace}/{}: with it a later installation takes up again the children that stay; once nothing of them is \
                 needed: kubectl delete namespace {system_namespace}",
                token_key::NAME
            ));
        }
        let namespaces = self.all(("", "Namespace"), None, PART_OF).await?;
        survey.objects.extend(namespaces.into_iter().filter(|found| {
            let name = found.meta.name_any();
            name == *system_namespace && !has_key || name == *provider_namespace
        }));
        survey.plan.deployments = survey.deployments.iter().map(Found::named).collect();
        survey.plan.objects = survey.objects.iter().map(Found::named).collect();
        Ok(())
    }
}

/// Whether a CustomResourceDefinition came with Bartizan: it is the host's own, is labelled, or a host has installed it (`--install-crds`).
fn is_installed(crd: &Found) -> bool {
    let is_of_host = crd.meta.name_any().split_once('.').is_some_and(|(_, group)| group == PROVIDER_GROUP);
    let (label, value) = PART_OF.split_once('=').unwrap_or_default();
    let is_labelled = crd.meta.labels().get(label).is_some_and(|found| found == value);
    let mut managers = crd.meta.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
    is_labelled || is_of_host || managers.any(|manager| manager == HOST_FIELD_MANAGER)
}

fn others(parent: &Found) -> Vec<String> {
    parent.meta.finalizers().iter().filter(|name| is_of_another(name)).cloned().collect()
}

fn of_parent(parent: &Found, goes: bool) -> Parent {
    Parent {
        object: parent.named(),
        goes,
        deleting: parent.meta.metadata.deletion_timestamp.is_some(),
        ..Parent::default()
    }
}

fn observed(kind: &Kind, meta: &PartialObjectMeta<DynamicObject>, provider: &str) -> anyhow::Result<Observed> {
    let object = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": meta.metadata});
    Observed::project(object, &field_manager(provider)).with_context(|| kind.to_string())
}
