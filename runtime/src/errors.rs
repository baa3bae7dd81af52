//! The errors of this crate. Each message says what happened and what to do about it; none holds a number that changes from one
//! call to the next, so that a condition with it does not flap.

use std::time::Duration;

use bartizan_contract::names::{LOG_INTERFACE, PROVIDER_INTERFACE};
use bartizan_contract::{Failure, Reason};

use crate::describe::ManifestError;
use crate::logs::{LogLevel, LogLine};

/// The runtime could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// wasmtime does not support this machine or these settings.
    #[error("the WebAssembly engine cannot start on this machine: {0:#}")]
    Engine(wasmtime::Error),
    /// The timer thread cannot be started.
    #[error("the timer thread cannot be started: {0}; raise the thread limit of this process")]
    Ticker(std::io::Error),
}

/// A module was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No bytes.
    #[error("the file is empty, perhaps because it is still being copied; build or copy the module again")]
    Empty,
    /// Bytes without the header of WebAssembly.
    #[error(
        "not a WebAssembly module: it begins with {found}, not with \"\\0asm\"; use the .wasm file that the build produced"
    )]
    NotWasm {
        /// The first bytes, quoted.
        found: String,
    },
    /// More bytes than [`Config::module_bytes`](crate::Config::module_bytes).
    #[error("the module has {bytes} bytes, more than the limit of {limit}; build it optimised and stripped")]
    TooLarge {
        /// Bytes of the module.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A function above [`Config::function_bytes`](crate::Config::function_bytes).
    #[error("a function of the module has {bytes} bytes, more than the limit of {limit}; build it optimised")]
    FunctionTooLarge {
        /// Bytes of the function's body.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not valid WebAssembly: truncated, damaged, or with features that this host does not support.
    #[error("the module is damaged or truncated at byte {offset} ({cause}): build or copy it again")]
    Invalid {
        /// Where.
        offset: usize,
        /// The validator's message.
        cause: String,
    },
    /// An import that the contract does not have.
    #[error("imports \"{import}\", which is not allowed: {}", import_advice(.import))]
    Import {
        /// `module/field` of a core module; for a component, the name of the import.
        import: String,
    },
    /// A core module without the section that describes its world.
    #[error(
        "the core module was not built as a provider: it has no custom section \"component-type\"; build it with \
         bartizan-sdk, or with wit-bindgen for the world bartizan:provider/plugin@0.1.0"
    )]
    NotAProvider,
    /// A core module that does not match the world it describes.
    #[error("the core module cannot be turned into a component: {cause}; rebuild it with a single version of its SDK")]
    Componentize {
        /// The encoder's message.
        cause: String,
    },
    /// The contract's export is missing.
    #[error(
        "does not export \"{export}\": it is not a provider, or was built for another version of the contract ({PROVIDER_INTERFACE})"
    )]
    MissingExport {
        /// The interface, or interface and function.
        export: String,
    },
    /// The contract's export has another type.
    #[error("exports \"{export}\" with the wrong type: build it with the WIT of {PROVIDER_INTERFACE}")]
    WrongExport {
        /// The function.
        export: String,
    },
    /// More of a resource than an instance may have, in the pool or not.
    #[error("needs {needed} {what}, more than the limit of {limit} per instance")]
    TooManyResources {
        /// `memories`, `tables`, `elements in a table`, `functions in a module` or `globals in a module`.
        what: &'static str,
        /// What the module needs.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// The compiler failed.
    #[error("cannot be compiled: {cause}")]
    Compile {
        /// The compiler's message.
        cause: String,
    },
    /// The compiler needed more memory than it may have.
    #[error(
        "could not be compiled with {limit} bytes of memory: the module is too large or too complex; build it optimised and stripped, or \
         raise --compile-memory and the memory limit of the host"
    )]
    CompileMemory {
        /// [`Config::compiler_memory`](crate::Config::compiler_memory).
        limit: u64,
    },
    /// The compiler could not be run to its end, which says nothing about the module.
    #[error("the compiler was interrupted: {cause}")]
    Compiler {
        /// What happened to it.
        cause: String,
    },
    /// The compiler took too long.
    #[error(
        "could not be compiled within {limit:?}: the module is too complex; build it optimised, with smaller functions"
    )]
    CompileTimeout {
        /// [`Config::compile_timeout`](crate::Config::compile_timeout).
        limit: Duration,
    },
    /// The caller ended its compilation.
    #[error("its compilation was ended in favour of another module's")]
    CompileEnded,
}

impl LoadError {
    /// Whether another attempt may succeed although the module is the same.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Compiler { .. } | Self::CompileTimeout { .. } | Self::CompileEnded)
    }
}

