//! Helpers for native tests of providers, which build requests from plain objects. Not compiled for WebAssembly.

use std::collections::BTreeMap;
use std::path::Path;

use bartizan_contract::names::{API_VERSION, REQUEST_KIND};
use bartizan_contract::{Failure, ReconcileResponse};
use serde_json::{Value, json};

use crate::kind::ChildKind;
use crate::provider::{Provider, answer, manifest};

/// A request under construction.
#[derive(Clone, Debug)]
pub struct TestRequest {
    parent: Value,
    settings: Value,
    children: Objects,
    descendants: Objects,
    related: Objects,
    /// Optional kinds, as `Kind.group`, and whether they may be used.
    optional: BTreeMap<String, bool>,
}

/// Kind to name to object.
type Objects = BTreeMap<String, BTreeMap<String, Value>>;

impl TestRequest {
    /// A request about a parent as users write it; UID, generation and namespace are filled in.
    #[must_use]
    pub fn new(mut parent: Value) -> Self {
        if let Some(metadata) = parent.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.entry("uid").or_insert_with(|| json!("00000000-0000-4000-8000-000000000001"));
            metadata.entry("generation").or_insert_with(|| json!(1));
            metadata.entry("namespace").or_insert_with(|| json!("default"));
        }
        Self {
            parent,
            settings: json!({}),
            children: Objects::new(),
            descendants: Objects::new(),
            related: Objects::new(),
            optional: BTreeMap::new(),
        }
    }

    /// Sets the provider's settings, as the host supplies them: including the schema's defaults.
    #[must_use]
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// Adds an existing child, with apiVersion, kind, name and namespace.
    #[must_use]
    pub fn child(mut self, object: Value) -> Self {
        insert(&mut self.children, object);
        self
    }

    /// Adds an object below a child.
    #[must_use]
    pub fn descendant(mut self, object: Value) -> Self {
        insert(&mut self.descendants, object);
        self
    }

    /// Adds a related object, which the provider requests.
    #[must_use]
    pub fn related(mut self, object: Value) -> Self {
        insert(&mut self.related, object);
        self
    }

    /// Does not grant an optional kind, which is granted otherwise.
    #[must_use]
    pub fn without(mut self, kind: ChildKind) -> Self {
        self.optional.insert(optional_key(kind), false);
        self
    }

    /// The request as bytes. All `kinds` of children are present, even if there are none.
    #[must_use]
    pub fn bytes(&self, kinds: &[ChildKind]) -> Vec<u8> {
        let mut children = self.children.clone();
        for kind in kinds {
            children.entry(kind.key()).or_default();
        }
        let request = json!({
            "apiVersion": API_VERSION,
            "kind": REQUEST_KIND,
            "provider": {"name": "test", "version": "0.0.0", "settings": self.settings},
            "cluster": {"version": "v1.36.3", "kinds": self.optional},
            "parent": self.parent,
            "children": children,
            "descendants": self.descendants,
            "related": self.related,
            "finalizing": false,
            "namespaceTerminating": false,
        });
        request.to_string().into_bytes()
    }

    /// The provider's response.
    ///
    /// # Errors
    /// As [`answer`](crate::answer).
    pub fn answer<P: Provider>(&self) -> Result<ReconcileResponse, Failure> {
        let mut request = self.clone();
        for kind in P::OPTIONAL_RELATED {
            request.optional.entry(optional_key(*kind)).or_insert(true);
        }
        answer::<P>(&request.bytes(P::CHILDREN))
    }
}

fn optional_key(kind: ChildKind) -> String {
    if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) }
}

fn insert(objects: &mut Objects, object: Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = bartizan_contract::Kind::from_api_version(text("/apiVersion"), text("/kind")).to_string();
    let key = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
    objects.entry(kind).or_default().insert(key, object);
}

/// If set, [`check_manifest`] writes the file instead of comparing it.
const UPDATE: &str = "BARTIZAN_UPDATE_MANIFEST";

/// Compares the manifest file that a module embeds with the one that is generated from the provider's types. The file is
/// minified, since every call of the module carries it in memory. With `BARTIZAN_UPDATE_MANIFEST=1` in the environment, the file
/// is written instead.
///
/// # Errors
/// If the file is out of date or not minified, or cannot be written.
pub fn check_manifest<P: Provider>(file: &Path) -> Result<(), String> {
    let current = serde_json::to_value(manifest::<P>()).map_err(|error| error.to_string())?;
    if std::env::var_os(UPDATE).is_some() {
        return std::fs::write(file, format!("{current}\n")).map_err(|error| format!("{}: {error}", file.display()));
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    let is_minified = written.trim_end().len() == current.to_string().len();
    if !is_minified || serde_json::from_str(&written).ok() != Some(current) {
        return Err(format!("{} is out of date: run this test again with {UPDATE}=1", file.display()));
    }
    Ok(())
}
