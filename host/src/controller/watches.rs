//! What a controller watches and lists: which kinds, where, and by which labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::names::PROVIDER_LABEL;
use bartizan_contract::provider::GrantedNamespaces;
use bartizan_engine::descendants::Listing;
use bartizan_engine::index::Scope;
use bartizan_engine::related::{Reference, References};
use bartizan_engine::snapshot::Unread;
use bartizan_engine::{ApiError, Grants, Observed, ParentUid, ownership};
use kube::Client;
use tracing::warn;

use crate::kubernetes::served::{Resource, Served};
use crate::kubernetes::watch::Watch;
use crate::reconcile::shared::Shared;

/// Objects that were listed.
pub(super) struct Listed {
    /// What for.
    pub(super) of: ListedFor,
    /// The objects.
    pub(super) objects: Result<Vec<Observed>, Unread>,
}

/// What objects are listed for.
#[derive(Clone, Debug)]
pub(super) enum ListedFor {
    /// The descendants that the selector of a child matches.
    Selector(Listing),
    /// The children of a parent that was not known when they were seen.
    Children(Arc<Observed>),
    /// What a parent refers to.
    References(ParentUid, References),
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

/// What is read, for people.
impl fmt::Display for ListedFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector(listing) => write!(out, "objects that the selector of {} matches", listing.child),
            Self::Children(parent) => write!(out, "the children of {}", parent.key),
            Self::References(..) => out.write_str("related objects"),
        }
    }
}

/// Lists the objects. What cannot be read is tried again when the parent is due again, which says so until then.
pub(super) async fn list(shared: &Shared, of: ListedFor) -> Listed {
    let objects = match &of {
        ListedFor::Selector(listing) => read_descendants(shared, listing).await,
        ListedFor::Children(parent) => read_children(shared, parent).await,
        ListedFor::References(_, references) => read_references(shared, references).await,
    };
    let objects = objects.map_err(|error| {
        let what = of.to_string();
        warn!(provider = shared.provider(), "{what} cannot be read: {error}");
        Unread { what, error }
    });
    Listed { of, objects }
}

/// What the selector of a child matches.
pub(super) async fn read_descendants(shared: &Shared, listing: &Listing) -> Result<Vec<Observed>, ApiError> {
    let (namespace, selector) = (listing.namespace.as_deref(), listing.selector.to_string());
    let mut objects = Vec::new();
    for kind in &shared.context.descendant_kinds {
        objects.extend(shared.writer.list(kind, namespace, &selector).await?);
    }
    Ok(objects)
}

/// The objects that these references match.
pub(super) async fn read_references(shared: &Shared, references: &References) -> Result<Vec<Observed>, ApiError> {
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

async fn read_children(shared: &Shared, parent: &Observed) -> Result<Vec<Observed>, ApiError> {
    let (writer, context) = (&shared.writer, &shared.context);
    let listed = writer.list_children(context, parent).await?;
    read_each(shared, ownership::children_of(parent, listed, &context.name, &context.grants)).await
}

/// These objects as they are now, of which only the metadata is known; those that are gone are left out.
pub(super) async fn read_each(shared: &Shared, listed: Vec<Arc<Observed>>) -> Result<Vec<Observed>, ApiError> {
    let mut objects = Vec::new();
    for seen in listed {
        match shared.writer.get(&seen.kind(), &seen.key).await {
            Ok(object) => objects.push(object),
            Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(objects)
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
