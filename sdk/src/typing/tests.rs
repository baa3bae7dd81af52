//! The errors of values that do not fit their type.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Typed, typed};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_count: u32,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    disks: Vec<Disk>,
    color: Option<Color>,
    cpu: Option<Quantity>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Disk {
    name: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Green,
}

#[rstest]
#[case(json!(null), "spec.nodeCount: is required")]
#[case(json!({}), "spec.nodeCount: is required")]
#[case(json!([]), "spec: must be an object, but is a list")]
#[case(json!({"nodeCount": null}), "spec.nodeCount: is required")]
#[case(json!({"nodeCount": "four"}), "spec.nodeCount: must be an integer, but is \"four\"")]
#[case(json!({"nodeCount": -1}), "spec.nodeCount: must not be negative, but is -1")]
#[case(json!({"nodeCount": 5_000_000_000_u64}), "spec.nodeCount: is out of range: 5000000000")]
#[case(json!({"nodeCount": 4.5}), "spec.nodeCount: must be an integer, but is 4.5")]
#[case(json!({"nodeCount": [4]}), "spec.nodeCount: must be an integer, but is a list")]
#[case(json!({"nodeCount": 4, "labels": ["a"]}), "spec.labels: must be an object, but is a list")]
#[case(json!({"nodeCount": 4, "labels": {"team": 1}}), "spec.labels.team: must be a string, but is 1")]
#[case(json!({"nodeCount": 4, "labels": {"a.b/c": true}}), "spec.labels[a.b/c]: must be a string, but is true")]
#[case(json!({"nodeCount": 4, "disks": {}}), "spec.disks: must be a list, but is an object")]
#[case(json!({"nodeCount": 4, "disks": [{"name": "a"}, {}]}), "spec.disks[1].name: is required")]
#[case(json!({"nodeCount": 4, "disks": ["a"]}), "spec.disks[0]: must be an object, but is \"a\"")]
#[case(json!({"nodeCount": 4, "disks": [null]}), "spec.disks[0]: must be an object, but is null")]
#[case(json!({"nodeCount": 4, "color": "blue"}), "spec.color: must be one of red, green, but is \"blue\"")]
#[case(json!({"nodeCount": 4, "color": 1}), "spec.color: must be a string, but is 1")]
#[case(json!({"nodeCount": 4, "cpu": "5oo"}), "spec.cpu: must be a quantity such as 500m or 2Gi, but is \"5oo\"")]
#[case(json!({"nodeCount": 4, "cpu": {}}), "spec.cpu: must be a quantity, but is an object")]
fn a_value_that_does_not_fit_is_named_with_its_path(#[case] value: Value, #[case] message: &str) {
    let fault = typed::<Spec>("spec", &value).unwrap_err();
    assert_eq!(fault.to_string(), message);
}

#[test]
fn an_explicit_null_is_an_absent_field() {
    let value = json!({"nodeCount": 4, "labels": null, "disks": null, "color": null, "cpu": null});
    let Typed { value, unknown_fields } = typed::<Spec>("spec", &value).unwrap();
    assert_eq!(value, Spec { node_count: 4, ..Spec::default() });
    assert_eq!(unknown_fields, Vec::<String>::new());
}

#[rstest]
#[case(json!(1), "1")]
#[case(json!(0.5), "0.5")]
#[case(json!("500m"), "500m")]
fn a_quantity_may_be_a_number(#[case] cpu: Value, #[case] expected: &str) {
    let Typed { value, .. } = typed::<Spec>("spec", &json!({"nodeCount": 4, "cpu": cpu})).unwrap();
    assert_eq!(value.cpu, Some(Quantity(expected.to_owned())));
}

#[test]
fn unknown_fields_are_collected_with_their_paths_even_if_they_are_null() {
    let value = json!({"nodeCount": 4, "color": "green", "colour": "red", "disks": [{"name": "a", "size": null}]});
    let Typed { value, unknown_fields } = typed::<Spec>("spec", &value).unwrap();
    assert_eq!(value.color, Some(Color::Green));
    assert_eq!(unknown_fields, ["spec.colour", "spec.disks[0].size"]);
}
