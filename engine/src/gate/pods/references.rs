//! Accounts that pods run as and Secrets that they get to see. A provider sees tokens, but its pods see values: a pod may see
//! what is the parent's own, what somebody named in the parent's spec, and what the provider is granted to read.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use bartizan_contract::Kind;
use serde_json::Value;

use super::{Refused, containers, is, items, template};
use crate::gate::input::GateInput;
use crate::intent::Intent;
use crate::object::{ObjectKey, Observed};
use crate::ownership;

/// The account that every namespace has, and that a pod without another one runs as.
const DEFAULT_ACCOUNT: &str = "default";
/// The type of Secrets that the cluster puts the token of an account in.
const TOKEN_SECRET: &str = "kubernetes.io/service-account-token";
/// Names the account of such a Secret.
const TOKEN_ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

/// What pods may name.
pub(super) struct Known<'a> {
    input: &'a GateInput<'a>,
    /// The parent's children as they are, but for those that go.
    existing: BTreeSet<&'a ObjectKey>,
    /// The children of this answer that are still to be written, with their waves: whether they are the parent's own is known
    /// once they were.
    to_come: BTreeMap<&'a ObjectKey, u32>,
    /// The texts in the parent's spec, read once somebody asks.
    named: OnceCell<BTreeSet<String>>,
}

impl<'a> Known<'a> {
    /// What an answer and what is there already make known.
    pub(super) fn new(intents: &'a [Intent], input: &'a GateInput<'a>) -> Self {
        let ours = input.children.iter().filter(|child| !child.deleting);
        let ours = ours.filter(|child| ownership::is_ours(child, input.parent, input.provider));
        let existing: BTreeSet<&ObjectKey> = ours.map(|child| &child.key).collect();
        let to_come = intents.iter().map(|intent| (&intent.key, intent.wave));
        let to_come = to_come.filter(|(key, _)| !existing.contains(key)).collect();
        Self { input, existing, to_come, named: OnceCell::new() }
    }

    /// Whether a child may use one of the parent's own: the key if it is still to be written, and then before the child is.
    fn own(&self, user: &Intent, kind: &Kind, name: &str) -> Result<Option<ObjectKey>, NotOwn> {
        let key = ObjectKey::new(kind, user.key.namespace.as_deref(), name);
        match self.to_come.get(&key) {
            Some(wave) if *wave > user.wave => Err(NotOwn::Later),
            Some(_) => Ok(Some(key)),
            None if self.existing.contains(&key) => Ok(None),
            None => Err(NotOwn::Foreign),
        }
    }

    /// Whether a Secret is one that somebody named in the parent's spec. Who wrote the parent answers for that; a parent that this
    /// provider wrote itself names nothing.
    fn is_named(&self, namespace: Option<&str>, name: &str) -> bool {
        let parent = self.input.parent;
        let is_its_own_word = parent.provider.as_deref() == Some(self.input.provider);
        namespace.is_some()
            && namespace == parent.key.namespace.as_deref()
            && !is_its_own_word
            && self.named.get_or_init(|| texts_of_spec(parent)).contains(name)
    }

    fn account(&self, user: &Intent, name: &str) -> Result<Option<ObjectKey>, String> {
        let granted = &self.input.grants.pods.service_accounts;
        if name == DEFAULT_ACCOUNT || granted.iter().any(|granted| granted == name) {
            return Ok(None);
        }
        self.own(user, &Kind::new("", "v1", "ServiceAccount"), name).map_err(|not_own| match not_own {
            NotOwn::Later => {
                format!("ServiceAccount \"{name}\" comes in a later wave: give it the same or an earlier one")
            }
            NotOwn::Foreign => format!(
                "ServiceAccount \"{name}\" is not among the children of this answer, and not in \
                 spec.grants.pods.serviceAccountNames"
            ),
        })
    }

