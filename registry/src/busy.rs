//! How long a busy registry asks to wait. The OCI client keeps no headers of a refusal, and no status of one by whoever issues the tokens:
//! the requests that lead to a manifest are made once more, up to the one that is refused.

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use oci_client::Reference;
use oci_client::secrets::RegistryAuth;
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;

use crate::error::RegistryError;
use crate::manifest::ACCEPTED;

/// Longest delay that is honoured.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Most bytes of a token's answer.
const TOKEN_BYTES: usize = 64 << 10;

/// A refusal for lack of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// 429 or 503.
    pub(crate) code: u16,
    /// The delay that the registry asks for.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// In the words of this crate.
    pub(crate) fn of(self, registry: &str) -> RegistryError {
        let words = match self.code {
            429 => "answered 429 (too many requests)".to_owned(),
            code => format!("answered {code}"),
        };
        let asks = self.retry_after.map(|delay| format!(" and asks to wait {} s", delay.as_secs())).unwrap_or_default();
        RegistryError::Busy { message: format!("registry {registry} {words}{asks}"), retry_after: self.retry_after }
    }
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

/// The refusal of a registry that was busy a moment ago; `None` if it is not any more, or cannot be asked.
pub(crate) async fn refusal(client: &Client, scheme: &str, image: &Reference, auth: &RegistryAuth) -> Option<Refusal> {
    let root = format!("{scheme}://{}/v2/", image.resolve_registry());
    let entrance = client.get(&root).send().await.ok()?;
    if let Some(refusal) = refused(&entrance) {
        return Some(refusal);
    }
    let is_to_log_in = entrance.status() == StatusCode::UNAUTHORIZED && !matches!(auth, RegistryAuth::Bearer(_));
    let token = match is_to_log_in.then(|| challenge(entrance.headers())).flatten() {
        Some((realm, service)) => {
            let scope = format!("repository:{}:pull", image.repository());
            let mut query = vec![("scope", scope)];
            query.extend(service.map(|service| ("service", service)));
            let answer = with(client.get(realm).query(&query), auth).send().await.ok()?;
            if let Some(refusal) = refused(&answer) {
                return Some(refusal);
            }
            token(answer).await
        }
        None => None,
    };
    let version = image.digest().or(image.tag()).unwrap_or("latest");
    let manifest = client.head(format!("{root}{}/manifests/{version}", image.repository()));
    let manifest = manifest.header(ACCEPT, ACCEPTED.join(", "));
    let manifest = match token {
        Some(token) => manifest.bearer_auth(token),
        None => with(manifest, auth),
    };
    refused(&manifest.send().await.ok()?)
}

fn refused(answer: &Response) -> Option<Refusal> {
    let code = answer.status();
    let is_busy = matches!(code, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    is_busy.then(|| Refusal { code: code.as_u16(), retry_after: retry_after(answer.headers(), SystemTime::now()) })
}

/// A number of seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    Some(delay.min(LONGEST)).filter(|delay| !delay.is_zero())
}

/// Where tokens are issued, and for which service.
fn challenge(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let challenges = http_auth::parse_challenges(headers.get(WWW_AUTHENTICATE)?.to_str().ok()?).ok()?;
    let bearer = challenges.into_iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("Bearer"))?;
    let parameter = |name: &str| {
        let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    Some((parameter("realm")?, parameter("service")))
}

async fn token(mut answer: Response) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.ok()? {
        bytes.extend_from_slice(&part);
        if bytes.len() > TOKEN_BYTES {
            return None;
        }
    }
    Some(serde_json::from_slice::<Token>(&bytes).ok()?.token)
}

fn with(request: RequestBuilder, auth: &RegistryAuth) -> RequestBuilder {
    match auth {
        RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
        RegistryAuth::Bearer(token) => request.bearer_auth(token),
        RegistryAuth::Anonymous => request,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("120"), Some(120))]
    #[case(Some("Thu, 01 Jan 1970 00:01:30 GMT"), Some(30))]
    #[case::past(Some("Thu, 01 Jan 1970 00:00:30 GMT"), None)]
    #[case(Some("0"), None)]
    #[case(Some("9999999999"), Some(86_400))]
    #[case(Some("soon"), None)]
    #[case(None, None)]
    fn a_delay_is_a_number_of_seconds_or_a_date(#[case] header: Option<&'static str>, #[case] seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(RETRY_AFTER, header.parse().unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs));
    }

    #[test]
    fn tokens_are_issued_where_the_registry_says() {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, r#"Bearer realm="https://a/token",service="r""#.parse().unwrap());
        assert_eq!(challenge(&headers), Some(("https://a/token".to_owned(), Some("r".to_owned()))));
        headers.insert(WWW_AUTHENTICATE, r#"Basic realm="r""#.parse().unwrap());
        assert_eq!(challenge(&headers), None);
    }
}
