//! How an administrator declares a provider: which module it is, what it may do, and how much it may take. The object
//! `Provider`, cluster-scoped, `bartizan.dev/v1alpha1`; its CRD is made from these types ([`crd`]).
//!
//! Unknown fields of a spec are errors, also in what the API server returns: a host that ignored a restriction which
//! only a newer one knows would grant more than was meant.

mod check;
mod crd;
mod default_for;
mod grants;
mod limits;
mod status;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::field::{DNS_LABEL, DNS_SUBDOMAIN, FieldError, GROUP, KIND};
use crate::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use crate::{GroupKind, LabelSelector, digest};

pub use crd::crd;
pub use grants::{ChildGrant, DescendantGrant, GrantedNamespaces, Grants, PodGrant, PodLevel, RelatedGrant};
pub use limits::{EffectiveLimits, ProviderLimits, parse_bytes, parse_duration};
pub use status::{ActiveModule, CandidateChanges, CandidateModule, ProviderStatus, condition_types};

/// A provider as an administrator declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// `bartizan.dev/v1alpha1`.
    pub api_version: String,
    /// `Provider`.
    pub kind: String,
    /// Its name and what the API server adds.
    pub metadata: ProviderMetadata,
    /// What is wanted.
    pub spec: ProviderSpec,
    /// What is; the host's to write.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: ProviderStatus,
}

/// What the host reads of a Provider's metadata. Other fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderMetadata {
    /// Name of the provider, a DNS label: part of labels and of the field manager.
    pub name: String,
    /// Changes when an object is deleted and made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Changes with every write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Changes with the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When it was made: of two Providers that claim the same parent, the older serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// When somebody asked for its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who must agree before it goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// What an administrator wants of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderSpec {
    /// Where the module comes from.
    pub module: ModuleSource,
    /// The ServiceAccount that this provider's objects are written as, in the host's namespace for such accounts. Default:
    /// `provider-` and the name of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub service_account_name: Option<String>,
    /// Which of the kinds that the module owns it serves, and which objects of them. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["group", "kind"])
    )]
    pub parents: Vec<ParentClaim>,
    /// Serve parents in these namespaces only; none that are outside of any namespace. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(max = 63), regex(pattern = DNS_LABEL)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub namespaces: Vec<String>,
    /// Settings of the provider, by the schema in its manifest. Never secrets: the provider sees them as they are.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "crd::any_object")]
    pub settings: Map<String, Value>,
    /// What it may do. Default: nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grants: Grants,
    /// How much it may take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: ProviderLimits,
    /// How a new version of the module takes over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upgrade: Upgrade,
    /// What becomes of its parents when the Provider is deleted. Default: Block.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_removal: OnRemoval,
    /// Serve nothing for now: no calls, no writes. Its parents stay its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Where a module comes from: exactly one of file, oci and configMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic", "x-kubernetes-validations" = [{
    "rule": "[has(self.file), has(self.oci), has(self.configMap)].filter(there, there).size() == 1",
    "message": "exactly one of file, oci and configMap must be set",
}]))]
pub struct ModuleSource {
    /// Name of a file in the host's folder of providers, as `minio.wasm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = FILE_NAME))]
    pub file: Option<String>,
    /// A module in an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A module in a ConfigMap of the host's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// Take these bytes and no others: `sha256:` and 64 hexadecimal digits. Default: whatever the source holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = digest::PATTERN))]
    pub digest: Option<String>,
}

/// A file's name in the folder, never a path.
const FILE_NAME: &str = r"^[A-Za-z0-9_][-._A-Za-z0-9]*\.wasm$";
/// A digest as `inspect` and the status show it.

/// A module in an OCI registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// `registry.example.com/providers/minio:1.0.0`, or with `@sha256:...`, the digest of the manifest. A tag is resolved when
    /// this source is new, and not looked at again before it changes.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub reference: String,
    /// Speak HTTP without TLS, as to a registry on a developer's machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,
    /// A Secret of type `kubernetes.io/dockerconfigjson` in the host's namespace with the credentials for the registry. The
    /// host must be allowed to get it by its name. Default: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub pull_secret_name: Option<String>,
}

