//! Calls of a module: each in a fresh instance with its own memory, deadline and log, which is dropped afterwards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bartizan_contract::Failure;
use bartizan_contract::digest::format_digest;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, ComponentType, InstancePre, Lift, Lower};
use wasmtime::{FrameInfo, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::config::Limits;
use crate::describe::{self, Description};
use crate::engine::Allocation;
use crate::errors::{CallError, Fault};
use crate::imports::Exports;
use crate::logs::LogLine;
use crate::runtime::Inner;
use crate::store::CallState;
use crate::threads::{self, LONG_CALL};
use crate::ticker;

/// Handles that a guest may hold. Only guests of other languages have any, for their standard streams.
const HANDLES: usize = 1000;
/// Bytes that a guest may pass at once even if its response must be smaller: no sensible log line is longer.
const COPIED_BYTES: usize = 4 * 1024 * 1024;
/// Bytes to keep of each string of a `failure` record, which becomes the message of a condition.
const FAILURE_TEXT_BYTES: usize = 4096;

/// A provider that can be called. Cheap to clone; may be called from many threads at once.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Loaded>,
}

struct Loaded {
    /// Keeps the ticker of the engines running.
    runtime: Arc<Inner>,
    pre: InstancePre<CallState>,
    exports: Exports,
    allocation: Allocation,
    digest: String,
    size: usize,
    from_cache: bool,
    /// Whether the last call to end was a long one.
    takes_long: AtomicBool,
}

/// What a guest returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A `ReconcileResponse` as JSON, not parsed and not trusted.
    pub response: Vec<u8>,
    /// What the guest logged during the call.
    pub logs: Vec<LogLine>,
}

/// The record `failure` as it crosses the sandbox.
#[derive(ComponentType, Lift)]
#[component(record)]
struct WireFailure {
    code: String,
    message: String,
    field: Option<String>,
    #[component(name = "retry-after-seconds")]
    retry_after_seconds: Option<u32>,
}

impl Module {
    pub(crate) fn new(
        runtime: Arc<Inner>,
        pre: InstancePre<CallState>,
        exports: Exports,
        allocation: Allocation,
        sha256: &[u8; 32],
        size: usize,
        from_cache: bool,
    ) -> Self {
        let digest = format_digest(sha256);
        let takes_long = AtomicBool::new(false);
        Self { inner: Arc::new(Loaded { runtime, pre, exports, allocation, digest, size, from_cache, takes_long }) }
    }

    /// Digest of the module that was loaded: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Size of the module in bytes; 0 if its bytes were not needed ([`Runtime::recall`](crate::Runtime::recall)).
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.size
    }

    /// Whether the compiled code came from the cache on disk.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.inner.from_cache
    }

    /// Whether its instances come from the pool. Otherwise memory is allocated on demand for each call, which takes some
    /// 100 µs more.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.inner.allocation == Allocation::Pooled
    }

    /// Asks the provider for its manifest and checks it. Blocks; see [`Limits::timeout`].
    ///
    /// # Errors
    /// [`Fault::Manifest`] if this host cannot serve it, and all errors of a call.
    pub fn describe(&self, limits: &Limits) -> Result<Description, CallError> {
        let (bytes, logs) = self.call::<_, Vec<u8>>(&self.inner.exports.describe, (), limits)?;
        let parsed = check_response(&bytes, limits).and_then(|()| describe::parse(&bytes).map_err(Fault::Manifest));
        match parsed {
            Ok(manifest) => Ok(Description { manifest, logs }),
            Err(fault) => Err(CallError { fault, logs }),
        }
    }

    /// Asks the provider for one decision. `request` is a `ReconcileRequest` as JSON. Blocks; see [`Limits::timeout`].
    ///
    /// # Errors
    /// [`Fault::Failure`] with the guest's own message, or another [`Fault`]; in any case with what the guest logged.
    pub fn reconcile(&self, request: &[u8], limits: &Limits) -> Result<Answer, CallError> {
        let (bytes, limit) = (request.len(), limits.request_bytes);
        if bytes > limit {
            return Err(CallError { fault: Fault::RequestTooLarge { bytes, limit }, logs: Vec::new() });
        }
        let export = &self.inner.exports.reconcile;
        let (result, logs) = self.call::<_, Result<Vec<u8>, WireFailure>>(export, (request,), limits)?;
        let checked = match result {
            Ok(response) => check_response(&response, limits).map(|()| response),
            Err(failure) => Err(Fault::Failure(failure.into())),
        };
        match checked {
            Ok(response) => Ok(Answer { response, logs }),
            Err(fault) => Err(CallError { fault, logs }),
        }
    }

    /// Runs one exported function in a fresh instance.
    fn call<P, R>(
        &self,
        export: &ComponentExportIndex,
        params: P,
        limits: &Limits,
    ) -> Result<(R, Vec<LogLine>), CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentType + Lift + Send + Sync + 'static,
    {
        let mut store = Store::new(self.inner.pre.engine(), CallState::new(limits));
        store.limiter(|state| &mut state.memory);
        // A module whose last call was long most likely takes long again.
        if self.inner.takes_long.load(Ordering::Relaxed) {
            threads::lower_priority();
        }
        let ticks = self.inner.runtime.ticker.ticks().clone();
        let deadline = ticks.elapsed() + ticker::ticks(limits.timeout);
        // Most calls end before the first tick, and reading the processor time costs more than it is worth for them.
        let mut used_before = None;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut store| {
            let left = deadline.saturating_sub(ticks.elapsed());
            if left == 0 {
                return Ok(UpdateDeadline::Interrupt);
            }
            // A call that only waited for a busy processor is not a long one.
            let used = threads::processor_time();
            if used.saturating_sub(*used_before.get_or_insert(used)) < LONG_CALL {
                return Ok(UpdateDeadline::Continue(1));
            }
            threads::lower_priority();
            store.data_mut().took_long = true;
            Ok(UpdateDeadline::Continue(left))
        });
        // What is far too large is not even copied out of the guest: a response, or what it logs and prints.
        store.set_hostcall_fuel(copied_bytes(limits));
        store.set_max_component_handles(HANDLES);

        let result = self.inner.pre.instantiate(&mut store).map_err(|error| (Stage::Instantiate, error));
        let result = result.and_then(|instance| {
            let function = instance.get_typed_func::<P, (R,)>(&mut store, export);
            let called = function.and_then(|function| function.call(&mut store, params));
            called.map_err(|error| (Stage::Call, error))
        });
        // The store is dropped with its instance in any case: nothing of a trapped guest is used again.
        let state = store.into_data();
        self.inner.takes_long.store(state.took_long, Ordering::Relaxed);
        match result {
            Ok((value,)) => Ok((value, state.logs.finish())),
            Err((stage, error)) => {
                let fault = fault(stage, &error, state.memory.denied(), limits);
                Err(CallError { fault, logs: state.logs.finish() })
            }
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("digest", &self.inner.digest).finish_non_exhaustive()
    }
}

