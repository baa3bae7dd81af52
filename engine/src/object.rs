//! Observed objects: the metadata that decisions need, and the bytes that a provider sees.

mod managers;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::digest::{hex, sha256};
use bartizan_contract::names::{
    ABANDON_ANNOTATION, ADOPT_FROM_ANNOTATION, FINALIZED_ANNOTATION, INTENT_ANNOTATION, LAST_APPLIED_ANNOTATION,
    OWNER_ANNOTATION, OWNER_UID_ANNOTATION, OWNER_UID_LABEL, PAUSED_ANNOTATION, PROVIDER_LABEL,
    RELEASED_FROM_ANNOTATION, RETAINED_FOR_ANNOTATION, WAVE_ANNOTATION,
};
use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;

use self::managers::{Managers, managers, owned_status};

pub use self::managers::StatusOwnership;
use crate::secrets::{Revealed, Tokenizer};
use crate::selector::{Labels, Selector};

/// SHA-256 of a JSON document whose keys are sorted.
pub type Hash = [u8; 32];

/// UID of a parent.
pub type ParentUid = Arc<str>;

/// Parents that an observation concerns.
pub type Touched = BTreeSet<ParentUid>;

/// Identity of an object: group, kind, namespace and name; never its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Kind, as `StatefulSet`.
    pub kind: Arc<str>,
    /// Namespace; `None` for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Key of an object of `kind`.
    #[must_use]
    pub fn new(kind: &Kind, namespace: Option<&str>, name: &str) -> Self {
        Self {
            group: kind.group.as_str().into(),
            kind: kind.kind.as_str().into(),
            namespace: namespace.map(Into::into),
            name: name.into(),
        }
    }

    /// Whether the object is of this kind, whatever the version.
    #[must_use]
    pub fn is_of(&self, kind: &Kind) -> bool {
        *self.group == *kind.group && *self.kind == *kind.kind
    }

    /// `namespace/name`, or `name` if cluster-scoped: the key of maps in a request.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.to_string(),
        }
    }

    /// Kind and group: `ObjectStore.minio.rook.io`.
    #[must_use]
    pub fn kind_title(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.kind, self.group)
    }

    /// Kind and group, namespace and name apart, for logs.
    #[must_use]
    pub fn parts(&self) -> (String, Option<&str>, &str) {
        (self.kind_title(), self.namespace.as_deref(), &self.name)
    }

    /// Kind, group, namespace and name, for annotations: `ObjectStore.minio.rook.io rook-minio/my-store`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.kind_title(), self.path())
    }
}

impl fmt::Display for ObjectKey {
    /// For messages: `StatefulSet rook-minio/my-store`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path())
    }
}

/// An object as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Identity.
    pub key: ObjectKey,
    /// `apiVersion` at which it was read.
    pub api_version: String,
    /// UID: another object of the same name has another.
    pub uid: String,
    /// Resource version of this state.
    pub resource_version: String,
    /// Generation, where the kind has one.
    pub generation: Option<i64>,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Value of the label that names the provider.
    pub provider: Option<String>,
    /// Value of the label that names the parent's UID.
    pub owner_uid: Option<String>,
    /// UID of the controlling owner reference.
    pub controller_uid: Option<String>,
    /// Kind of the controlling owner.
    pub controller_kind: Option<String>,
    /// Hash of the intent that the host last wrote.
    pub intent: Option<String>,
    /// The host's annotations.
    pub marks: Marks,
    /// Labels, for selectors.
    pub labels: Labels,
    /// Finalizers, in order.
    pub finalizers: Vec<String>,
    /// `spec.selector`, which matches the descendants of a child.
    pub selector: Option<Selector>,
    /// Whether the host's field manager has applied to it, or set its labels.
    pub applied_by_host: bool,
    /// Whether any provider's field manager has applied to it.
    pub applied_by_a_provider: bool,
    /// Whether the host owns the label that names the parent's UID, so that nobody else changed it. An object that somebody assigned to
    /// this parent by hand is not deleted with it.
    pub labelled_by_host: bool,
    /// Whether another manager wrote the object (not a subresource) at or after the time of the host's last apply.
    pub written_by_others_since: bool,
    /// The manager of the last of those writes.
    pub last_writer: Option<String>,
    /// The part of the status that the host's manager owns; `Null` if none.
    pub owned_status: Value,
    /// How it owns that.
    pub status_ownership: StatusOwnership,
    /// Whether it is more than may be parsed ([`weight`](crate::weight)): what is known of it is its metadata, and perhaps its status.
    pub is_too_heavy: bool,
    /// The object as JSON, without managedFields and last-applied annotation, and with tokens instead of secret values.
    pub raw: Bytes,
    /// The values of the tokens.
    pub revealed: Revealed,
    /// Hash of the object without status, resourceVersion and managedFields: changes with any field that the host could have applied.
    pub digest: Hash,
}