    fn secret(&self, user: &Intent, name: &str) -> Result<Option<ObjectKey>, String> {
        let (granted, namespace) = (&self.input.grants.pods.secrets, user.key.namespace.as_deref());
        if namespace.is_some_and(|namespace| granted.covers(namespace, self.input.parent))
            || self.is_named(namespace, name)
        {
            return Ok(None);
        }
        self.own(user, &Kind::new("", "v1", "Secret"), name).map_err(|not_own| match not_own {
            NotOwn::Later => format!("Secret \"{name}\" comes in a later wave: give it the same or an earlier one"),
            NotOwn::Foreign => format!(
                "Secret \"{name}\" is not among the children of this answer, not named in the parent's spec, and not \
                 granted to be read by spec.grants.related"
            ),
        })
    }
}

/// Why something is not the parent's own.
enum NotOwn {
    /// It will be, too late.
    Later,
    /// Nothing says so.
    Foreign,
}

/// Every text in the spec of a parent. Sensitive fields are tokens there, which are nobody's name.
fn texts_of_spec(parent: &Observed) -> BTreeSet<String> {
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
    let mut texts = BTreeSet::new();
    if let Some(spec) = parent.value().get_mut("spec") {
        collect(spec.take(), &mut texts);
    }
    texts
}

/// Checks what one child names, and returns what of that is still to be written.
pub(super) fn check(intent: &Intent, known: &Known<'_>) -> Result<BTreeSet<ObjectKey>, Refused> {
    let mut uses = BTreeSet::new();
    let (kind, object) = (&intent.kind, &intent.object);
    let mut ask = |path: String, asked: Result<Option<ObjectKey>, String>| match asked {
        Ok(key) => {
            uses.extend(key);
            Ok(())
        }
        Err(message) => Err(Refused { path, message }),
    };
    if is(kind, "", "Secret") && object.get("type").is_some_and(|type_| type_ == TOKEN_SECRET) {
        // The cluster writes the token of that account into it, and a pod could mount that.
        let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
        let account = annotations.and_then(|annotations| annotations.get(TOKEN_ACCOUNT_ANNOTATION));
        let account = account.and_then(Value::as_str).unwrap_or_default();
        ask(format!("metadata.annotations[{TOKEN_ACCOUNT_ANNOTATION}]"), known.account(intent, account))?;
    }
    if is(kind, "", "ServiceAccount") {
        // The pods of an account pull with its Secrets.
        for (path, name) in names(items(object, "imagePullSecrets"), "name") {
            ask(path, known.secret(intent, name))?;
        }
    }
    let Some(template) = template(kind, object) else { return Ok(uses) };
    let dot = if template.path.is_empty() { "" } else { "." };
    let below = format!("{}{dot}spec.", template.path);
    // The second is the older name of the first, and still read.
    for field in ["serviceAccountName", "serviceAccount"] {
        if let Some(name) = name_of(template.spec, field) {
            ask(format!("{below}{field}"), known.account(intent, name))?;
        }
    }
    for (path, name) in secrets_of(template.spec) {
        ask(format!("{below}{path}"), known.secret(intent, name))?;
    }
    Ok(uses)
}

/// The Secrets that a pod names, each with its path in the pod.
fn secrets_of(pod: &Value) -> Vec<(String, &str)> {
    let mut found: Vec<(String, &str)> = names(items(pod, "imagePullSecrets"), "name").collect();
    let within = |path: String, holder, list, reference| {
        names(items(holder, list), reference).map(move |(item, name)| (format!("{path}.{item}"), name))
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

/// Where volumes name a Secret, beside those that are projected.
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

/// The name that each item has at a path, where it has one, with the whole path.
fn names<'a>(
    items: impl Iterator<Item = (String, &'a Value)>,
    reference: &'static str,
) -> impl Iterator<Item = (String, &'a str)> {
    items.filter_map(move |(path, item)| Some((format!("{path}.{reference}"), name_of(item, reference)?)))
}

/// The text at a path; `None` if there is none, or an empty one, which names nothing.
fn name_of<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    let found = path.split('.').try_fold(value, |value, field| value.get(field))?;
    found.as_str().filter(|name| !name.is_empty())
}
