//! Validation of names, and builders of the objects that most storage systems need.

use std::collections::BTreeMap;
use std::fmt;

pub use bartizan_contract::field::is_dns_label;
use bartizan_contract::field::{DNS_LABEL_LENGTH, has_form_of_dns_label};

use crate::failure::Fault;
use crate::json::object;
use crate::json::{WriteJson, list};

/// The maximum length of a StatefulSet's name: its controller labels pods with the name, a dash and a hash of ten characters,
/// and the value of a label has at most 63.
pub const LONGEST_STATEFUL_SET: usize = 52;
/// The pattern of names of Services: a DNS label that begins with a letter.
pub const SERVICE_NAME_PATTERN: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// The fault of a name that should be a DNS label.
#[must_use]
pub fn dns_label_fault(field: impl fmt::Display, name: &str) -> Option<Fault> {
    let message = format_args!("must be a DNS label of at most {DNS_LABEL_LENGTH} characters, but is \"{name}\"");
    Fault::unless(is_dns_label(name), field, message)
}

/// The fault of a part of an image reference, if the part is set.
#[must_use]
pub fn image_fault(field: &str, text: Option<&str>) -> Option<Fault> {
    let text = text?;
    let message = format_args!("must be part of an image reference, but is \"{text}\"");
    Fault::unless(!text.is_empty() && !text.contains(char::is_whitespace), field, message)
}

/// The message of the fault of a parent's name that is also the name of a Service.
#[must_use]
pub fn service_name_fault(name: &str) -> Option<String> {
    let fits = has_form_of_dns_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase());
    (!fits).then(|| {
        format!(
            "must consist of lower-case letters, digits and dashes and begin with a letter, since a Service has this name, but is \
             \"{name}\""
        )
    })
}

/// The message of the fault of a parent's name that is also the name of a StatefulSet and its Service.
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

/// The metadata of an object to write.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a, L> {
    /// The name.
    pub name: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The labels.
    pub labels: L,
}

/// A named port of a Service, and the container port of the same name.
#[derive(Clone, Copy, Debug)]
pub struct ServicePort<'a> {
    /// The name.
    pub name: &'a str,
    /// The number.
    pub port: u16,
}

/// The purpose of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceRole {
    /// Gives every pod a DNS name, even before it is ready: members of a cluster need each other to become ready.
    Headless,
    /// Gives one pod a stable address, even before it is ready.
    Member,
    /// Balances clients over the ready pods.
    Client,
}

/// A Service.
pub fn service<L: WriteJson>(
    meta: Meta<'_, L>,
    annotations: Option<&BTreeMap<String, String>>,
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

/// The ports of a Service. If many Services have the same ports, write their text once with [`to_text`](crate::json::to_text).
pub fn service_ports(ports: &[ServicePort<'_>]) -> impl WriteJson {
    fn port(ServicePort { name, port }: ServicePort<'_>) -> impl WriteJson {
        object!({"name": name, "port": port, "protocol": "TCP", "targetPort": name})
    }
    list(ports.iter().copied().map(port))
}

/// The ports of a container, from those of its Service.
pub fn container_ports(ports: &[ServicePort<'_>]) -> impl WriteJson {
    fn port(ServicePort { name, port }: ServicePort<'_>) -> impl WriteJson {
        object!({"name": name, "containerPort": port, "protocol": "TCP"})
    }
    list(ports.iter().copied().map(port))
}

/// An environment variable of a container.
pub fn variable(name: &str, value: &str) -> impl WriteJson {
    object!({"name": name, "value": value})
}

/// An environment variable with the value of a field of the pod, such as `metadata.name`.
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

/// A PodDisruptionBudget that allows this many voluntary disruptions at the same time.
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

/// The RoleBinding of a ServiceAccount to the Role of the same name.
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

/// The `securityContext` of a pod that does not run as root.
pub fn pod_security(user: i64) -> impl WriteJson {
    object!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "fsGroup": user,
        // Changing the owner of every file in a volume would take hours at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// The `securityContext` of a container that needs no privilege.
pub fn container_security() -> impl WriteJson {
    object!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}
