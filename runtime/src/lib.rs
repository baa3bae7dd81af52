//! Loads and calls provider modules in the sandbox: wasmtime, and nothing that knows Kubernetes.
//!
//! There is one [`Runtime`] per process. [`Runtime::load`] turns the bytes of a `.wasm` into a [`Module`], which is cheap to
//! clone and may be called from many threads at once; every call runs in a fresh instance that is dropped afterwards. All calls
//! block: an async host makes them on [`Threads`], and makes no more than [`Runtime::concurrent_calls`] at the same time.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bartizan_runtime::{Config, Limits, Runtime};
//!
//! let runtime = Runtime::new(Config::default())?;
//! let module = runtime.load(&std::fs::read("minio.wasm")?)?;
//! let limits = Limits::default();
//! let manifest = module.describe(&limits)?.manifest;
//! let answer = module.reconcile(b"{...}", &limits)?;
//! # Ok(()) }
//! ```

mod cache;
mod call;
mod compile;
mod config;
mod describe;
mod engine;
mod errors;
mod imports;
mod load;
mod logs;
mod memory;
mod resources;
mod runtime;
mod store;
mod threads;
mod ticker;
mod wasi;

pub use call::{Answer, Module};
pub use compile::{CompilerLimits, compile_for_parent};
pub use config::{Config, Limits};
pub use describe::{Description, ManifestError};
pub use errors::{CallError, CompilerError, Fault, LoadError, StartError};
pub use logs::{LogLevel, LogLine};
pub use runtime::Runtime;
pub use threads::{LONG_CALL, Threads, processor_time};