/// A module in a ConfigMap of the host's namespace, in its `binaryData`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapSource {
    /// Name of the ConfigMap.
    #[schemars(length(max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in it, as `minio.wasm`.
    #[schemars(length(max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The one source of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A file in the host's folder.
    File(&'a str),
    /// An OCI registry.
    Oci(&'a OciSource),
    /// A ConfigMap.
    ConfigMap(&'a ConfigMapSource),
}

impl ModuleSource {
    /// A file in the host's folder, whatever it holds.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self { file: Some(name.to_owned()), ..Self::default() }
    }

    /// The one source that is set.
    ///
    /// # Errors
    /// If none is, or several are.
    pub fn source(&self) -> Result<Source<'_>, FieldError> {
        match (&self.file, &self.oci, &self.config_map) {
            (Some(file), None, None) => Ok(Source::File(file)),
            (None, Some(oci), None) => Ok(Source::Oci(oci)),
            (None, None, Some(config_map)) => Ok(Source::ConfigMap(config_map)),
            _ => Err(FieldError::new("spec.module", "exactly one of file, oci and configMap must be set")),
        }
    }
}

/// A kind of the module's own that the provider serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentClaim {
    /// API group.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: String,
    /// The kind, as `ObjectStore`.
    #[schemars(length(max = 63), regex(pattern = KIND))]
    pub kind: String,
    /// Only objects with these labels, so that several Providers can share a kind. Default: all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub selector: LabelSelector,
}

impl ParentClaim {
    /// All objects of a kind.
    #[must_use]
    pub fn all(kind: &GroupKind) -> Self {
        Self { group: kind.group.clone(), kind: kind.kind.clone(), selector: LabelSelector::default() }
    }

    /// The kind.
    #[must_use]
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(&self.group, &self.kind)
    }
}

/// How a new version of the module takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Upgrade {
    /// Who decides. Default: Automatic.
    pub policy: UpgradePolicy,
    /// Changes that wait for an approval even if the policy is Automatic. Default: all of them.
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub hold_on: Vec<HoldOn>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { policy: UpgradePolicy::Automatic, hold_on: vec![HoldOn::Delete, HoldOn::Recreate] }
    }
}

/// Who decides whether a new version takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// It takes over by itself, but for what `holdOn` names.
    #[default]
    Automatic,
    /// Every new version waits for an approval.
    Manual,
}

/// A change that a new version would make and that waits for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HoldOn {
    /// It would delete a child.
    Delete,
    /// It would delete a child and make it again.
    Recreate,
}

/// What becomes of the parents when their Provider is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRemoval {
    /// The Provider stays until it has no parents.
    #[default]
    Block,
    /// Parents and children stay as they are, without an operator.
    Release,
}

impl Provider {
    /// A Provider as somebody would write it.
    #[must_use]
    pub fn new(name: &str, spec: ProviderSpec) -> Self {
        Self {
            api_version: PROVIDER_API_VERSION.to_owned(),
            kind: PROVIDER_KIND.to_owned(),
            metadata: ProviderMetadata { name: name.to_owned(), ..ProviderMetadata::default() },
            spec,
            status: ProviderStatus::default(),
        }
    }

    /// The ServiceAccount that its objects are written as.
    #[must_use]
    pub fn service_account_name(&self) -> String {
        let default = || format!("provider-{}", self.metadata.name);
        self.spec.service_account_name.clone().unwrap_or_else(default)
    }
}

impl ProviderSpec {
    /// All defaults: everything that the module owns, and no grants.
    #[must_use]
    pub fn new(module: ModuleSource) -> Self {
        Self {
            module,
            service_account_name: None,
            parents: Vec::new(),
            namespaces: Vec::new(),
            settings: Map::new(),
            grants: Grants::default(),
            limits: ProviderLimits::default(),
            upgrade: Upgrade::default(),
            on_removal: OnRemoval::default(),
            suspend: false,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
