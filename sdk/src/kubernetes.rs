//! Names that Kubernetes allows, and objects that most storage systems have alike.

use std::fmt;

pub use bartizan_contract::field::is_dns_label;

use crate::json::{WriteJson, list};
use crate::storage::Annotations;
use crate::{Fault, object};

/// Most characters of a StatefulSet's name. Its controller labels pods with the name, a dash and a hash of ten characters,
/// and a label has at most 63.
pub const LONGEST_STATEFUL_SET: usize = 52;
/// What names a parent may have after which a Service is named: a DNS label that begins with a letter.
pub const SERVICE_NAME_PATTERN: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// What is wrong with a name that must be a DNS label.
#[must_use]
pub fn dns_label_fault(field: impl fmt::Display, name: &str) -> Option<Fault> {
    let message = format_args!("must be a DNS label of at most 63 characters, but is \"{name}\"");
    Fault::unless(is_dns_label(name), field, message)
}

/// What is wrong with a part of an image's name, where there is one.
#[must_use]
pub fn image_fault(field: &str, text: Option<&str>) -> Option<Fault> {
    let text = text?;
    let message = format_args!("must be a part of an image's name, but is \"{text}\"");
    Fault::unless(!text.is_empty() && !text.contains(char::is_whitespace), field, message)
}

/// What is wrong with the name of a parent after which a Service is named, in words that follow the field's name.
#[must_use]
pub fn service_name_fault(name: &str) -> Option<String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let fits = bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|&byte| inner(byte))
        && bytes.iter().all(|&byte| inner(byte) || byte == b'-');
    (!fits).then(|| {
        format!(
            "must be of lower-case letters, digits and dashes and begin with a letter, since a Service is named so, but is \
             \"{name}\""
        )
    })
}

/// What is wrong with the name of a parent after which a StatefulSet and its Service are named, in words that follow the
/// field's name.
#[must_use]
pub fn stateful_set_name_fault(name: &str) -> Option<String> {
    service_name_fault(name).or_else(|| {
        let characters = name.len();
        (characters > LONGEST_STATEFUL_SET).then(|| {
            format!(
                "must have at most {LONGEST_STATEFUL_SET} characters, since pods are labelled with it, but has {characters}"
            )
        })
    })
}

/// What an object is called, and how it is marked.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a, L> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: L,
}

/// A port of a Service by its name, which is also that of the container's port.
#[derive(Clone, Copy, Debug)]
pub struct ServicePort<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub port: u16,
}

/// What a Service is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceRole {
    /// Gives every pod its name in DNS, before it is ready: members of a cluster need each other to become so.
    Headless,
    /// Gives one pod an address that stays, before it is ready.
    Member,
    /// Spreads clients over the pods that are ready.
    Client,
}

/// A Service.
pub fn service<L: WriteJson>(
    meta: Meta<'_, L>,
    annotations: Option<&Annotations>,
    role: ServiceRole,
    selector: impl WriteJson,
    ports: impl WriteJson,
) -> impl WriteJson {
    let Meta { name, namespace, labels } = meta;
    let annotations = annotations.filter(|annotations| !annotations.is_empty());
    object!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "type": (role != ServiceRole::Headless).then_some("ClusterIP"),
            "clusterIP": (role == ServiceRole::Headless).then_some("None"),
            "publishNotReadyAddresses": (role != ServiceRole::Client).then_some(true),
            "selector": selector,
            "ports": ports,
        },
    })
}

/// The ports of a Service. Where many Services have the same ones, their text ([`to_text`](crate::json::to_text)) is made once.
pub fn service_ports(ports: &[ServicePort<'_>]) -> impl WriteJson {
    fn port(ServicePort { name, port }: ServicePort<'_>) -> impl WriteJson {
        object!({"name": name, "port": port, "protocol": "TCP", "targetPort": name})
    }
    list(ports.iter().copied().map(port))
}

/// The same ports of a container.
pub fn container_ports(ports: &[ServicePort<'_>]) -> impl WriteJson {
    fn port(ServicePort { name, port }: ServicePort<'_>) -> impl WriteJson {
        object!({"name": name, "containerPort": port, "protocol": "TCP"})
    }
    list(ports.iter().copied().map(port))
}

/// A variable of a container's environment.
pub fn variable(name: &str, value: &str) -> impl WriteJson {
    object!({"name": name, "value": value})
}

/// A variable that says what stands in a field of the pod, as `metadata.name`.
pub fn variable_of_pod(name: &str, path: &str) -> impl WriteJson {
    object!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

/// A ConfigMap.
pub fn config_map<L: WriteJson>(meta: Meta<'_, L>, data: impl WriteJson) -> impl WriteJson {
    let Meta { name, namespace, labels } = meta;
    object!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": data,
    })
}

/// A PodDisruptionBudget: so many pods may be away on purpose at the same time.
pub fn disruption_budget<L: WriteJson>(
    meta: Meta<'_, L>,
    max_unavailable: i32,
    selector: impl WriteJson,
) -> impl WriteJson {
    let Meta { name, namespace, labels } = meta;
    object!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"maxUnavailable": max_unavailable, "selector": {"matchLabels": selector}},
    })
}

/// A ServiceAccount.
pub fn service_account<L: WriteJson>(meta: Meta<'_, L>) -> impl WriteJson {
    let Meta { name, namespace, labels } = meta;
    object!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    })
}

/// A Role with these rules.
pub fn role<L: WriteJson>(meta: Meta<'_, L>, rules: impl WriteJson) -> impl WriteJson {
    let Meta { name, namespace, labels } = meta;
    object!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "rules": rules,
    })
}

/// The RoleBinding that gives a ServiceAccount the Role that has its name.
pub fn role_binding<L: WriteJson>(meta: Meta<'_, L>) -> impl WriteJson {
    let Meta { name, namespace, labels } = meta;
    object!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    })
}

/// The `securityContext` of a pod that runs as a user other than root.
pub fn pod_security(user: i64) -> impl WriteJson {
    object!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "fsGroup": user,
        // Walking through all files of a volume would take hours at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// The `securityContext` of a container that needs no privilege.
pub fn container_security() -> impl WriteJson {
    object!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}
