//! Counts the requests to the API server, by verb and by the code of the answer.

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::Client;

use crate::kubernetes::layer::{is_watch, layered};
use crate::telemetry::metrics::Metrics;

/// A client whose requests are counted.
pub(crate) fn counted(client: Client, metrics: Metrics) -> Client {
    layered(client, move |client, request| {
        let mut under_way = Counted { metrics: metrics.clone(), verb: verb(&request), code: None };
        async move {
            let answered = client.send(request).await;
            under_way.ended(answered.as_ref().ok().map(|response| response.status().as_u16()));
            answered
        }
    })
}

/// A request that is under way. It is counted however it ends: one that is given up, since its time is over, had no answer.
struct Counted {
    metrics: Metrics,
    verb: &'static str,
    code: Option<u16>,
}

impl Counted {
    /// It was answered with this code.
    fn ended(&mut self, code: Option<u16>) {
        self.code = code;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.requested(self.verb, self.code);
    }
}

/// The verb of a request, as Kubernetes' rights name it; `apply` is told from other patches.
fn verb<B>(request: &Request<B>) -> &'static str {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match *request.method() {
        Method::GET if is_watch(request) => "watch",
        Method::GET if names_an_object(request.uri().path()) => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH if content_type.contains("apply-patch") => "apply",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Whether a path names one object, or no resource at all, as `/version` does.
fn names_an_object(path: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/');
    let groups = match segments.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return true,
    };
    let rest: Vec<&str> = segments.skip(groups).collect();
    match rest[..] {
        // Discovery.
        [] => true,
        ["namespaces", _, _] | [_] => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use kube::client::Body;
    use rstest::rstest;
    use tower::BoxError;

    use super::*;

    #[tokio::test]
    async fn a_request_that_is_given_up_is_counted_as_one_without_an_answer() {
        let metrics = Metrics::default();
        let never = tower::service_fn(async |_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, BoxError>>().await
        });
        let client = counted(Client::new(never, "default"), metrics.clone());
        let asked = tokio::time::timeout(std::time::Duration::from_millis(1), client.apiserver_version()).await;
        assert!(asked.is_err());
        // The future is dropped where all requests pass.
        while !metrics.render().unwrap().contains("bartizan_api_requests_total{verb=\"get\",code=\"error\"} 1\n") {
            tokio::task::yield_now().await;
        }
    }

    #[rstest]
    #[case::list("GET", "/api/v1/namespaces/n/configmaps?limit=500", "", "list")]
    #[case::list_everywhere("GET", "/apis/apps/v1/statefulsets", "", "list")]
    #[case::list_of_namespaces("GET", "/api/v1/namespaces", "", "list")]
    #[case::watch("GET", "/apis/apps/v1/statefulsets?allowWatchBookmarks=true&watch=true", "", "watch")]
    #[case::no_watch("GET", "/apis/apps/v1/statefulsets?watch=false", "", "list")]
    #[case::get("GET", "/api/v1/namespaces/n/configmaps/c", "", "get")]
    #[case::get_a_namespace("GET", "/api/v1/namespaces/n", "", "get")]
    #[case::get_a_subresource("GET", "/apis/minio.rook.io/v1alpha1/namespaces/n/objectstores/s/status", "", "get")]
    #[case::discovery("GET", "/apis", "", "get")]
    #[case::version("GET", "/version", "", "get")]
    #[case::create("POST", "/api/v1/namespaces/n/events", "application/json", "create")]
    #[case::apply("PATCH", "/api/v1/namespaces/n/configmaps/c", "application/apply-patch+yaml", "apply")]
    #[case::patch("PATCH", "/api/v1/namespaces/n/configmaps/c", "application/merge-patch+json", "patch")]
    #[case::delete("DELETE", "/api/v1/namespaces/n/configmaps/c", "application/json", "delete")]
    fn a_request_is_counted_by_the_verb_of_its_right(
        #[case] method: &str,
        #[case] path: &str,
        #[case] content_type: &str,
        #[case] expected: &str,
    ) {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content_type);
        assert_eq!(verb(&request.body(()).unwrap()), expected);
    }
}
