//! ServiceAccounts that pods run as, and Secrets that they use. A provider sees tokens, but its pods see values: a pod may use
//! Secrets that belong to the parent, that the parent's spec names, or that the provider is granted to read.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use bartizan_contract::Kind;
use serde_json::Value;

use super::template::{Refused, containers, is, items, template};
use crate::gate::input::GateInput;
use crate::intent::Intent;
use crate::object::{ObjectKey, Observed};
use crate::ownership;

/// The ServiceAccount that every namespace has, and that pods run as by default.
const DEFAULT_ACCOUNT: &str = "default";
/// The type of Secrets into which the control plane writes the token of a ServiceAccount.
const TOKEN_SECRET: &str = "kubernetes.io/service-account-token";
/// Names the ServiceAccount of such a Secret.
const TOKEN_ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

/// The objects that pods may use.
pub(super) struct Known<'a> {
    input: &'a GateInput<'a>,
    /// The observed children of the parent that are not being deleted.
    existing: BTreeSet<&'a ObjectKey>,
    /// The children of this answer that do not exist yet, with their waves: only their creation shows that they belong to the
    /// parent.
    pending: BTreeMap<&'a ObjectKey, u32>,
    /// The strings in the parent's spec, collected on first use.
    named: OnceCell<BTreeSet<String>>,
}

impl<'a> Known<'a> {
    /// Collects them from the intents of an answer and the observed children.
    pub(super) fn new(intents: &'a [Intent], input: &'a GateInput<'a>) -> Self {
        let ours = input.children.iter().filter(|child| !child.deleting);
        let ours = ours.filter(|child| ownership::is_ours(child, input.parent, input.provider));
        let existing: BTreeSet<&ObjectKey> = ours.map(|child| &child.key).collect();
        let pending = intents.iter().map(|intent| (&intent.key, intent.wave));
        let pending = pending.filter(|(key, _)| !existing.contains(key)).collect();
        Self { input, existing, pending, named: OnceCell::new() }
    }

    /// Whether a child may use an object because it belongs to the parent. Returns its key if it does not exist yet and so must be
    /// applied before the child.
    fn owned(&self, user: &Intent, kind: &Kind, name: &str) -> Result<Option<ObjectKey>, NotOwned> {
        let key = ObjectKey::new(kind, user.key.namespace.as_deref(), name);
        match self.pending.get(&key) {
            Some(wave) if *wave > user.wave => Err(NotOwned::LaterWave),
            Some(_) => Ok(Some(key)),
            None if self.existing.contains(&key) => Ok(None),
            None => Err(NotOwned::Foreign),
        }
    }

    /// Whether the parent's spec names a Secret. Whoever wrote the parent is responsible for that; a parent that this provider
    /// wrote itself does not count.
    fn is_named(&self, namespace: Option<&str>, name: &str) -> bool {
        let parent = self.input.parent;
        let wrote_parent = parent.provider.as_deref() == Some(self.input.provider);
        namespace.is_some()
            && namespace == parent.key.namespace.as_deref()
            && !wrote_parent
            && self.named.get_or_init(|| strings_of_spec(parent)).contains(name)
    }

    fn account(&self, user: &Intent, name: &str) -> Result<Option<ObjectKey>, String> {
        let granted = &self.input.grants.pods.service_accounts;
        let is_granted = || name == DEFAULT_ACCOUNT || granted.iter().any(|granted| granted == name);
        let foreign = "is not among the children of this answer, and not in spec.grants.pods.serviceAccountNames";
        self.owned_or(is_granted, user, "ServiceAccount", name, foreign)
    }

    fn secret(&self, user: &Intent, name: &str) -> Result<Option<ObjectKey>, String> {
        let (granted, namespace) = (&self.input.grants.pods.secrets, user.key.namespace.as_deref());
        let is_granted = || {
            namespace.is_some_and(|namespace| granted.covers(namespace, self.input.parent))
                || self.is_named(namespace, name)
        };
        let foreign = "is not among the children of this answer, not named in the parent's spec, and not granted by \
                       spec.grants.related";
        self.owned_or(is_granted, user, "Secret", name, foreign)
    }

    /// What a child may use, since it belongs to the parent or is granted. It comes after what it uses of the same answer, whatever else
    /// it may use.
    fn owned_or(
        &self,
        is_granted: impl Fn() -> bool,
        user: &Intent,
        kind: &str,
        name: &str,
        foreign: &str,
    ) -> Result<Option<ObjectKey>, String> {
        match self.owned(user, &Kind::new("", "v1", kind), name) {
            Ok(key) => Ok(key),
            Err(_) if is_granted() => Ok(None),
            Err(NotOwned::LaterWave) => {
                Err(format!("{kind} \"{name}\" is in a later wave: move it to the same or an earlier one"))
            }
            Err(NotOwned::Foreign) => Err(format!("{kind} \"{name}\" {foreign}")),
        }
    }
}

