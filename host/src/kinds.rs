//! Which resource serves a kind: plural, scope, version. By discovery, never by guessing a plural.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_contract::Kind;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};

/// How the API server serves a kind.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Group, version, kind and plural.
    pub(crate) api: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

/// The kinds that one provider works with.
pub(crate) type Resources = Arc<BTreeMap<Kind, Resource>>;

/// Asks the API server for a kind; `None` if it does not serve it.
///
/// # Errors
/// If it could not be asked: then nothing is known, and nothing may be concluded.
pub(crate) async fn discover(client: &Client, kind: &Kind) -> Result<Option<Resource>, kube::Error> {
    let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
    match discovery::pinned_kind(client, &gvk).await {
        Ok((api, capabilities)) => {
            Ok(Some(Resource { api, namespaced: matches!(capabilities.scope, Scope::Namespaced) }))
        }
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
