//! The trait that a provider implements, and what the SDK makes of it: manifest, CRD, and answers to requests.

use bartizan_contract::names::TOKEN_PREFIX;
use bartizan_contract::{Failure, KindRequest, ProviderManifest, ReconcileResponse, RelatedAccess, RelatedKind};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{ChildKind, ParentKind, Request, Response, SettingsSchema, failure};

/// A provider of one kind.
pub trait Provider {
    /// The parent's spec. Its CRD is made from this type; an explicit null is read as an absent field.
    type Spec: DeserializeOwned + JsonSchema;

    /// Name of the provider, a DNS label.
    const NAME: &'static str;
    /// Version of the provider, for people.
    const VERSION: &'static str;
    /// The kind that it owns.
    const PARENT: ParentKind;
    /// The kinds that it writes.
    const CHILDREN: &'static [ChildKind];

    /// The kinds that it sees below its children: pods and claims of a StatefulSet.
    const DESCENDANTS: &'static [ChildKind] = &[];
    /// The kinds that it reads beside its parents, once it asks for some by name ([`Response::related`]).
    const RELATED: &'static [ChildKind] = &[];

    /// Fields of the parent that are secrets, as JSON pointers (`/spec/credentials/secretKey`): the provider sees a token in
    /// place of each value ([`is_token`](crate::is_token)), which the host puts back in the `data` of a Secret.
    const SENSITIVE: &'static [&'static str] = &[];

    /// What an administrator can set of the provider in its Provider document (`spec.settings`), as
    /// `Some(SettingsSchema::of::<StoreSettings>())`; [`Request::settings`] reads it. Absent: it has no settings.
    const SETTINGS: Option<SettingsSchema> = None;

    /// Schema of the status, without `conditions`; see [`schema::of`](crate::schema::of). Absent: anything.
    #[must_use]
    fn status_schema() -> Option<Value> {
        None
    }

    /// Decides what should exist. A pure function: the same request gives the same answer.
    ///
    /// # Errors
    /// When it cannot decide. For a spec that cannot be acted on prefer [`Response::hold`] with a condition.
    fn reconcile(request: &Request<'_, Self::Spec>) -> Result<Response, Failure>;
}

/// The manifest of a provider.
#[must_use]
pub fn manifest<P: Provider>() -> ProviderManifest {
    let mut manifest = ProviderManifest::new(P::NAME, P::VERSION);
    manifest.crds = vec![crd::<P>()];
    manifest.children = P::CHILDREN.iter().map(|kind| KindRequest::from(kind.to_contract())).collect();
    manifest.descendants = P::DESCENDANTS.iter().map(|kind| KindRequest::from(kind.to_contract())).collect();
    manifest.related = P::RELATED.iter().map(|kind| related_kind(*kind)).collect();
    manifest.settings = P::SETTINGS.map(SettingsSchema::to_value);
    manifest.sensitive = P::SENSITIVE.iter().map(ToString::to_string).collect();
    manifest
}

fn related_kind(kind: ChildKind) -> RelatedKind {
    let KindRequest { api_version, kind, optional } = KindRequest::from(kind.to_contract());
    RelatedKind { api_version, kind, optional, access: RelatedAccess::default() }
}

/// A text as the `data` of a Secret holds it: a token as it is, anything else base64-encoded.
#[must_use]
pub fn secret_data(text: &str) -> String {
    if is_token(text) { text.to_owned() } else { BASE64_STANDARD.encode(text) }
}

/// Whether a text is a token that stands for a secret value: to be copied as a whole value into the `data` of a Secret, as it
/// is, and to be compared; nothing else can be known of it.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.starts_with(TOKEN_PREFIX)
}

/// The CustomResourceDefinition of a provider's parent, `apiextensions.k8s.io/v1`.
#[must_use]
pub fn crd<P: Provider>() -> Value {
    crate::crd::definition(&P::PARENT, &crate::schema::of::<P::Spec>(), P::status_schema())
}

/// Answers one request with the bytes that cross the sandbox.
///
/// # Errors
/// `internal` for what is not a request, `invalid` for a parent that does not fit the spec type, or what the provider says.
pub fn reconcile_bytes<P: Provider>(request: &[u8]) -> Result<Vec<u8>, Failure> {
    let request = Request::<P::Spec>::parse(request, &P::PARENT)?;
    P::reconcile(&request)?.finish(&request.metadata, &request.unknown_fields)
}

/// Answers one request, and reads the answer as the host does. For tests.
///
/// # Errors
/// As [`reconcile_bytes`].
pub fn answer<P: Provider>(request: &[u8]) -> Result<ReconcileResponse, Failure> {
    let answer = reconcile_bytes::<P>(request)?;
    serde_json::from_slice(&answer)
        .map_err(|error| failure::internal(format!("the answer breaks the contract: {error}")))
}