/// Why an object is not known to belong to the parent.
enum NotOwned {
    /// It is created in a later wave.
    LaterWave,
    /// It is neither an observed child nor in the answer.
    Foreign,
}

/// Every string in the spec of a parent. Sensitive fields are tokens there, which match no name.
fn strings_of_spec(parent: &Observed) -> BTreeSet<String> {
    fn collect(value: Value, into: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => {
                into.insert(text);
            }
            Value::Array(values) => values.into_iter().for_each(|value| collect(value, into)),
            Value::Object(fields) => fields.into_iter().for_each(|(_, value)| collect(value, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut strings = BTreeSet::new();
    if let Some(spec) = parent.value().get_mut("spec") {
        collect(spec.take(), &mut strings);
    }
    strings
}

/// Checks the references of one child, and returns the referenced objects that do not exist yet.
pub(super) fn check(intent: &Intent, known: &Known<'_>) -> Result<BTreeSet<ObjectKey>, Refused> {
    let mut uses = BTreeSet::new();
    let (kind, object) = (&intent.kind, &intent.object);
    let mut allow = |path: String, checked: Result<Option<ObjectKey>, String>| match checked {
        Ok(key) => {
            uses.extend(key);
            Ok(())
        }
        Err(message) => Err(Refused { path, message }),
    };
    if is(kind, "", "Secret") && object.get("type").is_some_and(|type_| type_ == TOKEN_SECRET) {
        // The control plane writes the token of that ServiceAccount into it, and a pod could mount it.
        let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
        let account = annotations.and_then(|annotations| annotations.get(TOKEN_ACCOUNT_ANNOTATION));
        let account = account.and_then(Value::as_str).unwrap_or_default();
        allow(format!("metadata.annotations[{TOKEN_ACCOUNT_ANNOTATION}]"), known.account(intent, account))?;
    }
    if is(kind, "", "ServiceAccount") {
        // Pods that run as this ServiceAccount pull images with its Secrets.
        for (path, name) in names(items(object, "imagePullSecrets"), "name") {
            allow(path, known.secret(intent, name))?;
        }
    }
    let Some(template) = template(kind, object) else { return Ok(uses) };
    let dot = if template.path.is_empty() { "" } else { "." };
    let below = format!("{}{dot}spec.", template.path);
    // The second is the deprecated alias of the first, which is still honored.
    for field in ["serviceAccountName", "serviceAccount"] {
        if let Some(name) = name_of(template.spec, field) {
            allow(format!("{below}{field}"), known.account(intent, name))?;
        }
    }
    for (path, name) in secrets_of(template.spec) {
        allow(format!("{below}{path}"), known.secret(intent, name))?;
    }
    Ok(uses)
}

/// The Secrets that a pod references, each with its path in the pod.
fn secrets_of(pod: &Value) -> Vec<(String, &str)> {
    let mut found: Vec<(String, &str)> = names(items(pod, "imagePullSecrets"), "name").collect();
    let within = |path: String, parent, list, reference| {
        names(items(parent, list), reference).map(move |(item, name)| (format!("{path}.{item}"), name))
    };
    for (path, container) in containers(pod) {
        found.extend(within(path.clone(), container, "env", "valueFrom.secretKeyRef.name"));
        found.extend(within(path, container, "envFrom", "secretRef.name"));
    }
    for (path, volume) in items(pod, "volumes") {
        if let Some(projected) = volume.get("projected") {
            found.extend(within(format!("{path}.projected"), projected, "sources", "secret.name"));
        }
        found.extend(
            VOLUME_SECRETS
                .into_iter()
                .filter_map(|reference| name_of(volume, reference).map(|name| (format!("{path}.{reference}"), name))),
        );
    }
    found
}

/// Fields of volumes that reference a Secret, beside projected volumes.
const VOLUME_SECRETS: [&str; 10] = [
    "secret.secretName",
    "azureFile.secretName",
    "cephfs.secretRef.name",
    "cinder.secretRef.name",
    "csi.nodePublishSecretRef.name",
    "flexVolume.secretRef.name",
    "iscsi.secretRef.name",
    "rbd.secretRef.name",
    "scaleIO.secretRef.name",
    "storageos.secretRef.name",
];

/// The name at a path in each item that has one, with its full path.
fn names<'a>(
    items: impl Iterator<Item = (String, &'a Value)>,
    reference: &'static str,
) -> impl Iterator<Item = (String, &'a str)> {
    items.filter_map(move |(path, item)| Some((format!("{path}.{reference}"), name_of(item, reference)?)))
}

/// The string at a path; `None` if there is none, or if it is empty and so references nothing.
fn name_of<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    let found = path.split('.').try_fold(value, |value, field| value.get(field))?;
    found.as_str().filter(|name| !name.is_empty())
}
