//! The spec of a Provider, and the object itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::grants::Grants;
use super::limits::ProviderLimits;
use super::schema;
use super::status::ProviderStatus;
use crate::default::is_default;
use crate::digest;
use crate::field::{DNS_LABEL, DNS_LABEL_LENGTH, DNS_SUBDOMAIN, DNS_SUBDOMAIN_LENGTH, FieldError, GROUP, KIND};
use crate::group_kind::GroupKind;
use crate::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use crate::selector::LabelSelector;

/// A provider as an administrator declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// `bartizan.dev/v1alpha1`.
    pub api_version: String,
    /// `Provider`.
    pub kind: String,
    /// The name, and what the API server adds.
    pub metadata: ProviderMetadata,
    /// The desired state.
    pub spec: ProviderSpec,
    /// The observed state, written by the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: ProviderStatus,
}

/// The metadata of a Provider, as far as the host reads it. Other fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderMetadata {
    /// Name of the provider, a DNS label: part of labels and of the field manager.
    pub name: String,
    /// The UID, which differs when an object is deleted and created again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The resource version, which changes with every write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// The generation, which changes with the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When the object was created: of two Providers that claim the same parent, the older one serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// When deletion was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The finalizers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// What this host does not understand of the object, and left out: it may be a restriction.
    #[serde(skip)]
    pub not_understood: Option<String>,
    /// Field managers of the approvals.
    #[serde(skip)]
    pub approvers: Approvers,
}

/// Who wrote the approvals on a Provider, as its managed fields say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvers {
    /// Of the annotation `bartizan.dev/approve`.
    pub annotation: Option<String>,
    /// Of `spec.upgrade.approved`.
    pub spec: Option<String>,
}

/// The spec of a Provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderSpec {
    /// The source of the module.
    pub module: ModuleSource,
    /// The ServiceAccount that the host impersonates for this provider, in the host's namespace for such accounts. Default:
    /// `provider-` and the name of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = DNS_SUBDOMAIN_LENGTH), regex(pattern = DNS_SUBDOMAIN))]
    pub service_account_name: Option<String>,
    /// The kinds to serve, of those that the module owns, and which objects of them. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["group", "kind"])
    )]
    pub parents: Vec<ParentClaim>,
    /// The namespaces of parents to serve; cluster-scoped parents are then not served. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(max = DNS_LABEL_LENGTH), regex(pattern = DNS_LABEL)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub namespaces: Vec<String>,
    /// Settings of the provider, validated by the schema in its manifest. They must not contain secrets: the provider sees them as
    /// plain text.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::any_object")]
    pub settings: Map<String, Value>,
    /// The provider's access. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grants: Grants,
    /// The provider's resource limits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: ProviderLimits,
    /// How a new version of the module takes over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upgrade: Upgrade,
    /// What happens to the parents when the Provider is deleted. Default: Block.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_removal: OnRemoval,
    /// Serves although the provider's account can read the Secrets of the host's own namespace, as it can with a right to read Secrets in
    /// all namespaces. Default: such a Provider is not accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_host_secrets: bool,
    /// Suspends the provider: no calls and no writes. It keeps its claim to its parents.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// The source of a module: exactly one of file, oci and configMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic", "x-kubernetes-validations" = [{
    "rule": "[has(self.file), has(self.oci), has(self.configMap)].filter(there, there).size() == 1",
    "message": "exactly one of file, oci and configMap must be set",
}]))]
pub struct ModuleSource {
    /// Name of a file in the host's folder of providers, such as `minio.wasm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = FILE_NAME))]
    pub file: Option<String>,
    /// A module in an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A module in a ConfigMap of the host's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// The required digest: `sha256:` and 64 hexadecimal digits. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = digest::PATTERN))]
    pub digest: Option<String>,
}

/// The name of a file in the folder, never a path.
const FILE_NAME: &str = r"^[A-Za-z0-9_][-._A-Za-z0-9]*\.wasm$";

/// A module in an OCI registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// `registry.example.com/providers/minio:1.0.0`, or with `@sha256:...`, the digest of the manifest. A tag is resolved once, and
    /// again only when this source changes.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub reference: String,
    /// Whether to use HTTP without TLS, for example for a registry on a developer's machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,
    /// A Secret of type `kubernetes.io/dockerconfigjson` in the host's namespace with the credentials for the registry. The host
    /// must be allowed to get it by name. Default: anonymous access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = DNS_SUBDOMAIN_LENGTH), regex(pattern = DNS_SUBDOMAIN))]
    pub pull_secret_name: Option<String>,
    /// Who must have signed the module. Default: it need not be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verification>,
}

/// Who must have signed a module, in cosign's scheme: its manifest in the registry has a signature by one of these keys, or by this identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic", "x-kubernetes-validations" = [{
    "rule": "has(self.keys) != has(self.keyless)",
    "message": "exactly one of keys and keyless must be set",
}]))]
pub struct Verification {
    /// Public keys (PEM, ECDSA on P-256), as `cosign public-key` prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub keys: Vec<String>,
    /// A person or a workflow to whom an authority gave a certificate for one signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyless: Option<Keyless>,
}

