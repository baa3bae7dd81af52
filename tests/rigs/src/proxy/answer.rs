//! Responses: recorded ones, and those of the proxy itself.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

/// The error that ends a connection.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body sent to the host.
pub(super) type Body = UnsyncBoxBody<Bytes, Error>;

/// A complete response.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    code: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Recorded {
    /// Reads a response to its end.
    pub(super) async fn read(answer: Response<kube::client::Body>) -> Result<Self, Error> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { code: head.status, headers: passed_on(&head.headers), body })
    }

    pub(super) fn is_success(&self) -> bool {
        self.code.is_success()
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Full::new(self.body).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.code;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The headers, without those that concern one connection only.
pub(super) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE, header::TRAILER] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers
}

/// An error in the format of the API server.
pub(super) fn refusal(code: StatusCode, reason: &str) -> Response<Body> {
    let retry = code == StatusCode::TOO_MANY_REQUESTS;
    let details = if retry { json!({"retryAfterSeconds": 1}) } else { json!({}) };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "made up by the fault rig", "reason": reason, "details": details, "code": code.as_u16(),
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if retry {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    Recorded { code, headers, body: status.to_string().into() }.into_response()
}
