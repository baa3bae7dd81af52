//! What a controller watches and lists: which kinds, where, and by which labels.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_contract::Kind;
use bartizan_contract::names::PROVIDER_LABEL;
use bartizan_contract::provider::GrantedNamespaces;
use bartizan_engine::descendants::Listing;
use bartizan_engine::index::Scope;
use bartizan_engine::related::{Reference, References};
use bartizan_engine::{ApiError, Grants, Observed, ParentUid, ownership};
use kube::Client;
use tracing::warn;

use crate::kubernetes::backoff::{self, Backoff};
use crate::kubernetes::served::{Resource, Served};
use crate::kubernetes::watch::Watch;
use crate::reconcile::shared::Shared;

/// Objects that were listed.
pub(super) struct Listed {
    /// What for.
    pub(super) of: ListedFor,
    /// The objects.
    pub(super) objects: Vec<Observed>,
}

/// What shows whether the store went back in time.
pub(super) struct Version {
    /// What was listed.
    pub(super) scope: Scope,
    /// The highest resource version that was seen before.
    pub(super) highest: String,
    /// That of the list.
    pub(super) listed: String,
}

/// What objects were listed for.
pub(super) enum ListedFor {
    /// The selector of a child.
    Selector(Listing),
    /// A parent.
    Parent(ParentUid),
    /// The references of a parent.
    References(ParentUid),
}

/// One watch for each kind and scope: children by their label; descendants and related kinds unfiltered.
pub(super) fn watches(client: &Client, shared: &Shared, served: &Served, namespaces: &[String]) -> Vec<Watch> {
    let selector = format!("{PROVIDER_LABEL}={}", shared.provider());
    let parents = served.parents.iter().map(|(kind, parent)| (kind, &parent.resource, None));
    let whole = served.descendants.iter().chain(&served.related).map(|(kind, resource)| (kind, resource, None));
    let children = served.children.iter().chain(&served.former);
    let children = children.map(|(kind, resource)| (kind, resource, Some(selector.clone())));
    let mut watches: BTreeMap<Scope, Watch> = BTreeMap::new();
    for (kind, resource, selector) in parents.chain(whole).chain(children) {
        for namespace in scopes(resource, &wider(namespaces, kind, &shared.context.grants)) {
            let scope = Scope { kind: kind.clone(), namespace };
            // An unfiltered watch of a kind comes first, and covers its children, too.
            watches.entry(scope.clone()).or_insert_with(|| Watch {
                client: client.clone(),
                scope,
                resource: resource.clone(),
                may_stream: streams_lists(&shared.context.cluster_version),
                streams: streams_lists(&shared.context.cluster_version),
                selector: selector.clone(),
                projection: shared.writer.projection().clone(),
            });
        }
    }
    watches.into_values().collect()
}

/// Whether an API server of this version, as `v1.36.3`, sends a list as a stream (KEP-3157, by default since 1.34).
fn streams_lists(version: &str) -> bool {
    let mut numbers =
        version.trim_start_matches('v').split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(1), Some(34))
}

/// Retries until the list succeeds: a decision waits for it.
pub(super) async fn list(shared: &Shared, listing: &Listing) -> Vec<Observed> {
    let (namespace, selector) = (listing.namespace.as_deref(), listing.selector.to_string());
    let mut objects = Vec::new();
    for kind in &shared.context.descendant_kinds {
        let mut backoff = Backoff::new(backoff::LIST);
        loop {
            match shared.writer.list(kind, namespace, &selector).await {
                Ok(found) => {
                    objects.extend(found);
                    break;
                }
                Err(error) => {
                    warn!(provider = shared.provider(), %kind, child = %listing.child, "cannot be listed: {error}");
                    backoff.wait().await;
                }
            }
        }
    }
    objects
}

/// The objects that these references match. Retries until they were read: a decision waits for them.
pub(super) async fn referenced(shared: &Shared, references: &References) -> Vec<Observed> {
    let mut backoff = Backoff::new(backoff::LIST);
    loop {
        match read_references(shared, references).await {
            Ok(objects) => return objects,
            Err(error) => {
                warn!(provider = shared.provider(), "related objects cannot be read: {error}");
                backoff.wait().await;
            }
        }
    }
}

async fn read_references(shared: &Shared, references: &References) -> Result<Vec<Observed>, ApiError> {
    let mut objects = Vec::new();
    for Reference { kind, namespace, names, selector } in references {
        let namespace = namespace.as_deref();
        // Lists only: an account may list related objects, and need no other right to read them.
        if names.is_empty() {
            let selector = selector.as_ref().map(ToString::to_string).unwrap_or_default();
            objects.extend(shared.writer.list(kind, namespace, &selector).await?);
        }
        for name in names {
            objects.extend(shared.writer.named(kind, namespace, name).await?);
        }
    }
    Ok(objects)
}

/// The resource version of the store now. Retries until it is known.
pub(super) async fn version(shared: &Shared, scope: &Scope) -> String {
    let mut backoff = Backoff::new(backoff::LIST);
    loop {
        match shared.writer.version(&scope.kind, scope.namespace.as_deref()).await {
            Ok(version) => return version,
            Err(error) => {
                warn!(provider = shared.provider(), kind = %scope.kind, "cannot be listed: {error}");
                backoff.wait().await;
            }
        }
    }
}

/// The children of a parent that was not known when they were seen. Retries until they were read: a decision waits for it.
pub(super) async fn list_children(shared: &Shared, parent: &Observed) -> Vec<Observed> {
    let mut backoff = Backoff::new(backoff::LIST);
    loop {
        match read_children(shared, parent).await {
            Ok(children) => return children,
            Err(error) => {
                warn!(provider = shared.provider(), parent = %parent.key, "its children cannot be listed: {error}");
                backoff.wait().await;
            }
        }
    }
}

async fn read_children(shared: &Shared, parent: &Observed) -> Result<Vec<Observed>, ApiError> {
    let (writer, context) = (&shared.writer, &shared.context);
    let listed = writer.list_children(context, parent).await?;
    let mut children = Vec::new();
    for child in ownership::children_of(parent, listed, &context.name, &context.grants) {
        match writer.get(&child.kind(), &child.key).await {
            Ok(child) => children.push(child),
            Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// The namespaces of parents, and those that a kind was granted in beside them.
fn wider(namespaces: &[String], kind: &Kind, grants: &Grants) -> Vec<String> {
    let granted: Vec<&GrantedNamespaces> = [grants.children.get(kind), grants.related.get(kind)]
        .into_iter()
        .flatten()
        .flat_map(|grant| &grant.namespaces)
        .collect();
    if namespaces.is_empty() || granted.contains(&&GrantedNamespaces::All) {
        return Vec::new();
    }
    let named = granted.into_iter().filter_map(|granted| match granted {
        GrantedNamespaces::Named(names) => Some(names),
        GrantedNamespaces::Parent | GrantedNamespaces::All => None,
    });
    namespaces.iter().chain(named.flatten()).cloned().collect()
}

/// The namespaces to watch a kind in: each of the given ones, or all at once.
fn scopes(resource: &Resource, namespaces: &[String]) -> Vec<Option<String>> {
    if resource.namespaced && !namespaces.is_empty() {
        let namespaces: BTreeSet<&String> = namespaces.iter().collect();
        namespaces.into_iter().cloned().map(Some).collect()
    } else {
        vec![None]
    }
}
