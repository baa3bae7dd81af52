//! Access review: whether a provider's account has the rights that the provider needs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_engine::provider::event::Hindrance;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::served::{Resource, Served};
use crate::kubernetes::token_key;

/// Reviews at the same time.
const CONCURRENT_REVIEWS: usize = 8;
/// Time that the API server may take to honour roles that were applied a moment ago, together with the kinds.
const LAG: Duration = Duration::from_millis(500);
/// Most rights in a message.
const MOST_NAMED: usize = 5;

/// A right that a provider's account needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    verb: &'static str,
    group: String,
    resource: String,
    subresource: &'static str,
    namespace: Option<String>,
    /// Of one object; `None`: of all.
    name: Option<&'static str>,
}

/// Why a provider does not start with the rights of its account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAllowed {
    /// It lacks some.
    #[error("{0}")]
    Lacks(String),
    /// It has more than it should.
    #[error(
        "{user} may {verb} Secrets in {namespace}, the host's own namespace, which hold the key of all secret values: give it its rights in the \
         namespaces that it serves (spec.namespaces; bartizan rbac -f prints Roles for them), or say spec.allowHostSecrets"
    )]
    ReadsHost {
        /// The account.
        user: String,
        /// How it can read them.
        verb: &'static str,
        /// The host's namespace.
        namespace: String,
    },
}

