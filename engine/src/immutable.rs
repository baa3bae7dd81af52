//! Immutable fields: which changes of an object the API server would refuse. A prediction from its validation of built-in kinds
//! (Kubernetes 1.36), used to name the children that a new version of a provider could only recreate. The API server has the last
//! word: fields that other managers or defaults set are not known here, and the rules of custom kinds (`x-kubernetes-validations`
//! with `oldSelf`), of policies and of webhooks cannot be predicted.

use bartizan_contract::GroupKind;
use serde_json::{Map, Value};

use crate::api_error::InvalidField;

/// The first of the changes that concerns an immutable field.
///
/// `old` and `new` are the object as it was applied and as it would be applied now; `changed` are JSON pointers (RFC 6901) to where
/// they differ, in any order and to any depth. A pointer to an immutable field or into it concerns the field; a pointer to what
/// contains it, as `/spec`, does so if the field differs.
#[must_use]
pub fn refused<'a>(
    kind: &GroupKind,
    old: &Value,
    new: &Value,
    changed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let rules = rules(kind, old, new)?;
    let mut leveled = new.clone();
    for free in &rules.free {
        level(&mut leveled, old, free);
    }
    changed.into_iter().find(|pointer| {
        rules.fixed.iter().filter_map(|fixed| deeper(pointer, fixed)).any(|at| {
            let (old, new) = (old.pointer(at), leveled.pointer(at));
            !is_same(old, new)
        })
    })
}

/// Whether the API server refused an update of an object because of an immutable field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Immutability {
    /// One of the fields that it named is immutable by the rules of the kind.
    Immutable,
    /// None of them is.
    Mutable,
    /// The rules of the kind are not known, and one of them must not be changed as it is.
    Forbidden,
}

/// Judges a refused update by the fields that the API server named as causes, never by its words. Of a kind whose rules are not
/// known, a field is immutable if its cause is `FieldValueForbidden`: a rule of a custom kind (`x-kubernetes-validations`) says so
/// with `reason`, and what it says otherwise may protect data.
#[must_use]
pub fn judge(kind: &GroupKind, live: &Value, desired: &Value, fields: &[InvalidField]) -> Immutability {
    if rules(kind, live, desired).is_none() {
        let is_forbidden = fields.iter().any(|field| field.is_forbidden);
        return if is_forbidden { Immutability::Forbidden } else { Immutability::Mutable };
    }
    let pointers: Vec<String> = fields.iter().map(|field| pointer(&field.path)).collect();
    match refused(kind, live, desired, pointers.iter().map(String::as_str)) {
        Some(_) => Immutability::Immutable,
        None => Immutability::Mutable,
    }
}

