//! `Retry-After` of the API server. Where it limits requests itself (priority and fairness), the delay is in a header alone and the body is
//! a line of text; a proxy in front of it may say anything. kube keeps the body only, so that the header is moved into it, as the
//! `retryAfterSeconds` of a Status.

use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::kubernetes::layer::layered;

/// Most bytes of an answer that is a refusal.
const LIMIT: usize = 64 << 10;
/// Longest text that is repeated where the body is no Status, in characters.
const LONGEST: usize = 200;

/// A client whose errors carry the delay that the API server asks for.
pub(crate) fn kept(client: Client) -> Client {
    layered(client, async |client: Client, request| {
        let response = client.send(request).await?;
        Ok::<_, kube::Error>(match seconds(&response) {
            Some(seconds) => with_seconds(response, seconds).await,
            None => response,
        })
    })
}

/// The API server sends seconds, never a date.
fn seconds(response: &Response<Body>) -> Option<u32> {
    let is_refused = matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = response.headers().get(RETRY_AFTER).filter(|_| is_refused)?.to_str().ok()?.trim().parse().ok()?;
    (seconds > 0).then_some(seconds)
}

async fn with_seconds(response: Response<Body>, seconds: u32) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    // What cannot be read is no Status.
    let bytes = Limited::new(body, LIMIT).collect().await.map(|read| read.to_bytes()).unwrap_or_default();
    let mut status = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(status)) if status.get("kind").is_some_and(|kind| kind == "Status") => Value::Object(status),
        _ => {
            let text: String = String::from_utf8_lossy(&bytes).trim().chars().take(LONGEST).collect();
            let text = if text.is_empty() { head.status.to_string() } else { text };
            json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": text, "code": head.status.as_u16(),
                "reason": head.status.canonical_reason().unwrap_or_default().replace(' ', ""),
            })
        }
    };
    let own = status.pointer("/details/retryAfterSeconds").and_then(Value::as_u64).unwrap_or_default();
    if own < seconds.into() {
        if !status["details"].is_object() {
            status["details"] = json!({});
        }
        status["details"]["retryAfterSeconds"] = seconds.into();
    }
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(status.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Request;
    use rstest::rstest;
    use tower::service_fn;

    use super::*;
    use crate::kubernetes::error::retry_after;

    #[rstest]
    #[case::a_line_of_text(429, Some("7"), "Too many requests, please try again later.\n", Some(7))]
    #[case::nothing(503, Some("7"), "", Some(7))]
    #[case::a_status(429, Some("7"), r#"{"kind":"Status","message":"m","code":429,"details":{"name":"n"}}"#, Some(7))]
    #[case::a_status_that_says_more(
        429,
        Some("7"),
        r#"{"kind":"Status","code":429,"details":{"retryAfterSeconds":9}}"#,
        Some(9)
    )]
    #[case::a_date(429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), "m", None)]
    #[case::no_header(429, None, "m", None)]
    #[case::another_code(500, Some("7"), "m", None)]
    #[tokio::test]
    async fn the_delay_that_the_api_server_asks_for_is_kept(
        #[case] code: u16,
        #[case] header: Option<&'static str>,
        #[case] body: &'static str,
        #[case] expected: Option<u64>,
    ) {
        let service = service_fn(move |_: Request<Body>| async move {
            let mut response = Response::builder().status(code);
            if let Some(seconds) = header {
                response = response.header(RETRY_AFTER, seconds);
            }
            Ok::<_, Infallible>(response.body(Body::from(body.as_bytes().to_vec())).unwrap())
        });
        let client = kept(Client::new(service, "default"));
        let error = client.request_text(Request::new(Vec::new())).await.unwrap_err();
        assert_eq!(retry_after(&error).map(|delay| delay.as_secs()), expected, "{error}");
    }
}
