//! Who asks: every request for a provider goes as that provider's ServiceAccount, over the host's own connections. So what a
//! provider may not read is never in a cache, and what it may not write is refused by the API server, whatever the host believes.

use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use http::{HeaderName, HeaderValue, Request, Response};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, Service};

/// The groups of a ServiceAccount are added by the API server.
const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// The name of a ServiceAccount as a user.
pub(crate) fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// A client whose every request is one of this user's.
///
/// # Errors
/// If the name cannot stand in a header.
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
        // The client waits within the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(IMPERSONATE, self.user.clone());
        let client = self.client.clone();
        Box::pin(async move { client.send(request).await.map_err(Into::into) })
    }
}
