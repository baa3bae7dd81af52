//! Reports of controllers to the Providers actor, all over one channel.

use bartizan_engine::provider::event::{ControllerEvent, Event, RunId};
use tokio::sync::mpsc;

/// Reports of one run.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    provider: String,
    run: RunId,
    to: mpsc::UnboundedSender<Event>,
    /// Nothing but previews is reported.
    only_previews: bool,
}

impl Reporter {
    /// Reports of this run.
    pub(crate) fn new(provider: &str, run: RunId, to: mpsc::UnboundedSender<Event>) -> Self {
        Self { provider: provider.to_owned(), run, to, only_previews: false }
    }

    /// The same for a controller that only previews: the state of its watches is not reported.
    pub(crate) fn only_previews(&self) -> Self {
        Self { only_previews: true, ..self.clone() }
    }

    /// Reports something.
    pub(crate) fn report(&self, event: ControllerEvent) {
        if !self.only_previews || matches!(event, ControllerEvent::Previewed { .. }) {
            let (provider, run) = (self.provider.clone(), self.run);
            // The receiver is dropped when the host ends.
            let _ = self.to.send(Event::Controller { provider, run, event });
        }
    }
}
