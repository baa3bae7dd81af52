//! The request as a provider sees it: the parent is typed, other objects stay text until the provider reads them.

use std::borrow::Cow;
use std::ops::Range;

use bartizan_contract::Failure;
use bartizan_contract::names::{API_VERSION, REQUEST_KIND};
use k8s_openapi::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bytes::same;
use crate::failure::Fault;
use crate::kind::{ChildKind, ParentKind};
use crate::observed::{Fields, ObjectView, Observed};
use crate::retired::{self, RetiredField};
use crate::view::{self, Field, JsonView, Malformed};
use crate::{failure, json, typing};

/// One request to a provider.
#[derive(Debug)]
pub struct Request<'a, S> {
    /// The parent's metadata.
    pub metadata: ParentMetadata,
    /// The parent's spec.
    pub spec: S,
    /// Paths of the parent's fields that the spec type does not know. The SDK reports them in a condition.
    pub unknown_fields: Vec<String>,
    /// The parent's status before this request.
    status: JsonView<'a>,
    children: Objects<'a>,
    /// Objects below the children, such as pods.
    descendants: Objects<'a>,
    /// Other objects that the provider asked for.
    related: Objects<'a>,
    /// The provider's name, version and settings.
    provider: JsonView<'a>,
    /// The cluster's version and the kinds that it serves.
    cluster: JsonView<'a>,
    finalizing: bool,
}

/// Existing objects, not parsed yet, in the order of the request.
#[derive(Debug, Default)]
struct Objects<'a> {
    all: Vec<Object<'a>>,
    /// `StatefulSet.apps/v1`, and the range in `all` that is of this kind.
    kinds: Vec<(&'a [u8], Range<usize>)>,
    /// The fields of the objects that are split.
    fields: Vec<Field<'a>>,
}

/// An existing object.
#[derive(Debug)]
struct Object<'a> {
    /// `namespace/name`.
    name: &'a [u8],
    content: Content<'a>,
}

/// What the pass over the request found of an object.
#[derive(Debug)]
enum Content<'a> {
    /// Its text, unsplit.
    Whole(JsonView<'a>),
    /// The range of its fields in [`Objects::fields`].
    Split(Range<usize>),
}

/// The parent's metadata, as far as providers need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParentMetadata {
    /// The parent's name.
    pub name: String,
    /// The parent's namespace; absent if it is cluster-scoped.
    pub namespace: Option<String>,
    /// The parent's UID: an object that is deleted and created again under the same name is another parent.
    pub uid: String,
    /// The parent's generation.
    pub generation: i64,
    /// The parent's labels.
    pub labels: json::Object,
    /// The parent's annotations.
    pub annotations: json::Object,
}

impl<S> Request<'_, S> {
    /// What the parent's status holds beside conditions.
    pub(crate) fn status_without_conditions(&self) -> Vec<u8> {
        let mut text = b"{".to_vec();
        let fields = self.status.fields().map_while(Result::ok);
        for (key, value) in fields.filter(|(key, _)| *key != b"conditions") {
            let separator: &[u8] = if text.len() > 1 { b",\"" } else { b"\"" };
            for part in [separator, key, b"\":", value.text()] {
                text.extend_from_slice(part);
            }
        }
        text.push(b'}');
        text
    }

    /// The faults of retired fields that the parent sets: pass [`Provider::RETIRED`](crate::Provider::RETIRED).
    #[must_use]
    pub fn retired_faults(&self, retired: &[RetiredField]) -> Vec<Fault> {
        retired::faults(&self.unknown_fields, retired)
    }
}

impl<'a, S: DeserializeOwned> Request<'a, S> {
    /// Reads a request whose parent is of the given kind. Unknown fields are ignored.
    pub(crate) fn parse(bytes: &'a [u8], parent_kind: &ParentKind) -> Result<Self, Failure> {
        let (mut api_version, mut kind, mut parent) = (&b""[..], &b""[..], None);
        // A payload that is not UTF-8 is reported as such.
        let no_request = |error: Malformed| match str::from_utf8(bytes) {
            Err(error) => no_request(error),
            Ok(_) => no_request(error),
        };
        let (mut children, mut descendants, mut related) = (Objects::default(), Objects::default(), Objects::default());
        let (mut provider, mut cluster, mut finalizing) = (JsonView::EMPTY_OBJECT, JsonView::EMPTY_OBJECT, false);
        let mut fields = JsonView::new(bytes).fields();
        while let Some(field) = fields.next_key().map_err(no_request)? {
            let objects = match field {
                b"children" => Some(&mut children),
                b"descendants" => Some(&mut descendants),
                b"related" => Some(&mut related),
                _ => None,
            };
            if let Some(objects) = objects {
                // Providers read few of many children, but all descendants, of which they skip most: those are split into their
                // fields in this pass, so that no second one is needed.
                *objects = Objects::find(&mut fields, field == b"descendants").map_err(no_request)?;
                continue;
            }
            let value = fields.value().map_err(no_request)?;
            match field {
                b"apiVersion" => api_version = unquoted(value),
                b"kind" => kind = unquoted(value),
                b"parent" => parent = Some(value),
                b"provider" => provider = value,
                b"cluster" => cluster = value,
                b"finalizing" => finalizing = value.text() == b"true",
                _ => {}
            }
        }
        if (api_version, kind) != (API_VERSION.as_bytes(), REQUEST_KIND.as_bytes()) {
            let found = format!("\"{}\" of \"{}\"", lossy(kind), lossy(api_version));
            return Err(self::no_request(format!("it is a {found}, and this provider understands {API_VERSION}")));
        }
        let parent = parent.ok_or_else(|| self::no_request("it has no parent"))?;
        let Parent { metadata, spec, status, unknown_fields } = Parent::read(parent, parent_kind)?;
        let typing::Typed { value: spec, unknown_fields: mut all } = typing::typed::<S>("spec", &spec)?;
        all.extend(unknown_fields);
        Ok(Self {
            metadata,
            spec,
            status,
            unknown_fields: all,
            children,
            descendants,
            related,
            provider,
            cluster,
            finalizing,
        })
    }
}