impl NotAllowed {
    /// For the status.
    pub(crate) fn hindrance(&self) -> Hindrance {
        match self {
            Self::Lacks(_) => Hindrance::Forbidden,
            Self::ReadsHost { .. } => Hindrance::CanReadHost,
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// The rights that a provider's account needs, in the namespaces that it serves (none: all).
fn needed(served: &Served, finalizes: bool, namespaces: &[String]) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut add = |resource: &Resource, subresource: &'static str, verbs: &[&'static str]| {
        let scopes: Vec<Option<&String>> = match (resource.namespaced, namespaces) {
            (false, _) | (true, []) => vec![None],
            (true, some) => some.iter().map(Some).collect(),
        };
        for namespace in scopes {
            for verb in verbs {
                let (group, resource) = (resource.api.group.clone(), resource.api.plural.clone());
                let right = Right { verb, group, resource, subresource, namespace: namespace.cloned(), name: None };
                if !rights.contains(&right) {
                    rights.push(right);
                }
            }
        }
    };
    for parent in served.parents.values() {
        add(&parent.resource, "", &["list", "watch"]);
        if finalizes {
            add(&parent.resource, "", &["patch"]);
        }
        match parent.status.is_subresource {
            true => add(&parent.resource, "status", &["patch"]),
            false if parent.status.has_room() => add(&parent.resource, "", &["patch"]),
            false => {}
        }
    }
    for (kinds, verbs) in [
        (&served.children, &["get", "list", "watch", "create", "patch", "delete"][..]),
        (&served.former, &["get", "list", "watch", "patch", "delete"]),
        (&served.descendants, &["list", "watch"]),
        (&served.related, &["list", "watch"]),
    ] {
        let kinds: &BTreeMap<Kind, Resource> = kinds;
        kinds.values().for_each(|resource| add(resource, "", verbs));
    }
    rights
}

/// Checks the rights of a provider's account before it starts, so that a missing one is reported at once and not by a write that
/// fails later.
///
/// # Errors
/// If a right is missing, or if the host may not impersonate the account.
pub(crate) async fn check(
    client: &Client,
    user: &str,
    served: &Served,
    finalizes: bool,
    namespaces: &[String],
) -> anyhow::Result<()> {
    match missing(client, user, needed(served, finalizes, namespaces)).await? {
        None => Ok(()),
        Some(message) => Err(NotAllowed::Lacks(message).into()),
    }
}

/// Checks that a provider's account cannot read the Secrets of the host's own namespace.
///
/// # Errors
/// If it can, or that cannot be found out.
pub(crate) async fn check_host(client: &Client, user: &str, namespace: &str) -> anyhow::Result<()> {
    let ways = [("get", Some(token_key::NAME)), ("get", None), ("list", None), ("watch", None)];
    let right = |(verb, name)| {
        let (group, resource) = (String::new(), "secrets".to_owned());
        Right { verb, group, resource, subresource: "", namespace: Some(namespace.to_owned()), name }
    };
    let lacking = lacking(client, user, ways.map(right).into()).await?;
    let has = |(verb, name): &(&'static str, _)| !lacking.iter().any(|it| (it.verb, it.name) == (*verb, *name));
    match ways.into_iter().find(has) {
        None => Ok(()),
        Some((verb, _)) => {
            let (user, namespace) = (user.to_owned(), namespace.to_owned());
            Err(NotAllowed::ReadsHost { user, verb, namespace }.into())
        }
    }
}

/// What the account lacks to prune the children of a kind that only an earlier version wrote; `None`: nothing.
///
/// # Errors
/// If that cannot be found out.
pub(crate) async fn missing_for_former(
    client: &Client,
    user: &str,
    resource: &Resource,
    namespaces: &[String],
) -> anyhow::Result<Option<String>> {
    let kind = Kind::new(&resource.api.group, &resource.api.version, &resource.api.kind);
    let served = Served { former: BTreeMap::from([(kind, resource.clone())]), ..Served::default() };
    missing(client, user, needed(&served, false, namespaces)).await
}

/// Those of the rights that the account lacks, as a message.
async fn missing(client: &Client, user: &str, rights: Vec<Right>) -> anyhow::Result<Option<String>> {
    let mut missing = rights;
    for pause in [Duration::ZERO, LAG, LAG] {
        tokio::time::sleep(pause).await;
        missing = lacking(client, user, missing).await?;
        if missing.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(message(user, &missing)))
}

/// Those of the rights that the account lacks now.
async fn lacking(client: &Client, user: &str, rights: Vec<Right>) -> anyhow::Result<Vec<Right>> {
    let review = |right: Right| async move {
        let allowed = in_time(is_allowed(client, &right)).await;
        let allowed = allowed.with_context(|| format!("the rights of {user} could not be checked"))?;
        anyhow::Ok((!allowed).then_some(right))
    };
    let reviews: Vec<_> = rights.into_iter().map(review).collect();
    let answers: Vec<Option<Right>> = stream::iter(reviews).buffered(CONCURRENT_REVIEWS).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn is_allowed(client: &Client, right: &Right) -> Result<bool, kube::Error> {
    let attributes = ResourceAttributes {
        verb: Some(right.verb.to_owned()),
        group: Some(right.group.clone()),
        resource: Some(right.resource.clone()),
        subresource: Some(right.subresource.to_owned()).filter(|name| !name.is_empty()),
        namespace: right.namespace.clone(),
        name: right.name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn message(user: &str, missing: &[Right]) -> String {
    let named: Vec<String> = missing.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    let more = missing.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{user} may not {}{more}; grant it (`bartizan rbac` prints what a module needs)", named.join(", "))
}

#[cfg(test)]
mod tests {
    use kube::core::ApiResource;

    use super::*;
    use crate::kubernetes::served::ServedParent;

    fn resource(group: &str, plural: &str, namespaced: bool) -> Resource {
        let api = ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: "v1".to_owned(),
            kind: plural.to_owned(),
            plural: plural.to_owned(),
        };
        Resource { api, namespaced }
    }

    fn texts(rights: &[Right]) -> Vec<String> {
        rights.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_rights_of_an_account_follow_from_the_kinds_of_its_provider() {
        let kind = |name: &str| Kind::new("", "v1", name);
        let mut served = Served::default();
        let parent = ServedParent { resource: resource("a.b", "alphas", true), status: std::sync::Arc::default() };
        served.parents.insert(kind("Alpha"), parent);
        served.children.insert(kind("ConfigMap"), resource("", "configmaps", true));
        served.related.insert(kind("ConfigMap"), resource("", "configmaps", true));
        served.related.insert(kind("Node"), resource("", "nodes", false));
        let all = needed(&served, false, &[]);
        let expected = [
            "list alphas.a.b",
            "watch alphas.a.b",
            "patch alphas.a.b/status",
            "get configmaps",
            "list configmaps",
            "watch configmaps",
            "create configmaps",
            "patch configmaps",
            "delete configmaps",
            "list nodes",
            "watch nodes",
        ];
        assert_eq!(texts(&all), expected);
        let some = texts(&needed(&served, true, &["one".to_owned(), "two".to_owned()]));
        assert!(
            some.contains(&"patch alphas.a.b in two".to_owned()) && some.contains(&"list nodes".to_owned()),
            "{some:?}"
        );
        let expected = "u may not list alphas.a.b, watch alphas.a.b, patch alphas.a.b/status, get configmaps, list configmaps and \
                        6 more; grant it (`bartizan rbac` prints what a module needs)";
        assert_eq!(message("u", &all), expected);
    }
}
