//! Logging in, and what a registry that is too busy asks for. The OCI client keeps neither the headers of a refusal nor the status of one by
//! whoever issues the tokens, so that tokens are requested here, once, and a refused request is made once more.

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use oci_client::Reference;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;

use crate::credentials::Login;
use crate::error::RegistryError;
use crate::explain::explain;
use crate::manifest::{ACCEPTED, INDEX};

/// Longest delay that is honoured.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Most bytes of a token's answer.
const TOKEN_BYTES: usize = 64 << 10;

/// Most bytes of a page of a list.
const PAGE_BYTES: usize = 4 << 20;

/// A page of a list.
pub(crate) struct Page {
    /// What it holds.
    pub(crate) body: Vec<u8>,
    /// The address of the next one.
    pub(crate) next: Option<String>,
}

/// What a token endpoint answers; it may call the token by both names.
#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
}

/// The requests that lead to a repository.
pub(crate) struct Session<'a> {
    /// As the OCI client's own.
    pub(crate) client: &'a Client,
    /// The repository.
    pub(crate) image: &'a Reference,
    /// Without TLS.
    pub(crate) plain_http: bool,
    /// The credentials.
    pub(crate) login: &'a Login,
}

impl Session<'_> {
    /// What the OCI client has to present for these actions (`pull`, or `pull,push`).
    ///
    /// # Errors
    /// If the registry, or who issues its tokens, cannot be asked, is too busy, or refuses the credentials.
    pub(crate) async fn log_in(&self, actions: &str) -> Result<RegistryAuth, RegistryError> {
        let auth = &self.login.auth;
        let entrance = self.send(self.client.get(self.root())).await?;
        // Credentials that are a token, or that the registry takes itself, are presented as they are.
        let challenge =
            (entrance.status() == StatusCode::UNAUTHORIZED).then(|| challenge(entrance.headers())).flatten();
        let Some((realm, service)) = challenge.filter(|_| !matches!(auth, RegistryAuth::Bearer(_))) else {
            return Ok(auth.clone());
        };
        let registry = self.image.registry();
        if !self.plain_http && !realm.starts_with("https://") {
            return Err(RegistryError::Unavailable(format!(
                "registry {registry} issues tokens without TLS, which is refused"
            )));
        }
        let mut query = vec![("scope", format!("repository:{}:{actions}", self.image.repository()))];
        query.extend(service.map(|service| ("service", service)));
        let answer = self.send(with(self.client.get(realm).query(&query), auth)).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.explain(OciDistributionError::AuthenticationFailure(String::new())))
            }
            StatusCode::OK => match token(answer).await {
                Some(token) => Ok(RegistryAuth::Bearer(token)),
                None => Err(RegistryError::Unavailable(format!(
                    "registry {registry} refers to an issuer of tokens whose answer holds none"
                ))),
            },
            code => Err(RegistryError::Unavailable(format!(
                "registry {registry} refers to an issuer of tokens that answered {}",
                code.as_u16()
            ))),
        }
    }

    /// The manifest's address.
    pub(crate) fn manifest(&self) -> String {
        let version = self.image.digest().or(self.image.tag()).unwrap_or("latest");
        format!("{}{}/manifests/{version}", self.root(), self.image.repository())
    }

    /// The address of a blob.
    pub(crate) fn blob(&self, digest: &str) -> String {
        format!("{}{}/blobs/{digest}", self.root(), self.image.repository())
    }

    /// The address of the list of what refers to a manifest.
    pub(crate) fn referrers(&self, manifest: &str) -> String {
        format!("{}{}/referrers/{manifest}", self.root(), self.image.repository())
    }

    /// A page of such a list; `None` if there is nothing of the sort.
    ///
    /// # Errors
    /// If the registry cannot be asked, or is too busy.
    pub(crate) async fn page(&self, address: &str, auth: &RegistryAuth) -> Result<Option<Page>, RegistryError> {
        let answer = self.send(with(self.client.get(address).header(ACCEPT, INDEX), auth)).await?;
        match answer.status() {
            code if code.is_server_error() => {
                let registry = self.image.registry();
                Err(RegistryError::Unavailable(format!("registry {registry} answered {}", code.as_u16())))
            }
            StatusCode::OK => {
                let next = next(answer.headers()).and_then(|next| answer.url().join(&next).ok());
                // Credentials are for this registry alone.
                let next = next.filter(|next| next.origin() == answer.url().origin()).map(String::from);
                Ok(bounded(answer, PAGE_BYTES).await.map(|body| Page { body, next }))
            }
            _ => Ok(None),
        }
    }

    /// The refusal of a request that was refused a moment ago; `None` if it is not any more, or cannot be made.
    pub(crate) async fn refusal(&self, address: &str, auth: &RegistryAuth) -> Option<RegistryError> {
        let again = with(self.client.get(address).header(ACCEPT, ACCEPTED.join(", ")), auth);
        self.send(again).await.err().filter(|error| matches!(error, RegistryError::Busy { .. }))
    }

    fn root(&self) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!("{scheme}://{}/v2/", self.image.resolve_registry())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RegistryError> {
        let answer = request.send().await.map_err(|error| self.explain(OciDistributionError::RequestError(error)))?;
        match answer.status() {
            code @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                let delay = retry_after(answer.headers(), SystemTime::now());
                Err(RegistryError::busy(self.image.registry(), code.as_u16(), delay))
            }
            _ => Ok(answer),
        }
    }

    fn explain(&self, error: OciDistributionError) -> RegistryError {
        explain(error, self.image, self.login)
    }
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

/// The address of the next page (RFC 8288).
fn next(headers: &HeaderMap) -> Option<String> {
    let (address, parameters) = headers.get(LINK)?.to_str().ok()?.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("rel=\"next\"").then(|| address.to_owned())
}

async fn token(answer: Response) -> Option<String> {
    token_of(&bounded(answer, TOKEN_BYTES).await?)
}

/// The body of an answer, if it has no more bytes than that.
async fn bounded(mut answer: Response, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.ok()? {
        bytes.extend_from_slice(&part);
        if bytes.len() > limit {
            return None;
        }
    }
    Some(bytes)
}

fn token_of(bytes: &[u8]) -> Option<String> {
    let issued: Issued = serde_json::from_slice(bytes).ok()?;
    issued.token.or(issued.access_token).filter(|token| !token.is_empty())
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
    #[case(Some("-5"), None)]
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
    fn a_page_says_where_the_next_one_is() {
        let mut headers = HeaderMap::new();
        assert_eq!(next(&headers), None);
        headers.insert(LINK, "</v2/a/referrers/b?n=2>; rel=\"next\"".parse().unwrap());
        assert_eq!(next(&headers).as_deref(), Some("/v2/a/referrers/b?n=2"));
        headers.insert(LINK, "</v2/a>; rel=\"prev\"".parse().unwrap());
        assert_eq!(next(&headers), None);
    }

    #[test]
    fn tokens_are_issued_where_the_registry_says_by_one_name_or_both() {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, r#"Bearer realm="https://a/token",service="r""#.parse().unwrap());
        assert_eq!(challenge(&headers), Some(("https://a/token".to_owned(), Some("r".to_owned()))));
        headers.insert(WWW_AUTHENTICATE, r#"Basic realm="r""#.parse().unwrap());
        assert_eq!(challenge(&headers), None);
        for answer in [r#"{"token":"t","access_token":"t"}"#, r#"{"access_token":"t"}"#, r#"{"token":"t"}"#] {
            assert_eq!(token_of(answer.as_bytes()), Some("t".to_owned()), "{answer}");
        }
        assert_eq!(token_of(b"{}"), None);
    }
}
