//! Names that are persisted in clusters and must never change by accident: API versions, labels, annotations, field managers.

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
/// The plural resource name of Providers, as used in URLs and roles.
pub const PROVIDER_PLURAL: &str = "providers";

/// The prefix of the host's labels and annotations. Providers may not set keys with it.
pub const PREFIX: &str = "bartizan.dev/";
/// Label on every child: the provider that it belongs to. Children are watched by it.
pub const PROVIDER_LABEL: &str = "bartizan.dev/provider";
/// Label on every child: the UID of its parent. Children are indexed by it.
pub const OWNER_UID_LABEL: &str = "bartizan.dev/owner-uid";
/// Annotation on every child: the hash of the last applied intent, so that a restart of the host writes nothing.
pub const INTENT_ANNOTATION: &str = "bartizan.dev/intent";

/// Annotation on children without an owner reference: the UID of the parent, as in the label, in case somebody removes labels.
pub const OWNER_UID_ANNOTATION: &str = OWNER_UID_LABEL;
/// Annotation on children without an owner reference: the parent, such as `ObjectStore.minio.rook.io rook-minio/my-store`, so that
/// whoever is to adopt them can look whether it exists.
pub const OWNER_ANNOTATION: &str = "bartizan.dev/owner";
/// Annotation on children of any wave but the first: later waves are deleted before earlier ones.
pub const WAVE_ANNOTATION: &str = "bartizan.dev/wave";
/// Annotation on children that outlive their parent (`onDelete: Retain`) and on released ones: the parent, such as
/// `ObjectStore.minio.rook.io rook-minio/my-store`. A parent of that name may adopt them again.
pub const RETAINED_FOR_ANNOTATION: &str = "bartizan.dev/retained-for";
/// Annotation on released children: the UID of the parent that they were released from, by which another one may adopt them.
pub const RELEASED_FROM_ANNOTATION: &str = "bartizan.dev/released-from";
/// Annotation of a parent, "true": pauses reconciliation of it and everything below it.
pub const PAUSED_ANNOTATION: &str = "bartizan.dev/paused";
/// Annotation of a parent, any new value: reconciles it now.
pub const RECONCILE_ANNOTATION: &str = "bartizan.dev/reconcile";
/// Annotation of a parent, "true": records its requests and responses, if the host has a folder for them.
pub const RECORD_ANNOTATION: &str = "bartizan.dev/record";
/// Annotation of a parent that is being deleted, "true": removes its finalizer without calling its provider, and leaves its
/// children.
pub const ABANDON_ANNOTATION: &str = "bartizan.dev/abandon";
/// Annotation of a parent that is being deleted: the name of the provider that has finalized it. The host deletes what is left
/// without further calls.
pub const FINALIZED_ANNOTATION: &str = "bartizan.dev/finalized";
/// Annotation of a parent: the UID of an earlier parent (before a restore) whose children it adopts.
pub const ADOPT_FROM_ANNOTATION: &str = "bartizan.dev/adopt-from";

/// The prefix of tokens that stand for secret values. It is not valid base64, so no value in the `data` of a Secret has it.
pub const TOKEN_PREFIX: &str = "bz:";

/// The finalizer of parents whose provider finalizes.
#[must_use]
pub fn finalizer(provider: &str) -> String {
    format!("finalizer.bartizan.dev/{provider}")
}

/// The finalizer of Providers, which is removed once their parents are deleted or released (`onRemoval`).
pub const PROVIDER_FINALIZER: &str = "finalizer.bartizan.dev/parents";

/// Annotation on a Provider: the `status.candidate.approval` of the version that may take over. The host removes it afterwards.
pub const APPROVE_ANNOTATION: &str = "bartizan.dev/approve";

/// Annotation on a Provider that was created from the host's folder: its file, `minio.yaml`, or `minio.wasm` if there is no
/// document. A Provider without it was created by somebody else, and takes precedence over the file.
pub const FILE_ANNOTATION: &str = "bartizan.dev/file";

/// Field manager of what the host writes for itself: Providers, the CRDs of modules, parents that it releases.
pub const HOST_FIELD_MANAGER: &str = "bartizan";
/// Field manager of what the command line writes for whoever runs it.
pub const CLI_FIELD_MANAGER: &str = "bartizan-cli";

/// The field manager of a provider's children and of the status of its parents: `bartizan/<provider>`. It must not contain a
/// version, or fields of an older version would remain.
#[must_use]
pub fn field_manager(provider: &str) -> String {
    format!("{HOST_FIELD_MANAGER}/{provider}")
}

/// Whether a field manager is that of a provider's children.
#[must_use]
pub fn is_field_manager(manager: &str) -> bool {
    manager.strip_prefix(HOST_FIELD_MANAGER).is_some_and(|rest| rest.starts_with('/'))
}

/// Namespace of the host itself, unless the command line names another.
pub const SYSTEM_NAMESPACE: &str = "bartizan-system";
/// Namespace of the ServiceAccounts that providers act as, unless the command line names another.
pub const ACCOUNT_NAMESPACE: &str = "bartizan-providers";

/// The annotation of kubectl's client-side apply: a copy of the whole object, secrets included.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