/// A field path as the API server writes it (`data[a.b]`, `spec.ports[0].name`) as a JSON pointer.
fn pointer(field: &str) -> String {
    let mut pointer = "/".to_owned();
    let mut within_brackets = false;
    for character in field.chars() {
        match character {
            '[' if !within_brackets => {
                within_brackets = true;
                pointer.push('/');
            }
            ']' if within_brackets => within_brackets = false,
            '.' if !within_brackets => pointer.push('/'),
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
    pointer
}

/// The immutable fields of a kind, and mutable fields within those. `*` stands for each element of a list.
struct Rules {
    fixed: Vec<&'static str>,
    free: Vec<&'static str>,
}

impl Rules {
    fn fixed(fixed: &[&'static str]) -> Self {
        Self { fixed: fixed.to_vec(), free: Vec::new() }
    }

    fn but(mut self, free: &[&'static str]) -> Self {
        self.free.extend(free);
        self
    }

    fn but_if(self, holds: bool, free: &[&'static str]) -> Self {
        if holds { self.but(free) } else { self }
    }

    fn and_if(mut self, holds: bool, fixed: &[&'static str]) -> Self {
        self.fixed.extend(fixed.iter().filter(|_| holds));
        self
    }
}

/// `None` for kinds without known immutable fields.
fn rules(kind: &GroupKind, old: &Value, new: &Value) -> Option<Rules> {
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "StatefulSet") => Rules::fixed(&["/spec"]).but(&[
            "/spec/replicas",
            "/spec/ordinals",
            "/spec/template",
            "/spec/updateStrategy",
            "/spec/persistentVolumeClaimRetentionPolicy",
            "/spec/minReadySeconds",
            "/spec/revisionHistoryLimit",
        ]),
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet") => Rules::fixed(&["/spec/selector"]),
        ("apps", "ControllerRevision") => Rules::fixed(&["/data"]),
        ("batch", "Job") => job(old, new),
        ("", "Service") => service(old, new),
        ("", "PersistentVolumeClaim") => {
            Rules::fixed(&["/spec"]).but(&["/spec/resources/requests/storage", "/spec/volumeAttributesClassName"])
        }
        ("", "PersistentVolume") => persistent_volume(old),
        ("", "Secret") => Rules::fixed(&[])
            .and_if(secret_type(old) != secret_type(new), &["/type"])
            .and_if(is_sealed(old), &["/immutable", "/data", "/stringData"]),
        ("", "ConfigMap") => Rules::fixed(&[]).and_if(is_sealed(old), &["/immutable", "/data", "/binaryData"]),
        ("", "Pod") => pod(old, new),
        ("", "ResourceQuota") => Rules::fixed(&[]).and_if(!are_equal_sets(old, new, "/spec/scopes"), &["/spec/scopes"]),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => Rules::fixed(&["/roleRef"]),
        ("storage.k8s.io", "StorageClass") => {
            Rules::fixed(&["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"])
        }
        ("storage.k8s.io", "CSIDriver") => Rules::fixed(&["/spec/attachRequired", "/spec/volumeLifecycleModes"]),
        ("storage.k8s.io", "VolumeAttributesClass") => Rules::fixed(&["/driverName", "/parameters"]),
        ("storage.k8s.io", "VolumeAttachment") => Rules::fixed(&["/spec"]),
        ("scheduling.k8s.io", "PriorityClass") => Rules::fixed(&["/value", "/preemptionPolicy"]),
        ("networking.k8s.io", "IngressClass") => Rules::fixed(&["/spec/controller"]),
        ("networking.k8s.io", "IPAddress") => Rules::fixed(&["/spec/parentRef"]),
        ("node.k8s.io", "RuntimeClass") => Rules::fixed(&["/handler"]),
        ("discovery.k8s.io", "EndpointSlice") => Rules::fixed(&["/addressType"]),
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => Rules::fixed(&["/spec"]),
        _ => return None,
    })
}

/// Parts of the template of a suspended Job may change. Whether a pod of it still runs is not known here.
fn job(old: &Value, new: &Value) -> Rules {
    let indexed = text(new, "/spec/completionMode") == Some("Indexed");
    // An Indexed Job may be scaled if completions and parallelism change together.
    let elastic = indexed
        && new
            .pointer("/spec/completions")
            .is_some_and(|completions| Some(completions) == new.pointer("/spec/parallelism"));
    Rules::fixed(&[
        "/spec/selector",
        "/spec/template",
        "/spec/completionMode",
        "/spec/podFailurePolicy",
        "/spec/backoffLimitPerIndex",
        "/spec/managedBy",
        "/spec/successPolicy",
    ])
    .and_if(!elastic, &["/spec/completions"])
    .but_if(
        old.pointer("/spec/suspend") == Some(&Value::Bool(true)),
        &[
            "/spec/template/metadata/labels",
            "/spec/template/metadata/annotations",
            "/spec/template/spec/nodeSelector",
            "/spec/template/spec/tolerations",
            "/spec/template/spec/schedulingGates",
            "/spec/template/spec/affinity/nodeAffinity",
            "/spec/template/spec/containers/*/resources",
            "/spec/template/spec/initContainers/*/resources",
        ],
    )
}

/// A field that the new Service omits does not change: the API server keeps the addresses and ports that it allocated.
fn service(old: &Value, new: &Value) -> Rules {
    let of_type = |service: &Value, name: &str| text(service, "/spec/type") == Some(name);
    let both_have = |pointer: &str| text(old, pointer).is_some() && text(new, pointer).is_some();
    let both_balance = of_type(old, "LoadBalancer") && of_type(new, "LoadBalancer");
    let both_local = [old, new].iter().all(|service| text(service, "/spec/externalTrafficPolicy") == Some("Local"));
    let addressed = !of_type(old, "ExternalName") && !of_type(new, "ExternalName");
    let moves = address(new).is_some() && address(new) != address(old);
    let headless = [old, new].iter().any(|service| address(service) == Some("None"));
    Rules::fixed(&[])
        .and_if(addressed && moves, &["/spec/clusterIP", "/spec/clusterIPs/0"])
        .and_if(addressed && both_have("/spec/clusterIPs/1"), &["/spec/clusterIPs/1"])
        .and_if(addressed && !headless && both_have("/spec/ipFamilies/0"), &["/spec/ipFamilies/0"])
        .and_if(addressed && !headless && both_have("/spec/ipFamilies/1"), &["/spec/ipFamilies/1"])
        .and_if(both_balance, &["/spec/loadBalancerClass"])
        .and_if(
            both_balance && both_local && new.pointer("/spec/healthCheckNodePort").is_some(),
            &["/spec/healthCheckNodePort"],
        )
}

/// The address that a Service requests; "None" if it is headless.
fn address(service: &Value) -> Option<&str> {
    let asked = ["/spec/clusterIP", "/spec/clusterIPs/0"].into_iter().filter_map(|pointer| text(service, pointer));
    asked.into_iter().find(|address| !address.is_empty())
}

/// Its source is immutable, which is every field but these. Its node affinity can be set once.
fn persistent_volume(old: &Value) -> Rules {
    let bare_csi = old.pointer("/spec/csi").is_some() && old.pointer("/spec/csi/controllerExpandSecretRef").is_none();
    Rules::fixed(&["/spec"])
        .but(&[
            "/spec/accessModes",
            "/spec/capacity",
            "/spec/claimRef",
            "/spec/mountOptions",
            "/spec/persistentVolumeReclaimPolicy",
            "/spec/storageClassName",
            "/spec/volumeAttributesClassName",
        ])
        .but_if(is_nothing(old.pointer("/spec/nodeAffinity")), &["/spec/nodeAffinity"])
        .but_if(bare_csi, &["/spec/csi/controllerExpandSecretRef"])
}

/// Images may change, deadlines be shortened, tolerations added, and scheduling gates removed; while there are gates, a pod's node
/// selection may be narrowed.
fn pod(old: &Value, new: &Value) -> Rules {
    let seconds = |pod: &Value, name: &str| pod.pointer(name).and_then(Value::as_i64);
    let deadline = |pod| seconds(pod, "/spec/activeDeadlineSeconds");
    let sooner = match (deadline(old), deadline(new)) {
        (old, Some(new)) => old.is_none_or(|old| new <= old),
        (old, None) => old.is_none(),
    };
    let grace = |pod| seconds(pod, "/spec/terminationGracePeriodSeconds");
    let gated = !list(old, "/spec/schedulingGates").is_empty();
    let selector = |pod: &Value| pod.pointer("/spec/nodeSelector").and_then(Value::as_object).cloned();
    let narrowed = selector(old).unwrap_or_default().iter().all(|(label, value)| {
        new.pointer("/spec/nodeSelector").and_then(|selector| selector.get(label)) == Some(value)
    });
    Rules::fixed(&["/spec"])
        .but(&["/spec/containers/*/image", "/spec/initContainers/*/image"])
        .but_if(sooner, &["/spec/activeDeadlineSeconds"])
        .but_if(has_all(new, old, "/spec/tolerations"), &["/spec/tolerations"])
        .but_if(has_all(old, new, "/spec/schedulingGates"), &["/spec/schedulingGates"])
        .but_if(
            grace(old).is_some_and(|old| old < 0) && grace(new) == Some(1),
            &["/spec/terminationGracePeriodSeconds"],
        )
        .but_if(gated && narrowed, &["/spec/nodeSelector"])
        .but_if(gated && old.pointer("/spec/affinity/nodeAffinity").is_none(), &["/spec/affinity/nodeAffinity"])
}

fn secret_type(secret: &Value) -> &str {
    text(secret, "/type").unwrap_or("Opaque")
}

/// Whether a Secret or ConfigMap is marked immutable, which cannot be undone.
fn is_sealed(object: &Value) -> bool {
    object.get("immutable") == Some(&Value::Bool(true))
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn has_all(larger: &Value, smaller: &Value, pointer: &str) -> bool {
    list(smaller, pointer).iter().all(|element| list(larger, pointer).contains(element))
}

fn are_equal_sets(one: &Value, other: &Value, pointer: &str) -> bool {
    has_all(one, other, pointer) && has_all(other, one, pointer)
}

/// The inner of two fields if one contains the other, or both are the same; otherwise `None`.
fn deeper<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let holds = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match () {
        () if holds(other, one) => Some(one),
        () if holds(one, other) => Some(other),
        () => None,
    }
}

/// Sets a field to its value in another object, or removes it, so that the two objects do not differ in it.
fn level(object: &mut Value, like: &Value, pointer: &str) {
    match pointer[1..].split_once('/') {
        None => match (object, like.get(&pointer[1..])) {
            (Value::Object(fields), Some(value)) => {
                fields.insert(pointer[1..].to_owned(), value.clone());
            }
            (Value::Object(fields), None) => {
                fields.remove(&pointer[1..]);
            }
            _ => {}
        },
        Some(("*", _)) => {
            let rest = &pointer[2..];
            let likes = like.as_array().map_or(&[][..], Vec::as_slice);
            for (element, like) in object.as_array_mut().into_iter().flatten().zip(likes) {
                level(element, like, rest);
            }
        }
        Some((name, _)) => {
            let (rest, nothing) = (&pointer[1 + name.len()..], Value::Null);
            let like = like.get(name).unwrap_or(&nothing);
            if let Value::Object(fields) = object {
                if !like.is_null() {
                    fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
                }
                fields.get_mut(name).into_iter().for_each(|inner| level(inner, like, rest));
            }
        }
    }
}

/// The API server does not distinguish an absent field from an empty one.
fn is_same(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names = one.keys().chain(other.keys());
            names.into_iter().all(|name| is_same(one.get(name), other.get(name)))
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(Some(one), Some(other)))
        }
        _ => one == other || is_nothing(one) && is_nothing(other),
    }
}

fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(fields)) => fields.values().all(|field| is_nothing(Some(field))),
        Some(Value::Array(elements)) => elements.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests;
