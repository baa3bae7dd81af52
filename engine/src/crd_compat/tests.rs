use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn crd(versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "stores.example.com"},
        "spec": {"group": "example.com", "names": {"kind": "Store", "plural": "stores"}, "scope": "Namespaced", "versions": versions},
    })
}

fn version(name: &str, storage: bool, schema: &Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    })
}

fn said(old: &Value, new: &Value) -> Vec<String> {
    let all = incompatibilities(old, new);
    all.iter().map(|found| found.to_string().strip_prefix("stores.example.com: ").unwrap().to_owned()).collect()
}

/// What is said of a spec with this field, and of the same two the other way around.
fn of_field(old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
    let of = |field: &Value| {
        let fields = if field.is_null() { json!({}) } else { json!({"f": field}) };
        let spec = json!({"type": "object", "properties": fields});
        crd(json!([version("v1", true, &json!({"type": "object", "properties": {"spec": spec}}))]))
    };
    (said(&of(old), &of(new)), said(&of(new), &of(old)))
}

const KEEPS: &str = "x-kubernetes-preserve-unknown-fields";

/// The other way around it is wider, which is no problem.
#[rstest]
#[case::removed(json!({"type": "string"}), json!(null), "spec.f of v1 is removed")]
#[case::another_scalar(json!({"type": "number"}), json!({"type": "integer"}), "spec.f of v1 must be integer, was number")]
#[case::one_of_two(
    json!({"x-kubernetes-int-or-string": true}), json!({"type": "string"}), "spec.f of v1 must be string, was integer or string"
)]
#[case::one_of_two_by_convention(
    json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!({"type": "integer"}),
    "spec.f of v1 must be integer, was integer or string"
)]
#[case::one_of_any(json!({KEEPS: true}), json!({"type": "string", KEEPS: true}), "spec.f of v1 must be string, was of any type")]
#[case::not_null(json!({"type": "string", "nullable": true}), json!({"type": "string"}), "spec.f of v1 may no longer be null")]
#[case::less_to_choose(
    json!({"type": "string", "enum": ["a", "b", "c", "d"]}), json!({"type": "string", "enum": ["b"]}),
    "spec.f of v1 no longer takes \"a\", \"c\" and \"d\""
)]
#[case::a_choice(
    json!({"type": "string"}), json!({"type": "string", "enum": ["b"]}), "spec.f of v1 takes nothing but \"b\" from now on"
)]
#[case::length(
    json!({"type": "string", "maxLength": 9}), json!({"type": "string", "maxLength": 5}),
    "spec.f of v1 gets a smaller maxLength of 5, was 9"
)]
#[case::a_length(json!({"type": "string"}), json!({"type": "string", "maxLength": 5}), "spec.f of v1 gets a maxLength of 5, had none")]
#[case::maximum(
    json!({"type": "integer", "maximum": 9}), json!({"type": "integer", "maximum": 5}),
    "spec.f of v1 gets a smaller maximum of 5, was 9"
)]
#[case::without_the_maximum(
    json!({"type": "integer", "maximum": 9}), json!({"type": "integer", "maximum": 9, "exclusiveMaximum": true}),
    "spec.f of v1 may no longer equal its maximum"
)]
#[case::another_large_number(
    json!({"type": "integer", "enum": [9_007_199_254_740_992_i64, 9_007_199_254_740_993_i64]}),
    json!({"type": "integer", "enum": [9_007_199_254_740_992_i64]}),
    "spec.f of v1 no longer takes 9007199254740993"
)]
#[case::without_the_maximum_that_somebody_else_wrote(
    json!({"type": "integer", "maximum": 9.0}), json!({"type": "integer", "maximum": 9, "exclusiveMaximum": true}),
    "spec.f of v1 may no longer equal its maximum"
)]
#[case::max_items(
    json!({"type": "array", "maxItems": 9}), json!({"type": "array", "maxItems": 5}),
    "spec.f of v1 gets a smaller maxItems of 5, was 9"
)]
#[case::max_properties(
    json!({"type": "object"}), json!({"type": "object", "maxProperties": 5}), "spec.f of v1 gets a maxProperties of 5, had none"
)]
#[case::minimum(
    json!({"type": "number", "minimum": 0.5}), json!({"type": "number", "minimum": 1}),
    "spec.f of v1 gets a larger minimum of 1, was 0.5"
)]
#[case::min_length(
    json!({"type": "string"}), json!({"type": "string", "minLength": 1}), "spec.f of v1 gets a minLength of 1, had none"
)]
#[case::min_items(
    json!({"type": "array", "minItems": 1}), json!({"type": "array", "minItems": 2}),
    "spec.f of v1 gets a larger minItems of 2, was 1"
)]
#[case::multiple(
    json!({"type": "integer", "multipleOf": 2}), json!({"type": "integer", "multipleOf": 4}),
    "spec.f of v1 gets a different multipleOf of 4, was 2"
)]
#[case::a_pattern(
    json!({"type": "string"}), json!({"type": "string", "pattern": "^a$"}), "spec.f of v1 gets the pattern \"^a$\", had none"
)]
#[case::a_format(
    json!({"type": "string"}), json!({"type": "string", "format": "date"}), "spec.f of v1 gets the format \"date\", had none"
)]
#[case::format(
    json!({"type": "integer", "format": "int64"}), json!({"type": "integer", "format": "int32"}),
    "spec.f of v1 gets the format \"int32\", was \"int64\""
)]
#[case::rule(
    json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]}),
    json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self < 9", "message": "m"}, {"rule": "self > 0"}]}),
    "spec.f of v1 gets the rule \"self < 9\""
)]
#[case::rules_of_json(
    json!({"type": "integer"}), json!({"type": "integer", "not": {"enum": [1]}}), "spec.f of v1 has other rules in not"
)]
#[case::no_map(
    json!({"type": "object", "additionalProperties": {"type": "string"}}), json!({"type": "object"}),
    "spec.f of v1 no longer takes any key"
)]
#[case::values_of_a_map(
    json!({"type": "object", "additionalProperties": {"type": "string"}}),
    json!({"type": "object", "additionalProperties": {"type": "string", "maxLength": 1}}),
    "spec.f.* of v1 gets a maxLength of 1, had none"
)]
#[case::values_of_any_map(
    json!({"type": "object", "additionalProperties": true}), json!({"type": "object", "additionalProperties": {"type": "string"}}),
    "spec.f.* of v1 must be string, was of any type"
)]
#[case::unknown_fields(
    json!({"type": "object", "properties": {"a": {"type": "string"}}, KEEPS: true}), json!({"type": "object"}),
    "spec.f of v1 no longer keeps fields that the schema does not know"
)]
#[case::in_a_list(
    json!({"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}),
    json!({"type": "array", "items": {"type": "object"}}), "spec.f[].name of v1 is removed"
)]
#[case::required(
    json!({"type": "object", "properties": {"a": {"type": "string"}}}),
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
    "spec.f.a of v1 is required from now on"
)]
fn narrowing_is_incompatible_and_widening_is_not(#[case] old: Value, #[case] new: Value, #[case] expected: &str) {
    assert_eq!(of_field(&old, &new), (vec![expected.to_owned()], vec![]));
}