/// The host's annotations of an object: on a child, facts of its intent; on a parent, requests of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// UID of the parent, on children without an owner reference.
    pub owner_uid: Option<String>,
    /// Kind, group, namespace and name of the parent, on children without an owner reference.
    pub owner: Option<String>,
    /// Wave of the child.
    pub wave: u32,
    /// The parent (`Kind.group namespace/name`) for which it is retained after the parent's deletion.
    pub retained_for: Option<String>,
    /// UID of the parent from which it was released.
    pub released_from: Option<String>,
    /// Whether the host leaves it alone.
    pub paused: bool,
    /// Whether it is released without its provider.
    pub abandon: bool,
    /// Name of the provider that has finalized it.
    pub finalized: Option<String>,
    /// UID of an earlier parent whose children it adopts.
    pub adopt_from: Option<String>,
}

impl Marks {
    fn of(object: &Value) -> Self {
        let annotation = |key: &str| metadata_entry(object, "annotations", key);
        let is_true = |key: &str| annotation(key).as_deref() == Some("true");
        Self {
            owner_uid: annotation(OWNER_UID_ANNOTATION),
            owner: annotation(OWNER_ANNOTATION),
            wave: annotation(WAVE_ANNOTATION).and_then(|wave| wave.parse().ok()).unwrap_or_default(),
            retained_for: annotation(RETAINED_FOR_ANNOTATION),
            released_from: annotation(RELEASED_FROM_ANNOTATION),
            paused: is_true(PAUSED_ANNOTATION),
            abandon: is_true(ABANDON_ANNOTATION),
            finalized: annotation(FINALIZED_ANNOTATION),
            adopt_from: annotation(ADOPT_FROM_ANNOTATION),
        }
    }
}

/// How objects are projected for one provider.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    /// Field manager of the host for the provider.
    pub manager: String,
    /// Replaces secret values with tokens; `None`: they stay, as tests and granted plain text need it.
    pub tokenizer: Option<Tokenizer>,
    /// Kinds of its parents, which may have sensitive fields.
    pub parents: Vec<Kind>,
}

/// Why a value is no stored object.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProjectError {
    /// A field that every stored object has is missing.
    #[error("object from the API server has no {0}")]
    Missing(&'static str),
    /// It could not be written as JSON.
    #[error("object from the API server cannot be serialized: {0}")]
    Serialize(String),
}

impl Observed {
    /// Projects an object without secrets for the field manager of a provider.
    ///
    /// # Errors
    /// If a field that every stored object has is missing.
    pub fn project(object: Value, manager: &str) -> Result<Self, ProjectError> {
        Self::project_for(object, &Projection { manager: manager.to_owned(), ..Projection::default() })
    }

