//! What a provider answers, built step by step.

use bartizan_contract::{Child, Condition, Failure, Generate, GenerateAlphabet, ReconcileResponse};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{ParentMetadata, condition, failure};

/// An answer: all children that should exist, the status, and when to be asked again.
#[derive(Clone, Debug, Default)]
pub struct Response {
    answer: ReconcileResponse,
    conditions: Vec<Condition>,
    broken: Option<String>,
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
        let mut response = Self::default();
        response.answer.hold = true;
        response
    }

    /// A child that should exist: a typed object of `k8s_openapi`, or any other with apiVersion, kind and metadata. Its
    /// namespace defaults to the parent's.
    #[must_use]
    pub fn child(mut self, object: impl Serialize) -> Self {
        match serde_json::to_value(object) {
            Ok(object) => return self.child_json(object),
            Err(error) => self.broken = Some(format!("a child is not JSON: {error}")),
        }
        self
    }

    /// A child that should exist, as `json!` makes it. A null is an absent field, here as in specs. Pod templates are
    /// better made so: the typed ones of Kubernetes add some 300 kB to a module, most of it for fields nobody sets.
    #[must_use]
    pub fn child_json(mut self, mut object: Value) -> Self {
        remove_nulls(&mut object);
        self.answer.children.push(Child::new(object));
        self
    }

    /// A random value that the host makes once in a Secret among the children: so many letters and digits under a key.
    #[must_use]
    pub fn generate(mut self, secret: &str, key: &str, length: u16) -> Self {
        let (secret, key) = (secret.to_owned(), key.to_owned());
        self.answer.generate.push(Generate { secret, key, length, alphabet: GenerateAlphabet::Alphanumeric });
        self
    }

    /// The parent's status, without its conditions.
    #[must_use]
    pub fn status(mut self, status: impl Serialize) -> Self {
        match serde_json::to_value(status) {
            Ok(status @ Value::Object(_)) => self.answer.status = Some(status),
            Ok(_) => self.broken = Some("the status is not an object".to_owned()),
            Err(error) => self.broken = Some(format!("the status is not JSON: {error}")),
        }
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
        self.answer.resync_after_seconds = Some(seconds.max(1));
        self
    }

    /// The document that crosses the sandbox: namespaces filled in, conditions in the status.
    pub(crate) fn finish(
        mut self,
        parent: &ParentMetadata,
        unknown_fields: &[String],
    ) -> Result<ReconcileResponse, Failure> {
        if let Some(broken) = self.broken {
            return Err(failure::internal(broken));
        }
        if let Some(namespace) = &parent.namespace {
            self.answer.children.iter_mut().for_each(|child| default_namespace(&mut child.object, namespace));
        }
        self.conditions.extend(condition::unknown_fields(unknown_fields));
        if !self.conditions.is_empty() {
            let conditions = serde_json::to_value(&self.conditions);
            let conditions = conditions.map_err(|error| failure::internal(format!("a condition: {error}")))?;
            let status = self.answer.status.get_or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(status) = status {
                status.insert("conditions".to_owned(), conditions);
            }
        }
        Ok(self.answer)
    }
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

fn default_namespace(object: &mut Value, namespace: &str) {
    let Value::Object(object) = object else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.entry("namespace").or_insert_with(|| Value::String(namespace.to_owned()));
    }
}