/// Neither way around.
#[rstest]
#[case::pattern(
    json!({"type": "string", "pattern": "a"}), json!({"type": "string", "pattern": "b"}),
    "spec.f of v1 gets the pattern \"b\", was \"a\"", "spec.f of v1 gets the pattern \"a\", was \"b\""
)]
#[case::scalar(
    json!({"type": "string"}), json!({"type": "boolean"}), "spec.f of v1 must be boolean, was string",
    "spec.f of v1 must be string, was boolean"
)]
#[case::list_type(
    json!({"type": "array"}), json!({"type": "array", "x-kubernetes-list-type": "set"}),
    "spec.f of v1 becomes a list of the type set, was atomic", "spec.f of v1 becomes a list of the type atomic, was set"
)]
#[case::list_keys(
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]}),
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["b"]}),
    "spec.f of v1 gets the keys [\"b\"], were [\"a\"]", "spec.f of v1 gets the keys [\"a\"], were [\"b\"]"
)]
#[case::map_type(
    json!({"type": "object"}), json!({"type": "object", "x-kubernetes-map-type": "atomic"}),
    "spec.f of v1 becomes a map of the type atomic, was granular", "spec.f of v1 becomes a map of the type granular, was atomic"
)]
#[case::new_and_required(
    json!({"type": "object"}), json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
    "spec.f.a of v1 is new and required, and has no default", "spec.f.a of v1 is removed"
)]
#[case::fields_become_keys(
    json!({"type": "object", "properties": {"a": {"type": "string"}}}),
    json!({"type": "object", "additionalProperties": {"type": "integer"}}),
    "spec.f.a of v1 must be integer, was string", "spec.f of v1 no longer takes any key"
)]
fn what_is_different_is_told_both_ways(
    #[case] old: Value,
    #[case] new: Value,
    #[case] there: &str,
    #[case] back: &str,
) {
    assert_eq!(of_field(&old, &new), (vec![there.to_owned()], vec![back.to_owned()]));
}

