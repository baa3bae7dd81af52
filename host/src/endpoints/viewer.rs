//! Who asks the host over HTTP, and what they may see: what they may `get` from the API server, and nothing else.
//!
//! Two ways to prove who one is: a token of a ServiceAccount whose audience is this host alone (TokenRequest, TokenReview), for which the
//! API server says what its account may get (SubjectAccessReview); or a one-time key, which only somebody has who may run programs in
//! the host's container, and may do all that the host may.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bartizan_contract::GroupKind;
use bartizan_contract::names::{PROVIDER_GROUP, PROVIDER_PLURAL};
use bartizan_engine::ObjectKey;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;

use crate::endpoints::one_time_key::OneTimeKeys;
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::discovery;
use crate::kubernetes::error::{is_forbidden, text};

/// Audience of the tokens that this host takes: none of them is a credential of the API server.
pub(crate) const AUDIENCE: &str = "bartizan";
/// Scheme of one-time keys in the header Authorization.
pub(crate) const KEY_SCHEME: &str = "Bartizan-Key";
/// Reviews at the same time. Anybody who reaches the port can cause one.
const CONCURRENT_REVIEWS: usize = 4;
/// Longest time that somebody waits for their turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest token.
const MOST_TOKEN_BYTES: usize = 16 * 1024;

/// Somebody who has proved who they are.
#[derive(Clone, Debug)]
pub(crate) enum Viewer {
    /// May do all that the host may.
    Host,
    /// What the API server knows of the owner of a token.
    User(Box<UserInfo>),
}

/// Why nothing is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody knows who asks.
    Unknown(&'static str),
    /// Who asks may not see it.
    Forbidden(String),
    /// The API server could not be asked.
    Unavailable(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown(why) => {
                let scheme = [(WWW_AUTHENTICATE, format!("Bearer realm=\"{AUDIENCE}\""))];
                (StatusCode::UNAUTHORIZED, scheme, format!("{why}\n")).into_response()
            }
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        }
    }
}

/// Says who asks, and what they may see.
#[derive(Clone)]
pub(crate) struct Viewers {
    client: Client,
    keys: Option<Arc<OneTimeKeys>>,
    reviews: Arc<Semaphore>,
}

impl Viewers {
    /// With one-time keys, if the file for their secret is given.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn new(client: Client, key_file: Option<&Path>) -> anyhow::Result<Self> {
        let keys = key_file.map(OneTimeKeys::open).transpose()?.map(Arc::new);
        Ok(Self { client, keys, reviews: Arc::new(Semaphore::new(CONCURRENT_REVIEWS)) })
    }

    /// Who asks.
    ///
    /// # Errors
    /// If that is not proved.
    pub(crate) async fn who(&self, headers: &HeaderMap) -> Result<Viewer, Refused> {
        const ADVICE: &str = "prove who you are: with a token of a ServiceAccount for the audience bartizan (kubectl create token \
                              NAME --audience=bartizan) as Authorization: Bearer, or by a one-time key, as the bartizan command does";
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, credential) = header.and_then(|header| header.split_once(' ')).ok_or(Refused::Unknown(ADVICE))?;
        if scheme.eq_ignore_ascii_case(KEY_SCHEME) {
            let Some(keys) = &self.keys else {
                return Err(Refused::Unknown("this host takes no one-time keys: it runs without --debug-key-file"));
            };
            return match keys.admits(credential.trim()) {
                true => Ok(Viewer::Host),
                false => Err(Refused::Unknown("this one-time key does not count, or was used before")),
            };
        }
        if !scheme.eq_ignore_ascii_case("Bearer") || credential.len() > MOST_TOKEN_BYTES {
            return Err(Refused::Unknown(ADVICE));
        }
        let spec = TokenReviewSpec { token: credential.trim().to_owned(), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.review("tokenreviews.authentication.k8s.io", review).await?.status.unwrap_or_default();
        let is_ours = status.audiences.is_some_and(|audiences| audiences.iter().any(|audience| audience == AUDIENCE));
        match status.user.filter(|_| status.authenticated == Some(true) && is_ours) {
            Some(user) => Ok(Viewer::User(Box::new(user))),
            None => Err(Refused::Unknown(
                "this token is none of the API server's for the audience bartizan, or has expired",
            )),
        }
    }

    /// Whether they may get this object.
    ///
    /// # Errors
    /// If the API server cannot be asked.
    pub(crate) async fn may_get(&self, viewer: &Viewer, object: &ObjectKey) -> Result<bool, Refused> {
        let Viewer::User(_) = viewer else { return Ok(true) };
        let kind = GroupKind::new(&object.group, &object.kind);
        let found = {
            let _one_of_few = self.place().await?;
            in_time(discovery::preferred(&self.client, &kind)).await.map_err(|error| unavailable(&error))?
        };
        let Some((_, resource)) = found else { return Ok(false) };
        let attributes = ResourceAttributes {
            group: Some(object.group.to_string()),
            resource: Some(resource.api.plural),
            namespace: object.namespace.as_deref().map(str::to_owned),
            name: Some(object.name.to_string()),
            ..ResourceAttributes::default()
        };
        self.allows(viewer, attributes).await
    }

    /// Fails if they may not get this Provider.
    ///
    /// # Errors
    /// If they may not, or the API server cannot be asked.
    pub(crate) async fn must_get_provider(&self, viewer: &Viewer, name: &str) -> Result<(), Refused> {
        let attributes = ResourceAttributes {
            group: Some(PROVIDER_GROUP.to_owned()),
            resource: Some(PROVIDER_PLURAL.to_owned()),
            name: Some(name.to_owned()),
            ..ResourceAttributes::default()
        };
        match self.allows(viewer, attributes).await? {
            true => Ok(()),
            false => Err(Refused::Forbidden(format!("{} may not get Provider {name}", viewer.name()))),
        }
    }

    async fn allows(&self, viewer: &Viewer, attributes: ResourceAttributes) -> Result<bool, Refused> {
        let Viewer::User(user) = viewer else { return Ok(true) };
        let spec = SubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes { verb: Some("get".to_owned()), ..attributes }),
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = self.review("subjectaccessreviews.authorization.k8s.io", review).await?.status;
        Ok(status.is_some_and(|status| status.allowed))
    }

    /// A place among those who ask the API server.
    async fn place(&self) -> Result<SemaphorePermit<'_>, Refused> {
        match tokio::time::timeout(PATIENCE, self.reviews.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable("too many ask at the same time; ask again".to_owned())),
        }
    }

    async fn review<K>(&self, resource: &str, review: K) -> Result<K, Refused>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + serde::Serialize
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let _one_of_few = self.place().await?;
        let created = in_time(Api::<K>::all(self.client.clone()).create(&PostParams::default(), &review)).await;
        created.map_err(|error| match is_forbidden(&error) {
            true => Refused::Unavailable(format!(
                "the host may not create {resource}, so that it takes no tokens: apply deploy/optional/reviews (in the chart: \
                 accessReviews), or use a one-time key, as the bartizan command does without --service-account"
            )),
            false => unavailable(&error),
        })
    }
}

fn unavailable(error: &anyhow::Error) -> Refused {
    warn!("who may see what cannot be found out: {}", text(error));
    Refused::Unavailable("the API server cannot be asked what you may see".to_owned())
}

impl Viewer {
    /// Who they are, for messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Host => "the host",
            Self::User(user) => user.username.as_deref().unwrap_or_default(),
        }
    }
}
