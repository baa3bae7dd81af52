//! What a provider is asked: the parent, typed; its children as text, typed only when they are looked at.

use std::collections::BTreeMap;

use bartizan_contract::names::{API_VERSION, REQUEST_KIND};
use bartizan_contract::{Failure, ReconcileRequest};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::observed::Observed;
use crate::{ChildKind, Object, ParentKind, failure, typing};

/// One question to a provider.
#[derive(Debug)]
pub struct Request<'a, S> {
    /// The parent's metadata.
    pub metadata: ParentMetadata,
    /// The parent's spec.
    pub spec: S,
    /// Paths of fields of the parent that the spec type does not know. The SDK reports them by itself.
    pub unknown_fields: Vec<String>,
    request: ReconcileRequest<'a>,
}

/// What a provider needs of the parent's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParentMetadata {
    /// Name of the parent.
    pub name: String,
    /// Its namespace; absent if cluster-scoped.
    pub namespace: Option<String>,
    /// Its identity: a parent made again under the same name is another one.
    pub uid: String,
    /// Counts the changes of its spec.
    pub generation: i64,
    /// Its labels.
    pub labels: Object,
    /// Its annotations.
    pub annotations: Object,
}

impl<'a, S: DeserializeOwned> Request<'a, S> {
    /// Reads a request whose parent is of the given kind.
    pub(crate) fn parse(bytes: &'a [u8], parent: &ParentKind) -> Result<Self, Failure> {
        let no_request = |error: String| failure::internal(format!("the payload is not a {REQUEST_KIND}: {error}"));
        // One check of the whole text is cheaper than one per string.
        let text = std::str::from_utf8(bytes).map_err(|error| no_request(error.to_string()))?;
        let request: ReconcileRequest<'a> =
            serde_json::from_str(text).map_err(|error| no_request(error.to_string()))?;
        if (request.api_version.as_ref(), request.kind.as_ref()) != (API_VERSION, REQUEST_KIND) {
            let found = format!("{} {}", request.api_version, request.kind);
            return Err(no_request(format!("it is a {found}, and this provider understands {API_VERSION}")));
        }
        let document: Object = serde_json::from_str(request.parent.get())
            .map_err(|error| no_request(format!("its parent is not an object: {error}")))?;
        let metadata = ParentMetadata::read(&document, parent)?;
        let spec = document.get("spec").unwrap_or(&Value::Null);
        let typing::Typed { value: spec, mut unknown_fields } = typing::typed::<S>("spec", spec)?;
        unknown_fields.extend(document.keys().filter(|key| !PARENT_FIELDS.contains(&key.as_str())).cloned());
        Ok(Self { metadata, spec, unknown_fields, request })
    }
}

/// The fields of an object that is a parent.
const PARENT_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

impl ParentMetadata {
    fn read(document: &Object, parent: &ParentKind) -> Result<Self, Failure> {
        let text = |field| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if (api_version, kind) != (&parent.api_version(), parent.kind) {
            let message = format!(
                "the parent is a \"{kind}\" of \"{api_version}\", not a {} of {}",
                parent.kind,
                parent.api_version()
            );
            return Err(failure::internal(message));
        }
        let metadata = document.get("metadata").and_then(Value::as_object);
        let field = |name| metadata.and_then(|metadata| metadata.get(name));
        let text = |name| field(name).and_then(Value::as_str).map(str::to_owned);
        let object = |name| field(name).and_then(Value::as_object).cloned().unwrap_or_default();
        Ok(Self {
            name: text("name").ok_or_else(|| failure::internal("the parent has no name"))?,
            namespace: text("namespace"),
            uid: text("uid").unwrap_or_default(),
            generation: field("generation").and_then(Value::as_i64).unwrap_or_default(),
            labels: object("labels"),
            annotations: object("annotations"),
        })
    }
}

impl<S> Request<'_, S> {
    /// Name of the parent.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Namespace of the parent; empty if it is cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Whether the parent is being deleted and the provider is asked to finish.
    #[must_use]
    pub fn finalizing(&self) -> bool {
        self.request.finalizing
    }

    /// A child that exists, by its name in the parent's namespace.
    ///
    /// # Errors
    /// `internal` if it does not look like its kind.
    pub fn child<T: Observed>(&self, name: &str) -> Result<Option<T>, Failure> {
        let key = match &self.metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        };
        let found = self.request.children.get(&T::KIND.key()).and_then(|objects| objects.get(&key));
        found.map(|raw| read_child(&T::KIND, &key, raw)).transpose()
    }

    /// All children of a kind that exist, by `namespace/name`, in the order of their names.
    ///
    /// # Errors
    /// `internal` if one does not look like its kind.
    pub fn children<T: Observed>(&self) -> Result<BTreeMap<&str, T>, Failure> {
        let objects = self.request.children.get(&T::KIND.key());
        objects
            .into_iter()
            .flatten()
            .map(|(key, raw)| read_child(&T::KIND, key, raw).map(|child| (key.as_str(), child)))
            .collect()
    }

    /// Whether the cluster serves an optional kind of the manifest.
    #[must_use]
    pub fn serves(&self, kind: ChildKind) -> bool {
        let key = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        self.request.cluster.kinds.get(&key).copied().unwrap_or_default()
    }
}

fn read_child<T: DeserializeOwned>(kind: &ChildKind, key: &str, raw: &RawValue) -> Result<T, Failure> {
    serde_json::from_str(raw.get())
        .map_err(|error| failure::internal(format!("the {} {key} cannot be read: {error}", kind.kind)))
}
