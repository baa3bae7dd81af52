//! The runtime of the process: engines, cache and clock, shared by all modules.

use std::sync::Arc;

use crate::cache::Cache;
use crate::config::Config;
use crate::engine::Engines;
use crate::errors::StartError;
use crate::ticker::Ticker;

/// Loads modules. One per process: its pool and its clock are shared by all modules. Cheap to clone.
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
    /// Sets the engine up and starts its clock. A cache folder that cannot be used is said in a warning and not used.
    ///
    /// # Errors
    /// If wasmtime does not run on this machine, or no thread can be started.
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

    /// Bytes of the largest module that is loaded.
    #[must_use]
    pub fn module_bytes(&self) -> usize {
        self.inner.config.module_bytes
    }

    /// Most calls at the same time, which the caller keeps to: one more fails with [`Fault::Busy`](crate::Fault::Busy), but
    /// for a module that does not fit the pool ([`Module::is_pooled`]).
    #[must_use]
    pub fn concurrent_calls(&self) -> usize {
        self.inner.config.concurrent_calls as usize
    }
}
