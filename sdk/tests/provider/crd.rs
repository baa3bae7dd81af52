//! The manifest and its CRD.

use bartizan_sdk::manifest;
use serde_json::Value;

use crate::disk::DiskProvider;

#[test]
fn the_manifest_holds_the_crd_made_from_the_types() {
    let manifest = serde_json::to_value(manifest::<DiskProvider>()).unwrap();
    insta::assert_json_snapshot!("manifest", manifest);
}

#[test]
fn the_manifest_is_the_same_every_time() {
    let text = || serde_json::to_string(&manifest::<DiskProvider>()).unwrap();
    assert_eq!(text(), text());
}

#[test]
fn every_object_with_properties_keeps_unknown_fields() {
    let crd = bartizan_sdk::crd::<DiskProvider>();
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut seen = 0;
    for part in [root, &root["properties"]["spec"]] {
        assert_eq!(part["x-kubernetes-preserve-unknown-fields"], true);
    }
    each_node(&root["properties"]["spec"], &mut |node| {
        seen += 1;
        let open = node.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        assert!(!node.contains_key("properties") || open, "{node:?}");
        assert!(node.contains_key("type") || node.contains_key("x-kubernetes-int-or-string") || open, "{node:?}");
        for forbidden in ["$ref", "$defs", "anyOf", "oneOf", "allOf", "default", "title", "const"] {
            assert!(!node.contains_key(forbidden), "{forbidden} in {node:?}");
        }
    });
    assert!(seen > 20, "{seen} nodes");
}

fn each_node(schema: &Value, check: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    let Some(node) = schema.as_object() else { panic!("{schema}") };
    check(node);
    for children in node.get("properties").and_then(Value::as_object).into_iter().flat_map(|map| map.values()) {
        each_node(children, check);
    }
    for child in ["items", "additionalProperties"].iter().filter_map(|key| node.get(*key)) {
        each_node(child, check);
    }
}
