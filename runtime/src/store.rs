//! The state of one call, as it stands in wasmtime's store: what the host's functions read and write while the guest runs.

use crate::config::Limits;
use crate::logs::LogBuffer;
use crate::memory::MemoryCap;

/// What belongs to one call.
pub(crate) struct CallState {
    pub(crate) memory: MemoryCap,
    pub(crate) logs: LogBuffer,
    pub(crate) wasi: WasiState,
    /// Whether it used more processor time than [`LONG_CALL`](crate::threads::LONG_CALL).
    pub(crate) took_long: bool,
}

/// State of WASI within one call: nothing until a guest asks for random numbers.
#[derive(Debug, Default)]
pub(crate) struct WasiState {
    /// State of the generator of random numbers.
    pub(crate) random: u64,
}

impl CallState {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: MemoryCap::new(limits.memory_bytes),
            logs: LogBuffer::new(limits),
            wasi: WasiState::default(),
            took_long: false,
        }
    }
}
