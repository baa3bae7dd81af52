//! A version of a provider: its module and its settings. One takes over from another as a whole.

use std::sync::Arc;

use bartizan_contract::provider::ActiveModule;
use serde_json::{Map, Value};

use super::module::ModuleInfo;
use crate::object::{hash_json, short_hex};

/// A module with the settings that it serves with.
#[derive(Clone, Debug)]
pub struct Version {
    /// The module.
    pub module: ModuleInfo,
    /// The settings, as they were declared.
    pub settings: Arc<Map<String, Value>>,
    /// The settings as the module is given them, with its defaults; or why they do not fit: then nobody is given them.
    pub given: Result<Arc<Value>, Arc<str>>,
}

/// What tells versions apart: the digest of the module, and the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionId {
    digest: String,
    settings: Arc<Map<String, Value>>,
}

impl VersionId {
    /// That of the module that a status says to serve.
    pub fn of(active: &ActiveModule) -> Self {
        Self { digest: active.digest.clone(), settings: Arc::new(active.settings.clone()) }
    }

    /// Whether an approval is for this version, whatever served before it.
    pub fn is_approved_by(&self, approval: &str) -> bool {
        approval == self.digest || approval == self.with_settings()
    }

    fn with_settings(&self) -> String {
        let settings = short_hex(&hash_json(&Value::Object((*self.settings).clone())));
        format!("{}/{settings}", self.digest)
    }

    /// What approves this version: the digest, which people can compare, and a hash of the settings if there are any. It is the same
    /// whatever serves, or an approval that stays would approve what nobody has looked at.
    pub fn approval(&self) -> String {
        if self.settings.is_empty() { self.digest.clone() } else { self.with_settings() }
    }
}

impl Version {
    /// A version with these settings.
    pub fn new(module: &ModuleInfo, settings: &Map<String, Value>) -> Self {
        let given = resolve(settings, module);
        let given = given.map(|given| Arc::new(Value::Object(given))).map_err(Into::into);
        Self { module: module.clone(), settings: Arc::new(settings.clone()), given }
    }

    /// What tells it apart.
    pub fn id(&self) -> VersionId {
        VersionId { digest: self.digest().to_owned(), settings: self.settings.clone() }
    }

    /// The settings as a request holds them.
    pub fn given(&self) -> Arc<Value> {
        self.given.clone().unwrap_or_else(|_| Arc::new(Value::Object(Map::new())))
    }

    /// Digest of its module.
    pub fn digest(&self) -> &str {
        &self.module.digest
    }

    /// Its number, as the manifest says.
    pub fn number(&self) -> &str {
        &self.module.manifest.version
    }

    /// Whether this is the version that the status calls active.
    pub fn is(&self, active: &ActiveModule) -> bool {
        active.is_version(self.digest(), &self.settings)
    }

    /// As the status names it.
    pub fn active_module(&self) -> ActiveModule {
        let mut owns = self.module.owned();
        owns.sort();
        ActiveModule {
            version: self.number().to_owned(),
            digest: self.digest().to_owned(),
            settings: (*self.settings).clone(),
            owns,
            since: None,
            approved_by: None,
        }
    }
}

/// Most errors that are listed at once: a condition's message has room for some thirty thousand characters.
const MOST: usize = 32;

/// Settings by the schema of a module, with its defaults.
///
/// # Errors
/// Everything that does not fit, in one line.
fn resolve(settings: &Map<String, Value>, module: &ModuleInfo) -> Result<Map<String, Value>, String> {
    let manifest = &module.manifest;
    match &module.settings {
        None if settings.is_empty() => Ok(Map::new()),
        None => Err(format!("spec.settings: {} {} has no settings; leave them out", manifest.name, manifest.version)),
        Some(schema) => schema.resolve(settings).map_err(|errors| {
            let more = errors.len().saturating_sub(MOST);
            let mut listed: Vec<String> = errors.iter().take(MOST).map(ToString::to_string).collect();
            listed.extend((more > 0).then(|| format!("and {more} more")));
            listed.join("; ")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_settings_need_an_approval_of_their_own() {
        let settings = |value: Value| Arc::new(value.as_object().unwrap().clone());
        let id = |value| VersionId { digest: "sha256:aa".to_owned(), settings: settings(value) };
        assert_eq!(id(json!({})).approval(), "sha256:aa");
        let changed = id(json!({"image": "b"})).approval();
        assert!(changed.starts_with("sha256:aa/") && changed.len() > "sha256:aa/".len() + 8, "{changed}");
        assert_ne!(changed, id(json!({"image": "c"})).approval());
        assert!(
            id(json!({"image": "b"})).is_approved_by(&changed) && !id(json!({"image": "c"})).is_approved_by(&changed)
        );
    }
}
