//! A version of a provider: its module and its settings. One takes over from another as a whole.

use std::sync::Arc;

use bartizan_contract::provider::ActiveModule;
use bartizan_engine::object::{hash_json, short_hex};
use serde_json::{Map, Value};

use crate::catalog::Loaded;
use crate::declared::settings;

/// A module with the settings that it serves with.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// The module.
    pub(crate) loaded: Loaded,
    /// The settings, as they were declared.
    pub(crate) settings: Arc<Map<String, Value>>,
    /// The settings as the module is given them, with its defaults; or why they do not fit: then nobody is given them.
    pub(crate) given: Result<Arc<Value>, Arc<str>>,
}

/// What tells versions apart: the digest of the module, and the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionId {
    digest: String,
    settings: Arc<Map<String, Value>>,
}

impl VersionId {
    /// Whether an approval is for this version, whatever served before it.
    pub(crate) fn is_approved_by(&self, approval: &str) -> bool {
        approval == self.digest || approval == self.with_settings()
    }

    fn with_settings(&self) -> String {
        let settings = short_hex(&hash_json(&Value::Object((*self.settings).clone())));
        format!("{}/{settings}", self.digest)
    }

    /// What approves this version after one with these settings. The digest, which people can compare; if the settings change, too,
    /// their hash with it.
    pub(crate) fn approval(&self, active_settings: &Map<String, Value>) -> String {
        if *self.settings == *active_settings { self.digest.clone() } else { self.with_settings() }
    }
}

impl Version {
    /// A version with these settings.
    pub(crate) fn new(loaded: &Loaded, settings: &Map<String, Value>) -> Self {
        let given = settings::resolve(settings, loaded);
        let given = given.map(|given| Arc::new(Value::Object(given))).map_err(Into::into);
        Self { loaded: loaded.clone(), settings: Arc::new(settings.clone()), given }
    }

    /// What tells it apart.
    pub(crate) fn id(&self) -> VersionId {
        VersionId { digest: self.digest().to_owned(), settings: self.settings.clone() }
    }

    /// The settings as a request holds them.
    pub(crate) fn given(&self) -> Arc<Value> {
        self.given.clone().unwrap_or_else(|_| Arc::new(Value::Object(Map::new())))
    }

    /// Digest of its module.
    pub(crate) fn digest(&self) -> &str {
        self.loaded.module.digest()
    }

    /// Its number, as the manifest says.
    pub(crate) fn number(&self) -> &str {
        &self.loaded.manifest.version
    }

    /// Whether this is the version that the status calls active.
    pub(crate) fn is(&self, active: &ActiveModule) -> bool {
        active.is_version(self.digest(), &self.settings)
    }

    /// What the status says of it.
    pub(crate) fn said(&self) -> ActiveModule {
        let mut owns = self.loaded.owned();
        owns.sort();
        ActiveModule {
            version: self.number().to_owned(),
            digest: self.digest().to_owned(),
            settings: (*self.settings).clone(),
            owns,
        }
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
        let active = settings(json!({"image": "a"}));
        assert_eq!(id(json!({"image": "a"})).approval(&active), "sha256:aa");
        let changed = id(json!({"image": "b"})).approval(&active);
        assert!(changed.starts_with("sha256:aa/") && changed.len() > "sha256:aa/".len() + 8, "{changed}");
        assert_ne!(changed, id(json!({"image": "c"})).approval(&active));
        assert!(
            id(json!({"image": "b"})).is_approved_by(&changed) && !id(json!({"image": "c"})).is_approved_by(&changed)
        );
    }
}