impl From<WireFailure> for Failure {
    fn from(wire: WireFailure) -> Self {
        Self {
            code: shortened(wire.code).into(),
            message: shortened(wire.message),
            field: wire.field.map(shortened),
            retry_after_seconds: wire.retry_after_seconds,
        }
    }
}

/// Bytes that a guest may pass at once.
fn copied_bytes(limits: &Limits) -> usize {
    limits.response_bytes.max(COPIED_BYTES)
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(FAILURE_TEXT_BYTES));
    text
}

fn check_response(response: &[u8], limits: &Limits) -> Result<(), Fault> {
    let limit = limits.response_bytes;
    if response.len() > limit { Err(Fault::ResponseTooLarge { limit }) } else { Ok(()) }
}

/// The stage in which a call failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Instantiate,
    Call,
}

/// Name of wasmtime's private error type for exceeding [`Store::set_hostcall_fuel`].
const TOO_MUCH_IS_COPIED: &str = "HostcallFuelExhausted";

/// Maps an error of wasmtime's by its type, or by the type's name where that is private; never by its message.
fn fault(stage: Stage, error: &wasmtime::Error, memory_denied: bool, limits: &Limits) -> Fault {
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::Interrupt) {
        return Fault::Timeout { limit: limits.timeout };
    }
    let is_hostcall = error.is::<WasmBacktrace>();
    let too_much_is_copied = format!("{:?}", error.root_cause()) == TOO_MUCH_IS_COPIED;
    if too_much_is_copied && !is_hostcall {
        return Fault::ResponseTooLarge { limit: limits.response_bytes };
    }
    if memory_denied {
        return Fault::Memory { limit: limits.memory_bytes };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Busy;
    }
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames);
    let cause = match too_much_is_copied {
        true => format!("it logs or prints more than {}Mi at once", copied_bytes(limits).div_ceil(1024 * 1024)),
        false => error.root_cause().to_string(),
    };
    match (trap, backtrace) {
        (Some(trap), backtrace) => {
            let cause = trap.to_string();
            let cause = cause.strip_prefix("wasm trap: ").unwrap_or(&cause).to_owned();
            Fault::Trap { cause, backtrace: backtrace.unwrap_or_default() }
        }
        (None, Some(backtrace)) => Fault::Trap { cause, backtrace },
        (None, None) if stage == Stage::Instantiate => Fault::Host { cause },
        (None, None) => Fault::BadAnswer { cause },
    }
}

fn frames(backtrace: &WasmBacktrace) -> String {
    let frame = |frame: &FrameInfo| {
        let function = match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        };
        match frame.module_offset() {
            Some(offset) => format!("{function} at {offset:#x}"),
            None => function,
        }
    };
    backtrace.frames().iter().map(frame).collect::<Vec<_>>().join("\n")
}
