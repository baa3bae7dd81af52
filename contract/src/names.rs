//! Names that stand in the cluster and must never change by accident: API versions, labels, annotations, managers.

/// `apiVersion` of every payload that crosses the sandbox: manifest, request and response.
pub const API_VERSION: &str = "provider.bartizan.dev/v1alpha1";
/// The interface that a provider may import, as it stands in a component.
pub const LOG_INTERFACE: &str = "bartizan:provider/log@0.1.0";
/// The interface that a provider must export, as it stands in a component.
pub const PROVIDER_INTERFACE: &str = "bartizan:provider/provider@0.1.0";
/// `kind` of the document that `describe` returns.
pub const MANIFEST_KIND: &str = "ProviderManifest";
/// `kind` of the document that `reconcile` receives.
pub const REQUEST_KIND: &str = "ReconcileRequest";
/// `kind` of the document that `reconcile` returns.
pub const RESPONSE_KIND: &str = "ReconcileResponse";

/// API group of the host's own kinds.
pub const PROVIDER_GROUP: &str = "bartizan.dev";
/// `apiVersion` of a Provider.
pub const PROVIDER_API_VERSION: &str = "bartizan.dev/v1alpha1";
/// `kind` of a Provider.
pub const PROVIDER_KIND: &str = "Provider";
/// Plural of Providers, as it stands in URLs and roles.
pub const PROVIDER_PLURAL: &str = "providers";

/// Prefix of every label and annotation of the host's. A provider may not set a key below it.
pub const PREFIX: &str = "bartizan.dev/";
/// Label on every child: the provider that asked for it. Children are watched by it.
pub const PROVIDER_LABEL: &str = "bartizan.dev/provider";
/// Label on every child: the UID of the parent it belongs to. Children are indexed by it.
pub const OWNER_UID_LABEL: &str = "bartizan.dev/owner-uid";
/// Annotation on every child: hash of what the host last meant it to be, so that a restart writes nothing.
pub const INTENT_ANNOTATION: &str = "bartizan.dev/intent";

/// Annotation on children that have no owner reference: the UID of the parent, as the label says it. Who strips the labels
/// leaves it.
pub const OWNER_UID_ANNOTATION: &str = OWNER_UID_LABEL;
/// Annotation on children of a later wave than the first: they are torn down before those of earlier ones.
pub const WAVE_ANNOTATION: &str = "bartizan.dev/wave";
/// Annotation on children that outlive their parent (`onDelete: Retain`), and on released ones: for which parent, as
/// `ObjectStore.minio.rook.io rook-minio/my-store`. A parent of that name may have it again.
pub const RETAINED_FOR_ANNOTATION: &str = "bartizan.dev/retained-for";
/// Annotation of a parent, "true": leave it and everything below it alone.
pub const PAUSED_ANNOTATION: &str = "bartizan.dev/paused";
/// Annotation of a parent, any new value: reconcile it now.
pub const RECONCILE_ANNOTATION: &str = "bartizan.dev/reconcile";
/// Annotation of a parent, "true": keep its requests and responses, where the host was given a place for that.
pub const RECORD_ANNOTATION: &str = "bartizan.dev/record";
/// Annotation of a parent that is being deleted, "true": let it go without asking its provider, and leave its children.
pub const ABANDON_ANNOTATION: &str = "bartizan.dev/abandon";
/// Annotation of a parent that is being deleted: name of the provider that has finished with it. What is left is the host's to
/// delete, and nobody is asked any more.
pub const FINALIZED_ANNOTATION: &str = "bartizan.dev/finalized";
/// Annotation of a parent: UID of an earlier one (before a restore) whose children are its own.
pub const ADOPT_FROM_ANNOTATION: &str = "bartizan.dev/adopt-from";

/// What every token begins with that stands for a secret value. It is no base64, so no value of a Secret looks like one.
pub const TOKEN_PREFIX: &str = "bz:";

/// Finalizer that the host puts on parents whose provider wants to be asked before they go.
#[must_use]
pub fn finalizer(provider: &str) -> String {
    format!("finalizer.bartizan.dev/{provider}")
}

/// Finalizer that the host puts on a Provider: it goes once its parents are gone, or were let go (`onRemoval`).
pub const PROVIDER_FINALIZER: &str = "finalizer.bartizan.dev/parents";

/// Annotation on a Provider: `status.candidate.approval` of the version that may take over. The host takes it off once it did.
pub const APPROVE_ANNOTATION: &str = "bartizan.dev/approve";

/// Annotation on a Provider that was made from the host's folder: the file that says so, `minio.yaml`, or `minio.wasm` if the
/// manifest does. A Provider without it is somebody else's, and wins over the file.
pub const FILE_ANNOTATION: &str = "bartizan.dev/file";

/// Field manager of everything that a provider's children and parents' status are applied with: `bartizan/<provider>`.
/// Never versioned, or fields of an older version would be left behind.
#[must_use]
pub fn field_manager(provider: &str) -> String {
    format!("bartizan/{provider}")
}

/// What kubectl's client-side apply leaves on objects: a copy of the whole object, secrets included.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
