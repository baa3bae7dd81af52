//! What a folder of modules wants: each module has a document beside it, `minio.yaml` beside `minio.wasm`, which is a
//! Provider as one would apply it. A module without one is granted what its manifest asks for, if the administrator allows it.
//! No I/O: names and texts in, Providers or reasons out.

use std::collections::BTreeMap;

use bartizan_contract::ProviderManifest;
use bartizan_contract::field::{is_dns_label, not_a_dns_label};
use bartizan_contract::names::{FILE_ANNOTATION, PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::{ModuleSource, Provider, ProviderSpec, Source};
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};
use thiserror::Error;

/// What the names of documents end with.
const DOCUMENT_SUFFIXES: [&str; 2] = ["yaml", "yml"];

/// A module of a folder with the documents beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FolderModule {
    /// Name of the file, as `minio.wasm`.
    pub(crate) file: String,
    /// What stands beside it under the same name; more than one is an error.
    pub(crate) documents: Vec<Document>,
}

/// A module that cannot serve.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("module {file}: {reason}")]
pub(crate) struct BadModule {
    /// Name of the file, or a description of the origin.
    pub(crate) file: String,
    /// Why, and what to do.
    pub(crate) reason: String,
}

/// Why a document has no text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum DocumentError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The API server takes no object of this size.
    #[error("cannot be read: it has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
}

/// A document as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// Name of the file, as `minio.yaml`.
    pub(crate) file: String,
    /// What it holds, or why that is not known.
    pub(crate) text: Result<String, DocumentError>,
}

/// Where the Provider of a module comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Declared {
    /// Its document.
    Document(Box<Provider>),
    /// Its manifest, which is known once the module is loaded.
    Manifest,
}

impl Declared {
    /// The Provider that the folder wants.
    pub(crate) fn provider(self, manifest: &ProviderManifest, file: &str) -> Provider {
        match self {
            Self::Document(provider) => *provider,
            Self::Manifest => Provider::default_for(manifest, file),
        }
    }
}

/// The names under which a module's document may stand.
pub(crate) fn document_names(module: &str) -> [String; 2] {
    let stem = module.strip_suffix(".wasm").unwrap_or(module);
    DOCUMENT_SUFFIXES.map(|suffix| format!("{stem}.{suffix}"))
}

/// The Provider and the module that a document names, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Name of the Provider.
    pub(crate) provider: Option<String>,
    /// File of the module.
    pub(crate) module: Option<String>,
    /// Whether it is another object than a Provider.
    pub(crate) is_other: bool,
}

/// What a document names, whether or not the rest of it is right.
pub(crate) fn named(text: &str) -> Named {
    let Ok(document) = only_document(text) else { return Named::default() };
    // Other objects may lie in the folder, too.
    let is_provider = document.get("kind").and_then(Value::as_str).is_none_or(|kind| kind == PROVIDER_KIND);
    if !is_provider {
        return Named { is_other: true, ..Named::default() };
    }
    let at = |path: &[&str]| {
        let found = path.iter().try_fold(&document, |value, field| value.get(*field))?;
        found.as_str().map(str::to_owned)
    };
    Named { provider: at(&["metadata", "name"]), module: at(&["spec", "module", "file"]), is_other: false }
}

/// What each module of a folder wants, and which cannot serve for what is declared of them. Of two documents with the same
/// Provider the first holds.
pub(crate) fn declare(
    modules: Vec<FolderModule>,
    trust_manifests: bool,
) -> (BTreeMap<String, Declared>, Vec<BadModule>) {
    let (mut declared, mut bad) = (BTreeMap::new(), Vec::new());
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for FolderModule { file, documents } in modules {
        let result = declare_one(&file, &documents, trust_manifests).and_then(|wanted| match &wanted {
            Declared::Document(provider) => {
                let name = provider.metadata.name.clone();
                let document = documents.first().map(|document| document.file.clone()).unwrap_or_default();
                match names.get(&name) {
                    Some(other) => {
                        Err(format!("{document}: Provider {name} is declared by {other} already; rename one"))
                    }
                    None => {
                        names.insert(name, document);
                        Ok(wanted)
                    }
                }
            }
            Declared::Manifest => Ok(wanted),
        });
        match result {
            Ok(wanted) => {
                declared.insert(file, wanted);
            }
            Err(reason) => bad.push(BadModule { file, reason }),
        }
    }
    (declared, bad)
}

