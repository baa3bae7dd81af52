//! What a provider is asked: the parent, typed; its children as text, typed only when they are looked at.

use std::borrow::Cow;
use std::ops::Range;

use bartizan_contract::Failure;
use bartizan_contract::names::{API_VERSION, REQUEST_KIND};
use k8s_openapi::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::observed::{Fields, ObjectView, Observed};
use crate::scan::{self, Field, Malformed};
use crate::{ChildKind, ParentKind, failure, typing};

/// One question to a provider.
#[derive(Debug)]
pub struct Request<'a, S> {
    /// The parent's metadata.
    pub metadata: ParentMetadata,
    /// The parent's spec.
    pub spec: S,
    /// Paths of fields of the parent that the spec type does not know. The SDK reports them by itself.
    pub unknown_fields: Vec<String>,
    /// In the order of the request.
    children: Objects<'a>,
    /// What exists below the children.
    descendants: Objects<'a>,
    /// What the provider asked to see beside its parent.
    related: Objects<'a>,
    /// Who is asked, as text.
    provider: &'a [u8],
    /// Facts of the cluster, as text.
    cluster: &'a [u8],
    finalizing: bool,
}

/// Objects that exist, not yet read.
#[derive(Debug, Default)]
struct Objects<'a> {
    all: Vec<Object<'a>>,
    /// `StatefulSet.apps/v1`, and which of them are of that kind.
    kinds: Vec<(&'a [u8], Range<usize>)>,
    /// The fields of those that are in parts.
    fields: Vec<Field<'a>>,
}

/// An object that exists.
#[derive(Debug)]
struct Object<'a> {
    /// `namespace/name`.
    name: &'a [u8],
    content: Content<'a>,
}

/// How much of an object was found while the request was gone through.
#[derive(Debug)]
enum Content<'a> {
    /// Where it ends.
    Whole(&'a [u8]),
    /// Which fields are its.
    Parts(Range<usize>),
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
    pub labels: crate::Object,
    /// Its annotations.
    pub annotations: crate::Object,
}

impl<'a, S: DeserializeOwned> Request<'a, S> {
    /// Reads a request whose parent is of the given kind. Fields that it does not know are ignored.
    pub(crate) fn parse(bytes: &'a [u8], parent_kind: &ParentKind) -> Result<Self, Failure> {
        let (mut api_version, mut kind, mut parent) = (&b""[..], &b""[..], None);
        // Where it is not even text, that is what is wrong with it.
        let no_request = |error: Malformed| match str::from_utf8(bytes) {
            Err(error) => no_request(error),
            Ok(_) => no_request(error),
        };
        let (mut children, mut descendants, mut related) = (Objects::default(), Objects::default(), Objects::default());
        let (mut provider, mut cluster, mut finalizing) = (&b"{}"[..], &b"{}"[..], false);
        let mut fields = scan::fields(bytes);
        while let Some(field) = fields.next_key().map_err(no_request)? {
            let objects = match field {
                b"children" => Some(&mut children),
                b"descendants" => Some(&mut descendants),
                b"related" => Some(&mut related),
                _ => None,
            };
            if let Some(objects) = objects {
                // Providers look at few of many children, and at all pods, of which most is passed over: once is enough.
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
                b"finalizing" => finalizing = value == b"true",
                _ => {}
            }
        }
        if (api_version, kind) != (API_VERSION.as_bytes(), REQUEST_KIND.as_bytes()) {
            let found = format!("\"{}\" of \"{}\"", lossy(kind), lossy(api_version));
            return Err(self::no_request(format!("it is a {found}, and this provider understands {API_VERSION}")));
        }
        let parent = parent.ok_or_else(|| self::no_request("it has no parent"))?;
        let Parent { metadata, spec, unknown_fields } = Parent::read(parent, parent_kind)?;
        let typing::Typed { value: spec, unknown_fields: mut all } = typing::typed::<S>("spec", &spec)?;
        all.extend(unknown_fields);
        Ok(Self { metadata, spec, unknown_fields: all, children, descendants, related, provider, cluster, finalizing })
    }
}