#[rstest]
#[case::default_of_a_new_one(
    json!({"type": "object"}),
    json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "required": ["a"]})
)]
#[case::default_of_an_old_one(
    json!({"type": "object", "properties": {"a": {"type": "string"}}}),
    json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "required": ["a"]})
)]
#[case::kept_though_unknown(
    json!({"type": "object", "properties": {"a": {"type": "string"}}}), json!({"type": "object", KEEPS: true})
)]
#[case::keys_kept_though_unknown(
    json!({"type": "object", "additionalProperties": {"type": "string"}}), json!({"type": "object", KEEPS: true})
)]
#[case::the_same_number(
    json!({"type": "integer", "anyOf": [{"minimum": 1.0}, {"multipleOf": 2}]}),
    json!({"type": "integer", "anyOf": [{"minimum": 1}, {"multipleOf": 2}]})
)]
#[case::description(json!({"type": "string", "description": "a"}), json!({"type": "string", "description": "b", "default": "c"}))]
fn what_is_no_loss_is_not_told(#[case] old: Value, #[case] new: Value) {
    assert_eq!(of_field(&old, &new).0, Vec::<String>::new());
}

#[test]
fn incompatibilities_name_the_version_or_concern_all() {
    let any = json!({"type": "object"});
    let old =
        crd(json!([version("v1alpha1", false, &any), version("v1beta1", true, &any), version("v1", false, &any)]));

    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["names"]["kind"] = json!("Shop");
    assert_eq!(said(&old, &new), ["the scope becomes Cluster, was Namespaced", "the kind becomes Shop, was Store"]);

    let mut new = old.clone();
    new["spec"]["versions"][2]["served"] = json!(false);
    new["spec"]["versions"].as_array_mut().unwrap().remove(0);
    assert_eq!(said(&old, &new), ["v1alpha1 is no longer served", "v1 is no longer served"]);

    let mut new = old.clone();
    new["spec"]["versions"][1]["storage"] = json!(false);
    new["spec"]["versions"][2]["storage"] = json!(true);
    assert_eq!(said(&old, &new), Vec::<String>::new());
    new["spec"]["versions"][1]["served"] = json!(false);
    assert_eq!(said(&old, &new), ["v1beta1 is no longer served, and objects are stored in it"]);

    let mut new = old.clone();
    new["spec"]["versions"][0].as_object_mut().unwrap().remove("subresources");
    assert_eq!(said(&old, &new), ["v1alpha1 loses its subresource status"]);

    let mut new = old.clone();
    new["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "self.metadata.name == 'a'"}]);
    assert_eq!(said(&old, &new), ["v1alpha1 gets the rule \"self.metadata.name == 'a'\""]);

    let mut new = old.clone();
    new["spec"]["versions"].as_array_mut().unwrap().push(version("v2", false, &json!({"type": "string"})));
    assert_eq!(said(&old, &new), Vec::<String>::new());
}

#[test]
fn stored_objects_must_fit_the_new_storage_version() {
    let with = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}});
    let old = crd(json!([version("v1", true, &with("a"))]));
    let mut new = crd(json!([version("v1", false, &with("a")), version("v2", true, &with("b"))]));
    assert_eq!(said(&old, &new), ["a of v2 is removed"]);
    new["spec"]["conversion"] = json!({"strategy": "Webhook"});
    assert_eq!(said(&old, &new), Vec::<String>::new());
}

