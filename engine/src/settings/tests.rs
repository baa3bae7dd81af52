use rstest::rstest;
use serde_json::json;

use super::*;

fn refused(schema: &Value) -> String {
    SettingsSchema::new(schema).unwrap_err().to_string()
}

fn of_property(schema: &Value) -> Value {
    json!({"type": "object", "properties": {"a": schema}})
}

fn resolved(schema: &Value, settings: &Value) -> Result<Value, Vec<String>> {
    let resolved = SettingsSchema::new(schema).unwrap().resolve(settings.as_object().unwrap());
    resolved.map(Value::Object).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

const NO_OBJECT: &str = "manifest.settings: must be a JSON schema with \"type\": \"object\", as settings are one";

#[rstest]
#[case(json!(true), NO_OBJECT)]
#[case(json!({}), NO_OBJECT)]
#[case(json!({"type": ["object", "null"]}), NO_OBJECT)]
#[case(
    of_property(&json!({"type": "text"})),
    "manifest.settings.properties.a.type: \"text\" is not valid under any of the schemas listed in the 'anyOf' keyword"
)]
#[case(of_property(&json!({"minLength": -1})), "manifest.settings.properties.a.minLength: -1 is less than the minimum of 0")]
#[case(of_property(&json!({"pattern": "("})), "manifest.settings.properties.a.pattern: \"(\" is not a \"regex\"")]
#[case(
    of_property(&json!({"type": "integer", "default": "b"})),
    "manifest.settings.properties.a.default: \"b\" is not of type \"integer\""
)]
#[case(
    of_property(&json!({"type": "object", "default": {"b": {"a": 1}}, "additionalProperties": of_property(&json!(false))})),
    "manifest.settings.properties.a.default.b.a: False schema does not allow 1"
)]
#[case(
    json!({"type": "object", "$schema": "https://example.com/schema"}),
    "manifest.settings: Unknown meta-schema: 'https://example.com/schema'. Custom meta-schemas must be registered in the registry before use"
)]
fn an_invalid_schema_is_refused_with_the_reason(#[case] schema: Value, #[case] expected: &str) {
    assert_eq!(refused(&schema), expected);
}

#[rstest]
#[case::elsewhere(json!({"$ref": "https://example.com/schema"}), ".properties.a.$ref")]
#[case::a_file(json!({"items": {"$ref": "file:///etc/passwd"}}), ".properties.a.items.$ref")]
#[case::itself(json!({"$ref": "#"}), ".properties.a.$ref")]
#[case::a_loop(json!({"anyOf": [true, {"$ref": "#/properties/a"}]}), ".properties.a.anyOf[1].$ref")]
#[case::a_definition(json!({"$defs": {"b c": {"$dynamicRef": "#x"}}}), ".properties.a.$defs[\"b c\"].$dynamicRef")]
fn a_reference_is_refused_wherever_it_leads(#[case] schema: Value, #[case] path: &str) {
    let expected = format!("manifest.settings{path}: is not supported: write the schema that it leads to in its place");
    assert_eq!(refused(&of_property(&schema)), expected);
}

#[test]
fn a_setting_may_be_called_like_a_keyword() {
    let schema =
        json!({"type": "object", "properties": {"$ref": {"type": "string"}, "default": {"enum": [{"$ref": "x"}]}}});
    let settings = json!({"$ref": "a", "default": {"$ref": "x"}});
    assert_eq!(resolved(&schema, &settings), Ok(settings.clone()));
}

/// A pattern that takes exponential time where an engine goes back.
#[test]
fn a_pattern_takes_linear_time_and_one_that_cannot_is_refused() {
    let schema = of_property(&json!({"type": "string", "pattern": "^(a+)+$"}));
    assert!(resolved(&schema, &json!({"a": format!("{}b", "a".repeat(10_000))})).is_err());
    let message = refused(&of_property(&json!({"type": "string", "pattern": "^(?=a)"})));
    assert!(message.starts_with("manifest.settings.properties.a.pattern: "), "{message}");
}

