//! The engines of the process: how wasmtime is set up, and why.

use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::cache::Cache;
use crate::resources::{self, POOLED_INSTANCES, POOLED_MEMORIES, POOLED_TABLE_ELEMENTS, POOLED_TABLES};
use crate::ticker::Ticker;
use crate::{Config, LoadError, Module, StartError, load};

/// Bytes of each linear memory that are zeroed by hand and kept when an instance is dropped: giving pages back to the
/// system and faulting them in again takes three times as long as a small call. What exceeds it is given back. The stack
/// of a Rust guest comes first, a mebibyte where it does not say otherwise, its data and heap after it.
const KEEP_RESIDENT: usize = 2 * 1024 * 1024;
/// Slots that keep such memory while nothing runs. The host's resident memory is bounded by the product of both.
const WARM_SLOTS: u32 = 8;

/// Loads modules. One per process: its pool and its clock are shared by all modules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
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

    /// Makes a module of the bytes of a `.wasm`: a component, or a core module built for the contract. Blocks while it
    /// compiles (some 10 ms for a small provider; under 1 ms if it is in the cache).
    ///
    /// # Errors
    /// Everything that is not a provider, each by its own variant; see [`LoadError`].
    pub fn load(&self, wasm: &[u8]) -> Result<Module, LoadError> {
        load::load(&self.inner, wasm)
    }

    /// A module that was loaded before, by its digest, if its compiled code is in the cache: its bytes are not needed.
    #[must_use]
    pub fn recall(&self, digest: &str) -> Option<Module> {
        load::recall(&self.inner, digest)
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

/// One engine would do, were it not that wasmtime ties the way of allocating to it: what does not fit the slots of the pool
/// has to run in another. Both take the same compiled code.
#[derive(Debug)]
pub(crate) struct Engines {
    pooled: Engine,
    on_demand: Engine,
}

/// How the instances of a module come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    Pooled,
    OnDemand,
}

impl Engines {
    /// Where the address space is too short for a pool, everything runs on demand.
    fn new(concurrent_calls: u32) -> wasmtime::Result<Self> {
        let mut config = settings();
        let on_demand = Engine::new(&config)?;
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(concurrent_calls)));
        let pooled = Engine::new(&config).unwrap_or_else(|error| {
            tracing::warn!("no pool of instances, calls are slower: {error:#}");
            on_demand.clone()
        });
        Ok(Self { pooled, on_demand })
    }

    /// Takes compiled code into the engine that it fits. The pool's refuses what has larger modules than its slots; what
    /// takes more slots than its share would make others wait for them.
    pub(crate) fn place<E>(
        &self,
        take: impl Fn(&Engine) -> Result<Component, E>,
    ) -> Result<(Component, Allocation), E> {
        match take(&self.pooled) {
            Ok(component) if resources::fit_the_pool(&component) => Ok((component, Allocation::Pooled)),
            // Code that is damaged is refused by the other engine, too.
            _ => take(&self.on_demand).map(|component| (component, Allocation::OnDemand)),
        }
    }
}

/// All that decides what code looks like and does. Both the engine that compiles and the one that runs have it.
pub(crate) fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        // Guests are called one at a time per instance: without it a call costs half.
        .concurrency_support(false)
        .epoch_interruption(true)
        // The same request must be the same response, on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // No provider needs more than 4 GiB, and checked 64-bit accesses are slow.
        .wasm_memory64(false)
        // Debug information is untrusted input of a complex format: read only where WASMTIME_BACKTRACE_DETAILS=1 asks.
        .wasm_backtrace_details(WasmBacktraceDetails::Environment);
    config
}

fn pool(concurrent_calls: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(concurrent_calls)
        .total_core_instances(concurrent_calls.saturating_mul(POOLED_INSTANCES))
        .total_memories(concurrent_calls.saturating_mul(POOLED_MEMORIES))
        .total_tables(concurrent_calls.saturating_mul(POOLED_TABLES))
        .max_core_instances_per_component(POOLED_INSTANCES)
        .max_memories_per_module(POOLED_MEMORIES)
        .max_tables_per_module(POOLED_TABLES)
        .table_elements(POOLED_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(POOLED_TABLE_ELEMENTS * size_of::<usize>())
        // Not pagemap_scan: a written page that is swapped out is not reported, and the next call would find what is in it.
        .max_unused_warm_slots(WARM_SLOTS);
    pool
}
