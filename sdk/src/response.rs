//! The builder of a provider's response.

use bartizan_contract::names::{API_VERSION, RESPONSE_KIND};
use bartizan_contract::{
    Condition, EventType, Failure, Generate, GenerateAlphabet, KeepRef, OnDelete, OnImmutableChange, ProviderEvent,
    RelatedSelector,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::condition;
use crate::failure;
use crate::json::object;
use crate::json::{WriteJson, Writer, text};
use crate::kind::ChildKind;
use crate::request::ParentMetadata;

/// Enough for most responses, so that their text is not reallocated while it grows.
const CAPACITY: usize = 24 * 1024;

/// A response: all children that should exist, the status, and when to reconcile again.
#[derive(Clone, Debug)]
pub struct Response {
    /// The text up to and including the list of children, which is still open.
    answer: Writer,
    /// Children whose namespace may be missing; they are written after the others.
    trees: Vec<Result<Value, String>>,
    hold: bool,
    status: Option<Writer>,
    conditions: Vec<Condition>,
    resync_after_seconds: Option<u32>,
    generate: Vec<Generate>,
    keep: Vec<KeepRef>,
    events: Vec<ProviderEvent>,
    related: Vec<RelatedSelector>,
}

/// How the host treats a child, if not by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// Waves are applied in order, each once the API server has accepted the previous one.
    pub wave: u32,
    /// What happens to the child when the parent is deleted or no longer wants it.
    pub on_delete: OnDelete,
    /// What happens when the API server refuses to change an immutable field.
    pub on_immutable_change: OnImmutableChange,
}

impl Treatment {
    /// The defaults, but in this wave; the first wave is 0.
    #[must_use]
    pub const fn wave(wave: u32) -> Self {
        Self { wave, on_delete: OnDelete::Delete, on_immutable_change: OnImmutableChange::Refuse }
    }
}

impl Default for Response {
    fn default() -> Self {
        let mut answer = Writer::with_capacity(CAPACITY);
        answer.begin_object();
        answer.field("apiVersion", API_VERSION);
        answer.field("kind", RESPONSE_KIND);
        answer.key("children");
        answer.begin_list();
        Self {
            answer,
            trees: Vec::new(),
            hold: false,
            status: None,
            conditions: Vec::new(),
            resync_after_seconds: None,
            generate: Vec::new(),
            keep: Vec::new(),
            events: Vec::new(),
            related: Vec::new(),
        }
    }
}

impl Response {
    /// A response without children.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A response that leaves all children as they are, and only writes the status.
    #[must_use]
    pub fn hold() -> Self {
        Self { hold: true, ..Self::default() }
    }

    /// Adds a child: a typed object of `k8s_openapi`, or anything else with apiVersion, kind and metadata. The namespace defaults
    /// to the parent's.
    ///
    /// This is convenient for small objects. Write pod templates with [`object!`](crate::object) instead: typed ones add some
    /// 300 kB to a module, mostly for fields that are never set.
    #[must_use]
    pub fn child(mut self, object: impl Serialize) -> Self {
        self.trees.push(serde_json::to_value(object).map_err(|error| error.to_string()));
        self
    }

    /// Adds a complete child, including its namespace, as written with [`object!`](crate::object).
    #[must_use]
    pub fn child_json(mut self, object: impl WriteJson) -> Self {
        self.answer.item(&object!({"object": object}));
        self
    }

    /// Adds a child like [`child_json`](Self::child_json), with a treatment other than the default.
    #[must_use]
    pub fn child_with(mut self, treatment: Treatment, object: impl WriteJson) -> Self {
        let Treatment { wave, on_delete, on_immutable_change } = treatment;
        self.answer.item(&object!({
            "object": object,
            "wave": (wave != 0).then_some(wave),
            "onDelete": (on_delete != OnDelete::default()).then_some(on_delete),
            "onImmutableChange": (on_immutable_change != OnImmutableChange::default()).then_some(on_immutable_change),
        }));
        self
    }

    /// Leaves a child in the parent's namespace alone: it is neither applied nor pruned.
    #[must_use]
    pub fn keep(mut self, kind: ChildKind, name: &str) -> Self {
        let (api_version, kind, name) = (kind.api_version(), kind.kind.to_owned(), name.to_owned());
        self.keep.push(KeepRef { api_version, kind, namespace: None, name });
        self
    }

