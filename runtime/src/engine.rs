//! The one engine of the process: how wasmtime is set up, and why.

use std::sync::Arc;

use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::cache::Cache;
use crate::resources::{MEMORIES_PER_INSTANCE, MODULES_PER_INSTANCE, TABLE_ELEMENTS, TABLES_PER_INSTANCE};
use crate::ticker::Ticker;
use crate::{Config, LoadError, Module, StartError, load};

/// Bytes of each linear memory that are zeroed by hand and kept when an instance is dropped: giving pages back to the
/// system and faulting them in again takes three times as long as a small call. What exceeds it is given back. The stack
/// of a Rust guest is its first mebibyte, its data and heap come after it.
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
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    pub(crate) cache: Option<Cache>,
    _ticker: Ticker,
}

impl Runtime {
    /// Sets the engine up and starts its clock. A cache folder that cannot be used is said in a warning and not used.
    ///
    /// # Errors
    /// If wasmtime does not run on this machine, or no thread can be started.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let engine = new_engine(config.concurrent_calls).map_err(StartError::Engine)?;
        let cache = config.cache_dir.as_deref().and_then(|dir| {
            Cache::open(dir, &engine)
                .inspect_err(|error| tracing::warn!(dir = %dir.display(), "compiled modules are not cached: {error}"))
                .ok()
        });
        let ticker = Ticker::start(&engine).map_err(StartError::Ticker)?;
        Ok(Self { inner: Arc::new(Inner { engine, config, cache, _ticker: ticker }) })
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

    /// Most calls at the same time; one more fails with [`Fault::Busy`](crate::Fault::Busy).
    #[must_use]
    pub fn concurrent_calls(&self) -> usize {
        self.inner.config.concurrent_calls as usize
    }
}

/// An engine with a pool of instances, or without where the address space is too short for one.
fn new_engine(concurrent_calls: u32) -> wasmtime::Result<Engine> {
    let mut config = settings();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(concurrent_calls)));
    Engine::new(&config).or_else(|error| {
        tracing::warn!("no pool of instances, calls are slower: {error:#}");
        Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand))
    })
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
        .total_core_instances(concurrent_calls.saturating_mul(MODULES_PER_INSTANCE))
        .total_memories(concurrent_calls.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(concurrent_calls.saturating_mul(TABLES_PER_INSTANCE))
        .max_core_instances_per_component(MODULES_PER_INSTANCE)
        .max_memories_per_module(MEMORIES_PER_INSTANCE)
        .max_tables_per_module(TABLES_PER_INSTANCE)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>())
        // Not pagemap_scan: a written page that is swapped out is not reported, and the next call would find what is in it.
        .max_unused_warm_slots(WARM_SLOTS);
    pool
}
