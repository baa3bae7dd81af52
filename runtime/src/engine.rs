//! The engines of the process: how wasmtime is set up, and why.

use wasmtime::component::Component;
use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::resources::{self, POOLED_INSTANCES, POOLED_MEMORIES, POOLED_TABLE_ELEMENTS, POOLED_TABLES};

/// Bytes of each linear memory that are zeroed by hand and kept when an instance is dropped: giving pages back to the
/// system and faulting them in again takes three times as long as a small call. What exceeds it is given back. The stack
/// of a Rust guest comes first, a mebibyte where it does not say otherwise, its data and heap after it.
const KEEP_RESIDENT: usize = 2 * 1024 * 1024;
/// Slots that keep such memory while nothing runs. The host's resident memory is bounded by the product of both.
const WARM_SLOTS: u32 = 8;

/// One engine would do, were it not that wasmtime ties the way of allocating to it: what does not fit the slots of the pool
/// has to run in another. Both take the same compiled code.
#[derive(Debug)]
pub(crate) struct Engines {
    pub(crate) pooled: Engine,
    pub(crate) on_demand: Engine,
}

/// How the instances of a module come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    Pooled,
    OnDemand,
}

impl Engines {
    /// Where the address space is too short for a pool, everything runs on demand.
    pub(crate) fn new(concurrent_calls: u32) -> wasmtime::Result<Self> {
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
