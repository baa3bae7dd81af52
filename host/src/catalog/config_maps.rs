//! The ConfigMaps in the host's own namespace that hold modules. Each is watched by its name, so that the host caches no other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::Trouble;
use crate::kubernetes::error::chain;
use crate::kubernetes::relisting::relisting;
use crate::kubernetes::watch_throttle::throttled;

/// ConfigMaps in the channel; each has up to 1 MiB.
const WAITING: usize = 4;

/// A key of a ConfigMap: its bytes, or why it has none.
type KeyContent = Result<Bytes, Trouble>;

/// A ConfigMap was seen, or could not be.
pub(super) struct ConfigMapEvent {
    /// Name of the ConfigMap.
    pub(super) name: String,
    /// The wanted keys of it.
    pub(super) keys: BTreeMap<String, KeyContent>,
}

/// The watches.
pub(super) struct ConfigMaps {
    client: Client,
    namespace: String,
    to: mpsc::Sender<ConfigMapEvent>,
    tasks: JoinSet<()>,
    watched: BTreeMap<String, Watched>,
}

/// A ConfigMap that is watched.
struct Watched {
    keys: BTreeSet<String>,
    task: AbortHandle,
}

impl ConfigMaps {
    /// Watches in the given namespace; none yet.
    pub(super) fn new(client: &Client, namespace: &str) -> (Self, mpsc::Receiver<ConfigMapEvent>) {
        let (to, from) = mpsc::channel(WAITING);
        let (client, namespace) = (client.clone(), namespace.to_owned());
        (Self { client, namespace, to, tasks: JoinSet::new(), watched: BTreeMap::new() }, from)
    }

    /// Watches these ConfigMaps and no others.
    pub(super) fn watch(&mut self, wanted: &BTreeMap<String, BTreeSet<String>>) {
        self.watched.retain(|name, watched| {
            let same = wanted.get(name) == Some(&watched.keys);
            if !same {
                watched.task.abort();
            }
            same
        });
        for (name, keys) in wanted {
            if !self.watched.contains_key(name) {
                let api = Api::namespaced(throttled(self.client.clone()), &self.namespace);
                let task = self.tasks.spawn(watch(api, name.clone(), keys.clone(), self.to.clone()));
                self.watched.insert(name.clone(), Watched { keys: keys.clone(), task });
            }
        }
        // Drops the tasks that were aborted.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Whether a key is still watched: its last event may have been sent before its watch ended.
    pub(super) fn is_watched(&self, name: &str, key: &str) -> bool {
        self.watched.get(name).is_some_and(|watched| watched.keys.contains(key))
    }
}

async fn watch(api: Api<ConfigMap>, name: String, keys: BTreeSet<String>, to: mpsc::Sender<ConfigMapEvent>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = relisting(api, config);
    let mut listed = None;
    while let Some(event) = events.next().await {
        let keys = match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = Some(object);
                continue;
            }
            Ok(watcher::Event::InitDone) => each(&keys, |key| read(&name, key, listed.as_ref())),
            Ok(watcher::Event::Apply(object)) => each(&keys, |key| read(&name, key, Some(&object))),
            Ok(watcher::Event::Delete(_)) => each(&keys, |key| read(&name, key, None)),
            Err(error) => {
                let message = format!("ConfigMap {name} could not be read: {}", chain(&error));
                each(&keys, |_| Err(Trouble::Unavailable(message.clone())))
            }
        };
        if to.send(ConfigMapEvent { name: name.clone(), keys }).await.is_err() {
            return;
        }
    }
}

fn each(keys: &BTreeSet<String>, content: impl Fn(&str) -> KeyContent) -> BTreeMap<String, KeyContent> {
    keys.iter().map(|key| (key.clone(), content(key))).collect()
}

/// The content of a key. `data` counts as well as `binaryData`: there `kubectl create configmap --from-file` puts a file that is
/// valid UTF-8.
fn read(name: &str, key: &str, object: Option<&ConfigMap>) -> KeyContent {
    let Some(object) = object else {
        return Err(Trouble::Missing(format!(
            "there is no ConfigMap {name} in the host's namespace; it is loaded once it is there"
        )));
    };
    let binary = object.binary_data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.clone());
    let text = object.data.as_ref().and_then(|data| data.get(key)).map(|value| value.clone().into_bytes());
    match binary.or(text) {
        Some(bytes) => Ok(bytes.into()),
        None => Err(Trouble::Missing(format!("ConfigMap {name} has no key {key}; it is loaded once it is there"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_holds_bytes_or_text_or_is_reported_missing() {
        let object: ConfigMap =
            serde_json::from_value(json!({"binaryData": {"a.wasm": "AGFzbQ=="}, "data": {"b.wasm": "text"}})).unwrap();
        assert_eq!(read("m", "a.wasm", Some(&object)), Ok(Bytes::from_static(b"\0asm")));
        assert_eq!(read("m", "b.wasm", Some(&object)), Ok(Bytes::from_static(b"text")));
        let missing = |text: &str| Err(Trouble::Missing(format!("{text}; it is loaded once it is there")));
        assert_eq!(read("m", "c.wasm", Some(&object)), missing("ConfigMap m has no key c.wasm"));
        assert_eq!(read("m", "c.wasm", None), missing("there is no ConfigMap m in the host's namespace"));
    }
}
