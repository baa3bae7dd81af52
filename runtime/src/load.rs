//! From the bytes of a `.wasm` to a module that can be called.

use std::sync::Arc;

use bartizan_contract::digest::{parse_digest, sha256};
use wasmtime::component::Component;

use crate::engine::{Allocation, Inner};
use crate::{LoadError, Module, compile, imports, resources};

pub(crate) fn load(runtime: &Arc<Inner>, wasm: &[u8]) -> Result<Module, LoadError> {
    compile::recognise(wasm, &runtime.config)?;
    let sha256 = sha256(wasm);
    if let Some(placed) = runtime.cache.as_ref().and_then(|cache| cache.get(&runtime.engines, &sha256)) {
        return link(runtime, placed, &sha256, wasm.len(), true);
    }
    let bytes = compile::to_component(wasm, &runtime.config)?;
    let code = compile::compile(bytes, &runtime.config)?;
    let placed = runtime.engines.place(|engine| compile::deserialize(engine, &code))?;
    let module = link(runtime, placed, &sha256, wasm.len(), false)?;
    // Only what passed every check is kept, so that an entry says that its module may be called.
    if let Some(cache) = &runtime.cache {
        cache.put(&code, &sha256);
    }
    Ok(module)
}

/// Takes a module out of the cache, where it is only once it passed every check.
pub(crate) fn recall(runtime: &Arc<Inner>, digest: &str) -> Option<Module> {
    let sha256 = parse_digest(digest)?;
    let placed = runtime.cache.as_ref()?.get(&runtime.engines, &sha256)?;
    // Its rules are those of now: what they refuse is as if it was not there.
    link(runtime, placed, &sha256, 0, true).ok()
}

fn link(
    runtime: &Arc<Inner>,
    (component, allocation): (Component, Allocation),
    sha256: &[u8; 32],
    size: usize,
    from_cache: bool,
) -> Result<Module, LoadError> {
    resources::check_component(&component)?;
    let linker = imports::link(&component)?;
    let exports = imports::exports(&component)?;
    let pre = linker.instantiate_pre(&component).map_err(|error| LoadError::Compile { cause: format!("{error:#}") })?;
    Ok(Module::new(Arc::clone(runtime), pre, exports, allocation, sha256, size, from_cache))
}