    /// Projects an object as the API server returned it: keeps what decisions need, drops what no provider should see, and replaces
    /// secret values with tokens.
    ///
    /// # Errors
    /// If a field that every stored object has is missing.
    pub fn project_for(mut object: Value, projection: &Projection) -> Result<Self, ProjectError> {
        let manager = projection.manager.as_str();
        let api_version = text(&object, "/apiVersion").ok_or(ProjectError::Missing("apiVersion"))?;
        let kind_name = text(&object, "/kind").ok_or(ProjectError::Missing("kind"))?;
        let name = text(&object, "/metadata/name").ok_or(ProjectError::Missing("metadata.name"))?;
        let uid = text(&object, "/metadata/uid").ok_or(ProjectError::Missing("metadata.uid"))?;
        let resource_version =
            text(&object, "/metadata/resourceVersion").ok_or(ProjectError::Missing("metadata.resourceVersion"))?;
        let namespace = text(&object, "/metadata/namespace");
        let kind = Kind::from_api_version(&api_version, &kind_name);
        let Managers { applied_by_host, applied_by_a_provider, labelled_by_host, written_by_others_since, last_writer } =
            managers(&object, manager);
        let (owned_status, status_ownership) = owned_status(&object, manager);

        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED_ANNOTATION);
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
        }
        // Of the real values: a changed secret is drift, too.
        let digest = digest(&mut object);
        let is_parent = projection.parents.iter().any(|parent| parent.same_group_kind(&kind));
        let revealed =
            projection.tokenizer.as_ref().map(|tokenizer| tokenizer.mask(&mut object, is_parent)).unwrap_or_default();
        let raw = serde_json::to_vec(&object).map_err(|error| ProjectError::Serialize(error.to_string()))?;
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let deleting = object.pointer("/metadata/deletionTimestamp").is_some();
        let label = |key: &str| metadata_entry(&object, "labels", key);
        let provider = label(PROVIDER_LABEL);
        let owner_uid = label(OWNER_UID_LABEL);
        let intent = metadata_entry(&object, "annotations", INTENT_ANNOTATION);
        let controller_uid = controller(&object, "uid");
        let controller_kind = controller(&object, "kind");
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            key: ObjectKey::new(&kind, namespace.as_deref(), &name),
            api_version,
            uid,
            resource_version,
            generation,
            deleting,
            provider,
            owner_uid,
            controller_uid,
            controller_kind,
            intent,
            marks: Marks::of(&object),
            labels: labels.map(|(key, value)| (key.clone(), text_of(value))).collect(),
            finalizers: finalizers.map(text_of).collect(),
            selector: object.pointer("/spec/selector").and_then(Selector::parse),
            applied_by_host,
            applied_by_a_provider,
            labelled_by_host,
            written_by_others_since,
            last_writer,
            owned_status,
            status_ownership,
            is_too_heavy: false,
            raw: raw.into(),
            revealed,
            digest,
        })
    }

    /// The object as JSON, for the few places that need more of it.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or_default()
    }

    /// Whether this is a newer state than the one at `other_version`. Resource versions of one kind are ordered decimal numbers
    /// of any size (KEP-5504); others are never newer, so that the last event wins.
    #[must_use]
    pub fn is_newer_than(&self, other_version: &str) -> bool {
        compare_versions(&self.resource_version, other_version) == Some(std::cmp::Ordering::Greater)
    }

    /// Whether this is an older state than the one at `other_version`, which may be that of another object of the kind.
    #[must_use]
    pub fn is_older_than(&self, other_version: &str) -> bool {
        compare_versions(&self.resource_version, other_version) == Some(std::cmp::Ordering::Less)
    }

    /// Its kind, at the version that it was read at.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_api_version(&self.api_version, &self.key.kind)
    }

    /// Whether this carries the labels of that parent's child under that provider.
    #[must_use]
    pub fn is_child_of(&self, parent_uid: &str, provider: &str) -> bool {
        self.owner_uid.as_deref() == Some(parent_uid) && self.provider.as_deref() == Some(provider)
    }
}

/// Hash of an object without status, resourceVersion and generation, which are taken out and put back instead of copying the rest. Where
/// the status is no subresource, a write of it raises the generation.
fn digest(object: &mut Value) -> Hash {
    let status = object.as_object_mut().and_then(|top| top.remove("status"));
    let taken = ["resourceVersion", "generation"].map(|field| {
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        (field, metadata.and_then(|metadata| metadata.remove(field)))
    });
    let hash = hash_json(object);
    for (field, value) in taken {
        if let (Some(value), Some(metadata)) = (value, object.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert(field.to_owned(), value);
        }
    }
    if let (Some(status), Some(top)) = (status, object.as_object_mut()) {
        top.insert("status".to_owned(), status);
    }
    hash
}

/// Compares two resource versions as KEP-5504 says: decimal numbers without leading zeros.
pub(crate) fn compare_versions(left: &str, right: &str) -> Option<std::cmp::Ordering> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(left) && number(right)).then(|| left.len().cmp(&right.len()).then_with(|| left.cmp(right)))
}

/// Hash of a JSON value. `serde_json` maps are sorted by key, so equal values have equal hashes.
#[must_use]
pub fn hash_json(value: &Value) -> Hash {
    // A value that cannot be serialized does not exist.
    sha256(&serde_json::to_vec(value).unwrap_or_default())
}