    /// Requests objects of the parent's namespace by name, to be read with [`Request::related`](crate::Request::related). Request
    /// the same objects in every response: the host then supplies them in the first round, which saves a second call.
    #[must_use]
    pub fn related(mut self, kind: ChildKind, names: &[&str]) -> Self {
        self.related.push(RelatedSelector {
            api_version: kind.api_version(),
            kind: kind.kind.to_owned(),
            namespace: None,
            names: names.iter().map(ToString::to_string).collect(),
            match_labels: std::collections::BTreeMap::new(),
        });
        self
    }

    /// Adds an event of type Normal on the parent, with a CamelCase reason and a message. An event that consecutive responses
    /// repeat is recorded once.
    #[must_use]
    pub fn event(mut self, reason: &str, message: impl Into<String>) -> Self {
        self.events.push(ProviderEvent {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            message: message.into(),
        });
        self
    }

    /// Has the host generate a random value of `length` letters and digits, once, for a key of a Secret among the children.
    #[must_use]
    pub fn generate(mut self, secret: &str, key: &str, length: u16) -> Self {
        let (secret, key) = (secret.to_owned(), key.to_owned());
        self.generate.push(Generate { secret, key, length, alphabet: GenerateAlphabet::Alphanumeric });
        self
    }

    /// Sets the parent's status, an object without conditions.
    #[must_use]
    pub fn status(mut self, status: impl WriteJson) -> Self {
        let mut writer = Writer::default();
        status.write_json(&mut writer);
        self.status = Some(writer);
        self
    }

    /// Sets the status, as text.
    pub(crate) fn status_text(mut self, status: &[u8]) -> Self {
        let mut writer = Writer::default();
        writer.raw(status);
        self.status = Some(writer);
        self
    }

    /// Adds a condition of the parent, in place of any earlier one of the same type.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.retain(|other| other.type_ != condition.type_);
        self.conditions.push(condition);
        self
    }

    /// Reconciles again after this many seconds, even if nothing changes.
    #[must_use]
    pub fn resync_after(mut self, seconds: u32) -> Self {
        self.resync_after_seconds = Some(seconds.max(1));
        self
    }

    /// The text of the response, with namespaces filled in and conditions in the status.
    pub(crate) fn finish(mut self, parent: &ParentMetadata, unknown_fields: &[String]) -> Result<Vec<u8>, Failure> {
        self.conditions.extend(condition::unknown_fields(unknown_fields));
        for tree in std::mem::take(&mut self.trees) {
            let tree = tree.map_err(|error| failure::internal(format!("a child is not JSON: {error}")))?;
            self = self.child_json(with_namespace(tree, parent.namespace.as_deref()));
        }
        let mut answer = self.answer;
        answer.end_list();
        answer.field("hold", &self.hold.then_some(true));
        answer.field("status", &text(&status_with_conditions(self.status, &self.conditions)?));
        answer.field("resyncAfterSeconds", &self.resync_after_seconds);
        answer.field("generate", &non_empty(&self.generate));
        answer.field("keep", &non_empty(&self.keep));
        answer.field("events", &non_empty(&self.events));
        answer.field("related", &non_empty(&self.related));
        answer.end_object();
        answer.finish()
    }
}

/// A list, or nothing if it is empty.
fn non_empty<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

/// Appends the conditions to the status; null if there is neither.
fn status_with_conditions(status: Option<Writer>, conditions: &[Condition]) -> Result<Vec<u8>, Failure> {
    let mut text = match status {
        Some(status) => status.finish()?,
        None if conditions.is_empty() => return Ok(b"null".to_vec()),
        None => b"{}".to_vec(),
    };
    if text.first() != Some(&b'{') {
        return Err(failure::internal("the status is not an object"));
    }
    if conditions.is_empty() {
        return Ok(text);
    }
    text.pop();
    let mut status = Writer::with_capacity(CAPACITY / 32);
    status.raw(&text);
    status.field("conditions", conditions);
    status.end_object();
    status.finish()
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
