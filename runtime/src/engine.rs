//! The wasmtime engines of the process: their settings, and why.

use wasmtime::component::Component;
use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::resources::{self, POOLED_INSTANCES, POOLED_MEMORIES, POOLED_TABLE_ELEMENTS, POOLED_TABLES};

/// Bytes of each linear memory that stay resident, zeroed, when an instance is dropped: returning pages to the system and
/// faulting them in again takes three times as long as a small call. The rest is returned. A Rust guest's stack comes first, by
/// default a mebibyte, then its data and heap.
const KEEP_RESIDENT: usize = 2 * 1024 * 1024;
/// Idle slots that keep such memory. The product of both bounds the host's resident memory.
const WARM_SLOTS: u32 = 8;

/// The engine of the pool and the one for modules that do not fit its slots: wasmtime fixes the allocation strategy per engine.
/// Both accept the same compiled code.
#[derive(Debug)]
pub(crate) struct Engines {
    pub(crate) pooled: Engine,
    pub(crate) on_demand: Engine,
}

/// How the instances of a module are allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    Pooled,
    OnDemand,
}

impl Engines {
    /// Without enough address space for a pool, every instance is allocated on demand.
    pub(crate) fn new(concurrent_calls: u32) -> wasmtime::Result<Self> {
        let mut config = settings();
        let on_demand = Engine::new(&config)?;
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(concurrent_calls)));
        let pooled = Engine::new(&config).unwrap_or_else(|error| {
            tracing::warn!("the pool of instances cannot be created, calls are slower: {error:#}");
            on_demand.clone()
        });
        Ok(Self { pooled, on_demand })
    }

    /// Loads compiled code into the engine that it fits. The pool's engine refuses modules larger than its slots; components
    /// that need more slots than their share run on demand, so that others need not wait for slots.
    pub(crate) fn place<E>(
        &self,
        take: impl Fn(&Engine) -> Result<Component, E>,
    ) -> Result<(Component, Allocation), E> {
        match take(&self.pooled) {
            Ok(component) if resources::fit_the_pool(&component) => Ok((component, Allocation::Pooled)),
            // The other engine refuses damaged code as well.
            _ => take(&self.on_demand).map(|component| (component, Allocation::OnDemand)),
        }
    }
}

/// The settings that affect code generation and behaviour, for the engine that compiles and for those that run.
pub(crate) fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        // Each instance serves one call at a time; without concurrency a call costs half.
        .concurrency_support(false)
        .epoch_interruption(true)
        // The same request must give the same response, on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // No provider needs more than 4 GiB, and checked 64-bit accesses are slow.
        .wasm_memory64(false)
        // Debug information is untrusted input in a complex format: read only if WASMTIME_BACKTRACE_DETAILS=1.
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
        // Not pagemap_scan: it misses written pages that are swapped out, and the next call would see their content.
        .max_unused_warm_slots(WARM_SLOTS);
    pool
}