fn declare_one(module: &str, documents: &[Document], trust_manifests: bool) -> Result<Declared, String> {
    // No Provider can name it.
    let errors: Vec<String> =
        ProviderSpec::new(ModuleSource::file(module)).check().iter().map(ToString::to_string).collect();
    if !errors.is_empty() {
        return Err(format!("no Provider can name this file; rename it: {}", errors.join("; ")));
    }
    match documents {
        [] if trust_manifests => Ok(Declared::Manifest),
        [] => {
            let [name, _] = document_names(module);
            Err(format!(
                "no {name} beside it declares what it may do: write one, or pass --trust-manifests, which grants every \
                 provider what its manifest asks for"
            ))
        }
        [document] => match read(module, document) {
            Ok(provider) => Ok(Declared::Document(Box::new(provider))),
            Err(reason) => Err(format!("{}: {reason}", document.file)),
        },
        [one, other, ..] => Err(format!("{} and {} both declare what it may do; remove one", one.file, other.file)),
    }
}

/// A Provider as people write it: what only the API server and the host write has no place in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: WrittenMetadata,
    spec: ProviderSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMetadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The Provider of a document.
fn read(module: &str, document: &Document) -> Result<Provider, String> {
    let value = only_document(document.text.as_ref().map_err(ToString::to_string)?)?;
    check_header(&value)?;
    let written: Written = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if path == "." { cause.to_string() } else { format!("{path}: {cause}") }
    })?;
    check_module(&written.spec.module, module)?;
    let errors: Vec<String> = written.spec.check().iter().map(ToString::to_string).collect();
    if !errors.is_empty() {
        return Err(errors.join("; "));
    }
    let mut provider = Provider::new(&written.metadata.name, written.spec);
    provider.metadata.labels = written.metadata.labels;
    provider.metadata.annotations = written.metadata.annotations;
    provider.metadata.annotations.insert(FILE_ANNOTATION.to_owned(), document.file.clone());
    Ok(provider)
}

/// The one document of a YAML stream; empty ones do not count.
fn only_document(text: &str) -> Result<Value, String> {
    let mut documents = Vec::new();
    for document in Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| format!("is not YAML: {error}"))?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => Ok(document),
        (None, _) => Err("is empty: write a Provider".to_owned()),
        (Some(_), others) => {
            Err(format!("holds {} documents, must be one; the kinds of a module are in the module", others + 1))
        }
    }
}

/// Says first what the document is at all, then how it is called: an error about a field would only confuse before.
fn check_header(document: &Value) -> Result<(), String> {
    if !document.is_mapping() {
        return Err(format!(
            "is not a Provider: begin with apiVersion: {PROVIDER_API_VERSION} and kind: {PROVIDER_KIND}"
        ));
    }
    for (field, expected) in [("apiVersion", PROVIDER_API_VERSION), ("kind", PROVIDER_KIND)] {
        match document.get(field).map(Value::as_str) {
            Some(Some(found)) if found == expected => {}
            Some(Some(found)) => return Err(format!("{field}: is \"{found}\", must be \"{expected}\"")),
            Some(None) => return Err(format!("{field}: is not a string; must be \"{expected}\"")),
            None => return Err(format!("{field}: is missing, must be \"{expected}\"")),
        }
    }
    match document.get("metadata").and_then(|metadata| metadata.get("name")) {
        None | Some(Value::Null) => Err("metadata.name: is missing: name the provider".to_owned()),
        Some(Value::String(name)) if !is_dns_label(name) => Err(format!("metadata.name: {}", not_a_dns_label(name))),
        Some(_) => Ok(()),
    }
}

/// A document in the folder is for the module beside it.
fn check_module(source: &ModuleSource, module: &str) -> Result<(), String> {
    match source.source().map_err(|error| error.to_string())? {
        Source::File(file) if file == module => Ok(()),
        Source::File(file) => {
            Err(format!("spec.module.file: is \"{file}\", must be \"{module}\", the module that it stands beside"))
        }
        Source::Oci(_) | Source::ConfigMap(_) => Err(format!(
            "spec.module: must be file: {module}, the module that it stands beside; apply Providers with other sources \
             to the cluster"
        )),
    }
}

#[cfg(test)]
mod tests;
