//! Impersonation: every request for a provider is made as its ServiceAccount, over the host's own connections. So no cache contains
//! what the provider may not read, and the API server denies what it may not write, whatever the host believes.

use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use http::{HeaderName, HeaderValue, Request, Response};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, Service};

/// The groups of a ServiceAccount are added by the API server.
const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// The user name of a ServiceAccount.
pub(crate) fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// A client that makes every request as this user.
///
/// # Errors
/// If the name is not valid in a header.
pub(crate) fn acting_as(client: &Client, user: &str) -> anyhow::Result<Client> {
    let user = HeaderValue::from_str(user).with_context(|| format!("{user:?} cannot be a user"))?;
    let namespace = client.default_namespace().to_owned();
    Ok(Client::new(ActingAs { client: client.clone(), user }, namespace))
}

#[derive(Clone)]
struct ActingAs {
    client: Client,
    user: HeaderValue,
}

impl Service<Request<Body>> for ActingAs {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The inner client waits for readiness when it is called.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(IMPERSONATE, self.user.clone());
        let client = self.client.clone();
        Box::pin(async move { client.send(request).await.map_err(Into::into) })
    }
}
