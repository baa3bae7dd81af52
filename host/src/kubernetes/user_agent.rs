//! The `User-Agent` of requests to the API server: `bartizan/<version>`, with the name of the provider for which a request is made. Audit
//! logs and the API server's own metrics show it.

use anyhow::Context as _;
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Client;

use crate::kubernetes::layer::layered;

/// The header's value, for a provider or for the host itself.
///
/// # Errors
/// If the name is not valid in a header.
pub(crate) fn of(provider: Option<&str>) -> anyhow::Result<HeaderValue> {
    let version = env!("CARGO_PKG_VERSION");
    let text = match provider {
        Some(provider) => format!("bartizan/{version} ({provider})"),
        None => format!("bartizan/{version}"),
    };
    HeaderValue::from_str(&text).with_context(|| format!("{text:?} cannot be in a header"))
}

/// A client whose requests carry the header of the host, unless they have one.
///
/// # Errors
/// If the version is not valid in a header.
pub(crate) fn set(client: Client) -> anyhow::Result<Client> {
    let agent = of(None)?;
    Ok(layered(client, move |client, mut request| {
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
        async move { client.send(request).await }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use tower::service_fn;

    use super::*;
    use crate::kubernetes::impersonation::acting_as;

    #[tokio::test]
    async fn every_request_says_who_makes_it_and_for_which_provider() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let service = service_fn(move |request: Request<Body>| {
            let agent = request.headers()[USER_AGENT].to_str().unwrap().to_owned();
            record.lock().unwrap().push(agent);
            async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) }
        });
        let host = set(Client::new(service, "default")).unwrap();
        let provider = acting_as(&host, "system:serviceaccount:a:b", "minio").unwrap();
        for client in [host, provider] {
            client.send(Request::new(Body::empty())).await.unwrap();
        }
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(*seen.lock().unwrap(), [format!("bartizan/{version}"), format!("bartizan/{version} (minio)")]);
    }
}
