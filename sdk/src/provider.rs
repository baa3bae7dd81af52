//! The trait that providers implement, and what the SDK derives from it: manifest, CRD and the handling of requests.

use bartizan_contract::names::TOKEN_PREFIX;
use bartizan_contract::{
    Condition, ConditionStatus, Failure, FailureCode, KindRequest, ProviderManifest, ReconcileResponse, RelatedAccess,
    RelatedKind,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::condition;
use crate::failure::{self, Fault};
use crate::json::Object;
use crate::kind::{ChildKind, ParentKind};
use crate::request::Request;
use crate::response::Response;
use crate::retired::RetiredField;
use crate::settings::SettingsSchema;

/// The reason of the conditions of a parent whose spec cannot be read.
const INVALID_SPEC: &str = "InvalidSpec";

/// A provider of one kind.
pub trait Provider {
    /// The parent's spec. The CRD is generated from this type; an explicit null is read as an absent field.
    type Spec: DeserializeOwned + JsonSchema;

    /// The provider's name, a DNS label.
    const NAME: &'static str;
    /// The provider's version, for people.
    const VERSION: &'static str;
    /// The kind that the provider owns.
    const PARENT: ParentKind;
    /// The kinds that the provider writes.
    const CHILDREN: &'static [ChildKind];

    /// The kinds that the provider reads below its children, such as the pods and claims of a StatefulSet.
    const DESCENDANTS: &'static [ChildKind] = &[];
    /// The kinds of other objects that the provider reads, by name, when it requests them ([`Response::related`]).
    const RELATED: &'static [ChildKind] = &[];
    /// Further kinds like these, which the provider can do without: where the cluster does not serve one, or the Provider object does not
    /// grant it, [`Request::serves`] is false.
    const OPTIONAL_RELATED: &'static [ChildKind] = &[];

    /// Sensitive fields of the parent, as JSON pointers (`/spec/credentials/secretKey`): the provider sees a token instead of each
    /// value ([`is_token`](crate::is_token)), which the host replaces by the value in the `data` of a Secret.
    const SENSITIVE: &'static [&'static str] = &[];

    /// Fields that an earlier published version of the kind had. [`Request::retired_faults`] refuses those that are set, and they are
    /// not among the unknown fields that are ignored.
    const RETIRED: &'static [RetiredField] = &[];

    /// The schema of the settings that an administrator can make in the Provider's `spec.settings`, as in
    /// `Some(SettingsSchema::of::<StoreSettings>())`; [`Request::settings`] reads them. Absent: there are no settings.
    const SETTINGS: Option<SettingsSchema> = None;

    /// Whether the condition `Ready` of its parents stays as it reports it while the host's `Synced` is not true. By default the host lowers
    /// it then, so that whoever waits for `Ready` waits for the whole spec.
    const KEEPS_READY: bool = false;

    /// The schema of the status without its conditions; see [`schema::of`](crate::schema::of). Absent: any status.
    #[must_use]
    fn status_schema() -> Option<Value> {
        None
    }

    /// Decides what should exist. This is a pure function: the same request must give the same response.
    ///
    /// # Errors
    /// If no decision is possible. For an invalid spec, prefer [`Response::hold`] with a condition.
    fn reconcile(request: &Request<'_, Self::Spec>) -> Result<Response, Failure>;
}

/// The manifest of a provider.
#[must_use]
pub fn manifest<P: Provider>() -> ProviderManifest {
    let mut manifest = ProviderManifest::new(P::NAME, P::VERSION);
    manifest.crds = vec![crd::<P>()];
    manifest.children = P::CHILDREN.iter().map(|kind| KindRequest::from(kind.to_contract())).collect();
    manifest.descendants = P::DESCENDANTS.iter().map(|kind| KindRequest::from(kind.to_contract())).collect();
    let related = P::RELATED.iter().map(|kind| related_kind(*kind, false));
    manifest.related = related.chain(P::OPTIONAL_RELATED.iter().map(|kind| related_kind(*kind, true))).collect();
    manifest.settings = P::SETTINGS.map(SettingsSchema::to_value);
    manifest.keeps_ready = P::KEEPS_READY;
    manifest.sensitive = P::SENSITIVE.iter().map(ToString::to_string).collect();
    manifest
}

fn related_kind(kind: ChildKind, optional: bool) -> RelatedKind {
    let KindRequest { api_version, kind, .. } = KindRequest::from(kind.to_contract());
    RelatedKind { api_version, kind, optional, access: RelatedAccess::default() }
}

/// A value for the `data` of a Secret: a token is kept as it is, anything else is base64-encoded.
#[must_use]
pub fn secret_data(text: &str) -> String {
    if is_token(text) { text.to_owned() } else { BASE64_STANDARD.encode(text) }
}

/// Whether a text is a token that stands for a secret value. A token can be compared with others, and copied unchanged, as a whole
/// value, into the `data` of a Secret; it says nothing else about the value.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.starts_with(TOKEN_PREFIX)
}

/// The `apiextensions.k8s.io/v1` CustomResourceDefinition of a provider's parent.
#[must_use]
pub fn crd<P: Provider>() -> Value {
    crate::crd::definition(&P::PARENT, &crate::schema::of::<P::Spec>(), P::status_schema())
}

/// Handles one request, as bytes in and bytes out.
///
/// # Errors
/// `internal` for a malformed request, and failures of the provider.
pub fn reconcile_bytes<P: Provider>(request: &[u8]) -> Result<Vec<u8>, Failure> {
    let request = match Request::<P::Spec>::parse(request, &P::PARENT) {
        Ok(request) => request,
        Err(Failure { code: FailureCode::Invalid, message, field: Some(field), .. }) => {
            return unreadable::<P>(request, Fault::new(field, message));
        }
        Err(failure) => return Err(failure),
    };
    let is_ignored = |field: &&String| !P::RETIRED.iter().any(|retired| retired.is(field));
    let ignored: Vec<String> = request.unknown_fields.iter().filter(is_ignored).cloned().collect();
    P::reconcile(&request)?.finish(&request.metadata, &ignored)
}

/// The answer about a parent whose spec does not fit the type: nothing changes, and its conditions say why, so that none of an earlier
/// spec stays as if it were about this one.
fn unreadable<P: Provider>(request: &[u8], fault: Fault) -> Result<Vec<u8>, Failure> {
    let request = Request::<Object>::parse(request, &P::PARENT)?;
    let message = "not known until the spec is valid".to_owned();
    let ready = Condition::new(condition::READY, ConditionStatus::Unknown, INVALID_SPEC, message);
    let response = Response::hold().condition(ready).condition(condition::invalid(INVALID_SPEC, &[fault]));
    response.status_text(&request.status_without_conditions()).finish(&request.metadata, &[])
}

/// Handles one request and parses the response as the host does. For tests.
///
/// # Errors
/// As [`reconcile_bytes`].
pub fn answer<P: Provider>(request: &[u8]) -> Result<ReconcileResponse, Failure> {
    let answer = reconcile_bytes::<P>(request)?;
    serde_json::from_slice(&answer)
        .map_err(|error| failure::internal(format!("the response violates the contract: {error}")))
}
