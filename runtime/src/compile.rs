//! From bytes that nobody trusts to compiled code: recognise, validate whole, make a component of a core module, compile.
//!
//! wasmtime does not bound the compiler. What bounds it here: the module's bytes, the bytes of each function (the
//! compiler's time grows faster than a function's size), and a wait with an end. A compilation that takes longer is
//! abandoned, not stopped: its thread runs on until it is done.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};
use wasmtime::Engine;
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use crate::{Config, LoadError, imports, resources};

const MAGIC: &[u8] = b"\0asm";
/// The custom section (or its prefix) in which wit-bindgen says what world a core module was built for.
const WORLD_SECTION: &str = "component-type";

/// Checks what can be told without looking into the module.
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

/// The bytes of a component, validated: the module itself, or what was made of a core module.
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

/// What a walk over the sections tells.
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

/// Compiles on a thread of its own, and waits for it no longer than `timeout`.
pub(crate) fn compile(engine: &Engine, component: Vec<u8>, timeout: Duration) -> Result<Component, LoadError> {
    let failed = |cause: String| LoadError::Compile { cause };
    let (done, result) = mpsc::channel();
    let engine = engine.clone();
    thread::Builder::new()
        .name("bartizan-compile".to_owned())
        .spawn(move || {
            // Nobody receives it any more if the wait is over.
            let _ = done.send(Component::from_binary(&engine, &component));
        })
        .map_err(|error| failed(format!("no thread for the compiler: {error}")))?;
    match result.recv_timeout(timeout) {
        Ok(component) => component.map_err(|error| failed(format!("{error:#}"))),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(LoadError::CompileTimeout { limit: timeout }),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(failed("the compiler panicked; report the module".to_owned())),
    }
}