/// Who must have signed a module without a key of their own: the certificate of the signature names both issuer and identity, an authority
/// of the trusted root issued it, and a log or a time stamp shows that the signature was made while it was valid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keyless {
    /// The OpenID Connect issuer that knows who signed, such as `https://token.actions.githubusercontent.com`.
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: String,
    /// The subject of the certificate, in full: an e-mail address, or the URI of a workflow.
    #[schemars(length(min = 1, max = 1024))]
    pub identity: String,
    /// The authorities and logs that are trusted.
    pub trusted_root: TrustedRootSource,
}

/// A trusted root in Sigstore's form (one JSON document), as `cosign trusted-root create` writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedRootSource {
    /// A ConfigMap of the host's namespace.
    pub config_map: TrustedRootKey,
}

/// The key of a ConfigMap that holds a trusted root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedRootKey {
    /// Name of the ConfigMap.
    #[schemars(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in its `data`. Default: `trusted_root.json`.
    #[serde(default = "trusted_root_json", skip_serializing_if = "is_trusted_root_json")]
    #[schemars(length(max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

const TRUSTED_ROOT_JSON: &str = "trusted_root.json";

fn trusted_root_json() -> String {
    TRUSTED_ROOT_JSON.to_owned()
}

fn is_trusted_root_json(key: &str) -> bool {
    key == TRUSTED_ROOT_JSON
}

/// A module in a ConfigMap of the host's namespace, in its `binaryData`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapSource {
    /// Name of the ConfigMap.
    #[schemars(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Key in the ConfigMap, such as `minio.wasm`.
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
    /// A file in the host's folder, with any digest.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self { file: Some(name.to_owned()), ..Self::default() }
    }

    /// The one source that is set.
    ///
    /// # Errors
    /// If none or several are set.
    pub fn source(&self) -> Result<Source<'_>, FieldError> {
        match (&self.file, &self.oci, &self.config_map) {
            (Some(file), None, None) => Ok(Source::File(file)),
            (None, Some(oci), None) => Ok(Source::Oci(oci)),
            (None, None, Some(config_map)) => Ok(Source::ConfigMap(config_map)),
            _ => Err(FieldError::new("spec.module", "exactly one of file, oci and configMap must be set")),
        }
    }
}

/// A kind, of those that the module owns, that the provider serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentClaim {
    /// API group.
    #[schemars(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = GROUP))]
    pub group: String,
    /// The kind, such as `ObjectStore`.
    #[schemars(length(max = DNS_LABEL_LENGTH), regex(pattern = KIND))]
    pub kind: String,
    /// The labels of objects to serve, so that several Providers can share a kind. Default: all objects.
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
    /// The policy. Default: Automatic.
    pub policy: UpgradePolicy,
    /// Changes that wait for an approval even if the policy is Automatic. Default: all of them.
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub hold_on: Vec<HoldOn>,
    /// The version that may take over, as `status.candidate.approval` names it: the digest of its module, and a hash of the settings if
    /// there are any. For approvals that are kept in Git; it approves this version alone, and stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), regex(pattern = "^sha256:[0-9a-f]{64}(/[0-9a-f]+)?$"))]
    pub approved: Option<String>,
}

impl Default for Upgrade {
    fn default() -> Self {
        let hold_on = vec![HoldOn::Delete, HoldOn::Recreate, HoldOn::Unknown];
        Self { policy: UpgradePolicy::Automatic, hold_on, approved: None }
    }
}

impl Upgrade {
    /// Whether the spec approves this version.
    #[must_use]
    pub fn approves(&self, approval: &str) -> bool {
        self.approved.as_deref() == Some(approval)
    }
}

/// When a new version takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// At once, unless it makes a change that `holdOn` names.
    #[default]
    Automatic,
    /// Once it is approved.
    Manual,
}

/// A change for which a new version waits for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HoldOn {
    /// A child would be deleted.
    Delete,
    /// A child would be deleted and created again.
    Recreate,
    /// The version could not be asked about a parent.
    Unknown,
}

/// What happens to the parents when their Provider is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRemoval {
    /// The Provider stays until it has no parents.
    #[default]
    Block,
    /// Parents and children stay as they are, without an operator.
    Release,
}

impl Provider {
    /// A Provider as a user would write it.
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

    /// The ServiceAccount that the host impersonates.
    #[must_use]
    pub fn service_account_name(&self) -> String {
        let default = || format!("provider-{}", self.metadata.name);
        self.spec.service_account_name.clone().unwrap_or_else(default)
    }
}

impl ProviderSpec {
    /// A spec with all defaults: serves everything that the module owns, without grants.
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
            allow_host_secrets: false,
            suspend: false,
        }
    }
}
