//! What the provider does with its settings, and that the host accepts the schema that the SDK derives from a type.
// Clippy's exemption for tests does not cover their helper functions.
#![allow(clippy::unwrap_used)]

use bartizan_contract::field::FieldError;
use bartizan_engine::settings::SettingsSchema;
use bartizan_sdk::manifest;
use bartizan_sdk::testing::TestRequest;
use notice::Notice;
use serde_json::{Value, json};

/// The settings that the provider receives if an administrator sets these.
fn resolved(settings: &Value) -> Result<Value, Vec<String>> {
    let schema = SettingsSchema::new(&manifest::<Notice>().settings.unwrap()).unwrap();
    let resolved = schema.resolve(settings.as_object().unwrap());
    resolved.map(Value::Object).map_err(|errors| errors.iter().map(FieldError::to_string).collect())
}

#[test]
fn the_provider_reads_the_settings_that_the_host_resolves() {
    let parent = json!({
        "apiVersion": "test.bartizan.dev/v1alpha1", "kind": "Notice",
        "metadata": {"name": "a", "namespace": "n"}, "spec": {"text": "hi"},
    });
    for (settings, expected) in [
        (json!({"prefix": "> "}), "> hi"),
        (json!({"prefix": "> ", "times": 2, "tone": {"mark": "!"}}), "> hi!> hi!"),
        (json!({"prefix": "> ", "tone": {"loud": true}}), "> HI"),
    ] {
        let request = TestRequest::new(parent.clone()).settings(resolved(&settings).unwrap());
        let answer = request.answer::<Notice>().unwrap();
        assert_eq!(answer.children[0].object["data"]["text"], expected, "{settings}");
    }
}

#[test]
fn the_defaults_of_the_type_match_those_of_the_host() {
    let expected = json!({"prefix": "> ", "times": 1, "tone": {"loud": false, "mark": null}});
    assert_eq!(resolved(&json!({"prefix": "> "})), Ok(expected));
    let expected = json!({"prefix": "> ", "times": 1, "tone": {"loud": false, "mark": "!"}});
    assert_eq!(resolved(&json!({"prefix": "> ", "tone": {"mark": "!"}})), Ok(expected));
}

#[test]
fn a_value_that_the_type_rejects_is_named_by_its_field() {
    let errors = resolved(&json!({"times": 4, "tone": {"laud": true, "mark": 1}})).unwrap_err();
    for expected in [
        "spec.settings.prefix: is required",
        "spec.settings.times: 4 is greater than the maximum of 3",
        "spec.settings.tone.laud: there is no such setting",
    ] {
        assert!(errors.iter().any(|error| error == expected), "{errors:#?}");
    }
    assert!(errors.iter().any(|error| error.starts_with("spec.settings.tone.mark: 1 is not of type")), "{errors:#?}");
    assert_eq!(errors.len(), 4, "{errors:#?}");
}
