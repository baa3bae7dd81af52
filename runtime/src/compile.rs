//! From untrusted bytes to compiled code: recognise, validate completely, turn a core module into a component, compile.
//!
//! wasmtime does not bound the compiler. The bounds here are the size of the module, the size of each function (compile time
//! grows faster than a function's size), and a timeout. A compiler that runs as a process of its own is killed then, and has limits of
//! memory and processor time, which hold also if this process ends first; in this process it cannot be stopped, so its thread runs to
//! the end and its result is dropped.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};
use wasmtime::Engine;
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use crate::config::Config;
use crate::errors::{CompilerError, LoadError};
use crate::{engine, imports, resources};

const MAGIC: &[u8] = b"\0asm";
/// The custom section (or its prefix) in which wit-bindgen records the world that a core module was built for.
const WORLD_SECTION: &str = "component-type";

/// How often a compilation is asked whether it goes on.
const GOES_ON: Duration = Duration::from_millis(50);

/// Checks size and header, without parsing the module.
pub(crate) fn recognise(wasm: &[u8], config: &Config) -> Result<(), LoadError> {
    if wasm.is_empty() {
        return Err(LoadError::Empty);
    }
    if wasm.len() > config.module_bytes {
        return Err(LoadError::TooLarge { bytes: wasm.len(), limit: config.module_bytes });
    }
    let start = &wasm[..wasm.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) {
        let found = format!("\"{}\"", wasm[..wasm.len().min(12)].escape_ascii());
        return Err(LoadError::NotWasm { found });
    }
    Ok(())
}

/// The bytes of a validated component: the module itself, or one made from a core module.
pub(crate) fn to_component(wasm: &[u8], config: &Config) -> Result<Vec<u8>, LoadError> {
    let features = WasmFeatures::default() - WasmFeatures::RELAXED_SIMD - WasmFeatures::MEMORY64;
    Validator::new_with_features(features).validate_all(wasm).map_err(invalid)?;
    let module = survey(wasm, config)?;
    if !module.is_core {
        return Ok(wasm.to_vec());
    }
    if let Some(import) = module.foreign_import {
        return Err(LoadError::Import { import });
    }
    if !module.has_world {
        return Err(LoadError::NotAProvider);
    }
    ComponentEncoder::default()
        .module(wasm)
        .and_then(|encoder| encoder.validate(false).encode())
        .map_err(|error| LoadError::Componentize { cause: format!("{error:#}") })
}

/// What a pass over the sections finds.
struct Survey {
    is_core: bool,
    has_world: bool,
    foreign_import: Option<String>,
}

fn survey(wasm: &[u8], config: &Config) -> Result<Survey, LoadError> {
    let mut survey = Survey { is_core: false, has_world: false, foreign_import: None };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding, .. } => {
                survey.is_core |= depth == 0 && encoding == Encoding::Module;
                depth += 1;
            }
            Payload::CustomSection(section) if section.name().starts_with(WORLD_SECTION) => survey.has_world = true,
            Payload::ImportSection(section) if survey.is_core => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    if survey.foreign_import.is_none() && !imports::is_core_log(import.module) {
                        survey.foreign_import = Some(format!("{}/{}", import.module, import.name));
                    }
                }
            }
            Payload::MemorySection(section) => resources::check_memories(&section)?,
            Payload::FunctionSection(section) => resources::check_items("functions in a module", section.count())?,
            Payload::GlobalSection(section) => resources::check_items("globals in a module", section.count())?,
            Payload::TableSection(section) => resources::check_tables(&section)?,
            Payload::CodeSectionEntry(body) => {
                let (bytes, limit) = (body.range().len(), config.function_bytes);
                if bytes > limit {
                    return Err(LoadError::FunctionTooLarge { bytes, limit });
                }
            }
            _ => {}
        }
    }
    Ok(survey)
}

fn invalid(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid { offset: error.offset(), cause: error.message().to_owned() }
}

/// Compiles within the timeout of the settings, and while it is to go on. The result is input for `deserialize`.
pub(crate) fn compile(component: Vec<u8>, config: &Config, goes_on: &dyn Fn() -> bool) -> Result<Vec<u8>, LoadError> {
    let timeout = config.compile_timeout;
    let (done, result) = mpsc::channel();
    let child = match config.compiler.as_deref() {
        Some([program, arguments @ ..]) => Some(start(program, arguments, config)?),
        _ => None,
    };
    let (process, pipes) = child.map(|(process, pipes)| (Some(process), Some(pipes))).unwrap_or_default();
    thread::Builder::new()
        .name("bartizan-compile".to_owned())
        .spawn(move || {
            let compiled = match pipes {
                Some(pipes) => exchange(pipes, &component),
                None => precompile(&component).map_err(|error| error.to_string()),
            };
            // There is no receiver any more after the timeout.
            let _ = done.send(compiled);
        })
        .map_err(|error| interrupted(format!("its thread cannot be started: {error}")))?;
    let (began, mut was_ended) = (Instant::now(), false);
    let received = loop {
        let left = timeout.saturating_sub(began.elapsed());
        match result.recv_timeout(left.min(GOES_ON)) {
            Err(mpsc::RecvTimeoutError::Timeout) if left > GOES_ON => {
                was_ended = !goes_on();
                if was_ended {
                    break Err(mpsc::RecvTimeoutError::Timeout);
                }
            }
            received => break received,
        }
    };
    if let Some(mut process) = process {
        if received.is_err() {
            // A process that has ended already cannot be killed, and need not be.
            let _ = process.kill();
        }
        let status = process.wait().map_err(|error| interrupted(format!("it cannot be waited for: {error}")))?;
        if received.is_ok() && !status.success() {
            let message = received.ok().and_then(Result::err).unwrap_or_default();
            return Err(ended(status, message, config));
        }
    }
    match received {
        Ok(compiled) => compiled.map_err(failed),
        Err(mpsc::RecvTimeoutError::Timeout) if was_ended => Err(LoadError::CompileEnded),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(LoadError::CompileTimeout { limit: timeout }),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(failed("the compiler panicked; report the module".to_owned())),
    }
}

