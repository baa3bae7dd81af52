//! Settings: the schema of a type, and the value that a provider reads.

use bartizan_sdk::k8s_openapi::api::core::v1::ConfigMap;
use bartizan_sdk::testing::TestRequest;
use bartizan_sdk::{ChildKind, Failure, ParentKind, Provider, Request, Response, SettingsSchema, manifest, object};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::disk::DiskProvider;

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// What can be set.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    /// Where it runs.
    region: String,
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 9))]
    max_parts: u8,
    #[serde(default)]
    level: Level,
    note: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
enum Level {
    #[default]
    Low,
    High,
}

fn three() -> u8 {
    3
}

struct Set;

impl Provider for Set {
    type Spec = Nothing;

    const NAME: &'static str = "set";
    const VERSION: &'static str = "1";
    const PARENT: ParentKind = ParentKind::namespaced("example.dev", "v1", "Set", "sets");
    const CHILDREN: &'static [ChildKind] = &[ChildKind::of::<ConfigMap>()];
    const SETTINGS: Option<SettingsSchema> = Some(SettingsSchema::of::<Settings>());

    fn reconcile(request: &Request<'_, Nothing>) -> Result<Response, Failure> {
        let settings: Settings = request.settings()?;
        Ok(Response::new().status(object!({"seen": format!("{settings:?}")})))
    }
}

fn seen(settings: Value) -> Result<Value, Failure> {
    let parent = json!({"apiVersion": "example.dev/v1", "kind": "Set", "metadata": {"name": "a"}, "spec": {}});
    let answer = TestRequest::new(parent).settings(settings).answer::<Set>()?;
    Ok(answer.status.unwrap()["seen"].clone())
}

#[test]
fn the_manifest_has_the_settings_schema_inlined_and_with_defaults() {
    let expected = json!({
        "title": "Settings",
        "description": "What can be set.",
        "type": "object",
        "additionalProperties": false,
        "required": ["region"],
        "properties": {
            "region": {"type": "string", "description": "Where it runs."},
            "maxParts": {"type": "integer", "format": "uint8", "minimum": 1, "maximum": 9, "default": 3},
            "level": {"type": "string", "enum": ["Low", "High"], "default": "Low"},
            "note": {"type": ["string", "null"]},
        },
    });
    assert_eq!(manifest::<Set>().settings, Some(expected));
    assert_eq!(manifest::<DiskProvider>().settings, None);
}

#[test]
fn a_provider_reads_its_settings_as_its_type() {
    let settings = json!({"region": "north", "maxParts": 4, "level": "High", "note": null});
    let expected = "Settings { region: \"north\", max_parts: 4, level: High, note: None }";
    assert_eq!(seen(settings), Ok(json!(expected)));
    let expected = "Settings { region: \"north\", max_parts: 3, level: Low, note: Some(\"n\") }";
    assert_eq!(seen(json!({"region": "north", "note": "n"})), Ok(json!(expected)));
}

#[test]
fn settings_that_no_host_would_pass_on_are_an_internal_failure() {
    for (settings, expected) in [
        (json!({}), "provider.settings.region: is required"),
        (json!({"region": 5}), "provider.settings.region: must be a string, but is 5"),
    ] {
        let failure = seen(settings).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("internal", expected));
    }
}