/// A hash as in annotations: its first 16 bytes in hex.
#[must_use]
pub fn short_hex(hash: &Hash) -> String {
    hex(&hash[..16])
}

fn text(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn metadata_entry(object: &Value, map: &str, key: &str) -> Option<String> {
    object.get("metadata")?.get(map)?.get(key)?.as_str().map(str::to_owned)
}

fn controller(object: &Value, field: &str) -> Option<String> {
    object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?
        .get(field)?
        .as_str()
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config_map() -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u-1", "resourceVersion": "7",
                "labels": {PROVIDER_LABEL: "minio", OWNER_UID_LABEL: "p-1"},
                "annotations": {LAST_APPLIED_ANNOTATION: "{\"secret\":1}"},
                "managedFields": [
                    {"manager": "bartizan/minio", "operation": "Apply", "time": "2026-01-01T00:00:01Z"},
                    {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:00Z"},
                    {"manager": "controller", "operation": "Update", "subresource": "status", "time": "2026-01-02T00:00:00Z"}
                ]
            },
            "data": {"k": "v"}
        })
    }

    fn project(value: Value) -> Observed {
        Observed::project(value, "bartizan/minio").unwrap()
    }

    #[test]
    fn a_projection_has_no_managed_fields_and_no_last_applied_copy() {
        let observed = project(config_map());
        let text = String::from_utf8(observed.raw.to_vec()).unwrap();
        assert!(!text.contains("managedFields") && !text.contains("secret"), "{text}");
        assert!(observed.is_child_of("p-1", "minio"));
        assert!(observed.applied_by_host && !observed.written_by_others_since);
    }

    #[test]
    fn the_digest_changes_with_a_field_but_not_with_status_or_version() {
        let before = project(config_map());
        let mut value = config_map();
        value["status"] = json!({"x": 1});
        value["metadata"]["resourceVersion"] = json!("8");
        assert_eq!(project(value.clone()).digest, before.digest);
        value["data"]["k"] = json!("w");
        assert_ne!(project(value).digest, before.digest);
    }

    #[test]
    fn a_write_of_another_manager_in_the_same_second_counts_as_later() {
        let mut value = config_map();
        value["metadata"]["managedFields"][1]["time"] = json!("2026-01-01T00:00:01Z");
        assert!(project(value).written_by_others_since);
    }

    #[test]
    fn restoring_labels_does_not_hide_an_earlier_write_of_another() {
        let mut value = config_map();
        value["metadata"]["managedFields"][1]["time"] = json!("2026-01-01T00:00:02Z");
        let entries = value["metadata"]["managedFields"].as_array_mut().unwrap();
        entries.push(json!({"manager": "bartizan/minio", "operation": "Update", "time": "2026-01-01T00:00:03Z"}));
        assert!(project(value).written_by_others_since);
    }

    #[test]
    fn what_was_adopted_stays_a_child_if_an_edit_takes_every_field_before_it_is_applied() {
        let mut value = config_map();
        let labels =
            json!({"f:metadata": {"f:labels": {"f:bartizan.dev/owner-uid": {}, "f:bartizan.dev/provider": {}}}});
        value["metadata"]["managedFields"] = json!([
            {"manager": "bartizan/minio", "operation": "Update", "time": "2026-01-01T00:00:01Z", "fieldsV1": labels},
            {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:02Z", "fieldsV1": {"f:data": {"f:k": {}}}}
        ]);
        let observed = project(value);
        assert!(observed.applied_by_host && observed.labelled_by_host && observed.written_by_others_since);
    }

    #[test]
    fn resource_versions_compare_as_numbers_of_any_size() {
        let observed = project(config_map());
        assert!(observed.is_newer_than("6"));
        assert!(!observed.is_newer_than("7"));
        assert!(!observed.is_newer_than("10"));
        assert!(!observed.is_newer_than("123456789012345678901234567890"));
        assert!(!observed.is_newer_than("not a number"));
    }

    #[test]
    fn an_object_without_a_uid_is_no_object() {
        let mut value = config_map();
        value["metadata"].as_object_mut().unwrap().remove("uid");
        let error = Observed::project(value, "m").unwrap_err();
        assert_eq!(error.to_string(), "object from the API server has no metadata.uid");
    }
}
