//! What a provider answers, built step by step.

use bartizan_contract::names::{API_VERSION, RESPONSE_KIND};
use bartizan_contract::{Condition, Failure, Generate, GenerateAlphabet};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::json::Json;
use crate::{ParentMetadata, condition, failure, object};

/// An answer: all children that should exist, the status, and when to be asked again.
#[derive(Clone, Debug, Default)]
pub struct Response {
    children: Vec<ResponseChild>,
    hold: bool,
    status: Option<Json>,
    conditions: Vec<Condition>,
    resync_after_seconds: Option<u32>,
    generate: Vec<Generate>,
}

/// A child as it was given.
#[derive(Clone, Debug)]
enum ResponseChild {
    /// Whole.
    Text(Json),
    /// A namespace may be missing.
    Tree(Result<Value, String>),
}

impl Response {
    /// An answer that asks for no children.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An answer that leaves everything as it is and writes the status only.
    #[must_use]
    pub fn hold() -> Self {
        Self { hold: true, ..Self::default() }
    }

    /// A child that should exist: a typed object of `k8s_openapi`, or any other with apiVersion, kind and metadata. Its
    /// namespace defaults to the parent's.
    ///
    /// Convenient, and right for small objects. Pod templates are better written with [`object!`](crate::object): the typed
    /// ones add some 300 kB to a module, most of it for fields that nobody sets.
    #[must_use]
    pub fn child(mut self, object: impl Serialize) -> Self {
        self.children.push(ResponseChild::Tree(serde_json::to_value(object).map_err(|error| error.to_string())));
        self
    }

    /// A child that should exist, whole, with its namespace: what [`object!`](crate::object) makes.
    #[must_use]
    pub fn child_json(mut self, object: Json) -> Self {
        self.children.push(ResponseChild::Text(object));
        self
    }

    /// A random value that the host makes once in a Secret among the children: so many letters and digits under a key.
    #[must_use]
    pub fn generate(mut self, secret: &str, key: &str, length: u16) -> Self {
        let (secret, key) = (secret.to_owned(), key.to_owned());
        self.generate.push(Generate { secret, key, length, alphabet: GenerateAlphabet::Alphanumeric });
        self
    }

    /// The parent's status without its conditions: an object.
    #[must_use]
    pub fn status(mut self, status: impl Serialize) -> Self {
        self.status = Some(Json::of(&status));
        self
    }

    /// A condition of the parent. One of the same type replaces the earlier one.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.retain(|other| other.type_ != condition.type_);
        self.conditions.push(condition);
        self
    }

    /// Ask again after so many seconds, even if nothing changes.
    #[must_use]
    pub fn resync_after(mut self, seconds: u32) -> Self {
        self.resync_after_seconds = Some(seconds.max(1));
        self
    }

    /// The document that crosses the sandbox: namespaces filled in, conditions in the status.
    pub(crate) fn finish(mut self, parent: &ParentMetadata, unknown_fields: &[String]) -> Result<Vec<u8>, Failure> {
        self.conditions.extend(condition::unknown_fields(unknown_fields));
        let mut children = Vec::new();
        for child in self.children {
            let object = match child {
                ResponseChild::Text(object) => object,
                ResponseChild::Tree(tree) => {
                    let tree = tree.map_err(|error| failure::internal(format!("a child is not JSON: {error}")))?;
                    Json::of(&with_namespace(tree, parent.namespace.as_deref()))
                }
            };
            children.push(object!({"object": object}));
        }
        let answer = object!({
            "apiVersion": API_VERSION,
            "kind": RESPONSE_KIND,
            "children": Json::list(children),
            "hold": self.hold.then_some(true),
            "status": status_with_conditions(self.status, &self.conditions)?,
            "resyncAfterSeconds": self.resync_after_seconds,
            "generate": self.generate,
        });
        answer.into_bytes()
    }
}

/// Puts the conditions at the end of the status.
fn status_with_conditions(status: Option<Json>, conditions: &[Condition]) -> Result<Json, Failure> {
    if status.is_none() && conditions.is_empty() {
        return Ok(Json::null());
    }
    let mut text = status.map_or_else(|| Ok(b"{}".to_vec()), Json::into_bytes)?;
    if text.first() != Some(&b'{') || text.pop() != Some(b'}') {
        return Err(failure::internal("the status is not an object"));
    }
    if text.len() > 1 {
        text.push(b',');
    }
    text.extend_from_slice(b"\"conditions\":");
    text.extend(Json::of(conditions).into_bytes()?);
    text.push(b'}');
    Ok(Json::written(text))
}

fn with_namespace(mut object: Value, namespace: Option<&str>) -> Value {
    if let (Some(object), Some(namespace)) = (object.as_object_mut(), namespace) {
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(metadata) = metadata {
            metadata.entry("namespace").or_insert_with(|| Value::String(namespace.to_owned()));
        }
    }
    object
}