impl<'a> Objects<'a> {
    /// Finds the objects in the value of the cursor's last key: kind to name to object.
    fn find(cursor: &mut view::Fields<'a>, split: bool) -> Result<Self, Malformed> {
        let (mut all, mut fields) = (Vec::with_capacity(32), Vec::with_capacity(if split { 128 } else { 0 }));
        let mut kinds = Vec::with_capacity(8);
        cursor.object(|kind, names| {
            let first = all.len();
            names.object(|name, objects| {
                if !split {
                    all.push(Object { name, content: Content::Whole(objects.value()?) });
                    return Ok(());
                }
                let first = fields.len();
                objects.object(|key, values| {
                    fields.push((key, values.value()?));
                    Ok(())
                })?;
                all.push(Object { name, content: Content::Split(first..fields.len()) });
                Ok(())
            })?;
            kinds.push((kind, first..all.len()));
            Ok(())
        })?;
        Ok(Self { all, kinds, fields })
    }

    fn of_kind(&self, kind: ChildKind) -> impl Iterator<Item = &Object<'a>> {
        let ranges = self.kinds.iter().filter(move |(key, _)| kind.is_key(key));
        ranges.flat_map(|(_, range)| self.all.get(range.clone()).unwrap_or_default())
    }

    fn read_all<T: Observed<'a>>(&self) -> Result<Vec<T>, Failure> {
        self.of_kind(T::KIND).map(|object| self.read(object)).collect()
    }

    fn read<T: Observed<'a>>(&self, object: &Object<'a>) -> Result<T, Failure> {
        let fields = match &object.content {
            Content::Whole(view) => Fields::of(view.text()),
            Content::Split(range) => Fields::found(self.fields.get(range.clone()).unwrap_or_default()),
        };
        T::read_fields(fields).map_err(|error| {
            failure::internal(format!("the {} {} cannot be read: {error}", T::KIND.kind, lossy(object.name)))
        })
    }
}

fn lossy(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// A string without its quotes, escapes included; any other value as it stands.
fn unquoted(value: JsonView<'_>) -> &[u8] {
    value.unquoted().unwrap_or(value.text())
}

fn no_request(error: impl std::fmt::Display) -> Failure {
    failure::internal(format!("the payload is not a {REQUEST_KIND}: {error}"))
}

/// A parent whose spec is not typed yet.
struct Parent<'a> {
    metadata: ParentMetadata,
    spec: Value,
    status: JsonView<'a>,
    unknown_fields: Vec<String>,
}

impl<'a> Parent<'a> {
    fn read(parent: JsonView<'a>, expected: &ParentKind) -> Result<Self, Failure> {
        let (mut api_version, mut kind) = (&b""[..], &b""[..]);
        let (mut metadata, mut spec, mut status) = (JsonView::EMPTY_OBJECT, JsonView::NULL, JsonView::NULL);
        let mut unknown_fields = Vec::new();
        for field in parent.fields() {
            match field.map_err(|error| no_request(format!("its parent: {error}")))? {
                (b"apiVersion", value) => api_version = unquoted(value),
                (b"kind", value) => kind = unquoted(value),
                (b"metadata", value) if !value.is_null() => metadata = value,
                (b"metadata", _) => {}
                (b"spec", value) => spec = value,
                (b"status", value) => status = value,
                (unknown, _) => unknown_fields.push(lossy(unknown).into_owned()),
            }
        }
        if (api_version, kind) != (expected.api_version().as_bytes(), expected.kind.as_bytes()) {
            let wanted = format!("not a {} of {}", expected.kind, expected.api_version());
            let found = format!("\"{}\" of \"{}\"", lossy(kind), lossy(api_version));
            return Err(failure::internal(format!("the parent is a {found}, {wanted}")));
        }
        let fault = |what: &str, error: &dyn std::fmt::Display| no_request(format!("its parent's {what}: {error}"));
        let metadata = ParentMetadata::read(metadata, |error| fault("metadata", error))?;
        let spec = spec.parse().map_err(|error| fault("spec", &error))?;
        Ok(Self { metadata, spec, status, unknown_fields })
    }
}