/// Schemas with everything that is looked at, whether it makes sense or not.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "pattern": "^a", "maxLength": 3, "format": "date", "nullable": true})),
        Just(json!({"type": "integer", "minimum": 1, "maximum": 9, "exclusiveMaximum": true, "multipleOf": 0.3})),
        Just(json!({"type": "string", "enum": ["a", null]})),
        Just(json!({"x-kubernetes-int-or-string": true, "not": {"enum": [1]}})),
        Just(json!({KEEPS: true})),
        any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let fields = (btree_map("[a-c]", inner.clone(), 0..4), vec("[a-e]", 0..3), any::<bool>(), any::<bool>());
        prop_oneof![
            fields.prop_map(|(properties, required, keeps, atomic)| json!({
                "type": "object", "properties": properties, "required": required, KEEPS: keeps,
                "x-kubernetes-map-type": if atomic { "atomic" } else { "granular" },
                "x-kubernetes-validations": [{"rule": "true"}],
            })),
            inner.clone().prop_map(|items| json!({"type": "array", "items": items, "x-kubernetes-list-type": "set"})),
            inner.prop_map(|values| json!({"type": "object", "additionalProperties": values})),
        ]
    })
}

proptest! {
    #[test]
    fn a_crd_is_compatible_with_itself(schemas in vec(schemas(), 1..3), stored in 0usize..2) {
        let versions = schemas.iter().enumerate().map(|(at, schema)| version(&format!("v{at}"), at == stored, schema));
        let crd = crd(versions.collect());
        prop_assert_eq!(incompatibilities(&crd, &crd), vec![]);
    }

    #[test]
    fn adding_a_field_is_compatible_and_removing_one_is_not(old in schemas(), new in schemas()) {
        let of = |fields: Value| crd(json!([version("v1", true, &json!({"type": "object", "properties": fields}))]));
        let (before, after) = (of(json!({"old": old})), of(json!({"old": old, "new": new})));
        prop_assert_eq!(said(&before, &after), Vec::<String>::new());
        prop_assert_eq!(said(&after, &before), ["new of v1 is removed"]);
    }
}

#[test]
fn what_the_cluster_lacks_of_a_modules_own_crd_is_named() {
    let crd = |versions: Value| json!({"metadata": {"name": "things.x"}, "spec": {"versions": versions}});
    let version = |name: &str, spec: Value| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}});
        json!({"name": name, "served": true, "schema": {"openAPIV3Schema": schema}})
    };
    let servers = |fields: Value| json!({"type": "array", "items": {"type": "object", "properties": fields}});
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    let own = crd(json!([
        version("v1", json!({"size": number, "servers": servers(json!({"name": text, "zone": text}))})),
        version("v2", json!({})),
    ]));
    assert_eq!(lacking(&own, &own), Vec::<String>::new());
    // Newer than the module, but for what it is to have; another type is no lack.
    let in_cluster =
        crd(json!([version("v1", json!({"size": text, "servers": servers(json!({"name": text})), "more": text}))]));
    assert_eq!(lacking(&in_cluster, &own), ["spec.servers[].zone of v1", "version v2"]);
}