#[test]
fn every_invalid_setting_is_reported_by_its_field() {
    let server = json!({
        "type": "object", "required": ["host"], "additionalProperties": false,
        "properties": {"host": {"type": "string"}, "port": {"type": "integer", "maximum": 65535}},
    });
    let schema = json!({
        "type": "object",
        "required": ["region"],
        "additionalProperties": false,
        "properties": {
            "image": {"type": "string"},
            "region": {"type": "string"},
            "level": {"enum": ["low", "high"]},
            "servers": {"type": "array", "items": server},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    });
    let settings = json!({
        "image": 5,
        "level": "mid",
        "regoin": "north",
        "servers": [{"host": "a"}, {"port": 70000, "path": "/"}],
        "labels": {"example.com/a": true},
    });
    let mut errors = resolved(&schema, &settings).unwrap_err();
    errors.sort();
    assert_eq!(
        errors,
        [
            "spec.settings.image: 5 is not of type \"string\"",
            "spec.settings.labels[\"example.com/a\"]: true is not of type \"string\"",
            "spec.settings.level: \"mid\" is not one of \"low\" or \"high\"",
            "spec.settings.region: is required",
            "spec.settings.regoin: there is no such setting",
            "spec.settings.servers[1].host: is required",
            "spec.settings.servers[1].path: there is no such setting",
            "spec.settings.servers[1].port: 70000 is greater than the maximum of 65535",
        ]
    );
    let right = json!({"region": "north", "servers": [{"host": "a", "port": 1}]});
    assert_eq!(resolved(&schema, &right), Ok(right.clone()));
}

#[test]
fn a_large_value_is_not_repeated() {
    let errors = resolved(&of_property(&json!({"type": "integer"})), &json!({"a": "x".repeat(1000)})).unwrap_err();
    assert_eq!(errors, ["spec.settings.a: the value is not of type \"integer\""]);
}

#[rstest]
#[case::absent(json!({}), json!({"size": 3, "mode": {"kind": "fast", "depth": 1}}))]
#[case::set(json!({"size": 4}), json!({"size": 4, "mode": {"kind": "fast", "depth": 1}}))]
#[case::null(json!({"size": null}), json!({"size": 3, "mode": {"kind": "fast", "depth": 1}}))]
#[case::null_that_means_something(
    json!({"name": null, "size": 1, "mode": {}}), json!({"name": null, "size": 1, "mode": {"depth": 1}})
)]
#[case::nested(json!({"size": 1, "mode": {"kind": "slow"}}), json!({"size": 1, "mode": {"kind": "slow", "depth": 1}}))]
#[case::in_lists_and_maps(
    json!({"size": 1, "mode": {"depth": 2}, "list": [{}, {"a": 2}], "map": {"x": {}}}),
    json!({"size": 1, "mode": {"depth": 2}, "list": [{"a": 1}, {"a": 2}], "map": {"x": {"a": 1}}})
)]
// An object that is not there is not made for the defaults in it.
#[case::no_parent(json!({"size": 1, "mode": {"depth": 2}}), json!({"size": 1, "mode": {"depth": 2}}))]
fn defaults_are_filled_in_where_nothing_was_set(#[case] settings: Value, #[case] expected: Value) {
    let inner = json!({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}});
    let schema = json!({
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "default": 3},
            "name": {"type": ["string", "null"], "default": "n"},
            "note": {"type": ["string", "null"], "default": null},
            "mode": {
                "type": "object", "default": {"kind": "fast"},
                "properties": {"kind": {"type": "string"}, "depth": {"type": "integer", "default": 1}},
            },
            "inner": inner,
            "list": {"type": "array", "items": inner},
            "map": {"type": "object", "additionalProperties": inner},
        },
    });
    let mut expected = expected;
    let name = settings.get("name").cloned().unwrap_or_else(|| json!("n"));
    expected["name"] = name;
    assert_eq!(resolved(&schema, &settings), Ok(expected));
}
