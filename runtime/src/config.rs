//! Settings: once per process ([`Config`]) and per call ([`Limits`]), each with its default and the reason.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bartizan_contract::provider::EffectiveLimits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Settings of a [`Runtime`](crate::Runtime), fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for compiled modules; created (mode 0700) if it is missing. It must belong to this process's user and be
    /// writable by nobody else, since its files run as native code: any other folder is ignored with a warning.
    /// `None`: every load compiles.
    pub cache_dir: Option<PathBuf>,
    /// Largest module in bytes. Default 64 MiB: providers are well below 1 MiB, those with an interpreter of another language
    /// 12 to 18 MiB.
    pub module_bytes: usize,
    /// Largest body of a single function in bytes. Default 1 MiB. Compile time grows faster than a function's
    /// size, and only the size is known before the compiler starts.
    pub function_bytes: usize,
    /// Compiler program with its arguments: it receives a component on standard input and must do what
    /// [`compile_for_parent`](crate::compile_for_parent) does, in the same version of this crate. Compiling a module takes
    /// several times the memory of serving it; a process of its own returns that memory, and can be killed.
    /// It is given `--memory=BYTES` and `--seconds=SECONDS` beside these arguments, and must limit itself to that. `None`: compile in this
    /// process.
    pub compiler: Option<Vec<OsString>>,
    /// Most memory that a compiler process may have, in bytes. Default 1 GiB: providers in Rust take some 100 MiB, those with an
    /// interpreter of another language 400 MiB. In a container it must fit beside this process, since the kernel ends both otherwise.
    pub compiler_memory: u64,
    /// How long [`Runtime::load`](crate::Runtime::load) waits for the compiler. Default 60 s. In this process a compilation
    /// cannot be stopped: its thread runs to the end, and its result is dropped.
    pub compile_timeout: Duration,
    /// Most concurrent calls, of all modules. Default 64: calls are bound by processor time, so that more than a few per core
    /// help only if providers run into their timeouts.
    pub concurrent_calls: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_dir: None,
            module_bytes: 64 * MIB,
            function_bytes: MIB,
            compiler: None,
            compiler_memory: 1 << 30,
            compile_timeout: Duration::from_secs(60),
            concurrent_calls: 64,
        }
    }
}

/// Limits of one call. The defaults are those of `Provider.spec.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time of the call. Default 1 s; enforced to within about 20 ms.
    pub timeout: Duration,
    /// Sum of the instance's linear memories in bytes.
    pub memory_bytes: usize,
    /// Largest request in bytes.
    pub request_bytes: usize,
    /// Largest response in bytes.
    pub response_bytes: usize,
    /// Most lines that the guest may log; further ones are counted and dropped. Default 256.
    pub log_lines: usize,
    /// Sum of the logged messages in bytes; what exceeds it is counted and dropped. Default 64 KiB.
    pub log_bytes: usize,
    /// Longest message in bytes; the rest is cut off. Default 4 KiB.
    pub log_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(EffectiveLimits::default())
    }
}

impl From<EffectiveLimits> for Limits {
    /// The limits of a Provider, with the defaults for logs, which a Provider cannot set.
    fn from(limits: EffectiveLimits) -> Self {
        // Bounds of the contract keep every amount below the address space of 64-bit machines.
        let bytes = |amount: u64| usize::try_from(amount).unwrap_or(usize::MAX);
        Self {
            timeout: limits.timeout,
            memory_bytes: bytes(limits.memory_bytes),
            request_bytes: bytes(limits.request_bytes),
            response_bytes: bytes(limits.response_bytes),
            log_lines: 256,
            log_bytes: 64 * KIB,
            log_line_bytes: 4 * KIB,
        }
    }
}