impl ParentMetadata {
    /// Skips most of the text. Fields of the wrong type are treated as absent.
    fn read(text: JsonView<'_>, fault: impl Fn(&Malformed) -> Failure) -> Result<Self, Failure> {
        let string = |value: JsonView<'_>| value.string().ok().map(|text| text.into_owned());
        let object = |value: JsonView<'_>| value.parse().unwrap_or_default();
        let (mut metadata, mut name) = (Self::default(), None);
        for field in text.fields() {
            match field.map_err(|error| fault(&error))? {
                (b"name", value) => name = string(value),
                (b"namespace", value) => metadata.namespace = string(value),
                (b"uid", value) => metadata.uid = string(value).unwrap_or_default(),
                (b"generation", value) => metadata.generation = value.parse().unwrap_or_default(),
                (b"labels", value) => metadata.labels = object(value),
                (b"annotations", value) => metadata.annotations = object(value),
                _ => {}
            }
        }
        metadata.name = name.ok_or_else(|| failure::internal("the parent has no name"))?;
        Ok(metadata)
    }
}

impl<'a, S> Request<'a, S> {
    /// The parent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The parent's namespace; empty if it is cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Whether the parent is being deleted and the provider should clean up.
    #[must_use]
    pub fn finalizing(&self) -> bool {
        self.finalizing
    }

    /// The provider's settings, as the type from which [`SETTINGS`](crate::Provider::SETTINGS) was generated. The host has
    /// validated them and filled in the schema's defaults.
    ///
    /// # Errors
    /// `internal` if they do not fit the type, which the host's validation rules out.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = self.provider.field("settings").map_err(no_request)?.unwrap_or(JsonView::EMPTY_OBJECT);
        let settings: Value = text.parse().map_err(no_request)?;
        let typed = typing::typed::<T>("provider.settings", &settings);
        Ok(typed.map_err(|failure| failure::internal(failure.to_string()))?.value)
    }

    /// An existing child, by its name in the parent's namespace.
    ///
    /// # Errors
    /// `internal` if the object cannot be read as its kind.
    pub fn child<T: Observed<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.named(&self.children, name)
    }

    /// All existing children of a kind, ordered by namespace and name.
    ///
    /// # Errors
    /// `internal` if an object cannot be read as its kind.
    pub fn children<T: Observed<'a>>(&self) -> Result<Vec<T>, Failure> {
        self.children.read_all()
    }

    /// All objects of a kind below the children, ordered as [`children`](Self::children). The kind must be one of
    /// [`DESCENDANTS`](crate::Provider::DESCENDANTS).
    ///
    /// # Errors
    /// `internal` if an object cannot be read as its kind.
    pub fn descendants<T: Observed<'a>>(&self) -> Result<Vec<T>, Failure> {
        self.descendants.read_all()
    }

    /// A related object, which the response requests with [`Response::related`](crate::Response::related), by its name in the
    /// parent's namespace. In the first round the host has not supplied it yet, so it is absent even if it exists: respond as if
    /// it did not exist, and request it. The host acts on a response only once everything that it requests was supplied.
    ///
    /// # Errors
    /// `internal` if the object cannot be read as its kind.
    pub fn related<T: Observed<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.named(&self.related, name)
    }

    /// Whether a name is free for a child: the [`related`](Self::related) object of this name is absent, or is the parent's own.
    /// Objects created by others should be left alone.
    ///
    /// # Errors
    /// `internal` if the object cannot be read as its kind.
    pub fn is_free<R: Resource>(&self, name: &str) -> Result<bool, Failure> {
        let Some(found) = self.related::<ObjectView<'_, R>>(name)? else { return Ok(true) };
        let is_owned = found.metadata.is_owned_by("uid", &self.metadata.uid);
        Ok(is_owned || self.child::<ObjectView<'_, R>>(name)?.is_some())
    }

    /// Whether a kind that the manifest declares as optional may be used: the cluster serves it, and the Provider object grants it.
    ///
    /// # Errors
    /// `internal` if that part of the request is malformed.
    pub fn serves(&self, kind: ChildKind) -> Result<bool, Failure> {
        let key = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let kinds = self.cluster.field("kinds").map_err(no_request)?.unwrap_or(JsonView::EMPTY_OBJECT);
        Ok(kinds.field(&key).map_err(no_request)?.is_some_and(|served| served.text() == b"true"))
    }

    fn named<T: Observed<'a>>(&self, objects: &Objects<'a>, name: &str) -> Result<Option<T>, Failure> {
        let is_named = |found: &[u8]| match &self.metadata.namespace {
            Some(namespace) => {
                let place = found.len().checked_sub(name.len() + 1);
                let parts = place.and_then(|place| found.split_at_checked(place));
                parts.is_some_and(|(first, rest)| {
                    let is_name = matches!(rest, [b'/', rest @ ..] if same(rest, name.as_bytes()));
                    is_name && same(first, namespace.as_bytes())
                })
            }
            None => same(found, name.as_bytes()),
        };
        objects.of_kind(T::KIND).find(|object| is_named(object.name)).map(|object| objects.read(object)).transpose()
    }
}
