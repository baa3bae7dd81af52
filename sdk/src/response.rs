//! What a provider answers, built step by step.

use bartizan_contract::names::{API_VERSION, RESPONSE_KIND};
use bartizan_contract::{
    Condition, EventType, Failure, Generate, GenerateAlphabet, KeepRef, OnDelete, OnImmutableChange, ProviderEvent,
    RelatedSelector,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::json::{WriteJson, Writer, text};
use crate::{ChildKind, ParentMetadata, condition, failure, object};

/// Room for most answers, so that their text is not moved while it grows.
const CAPACITY: usize = 24 * 1024;

/// An answer: all children that should exist, the status, and when to be asked again.
#[derive(Clone, Debug)]
pub struct Response {
    /// The answer up to its list of children, not yet closed.
    answer: Writer,
    /// Children of which the namespace may be missing; they come after the others.
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

/// How the host is to treat a child, where the defaults will not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// Waves are applied in order, each once the API server accepted the one before.
    pub wave: u32,
    /// What becomes of it when the parent goes or no longer asks for it.
    pub on_delete: OnDelete,
    /// What to do when the API server says that a field is immutable.
    pub on_immutable_change: OnImmutableChange,
}

impl Treatment {
    /// The defaults, in a later wave than the first, which is 0.
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
        self.trees.push(serde_json::to_value(object).map_err(|error| error.to_string()));
        self
    }

    /// A child that should exist, whole, with its namespace: what [`object!`](crate::object) makes.
    #[must_use]
    pub fn child_json(mut self, object: impl WriteJson) -> Self {
        self.answer.item(&object!({"object": object}));
        self
    }

    /// A child as [`child_json`](Self::child_json) takes it, treated in another way than by default.
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

    /// A child in the parent's namespace to leave alone: neither applied nor pruned.
    #[must_use]
    pub fn keep(mut self, kind: ChildKind, name: &str) -> Self {
        let (api_version, kind, name) = (kind.api_version(), kind.kind.to_owned(), name.to_owned());
        self.keep.push(KeepRef { api_version, kind, namespace: None, name });
        self
    }

    /// Objects of the parent's namespace to see ([`Request::related`](crate::Request::related)), by their names. Ask for the
    /// same ones with every answer: what is asked for each time costs one call, not two.
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

    /// Something that went as it should, told on the parent: a CamelCase word and a sentence. One that stands in two answers
    /// running is told once.
    #[must_use]
    pub fn event(mut self, reason: &str, message: impl Into<String>) -> Self {
        self.events.push(ProviderEvent {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            message: message.into(),
        });
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
    pub fn status(mut self, status: impl WriteJson) -> Self {
        let mut writer = Writer::default();
        status.write_json(&mut writer);
        self.status = Some(writer);
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
        for tree in std::mem::take(&mut self.trees) {
            let tree = tree.map_err(|error| failure::internal(format!("a child is not JSON: {error}")))?;
            self = self.child_json(with_namespace(tree, parent.namespace.as_deref()));
        }
        let mut answer = self.answer;
        answer.end_list();
        answer.field("hold", &self.hold.then_some(true));
        answer.field("status", &text(&status_with_conditions(self.status, &self.conditions)?));
        answer.field("resyncAfterSeconds", &self.resync_after_seconds);
        answer.field("generate", &filled(&self.generate));
        answer.field("keep", &filled(&self.keep));
        answer.field("events", &filled(&self.events));
        answer.field("related", &filled(&self.related));
        answer.end_object();
        answer.finish()
    }
}

/// A list as a field that is left out if it is empty.
fn filled<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

/// Puts the conditions at the end of the status; null if there is neither.
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
