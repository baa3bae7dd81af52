//! A Notice becomes a ConfigMap whose text depends on the provider's settings; it also holds the settings as the
//! provider received them.

use bartizan_sdk::k8s_openapi::api::core::v1::ConfigMap;
use bartizan_sdk::{
    ChildKind, Failure, Object, ParentKind, Provider, Request, Response, SettingsSchema, condition, object,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The text to write.
#[derive(Deserialize, JsonSchema)]
pub struct NoticeSpec {
    /// The text.
    pub text: String,
}

/// How this provider writes the text.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticeSettings {
    /// Prefix of each text.
    // The pattern occurs in the module once: a test makes a version with another one.
    #[schemars(regex(pattern = "^[^#]"))]
    pub prefix: String,
    /// How often the text is repeated.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 3))]
    pub times: usize,
    /// The tone of the text.
    #[serde(default)]
    pub tone: Tone,
}

/// The tone of the text.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tone {
    /// In capital letters.
    pub loud: bool,
    /// Suffix of each text.
    pub mark: Option<String>,
}

fn once() -> usize {
    1
}

/// The provider.
pub struct Notice;

impl Provider for Notice {
    type Spec = NoticeSpec;

    const NAME: &'static str = "notice";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const PARENT: ParentKind = ParentKind::namespaced("test.bartizan.dev", "v1alpha1", "Notice", "notices");
    const CHILDREN: &'static [ChildKind] = &[ChildKind::of::<ConfigMap>()];
    const SETTINGS: Option<SettingsSchema> = Some(SettingsSchema::of::<NoticeSettings>());

    fn reconcile(request: &Request<'_, NoticeSpec>) -> Result<Response, Failure> {
        let NoticeSettings { prefix, times, tone } = request.settings()?;
        let text = format!("{prefix}{}{}", request.spec.text, tone.mark.unwrap_or_default()).repeat(times);
        let text = if tone.loud { text.to_uppercase() } else { text };
        let seen = Value::Object(request.settings::<Object>()?).to_string();
        let response = Response::new().child_json(object!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": request.name(), "namespace": request.namespace()},
            "data": {"text": text, "settings": seen},
        }));
        Ok(response.condition(condition::ready("Said", "")))
    }
}

bartizan_sdk::export!(Notice);
