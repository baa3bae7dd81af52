//! Assembles a request from cached bytes without parsing them again. Equal states give equal bytes.

use std::collections::BTreeMap;

use bartizan_contract::Kind;
use bartizan_contract::names::{API_VERSION, REQUEST_KIND};
use serde_json::Value;

use crate::object::Observed;

/// The parts of a request to a provider.
#[derive(Clone, Copy, Debug)]
pub struct RequestInput<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// Version of its module.
    pub provider_version: &'a str,
    /// The provider's settings.
    pub settings: &'a Value,
    /// Version of the API server.
    pub cluster_version: &'a str,
    /// Whether each optional kind (`Kind.group`, no version) is served.
    pub optional_kinds: &'a BTreeMap<String, bool>,
    /// The parent.
    pub parent: &'a Observed,
    /// All kinds of children that the provider declares.
    pub child_kinds: &'a [Kind],
    /// The existing children.
    pub children: &'a [&'a Observed],
    /// All kinds of descendants that the provider declares.
    pub descendant_kinds: &'a [Kind],
    /// The existing descendants.
    pub descendants: &'a [&'a Observed],
    /// All kinds of related objects that the provider declares.
    pub related_kinds: &'a [Kind],
    /// The existing related objects that it asked for.
    pub related: &'a [&'a Observed],
    /// Whether the parent is being deleted and the provider must finalize it.
    pub finalizing: bool,
    /// Whether the parent's namespace is being deleted.
    pub namespace_terminating: bool,
}

/// The bytes of a `ReconcileRequest`.
#[must_use]
pub fn build(input: &RequestInput<'_>) -> Vec<u8> {
    let objects = input.children.iter().chain(input.descendants).chain(input.related);
    let objects: usize = objects.map(|object| object.raw.len() + 128).sum();
    let mut out = Vec::with_capacity(512 + input.parent.raw.len() + objects);
    out.extend_from_slice(b"{\"apiVersion\":");
    string(&mut out, API_VERSION);
    out.extend_from_slice(b",\"kind\":");
    string(&mut out, REQUEST_KIND);
    out.extend_from_slice(b",\"provider\":{\"name\":");
    string(&mut out, input.provider);
    out.extend_from_slice(b",\"version\":");
    string(&mut out, input.provider_version);
    out.extend_from_slice(b",\"settings\":");
    value(&mut out, input.settings);
    out.extend_from_slice(b"},\"cluster\":{\"version\":");
    string(&mut out, input.cluster_version);
    out.extend_from_slice(b",\"kinds\":{");
    for (position, (kind, served)) in input.optional_kinds.iter().enumerate() {
        separator(&mut out, position);
        string(&mut out, kind);
        out.extend_from_slice(if *served { b":true" } else { b":false" });
    }
    out.extend_from_slice(b"}},\"parent\":");
    out.extend_from_slice(&input.parent.raw);
    out.extend_from_slice(b",\"children\":");
    by_kind(&mut out, input.child_kinds, input.children);
    out.extend_from_slice(b",\"descendants\":");
    by_kind(&mut out, input.descendant_kinds, input.descendants);
    out.extend_from_slice(b",\"related\":");
    by_kind(&mut out, input.related_kinds, input.related);
    for (name, flag) in
        [(&b",\"finalizing\":"[..], input.finalizing), (b",\"namespaceTerminating\":", input.namespace_terminating)]
    {
        out.extend_from_slice(name);
        out.extend_from_slice(if flag { b"true" } else { b"false" });
    }
    out.push(b'}');
    out
}

/// A map from kind to path to object. Every declared kind is present, even without objects, in the order of the kinds' names.
fn by_kind(out: &mut Vec<u8>, kinds: &[Kind], objects: &[&Observed]) {
    let mut sorted: BTreeMap<String, BTreeMap<String, &Observed>> =
        kinds.iter().map(|kind| (kind.to_string(), BTreeMap::new())).collect();
    for object in objects {
        // A kind is declared once, and its objects are read at the declared version.
        if let Some(kind) = kinds.iter().find(|kind| object.key.is_of(kind))
            && let Some(entry) = sorted.get_mut(&kind.to_string())
        {
            entry.insert(object.key.path(), object);
        }
    }
    out.push(b'{');
    for (position, (kind, objects)) in sorted.iter().enumerate() {
        separator(out, position);
        string(out, kind);
        out.extend_from_slice(b":{");
        for (position, (path, object)) in objects.iter().enumerate() {
            separator(out, position);
            string(out, path);
            out.push(b':');
            out.extend_from_slice(&object.raw);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn separator(out: &mut Vec<u8>, position: usize) {
    if position > 0 {
        out.push(b',');
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn value(out: &mut Vec<u8>, json: &Value) {
    let _ = serde_json::to_writer(out, json);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::ReconcileRequest;
    use serde_json::json;

    fn observed(kind: &str, name: &str, extra: Value) -> Observed {
        let mut object = json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "namespace": "n", "uid": format!("u-{name}"), "resourceVersion": "1"}
        });
        object["data"] = extra;
        Observed::project(object, "m").unwrap()
    }

    #[test]
    fn a_request_follows_the_contract_and_has_every_declared_kind() {
        let parent = observed("Parent", "p", json!({"quote": "\"\\\u{7f}"}));
        let child = observed("ConfigMap", "c", json!({}));
        let secret = observed("Secret", "r", json!({}));
        let kinds = [Kind::new("", "v1", "ConfigMap"), Kind::new("apps", "v1", "StatefulSet")];
        let optional = BTreeMap::from([("ServiceMonitor.monitoring.coreos.com".to_owned(), false)]);
        let input = RequestInput {
            provider: "mi\"nio",
            provider_version: "1",
            settings: &json!({"a": 1}),
            cluster_version: "v1.36.3",
            optional_kinds: &optional,
            parent: &parent,
            child_kinds: &kinds,
            children: &[&child],
            descendant_kinds: &[Kind::new("", "v1", "Pod")],
            descendants: &[],
            related_kinds: &[Kind::new("", "v1", "Secret")],
            related: &[&secret],
            finalizing: true,
            namespace_terminating: false,
        };
        let bytes = build(&input);
        let request: ReconcileRequest<'_> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(request.provider.name, "mi\"nio");
        assert_eq!(request.parent.get().as_bytes(), &parent.raw[..]);
        assert_eq!(request.children.keys().collect::<Vec<_>>(), ["ConfigMap.v1", "StatefulSet.apps/v1"]);
        assert_eq!(request.children["ConfigMap.v1"]["n/c"].get().as_bytes(), &child.raw[..]);
        assert!(request.children["StatefulSet.apps/v1"].is_empty());
        assert!(request.descendants["Pod.v1"].is_empty());
        assert!(request.related["Secret.v1"].contains_key("n/r"));
        assert!(request.finalizing && !request.namespace_terminating);
        assert_eq!(request.cluster.kinds, optional);
        assert_eq!(bytes, build(&input));
    }
}
