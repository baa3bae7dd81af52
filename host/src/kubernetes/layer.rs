//! Layers on a client: what is done with each of its requests.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, service_fn};

/// A client that has each request handled by this function, with the client below it. The function itself, up to the future that it
/// returns, must not panic: it runs where all requests pass, and would end that.
pub(crate) fn layered<H, R, E>(client: Client, handle: H) -> Client
where
    H: Fn(Client, Request<Body>) -> R + Send + 'static,
    R: Future<Output = Result<Response<Body>, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let namespace = client.default_namespace().to_owned();
    Client::new(service_fn(move |request| handle(client.clone(), request)), namespace)
}

/// Whether a request is for a watch.
pub(crate) fn is_watch<B>(request: &Request<B>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")))
}