fn import_advice(import: &str) -> String {
    if import.starts_with("wasi_snapshot_preview1/") {
        "build it for wasm32-unknown-unknown, or make it a component with the WASI adapter".to_owned()
    } else if import.starts_with("wasi:http/") {
        "providers have no network access".to_owned()
    } else if import.starts_with("__wbindgen") {
        "one of its dependencies needs a browser (wasm-bindgen); disable that feature of the dependency".to_owned()
    } else {
        format!("the only allowed import is {LOG_INTERFACE} (and WASI 0.2 in components from other languages)")
    }
}

/// Why the compiler process failed. Its text becomes the cause of [`LoadError::Compile`] in the parent.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// A pipe to or from the parent broke.
    #[error("{0}")]
    Pipe(std::io::Error),
    /// The operating system did not take a limit.
    #[error("the compiler cannot be limited: {0}")]
    Limit(std::io::Error),
    /// wasmtime cannot compile the component.
    #[error("{0:#}")]
    Compile(wasmtime::Error),
}

/// A call without a response, with what the guest logged until then.
#[derive(Debug)]
pub struct CallError {
    /// What happened.
    pub fault: Fault,
    /// What the guest logged.
    pub logs: Vec<LogLine>,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fault.fmt(f)?;
        // A panic traps with a bare `unreachable`: its message is the last line that the guest logged.
        let last = self.logs.iter().rev().find(|line| line.level == LogLevel::Error);
        match (&self.fault, last) {
            (Fault::Trap { .. }, Some(line)) => write!(f, "; it last logged: {}", line.message),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

/// Why a call has no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The guest's own `failure` record.
    #[error(transparent)]
    Failure(Failure),
    /// The guest crashed.
    #[error("the provider crashed ({cause}); this is a bug in the provider: report it to its author")]
    Trap {
        /// Message of the sandbox.
        cause: String,
        /// The guest's call stack, innermost first, one frame per line; empty if there is none.
        backtrace: String,
    },
    /// The guest ran out of time.
    #[error("the provider did not answer within {limit:?} and was stopped; raise limits.timeout, or ask its author")]
    Timeout {
        /// [`Limits::timeout`](crate::Limits::timeout).
        limit: Duration,
    },
    /// The guest exceeded its memory limit.
    #[error(
        "the provider needs more than its {} of memory and was stopped; raise limits.memory, or ask its author",
        mebibytes(*.limit)
    )]
    Memory {
        /// [`Limits::memory_bytes`](crate::Limits::memory_bytes).
        limit: usize,
    },
    /// The request is too large; the guest was not called.
    #[error(
        "the request is larger than {}: the parent has too many or too large objects; raise limits.requestBytes",
        mebibytes(*.limit)
    )]
    RequestTooLarge {
        /// Bytes of the request.
        bytes: usize,
        /// [`Limits::request_bytes`](crate::Limits::request_bytes).
        limit: usize,
    },
    /// The response is too large. If it is far too large it was not even copied.
    #[error(
        "the provider's response is larger than {}; raise limits.responseBytes, or ask its author",
        mebibytes(*.limit)
    )]
    ResponseTooLarge {
        /// [`Limits::response_bytes`](crate::Limits::response_bytes).
        limit: usize,
    },
    /// The guest violates the binary interface: a pointer out of bounds, or an invalid record.
    #[error(
        "the provider's response violates the binary interface ({cause}); this is a bug in the provider: report it to \
         its author"
    )]
    BadAnswer {
        /// Message of the sandbox.
        cause: String,
    },
    /// `describe` returned a manifest that this host cannot serve.
    #[error(transparent)]
    Manifest(ManifestError),
    /// More concurrent calls than [`Config::concurrent_calls`](crate::Config::concurrent_calls).
    #[error("all instances of the pool are in use; try again")]
    Busy,
    /// The instance could not be created, for a reason on the host's side.
    #[error("the host could not create an instance of the provider: {cause}")]
    Host {
        /// wasmtime's message.
        cause: String,
    },
}

impl Fault {
    /// The reason for a condition, in CamelCase.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Failure(_) => Reason::ProviderFailed,
            Self::Trap { .. } => Reason::ProviderCrashed,
            Self::Timeout { .. } => Reason::ProviderTimedOut,
            Self::Memory { .. } => Reason::ProviderOutOfMemory,
            Self::RequestTooLarge { .. } => Reason::RequestTooLarge,
            Self::ResponseTooLarge { .. } => Reason::ResponseTooLarge,
            Self::BadAnswer { .. } => Reason::ProviderAnswerInvalid,
            Self::Manifest(_) => Reason::ManifestInvalid,
            Self::Busy => Reason::HostBusy,
            Self::Host { .. } => Reason::HostError,
        }
    }
}

/// As `64Mi`, or in bytes if it is not a multiple of a mebibyte.
fn mebibytes(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes >= MIB && bytes.is_multiple_of(MIB) { format!("{}Mi", bytes / MIB) } else { format!("{bytes} bytes") }
}
