//! Everything that can go wrong, told apart by type. Each message says what happened and what to do about it; none
//! holds a number that changes from one call to the next, so that a condition built from it stays quiet.

use std::time::Duration;

use bartizan_contract::names::{LOG_INTERFACE, PROVIDER_INTERFACE};
use bartizan_contract::{Failure, Reason};

use crate::describe::ManifestError;
use crate::logs::{LogLevel, LogLine};

/// The runtime could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// wasmtime refused this machine or these settings.
    #[error("the WebAssembly engine cannot start on this machine: {0:#}")]
    Engine(wasmtime::Error),
    /// No thread for the clock of timeouts.
    #[error("no thread for the clock of timeouts: {0}; raise the limit of threads of this process")]
    Ticker(std::io::Error),
}

/// A module was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No bytes.
    #[error("the file is empty: it may still be being copied; build or copy the module again")]
    Empty,
    /// Bytes that do not begin as WebAssembly does.
    #[error(
        "not a WebAssembly module: it begins with {found}, not with \"\\0asm\"; give the .wasm file that the build made"
    )]
    NotWasm {
        /// The first bytes, quoted.
        found: String,
    },
    /// More bytes than [`Config::module_bytes`](crate::Config::module_bytes).
    #[error(
        "the module has {bytes} bytes, more than the {limit} that this host takes; build it optimised and stripped"
    )]
    TooLarge {
        /// Bytes of the module.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// A function above [`Config::function_bytes`](crate::Config::function_bytes).
    #[error(
        "a function of the module has {bytes} bytes, more than the {limit} that this host compiles; build it optimised"
    )]
    FunctionTooLarge {
        /// Bytes of the function's body.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// Not valid WebAssembly: cut off, damaged, or of features that this host does not run.
    #[error("the module is damaged or cut off at byte {offset} ({cause}): build or copy it again")]
    Invalid {
        /// Where.
        offset: usize,
        /// The validator's words.
        cause: String,
    },
    /// An import that is not of the contract.
    #[error("imports \"{import}\", which a provider may not: {}", import_advice(.import))]
    Import {
        /// `module/field` of a core module, the name of the import of a component.
        import: String,
    },
    /// A core module without the description that makes it a component.
    #[error(
        "the core module was not built as a provider: it has no custom section \"component-type\"; build it with \
         bartizan-sdk, or with wit-bindgen for the world bartizan:provider/plugin@0.1.0"
    )]
    NotAProvider,
    /// A core module that does not fit its own description.
    #[error("the core module cannot be made a component: {cause}; build it again with one version of its SDK")]
    Componentize {
        /// The encoder's words.
        cause: String,
    },
    /// The contract's export is missing.
    #[error(
        "does not export \"{export}\": it is not a provider, or one of another version of the contract ({PROVIDER_INTERFACE})"
    )]
    MissingExport {
        /// The interface, or interface and function.
        export: String,
    },
    /// The contract's export has another shape.
    #[error(
        "exports \"{export}\" with another type than the contract's: build it with the WIT of {PROVIDER_INTERFACE}"
    )]
    WrongExport {
        /// The function.
        export: String,
    },
    /// More of something than this host gives an instance, in the pool or not.
    #[error("needs {needed} {what}, more than the {limit} that this host gives an instance")]
    TooManyResources {
        /// `memories`, `tables`, `elements in a table`, `functions in a module` or `globals in a module`.
        what: &'static str,
        /// What the module needs.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// The compiler failed.
    #[error("cannot be compiled: {cause}")]
    Compile {
        /// The compiler's words.
        cause: String,
    },
    /// The compiler took too long.
    #[error("was not compiled within {limit:?}: the module is too complex; build it optimised, with smaller functions")]
    CompileTimeout {
        /// [`Config::compile_timeout`](crate::Config::compile_timeout).
        limit: Duration,
    },
}

fn import_advice(import: &str) -> String {
    if import.starts_with("wasi_snapshot_preview1/") {
        "build it for wasm32-unknown-unknown, or make it a component with the WASI adapter".to_owned()
    } else if import.starts_with("wasi:http/") {
        "providers have no network; the host alone talks to others".to_owned()
    } else if import.starts_with("__wbindgen") {
        "a dependency of it needs a browser (wasm-bindgen); switch that feature of the dependency off".to_owned()
    } else {
        format!("the only import is {LOG_INTERFACE} (and, in components of other languages, WASI 0.2)")
    }
}

/// A call that gave no answer, with what the guest logged until then.
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
        // A panic is a bare `unreachable`: its message is what the guest logged last.
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

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The guest's own `failure` record.
    #[error(transparent)]
    Failure(Failure),
    /// The guest crashed.
    #[error("the provider crashed ({cause}); this is a fault of the provider's: report it to its author")]
    Trap {
        /// What the sandbox says.
        cause: String,
        /// The guest's call stack, innermost first, one frame a line; empty if there is none.
        backtrace: String,
    },
    /// The guest ran out of time.
    #[error("the provider did not answer within {limit:?} and was stopped; raise limits.timeout, or ask its author")]
    Timeout {
        /// [`Limits::timeout`](crate::Limits::timeout).
        limit: Duration,
    },
    /// The guest ran out of memory.
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
        "the request has more than {}; the parent has too many or too large objects: raise limits.requestBytes",
        mebibytes(*.limit)
    )]
    RequestTooLarge {
        /// Bytes of the request.
        bytes: usize,
        /// [`Limits::request_bytes`](crate::Limits::request_bytes).
        limit: usize,
    },
    /// The response is too large; what is far too large was not even copied.
    #[error(
        "the provider's response has more than {}; raise limits.responseBytes, or ask its author",
        mebibytes(*.limit)
    )]
    ResponseTooLarge {
        /// [`Limits::response_bytes`](crate::Limits::response_bytes).
        limit: usize,
    },
    /// The guest breaks the binary interface: a pointer out of its memory, a record that is no record.
    #[error(
        "the provider's answer breaks the binary interface ({cause}); this is a fault of the provider's: report it to \
         its author"
    )]
    BadAnswer {
        /// What the sandbox says.
        cause: String,
    },
    /// `describe` returned a manifest that this host cannot serve.
    #[error(transparent)]
    Manifest(ManifestError),
    /// More calls at once than [`Config::concurrent_calls`](crate::Config::concurrent_calls).
    #[error("all instances of the pool are in use; try again")]
    Busy,
    /// The instance could not be made, for a reason on the host's side.
    #[error("the host could not make an instance of the provider: {cause}")]
    Host {
        /// wasmtime's words.
        cause: String,
    },
}

impl Fault {
    /// One CamelCase word, as conditions want it.
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

/// `64Mi`, or bytes where that is not a whole number.
fn mebibytes(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes >= MIB && bytes.is_multiple_of(MIB) { format!("{}Mi", bytes / MIB) } else { format!("{bytes} bytes") }
}
