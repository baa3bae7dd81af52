//! What all reconciles of one provider share: the facts that the engine decides by, and the means to carry its effects out.

use std::sync::Arc;

use bartizan_engine::snapshot::ProviderContext;
use bartizan_runtime::{Limits, Module};

use crate::kubernetes::events::Events;
use crate::kubernetes::writer::Writer;
use crate::reconcile::call_pool::CallPool;
use crate::version::Version;

/// What all reconciles of one provider share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// What the engine decides by.
    pub(crate) context: Arc<ProviderContext>,
    /// The provider's code.
    pub(crate) module: Module,
    /// Bounds of one call.
    pub(crate) limits: Limits,
    /// Most reconciles at the same time.
    pub(crate) concurrency: usize,
    /// Where to write.
    pub(crate) writer: Writer,
    /// Where to send events.
    pub(crate) events: Events,
    /// Runs calls, shared by all providers.
    pub(crate) calls: CallPool,
}

impl Shared {
    /// Name of the provider.
    pub(crate) fn provider(&self) -> &str {
        &self.context.name
    }

    /// The same provider with another version.
    pub(crate) fn with(&self, version: &Version) -> Self {
        let context = ProviderContext {
            version: version.number().to_owned(),
            digest: version.digest().into(),
            settings: version.given(),
            ..(*self.context).clone()
        };
        Self { context: Arc::new(context), module: version.loaded.module.clone(), ..self.clone() }
    }
}