/// Why a compiler process ended without a result.
fn ended(status: ExitStatus, message: String, config: &Config) -> LoadError {
    // A thread without a stack is for lack of memory; so may it be if there are too many threads, which passes.
    if message.contains("Resource temporarily unavailable") {
        let limit = config.compiler_memory;
        return interrupted(format!("it could start no thread, for want of threads or of its {limit} bytes of memory"));
    }
    // The words of Rust's allocator, of wasmtime, and of the operating system for what is mapped.
    let lacked_memory = ["memory allocation of ", "out of memory", "Cannot allocate memory"];
    if lacked_memory.iter().any(|words| message.contains(words)) {
        return LoadError::CompileMemory { limit: config.compiler_memory };
    }
    match status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => LoadError::CompileTimeout { limit: config.compile_timeout },
        Some(_) => interrupted(format!("it ended with {status}")),
        None if message.is_empty() => interrupted(format!("it ended with {status}")),
        None => failed(message),
    }
}

/// The limits of the compiler process, which the parent gives it as arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompilerLimits {
    /// Most bytes of memory that it may write to.
    pub memory: Option<u64>,
    /// Most seconds of processor time.
    pub seconds: Option<u64>,
}

impl CompilerLimits {
    /// Limits this process.
    fn set(self) -> Result<(), CompilerError> {
        let limits = [(Resource::Data, self.memory), (Resource::Cpu, self.seconds), (Resource::Core, Some(0))];
        for (resource, limit) in limits {
            // No process may raise what it was given.
            let hard = getrlimit(resource).maximum;
            let limit = limit.map(|limit| hard.map_or(limit, |hard| hard.min(limit)));
            let limit = limit.map(|limit| Rlimit { current: Some(limit), maximum: Some(limit) });
            limit
                .map_or(Ok(()), |limit| setrlimit(resource, limit))
                .map_err(|error| CompilerError::Limit(error.into()))?;
        }
        Ok(())
    }
}

/// The compiler process: limits itself, reads a component, and writes compiled code. On failure the parent takes standard error as the
/// cause.
///
/// # Errors
/// If the component cannot be compiled, or the parent has closed its pipes.
pub fn compile_for_parent(
    limits: CompilerLimits,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), CompilerError> {
    limits.set()?;
    let mut component = Vec::new();
    input.read_to_end(&mut component).map_err(CompilerError::Pipe)?;
    let code = precompile(&component)?;
    output.write_all(&code).map_err(CompilerError::Pipe)
}

/// Compiles in an engine of its own, which is dropped afterwards: an engine retains the compiler's working memory, and there may
/// be no further compilation.
fn precompile(component: &[u8]) -> Result<Vec<u8>, CompilerError> {
    let compiled = Engine::new(&engine::settings()).and_then(|engine| engine.precompile_component(component));
    compiled.map_err(CompilerError::Compile)
}

/// Standard input, output and error of the compiler.
type Pipes = (ChildStdin, ChildStdout, ChildStderr);

fn start(program: &OsStr, arguments: &[OsString], config: &Config) -> Result<(Child, Pipes), LoadError> {
    let mut command = Command::new(program);
    // On every processor for as long as it may take.
    let processors = thread::available_parallelism().map_or(1, |number| u64::try_from(number.get()).unwrap_or(1));
    let seconds = config.compile_timeout.as_secs().max(1).saturating_mul(processors);
    // It needs nothing from this process's environment, which may hold credentials.
    command.args(arguments).arg(format!("--memory={}", config.compiler_memory)).arg(format!("--seconds={seconds}"));
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| interrupted(format!("it cannot be started: {error}")))?;
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(input), Some(output), Some(errors)) => Ok((child, (input, output, errors))),
        _ => Err(interrupted("it has no pipes".to_owned())),
    }
}

/// Sends the component and receives the code. The compiler reads everything before it writes, so that neither side deadlocks.
fn exchange((mut input, mut output, mut errors): Pipes, component: &[u8]) -> Result<Vec<u8>, String> {
    let sent = input.write_all(component);
    drop(input);
    let (mut code, mut messages) = (Vec::new(), String::new());
    let received = output.read_to_end(&mut code);
    // The useful error is why the compiler ended, not that the pipe broke.
    if errors.read_to_string(&mut messages).is_ok() && !messages.is_empty() {
        return Err(messages.trim().trim_start_matches("error: ").to_owned());
    }
    sent.and(received.map(|_| ())).map_err(|error| error.to_string())?;
    Ok(code)
}

/// Loads the result of `compile`, and nothing else, into the engine that runs it.
pub(crate) fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: wasmtime requires that the bytes were made from a component by an engine of the same settings. The only caller
    // passes on what `compile` returned: made by `precompile` in this process, or by the same function in a process that
    // this one started from a program that the settings name, which must be of the same version (the host names itself),
    // over pipes that nobody else holds. Engines of other settings or versions are refused by wasmtime, too.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine, code) };
    component.map_err(|error| failed(format!("{error:#}")))
}

fn interrupted(cause: String) -> LoadError {
    LoadError::Compiler { cause }
}

fn failed(cause: String) -> LoadError {
    LoadError::Compile { cause }
}
