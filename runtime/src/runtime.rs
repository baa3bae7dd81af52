//! The runtime of the process: engines, cache and ticker, shared by all modules.

use std::sync::Arc;

use crate::cache::Cache;
use crate::config::Config;
use crate::engine::Engines;
use crate::errors::StartError;
use crate::ticker::Ticker;

/// Loads modules. One per process: all modules share its pool and its ticker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engines: Engines,
    pub(crate) config: Config,
    pub(crate) cache: Option<Cache>,
    pub(crate) ticker: Ticker,
}

impl Runtime {
    /// Sets up the engines and starts the ticker. A cache folder that cannot be used is ignored with a warning.
    ///
    /// # Errors
    /// If wasmtime does not support this machine, or the timer thread cannot be started.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let engines = Engines::new(config.concurrent_calls).map_err(StartError::Engine)?;
        let cache = config.cache_dir.as_deref().and_then(|dir| {
            Cache::open(dir, &engines.pooled)
                .inspect_err(|error| tracing::warn!(dir = %dir.display(), "compiled modules are not cached: {error}"))
                .ok()
        });
        let ticker = Ticker::start(&[&engines.pooled, &engines.on_demand]).map_err(StartError::Ticker)?;
        Ok(Self { inner: Arc::new(Inner { engines, config, cache, ticker }) })
    }

    /// Largest module that is accepted, in bytes.
    #[must_use]
    pub fn module_bytes(&self) -> usize {
        self.inner.config.module_bytes
    }

    /// Most concurrent calls, which callers must respect: one more fails with [`Fault::Busy`](crate::Fault::Busy), unless its
    /// module does not use the pool ([`Module::is_pooled`](crate::Module::is_pooled)).
    #[must_use]
    pub fn concurrent_calls(&self) -> usize {
        self.inner.config.concurrent_calls as usize
    }
}
