//! Impersonation: every request for a provider is made as its ServiceAccount, over the host's own connections. So no cache contains
//! what the provider may not read, and the API server denies what it may not write, whatever the host believes.

use anyhow::Context as _;
use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue};
use kube::Client;

use crate::kubernetes::layer::layered;
use crate::kubernetes::user_agent;

/// The groups of a ServiceAccount are added by the API server.
const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// The user name of a ServiceAccount.
pub(crate) fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// A client that makes every request as this user, for a provider.
///
/// # Errors
/// If a name is not valid in a header.
pub(crate) fn acting_as(client: &Client, user: &str, provider: &str) -> anyhow::Result<Client> {
    let user = HeaderValue::from_str(user).with_context(|| format!("{user:?} cannot be a user"))?;
    let agent = user_agent::of(Some(provider))?;
    Ok(layered(client.clone(), move |client, mut request| {
        request.headers_mut().insert(IMPERSONATE, user.clone());
        request.headers_mut().insert(USER_AGENT, agent.clone());
        async move { client.send(request).await }
    }))
}