impl<'a> Objects<'a> {
    /// Finds them in what comes next.
    fn find(found: &mut scan::Fields<'a>, in_parts: bool) -> Result<Self, Malformed> {
        let (mut all, mut fields) = (Vec::with_capacity(32), Vec::with_capacity(if in_parts { 128 } else { 0 }));
        let mut kinds = Vec::with_capacity(8);
        found.object(|kind, names| {
            let first = all.len();
            names.object(|name, objects| {
                if !in_parts {
                    all.push(Object { name, content: Content::Whole(objects.value()?) });
                    return Ok(());
                }
                let first = fields.len();
                objects.object(|key, values| {
                    fields.push((key, values.value()?));
                    Ok(())
                })?;
                all.push(Object { name, content: Content::Parts(first..fields.len()) });
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
            Content::Whole(text) => Fields::of(text),
            Content::Parts(range) => Fields::found(self.fields.get(range.clone()).unwrap_or_default()),
        };
        T::read_fields(fields).map_err(|error| {
            failure::internal(format!("the {} {} cannot be read: {error}", T::KIND.kind, lossy(object.name)))
        })
    }
}

fn lossy(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// What a string says that has nothing escaped; whatever else it is, as it stands.
fn unquoted(text: &[u8]) -> &[u8] {
    scan::inner(text).unwrap_or(text)
}

fn no_request(error: impl std::fmt::Display) -> Failure {
    failure::internal(format!("the payload is not a {REQUEST_KIND}: {error}"))
}

/// A parent, its spec not yet typed.
struct Parent {
    metadata: ParentMetadata,
    spec: Value,
    unknown_fields: Vec<String>,
}

impl Parent {
    fn read(text: &[u8], expected: &ParentKind) -> Result<Self, Failure> {
        let (mut api_version, mut kind, mut metadata, mut spec) = (&b""[..], &b""[..], &b"{}"[..], &b"null"[..]);
        let mut unknown_fields = Vec::new();
        for field in scan::fields(text) {
            match field.map_err(|error| no_request(format!("its parent: {error}")))? {
                (b"apiVersion", value) => api_version = unquoted(value),
                (b"kind", value) => kind = unquoted(value),
                (b"metadata", value) if value != b"null" => metadata = value,
                (b"metadata", _) => {}
                (b"spec", value) => spec = value,
                (b"status", _) => {}
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
        let spec = serde_json::from_slice(spec).map_err(|error| fault("spec", &error))?;
        Ok(Self { metadata, spec, unknown_fields })
    }
}

impl ParentMetadata {
    /// Most of it is passed over; what has another type than it should have is as if it were absent.
    fn read(text: &[u8], fault: impl Fn(&Malformed) -> Failure) -> Result<Self, Failure> {
        let string = |value: &[u8]| scan::string(value).ok().map(|text| text.into_owned());
        let object = |value: &[u8]| serde_json::from_slice(value).unwrap_or_default();
        let (mut metadata, mut name) = (Self::default(), None);
        for field in scan::fields(text) {
            match field.map_err(|error| fault(&error))? {
                (b"name", value) => name = string(value),
                (b"namespace", value) => metadata.namespace = string(value),
                (b"uid", value) => metadata.uid = string(value).unwrap_or_default(),
                (b"generation", value) => metadata.generation = serde_json::from_slice(value).unwrap_or_default(),
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
        self.finalizing
    }

    /// The provider's settings, of the type that [`SETTINGS`](crate::Provider::SETTINGS) is made from: the host has checked them,
    /// and filled in the defaults of the schema.
    ///
    /// # Errors
    /// `internal` if they do not fit the type, which a host that checks them does not let happen.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = scan::field(self.provider, "settings").map_err(no_request)?.unwrap_or(b"{}");
        let settings: Value = serde_json::from_slice(text).map_err(no_request)?;
        let typed = typing::typed::<T>("provider.settings", &settings);
        Ok(typed.map_err(|failure| failure::internal(failure.to_string()))?.value)
    }

    /// A child that exists, by its name in the parent's namespace.
    ///
    /// # Errors
    /// `internal` if it does not look like its kind.
    pub fn child<T: Observed<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.named(&self.children, name)
    }

    /// All children of a kind that exist, in the order of the request: that of their namespaces and names.
    ///
    /// # Errors
    /// `internal` if one does not look like its kind.
    pub fn children<T: Observed<'a>>(&self) -> Result<Vec<T>, Failure> {
        self.children.read_all()
    }

    /// All objects of a kind below the children, as [`children`](Self::children). The kind is one of
    /// [`DESCENDANTS`](crate::Provider::DESCENDANTS).
    ///
    /// # Errors
    /// `internal` if one does not look like its kind.
    pub fn descendants<T: Observed<'a>>(&self) -> Result<Vec<T>, Failure> {
        self.descendants.read_all()
    }

    /// An object beside the parent that the answer asks for ([`Response::related`](crate::Response::related)), by its name in
    /// the parent's namespace. Absent also in the first round, before the host has supplied it: answer as if it did not exist,
    /// and ask for it. The host acts on no answer before everything that it asks for was supplied.
    ///
    /// # Errors
    /// `internal` if it does not look like its kind.
    pub fn related<T: Observed<'a>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.named(&self.related, name)
    }

    /// Whether an object that the answer asks to see ([`related`](Self::related)) is the parent's child, or nobody's yet: one
    /// that somebody else has made is left to him.
    ///
    /// # Errors
    /// `internal` if it does not look like its kind.
    pub fn is_free<R: Resource>(&self, name: &str) -> Result<bool, Failure> {
        let Some(found) = self.related::<ObjectView<'_, R>>(name)? else { return Ok(true) };
        let is_owned = found.metadata.is_owned_by("uid", &self.metadata.uid);
        Ok(is_owned || self.child::<ObjectView<'_, R>>(name)?.is_some())
    }

    /// Whether the cluster serves an optional kind of the manifest.
    ///
    /// # Errors
    /// `internal` if the request does not say it as the contract does.
    pub fn serves(&self, kind: ChildKind) -> Result<bool, Failure> {
        let key = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let kinds = scan::field(self.cluster, "kinds").map_err(no_request)?.unwrap_or(b"{}");
        Ok(scan::field(kinds, &key).map_err(no_request)? == Some(b"true"))
    }

    fn named<T: Observed<'a>>(&self, objects: &Objects<'a>, name: &str) -> Result<Option<T>, Failure> {
        let is_named = |found: &[u8]| match &self.metadata.namespace {
            Some(namespace) => {
                let place = found.len().checked_sub(name.len() + 1);
                let parts = place.and_then(|place| found.split_at_checked(place));
                parts.is_some_and(|(first, rest)| {
                    let is_name = matches!(rest, [b'/', rest @ ..] if scan::same(rest, name.as_bytes()));
                    is_name && scan::same(first, namespace.as_bytes())
                })
            }
            None => scan::same(found, name.as_bytes()),
        };
        objects.of_kind(T::KIND).find(|object| is_named(object.name)).map(|object| objects.read(object)).transpose()
    }
}
