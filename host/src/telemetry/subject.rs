//! A parent as people name it when they ask the host.

use bartizan_engine::ObjectKey;
use serde::{Deserialize, Serialize};

/// A parent as people name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// Its kind, in any case, in the plural or not, with its group or not.
    pub(crate) kind: String,
    /// Its namespace; of cluster-scoped parents, it does not count.
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
}

impl Subject {
    /// Whether this kind is meant.
    pub(crate) fn is_of(&self, kind: &str, group: &str) -> bool {
        let (wanted, plain) = (self.kind.to_lowercase(), kind.to_lowercase());
        let (word, its_group) = wanted.split_once('.').map_or((&*wanted, None), |(word, group)| (word, Some(group)));
        (word == plain || word.strip_suffix('s') == Some(&plain))
            && its_group.is_none_or(|its_group| its_group == group.to_lowercase())
    }

    /// Whether this object is meant. Cluster-scoped ones are found whatever the namespace, as with kubectl.
    pub(crate) fn is(&self, key: &ObjectKey) -> bool {
        let namespace = self.namespace.as_deref();
        self.is_of(&key.kind, &key.group)
            && *key.name == *self.name
            && (namespace.is_none() || key.namespace.is_none() || key.namespace.as_deref() == namespace)
    }
}
