//! The three providers and their manifests.

use serde_json::{Value, json};

use crate::contract::API_VERSION;

/// The edition of the provider. Tests patch the module to a later one: this text occurs in it once.
const EDITION: &str = "scripting-edition-1";

/// The number of the edition. Read at run time, or a patched module would not show it.
pub(crate) fn edition() -> u8 {
    std::hint::black_box(EDITION).bytes().last().map_or(0, |digit| digit.saturating_sub(b'0'))
}

/// API group of the parents.
const GROUP: &str = "test.bartizan.dev";
/// Their version.
const VERSION: &str = "v1alpha1";

/// `apiVersion` and `kind`.
type Kind = (&'static str, &'static str);

const CONFIG_MAP: Kind = ("v1", "ConfigMap");
const SECRET: Kind = ("v1", "Secret");
const SERVICE: Kind = ("v1", "Service");
const STATEFUL_SET: Kind = ("apps/v1", "StatefulSet");

/// What the manifest of a provider is made of.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    name: &'static str,
    parent: &'static str,
    plural: &'static str,
    scope: &'static str,
    children: &'static [Kind],
    /// Kinds that it may write if the cluster serves them.
    optional_children: &'static [Kind],
    descendants: &'static [Kind],
    related: &'static [Kind],
    /// Kinds that it reads if the cluster serves them.
    optional: &'static [Kind],
    sensitive: &'static [&'static str],
    finalizes: bool,
}

/// Reads everything that a provider can read.
pub const SCRIPTED: Provider = Provider {
    name: "scripted",
    parent: "Script",
    plural: "scripts",
    scope: "Namespaced",
    children: &[CONFIG_MAP, SECRET, SERVICE, STATEFUL_SET],
    // A test patches the module to a later version that writes v2: this text occurs in it once.
    optional_children: &[("gizmos.test.bartizan.dev/v1", "Gizmo")],
    descendants: &[("v1", "Pod"), ("v1", "PersistentVolumeClaim")],
    related: &[CONFIG_MAP, SECRET],
    optional: &[("test.bartizan.dev/v1alpha1", "Widget")],
    sensitive: &["/spec/secret"],
    finalizes: false,
};

/// Finalizes.
pub const FINALIZING: Provider = Provider {
    name: "scripted-finalizing",
    parent: "FinalizingScript",
    plural: "finalizingscripts",
    scope: "Namespaced",
    children: &[CONFIG_MAP, SERVICE, STATEFUL_SET],
    optional_children: &[],
    descendants: &[],
    related: &[],
    optional: &[],
    sensitive: &[],
    finalizes: true,
};

/// Has cluster-scoped parents.
pub const CLUSTER_SCOPED: Provider = Provider {
    name: "scripted-cluster-scoped",
    parent: "ClusterScript",
    plural: "clusterscripts",
    scope: "Cluster",
    children: &[("v1", "Namespace"), CONFIG_MAP],
    optional_children: &[],
    descendants: &[],
    related: &[],
    optional: &[],
    sensitive: &[],
    finalizes: false,
};

impl Provider {
    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let kinds = |kinds: &[Kind], optional: bool| -> Vec<Value> {
            kinds
                .iter()
                .map(|(version, kind)| json!({"apiVersion": version, "kind": kind, "optional": optional}))
                .collect()
        };
        let children = [kinds(self.children, false), kinds(self.optional_children, true)].concat();
        let related = [kinds(self.related, false), kinds(self.optional, true)].concat();
        json!({
            "apiVersion": API_VERSION,
            "kind": "ProviderManifest",
            "name": self.name,
            "version": format!("0.{}.0", edition()),
            "crds": [self.crd()],
            "children": children,
            "descendants": kinds(self.descendants, false),
            "related": related,
            "sensitive": self.sensitive,
            "finalizes": self.finalizes,
        })
    }

    fn crd(&self) -> Value {
        let condition = json!({
            "type": "object",
            "required": ["type", "status"],
            "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
            "x-kubernetes-preserve-unknown-fields": true,
        });
        let conditions = json!({
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": condition,
        });
        // The spec is checked by the provider itself, which names the field that it rejects.
        let any_but = |properties: Value| {
            let mut schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            schema["properties"] = properties;
            schema
        };
        let mut schema = json!({
            "type": "object",
            "properties": {
                "spec": any_but(json!({"secret": {"type": "string", "nullable": true}})),
                "status": any_but(json!({"conditions": conditions})),
            },
        });
        // The ninth edition requires a field that the others do not.
        if edition() == 9 {
            schema["required"] = json!(["spec"]);
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{GROUP}", self.plural)},
            "spec": {
                "group": GROUP,
                "scope": self.scope,
                "names": {
                    "kind": self.parent,
                    "listKind": format!("{}List", self.parent),
                    "plural": self.plural,
                    "singular": self.parent.to_ascii_lowercase(),
                },
                "versions": [{
                    "name": VERSION,
                    "served": true,
                    "storage": true,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }],
            },
        })
    }
}
