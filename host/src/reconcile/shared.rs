//! What all reconciles of one provider share: the input of the engine's decisions, and the clients that carry out its effects.

use std::sync::Arc;

use bartizan_engine::snapshot::ProviderContext;
use bartizan_runtime::{Limits, Module};

use crate::catalog::Runnable;
use crate::kubernetes::events::Events;
use crate::kubernetes::writer::Writer;
use crate::reconcile::call_pool::CallPool;

/// What all reconciles of one provider share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Input of the engine's decisions.
    pub(crate) context: Arc<ProviderContext>,
    /// The provider's module.
    pub(crate) module: Module,
    /// Limits of one call.
    pub(crate) limits: Limits,
    /// Maximum number of concurrent reconciles.
    pub(crate) concurrency: usize,
    /// Writes objects.
    pub(crate) writer: Writer,
    /// Sends events.
    pub(crate) events: Events,
    /// Runs module calls, shared by all providers.
    pub(crate) calls: CallPool,
}

impl Shared {
    /// Name of the provider.
    pub(crate) fn provider(&self) -> &str {
        &self.context.name
    }

    /// The same provider with another version.
    pub(crate) fn with(&self, next: &Runnable) -> Self {
        let version = &next.version;
        let context = ProviderContext {
            version: version.number().to_owned(),
            digest: version.digest().into(),
            settings: version.given(),
            ..(*self.context).clone()
        };
        Self { context: Arc::new(context), module: next.module.clone(), ..self.clone() }
    }
}
