//! Events on parents and Providers. They are for people and may be lost: a failure is logged and not retried.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::{EventType, ProviderEvent};
use bartizan_engine::Observed;
use bartizan_engine::provider::event::Target;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{self, Recorder, Reporter};
use tracing::{info, warn};

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::text;

/// Longest note in bytes, before an ellipsis: the API server takes 1024 bytes.
const MAX_NOTE: usize = 1000;

/// Most events of Providers whose notes are remembered.
const MOST_NOTES: usize = 1024;

/// What an event of a Provider is about: its uid, and the reason.
type About = (Option<String>, String);

/// Publishes the events of one provider.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    reporter: Reporter,
    recorder: Recorder,
    /// The recorder counts an event whose note is another one as the same event, and the other note would be seen by nobody. There are few of
    /// Providers, so that each note of theirs has a recorder of its own.
    notes: Arc<Mutex<BTreeMap<About, (String, Recorder)>>>,
}

impl Events {
    /// Events of the controller `manager`.
    pub(crate) fn new(client: Client, manager: &str) -> Self {
        let reporter = Reporter { controller: manager.to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, recorder, notes: Arc::default() }
    }

    /// Publishes one event on a parent.
    pub(crate) async fn publish(&self, parent: &Observed, event: &ProviderEvent) {
        let reference = ObjectReference {
            api_version: Some(parent.api_version.clone()),
            kind: Some(parent.key.kind.to_string()),
            name: Some(parent.key.name.to_string()),
            namespace: parent.key.namespace.as_deref().map(str::to_owned),
            uid: Some(parent.uid.clone()),
            resource_version: None,
            field_path: None,
        };
        if let Err(error) = self.try_publish(&self.recorder, &reference, event, "Reconcile").await {
            let (kind, namespace, name) = parent.key.parts();
            warn!(kind, namespace, name, reason = event.reason, "event could not be published: {}", text(&error));
        }
    }

    /// Publishes events on a Provider, and logs them: a held upgrade or a refused module must not be missed.
    pub(crate) async fn publish_on_provider(&self, provider: &Target, events: &[ProviderEvent]) {
        let name = &provider.name;
        let reference = ObjectReference {
            api_version: Some(PROVIDER_API_VERSION.to_owned()),
            kind: Some(PROVIDER_KIND.to_owned()),
            name: Some(name.clone()),
            uid: provider.uid.clone(),
            ..ObjectReference::default()
        };
        for event in events {
            match event.type_ {
                EventType::Normal => info!(provider = name, reason = event.reason, "{}", event.message),
                EventType::Warning => warn!(provider = name, reason = event.reason, "{}", event.message),
            }
            let recorder = self.recorder_of(provider, event);
            if let Err(error) = self.try_publish(&recorder, &reference, event, "Serve").await {
                warn!(provider = name, reason = event.reason, "event could not be published: {}", text(&error));
            }
        }
    }

    fn recorder_of(&self, provider: &Target, event: &ProviderEvent) -> Recorder {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() >= MOST_NOTES {
            notes.clear();
        }
        let about = (provider.uid.clone(), event.reason.clone());
        match notes.get(&about) {
            Some((note, recorder)) if *note == event.message => recorder.clone(),
            _ => {
                let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
                notes.insert(about, (event.message.clone(), recorder.clone()));
                recorder
            }
        }
    }

    async fn try_publish(
        &self,
        recorder: &Recorder,
        reference: &ObjectReference,
        event: &ProviderEvent,
        action: &str,
    ) -> anyhow::Result<()> {
        let type_ = match event.type_ {
            EventType::Normal => events::EventType::Normal,
            EventType::Warning => events::EventType::Warning,
        };
        let event = events::Event {
            type_,
            reason: event.reason.clone(),
            note: Some(shorten(&event.message)),
            action: action.to_owned(),
            secondary: None,
        };
        in_time(recorder.publish(&event, reference)).await
    }
}

/// Cuts a message to [`MAX_NOTE`] bytes, at the end of a character.
fn shorten(message: &str) -> String {
    if message.len() <= MAX_NOTE {
        return message.to_owned();
    }
    let end = (0..=MAX_NOTE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_fits_the_api_servers_limit_whatever_its_characters() {
        assert_eq!(shorten("short"), "short");
        for text in ["x".repeat(5000), "é".repeat(5000), "字".repeat(5000)] {
            let note = shorten(&text);
            assert!(note.len() <= 1024 && note.ends_with('…'), "{}", note.len());
        }
    }
}
