//! Names that stand in the cluster and must never change by accident: API versions, labels, annotations, managers.

/// `apiVersion` of every payload that crosses the sandbox: manifest, request and response.
pub const API_VERSION: &str = "provider.bartizan.dev/v1alpha1";
/// `kind` of the document that `describe` returns.
pub const MANIFEST_KIND: &str = "ProviderManifest";
/// `kind` of the document that `reconcile` receives.
pub const REQUEST_KIND: &str = "ReconcileRequest";
/// `kind` of the document that `reconcile` returns.
pub const RESPONSE_KIND: &str = "ReconcileResponse";

/// Prefix of every label and annotation of the host's. A provider may not set a key below it.
pub const PREFIX: &str = "bartizan.dev/";
/// Label on every child: the provider that asked for it. Children are watched by it.
pub const PROVIDER_LABEL: &str = "bartizan.dev/provider";
/// Label on every child: the UID of the parent it belongs to. Children are indexed by it.
pub const OWNER_UID_LABEL: &str = "bartizan.dev/owner-uid";
/// Annotation on every child: hash of what the host last meant it to be, so that a restart writes nothing.
pub const INTENT_ANNOTATION: &str = "bartizan.dev/intent";

/// Field manager of everything that a provider's children and parents' status are applied with: `bartizan/<provider>`.
/// Never versioned, or fields of an older version would be left behind.
#[must_use]
pub fn field_manager(provider: &str) -> String {
    format!("bartizan/{provider}")
}

/// What kubectl's client-side apply leaves on objects: a copy of the whole object, secrets included.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
