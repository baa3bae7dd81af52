//! `bartizan tree`: a parent with its children and what is below them, with the rights of whoever asks.

mod node;

use std::collections::BTreeSet;
use std::process::ExitCode;

use bartizan_contract::GroupKind;
use bartizan_contract::names::OWNER_UID_LABEL;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use crate::cli::parent::{Parent, ParentArgs, Subject};
use crate::kubernetes::connect::ClusterArgs;
use crate::kubernetes::error::api_message;
use crate::kubernetes::resources::Named;
use node::Node;

/// Kinds that are looked for below children.
const BELOW: [(&str, &str); 4] = [("apps", "ReplicaSet"), ("", "Pod"), ("", "PersistentVolumeClaim"), ("batch", "Job")];
/// Lists at the same time.
const LISTS: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct TreeArgs {
    #[command(flatten)]
    pub(crate) of: ParentArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Prints the tree. Exit code 1: there is no such parent.
///
/// # Errors
/// If the kind is unknown, or something cannot be read.
pub(crate) async fn tree(args: &TreeArgs) -> anyhow::Result<ExitCode> {
    let client = args.cluster.connect().await?;
    let ParentArgs { parent: subject, namespace, output } = &args.of;
    let namespace = namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let found = Parent::find(&client, subject, namespace).await?;
    let Parent { served, named, namespace, .. } = &found;
    let namespace = *namespace;
    let Some(parent) = found.get().await? else {
        let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        let Subject { kind, name } = subject;
        eprintln!("there is no {kind} {name}{place}");
        return Ok(ExitCode::FAILURE);
    };
    let selector = format!("{OWNER_UID_LABEL}={}", parent.uid().unwrap_or_default());
    let children_of = ListParams::default().labels(&selector);
    // Who may not see Providers does not know which kinds the provider writes.
    let written = found.provider(&parent).await.ok().flatten().map(|provider| provider.status.kinds);
    let (kinds, namespaces): (Vec<&Named>, _) = match &written {
        // Also those in namespaces that were granted, and outside of any.
        Some(written) => {
            let is_written = |named: &&Named| written.contains(&GroupKind::from(&named.kind));
            (served.iter().filter(is_written).collect(), [None, namespace])
        }
        None => {
            let is_here = |named: &&Named| named.can_list && named.resource.namespaced;
            (served.iter().filter(is_here).collect(), [namespace, None])
        }
    };
    let children = list_all(&client, &kinds, namespaces, &children_of).await?;
    let is_below = |named: &&Named| BELOW.contains(&(named.kind.group.as_str(), named.kind.kind.as_str()));
    let below: Vec<&Named> = served.iter().filter(is_below).collect();
    let mut others = Vec::new();
    let places: BTreeSet<Option<&str>> = children.iter().map(|child| child["metadata"]["namespace"].as_str()).collect();
    for place in places.into_iter().flatten() {
        others.extend(list_all(&client, &below, [Some(place), None], &ListParams::default()).await?);
    }
    let tree = Node::new(&value(named, parent), &children, &others);
    match output {
        Some(output) => output.print(&tree)?,
        None => println!("{}", tree.lines().join("\n")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The objects of these kinds in the first of these namespaces (`None`: all) in which they may be listed. What whoever
/// asks may not list is left out.
async fn list_all(
    client: &Client,
    kinds: &[&Named],
    namespaces: [Option<&str>; 2],
    params: &ListParams,
) -> anyhow::Result<Vec<Value>> {
    let list = |named: Named| async move {
        for namespace in namespaces {
            match named.api(client, namespace).list(params).await {
                Ok(found) => return Ok(found.items.into_iter().map(|object| value(&named, object)).collect()),
                Err(kube::Error::Api(status)) if matches!(status.code, 403..=405) => {}
                Err(error) => return Err(api_message(error).context(named.kind.to_string())),
            }
        }
        Ok(Vec::new())
    };
    let lists = futures::stream::iter(kinds.iter().map(|named| list((*named).clone())));
    lists.buffered(LISTS).try_concat().await
}

/// An object with its kind, which the API server leaves out in lists.
fn value(named: &Named, object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = named.kind.api_version().into();
    value["kind"] = named.kind.kind.clone().into();
    value
}
