//! Loading: from the bytes of a `.wasm`, or from the cache, to a module that can be called.

use std::sync::Arc;

use bartizan_contract::digest::{parse_digest, sha256};
use wasmtime::component::Component;

use crate::call::Module;
use crate::engine::Allocation;
use crate::errors::LoadError;
use crate::runtime::{Inner, Runtime};
use crate::{compile, imports, resources};

impl Runtime {
    /// Loads a module from the bytes of a `.wasm`: a component, or a core module built for the contract. Blocks while it
    /// compiles (some 10 ms for a small provider; under 1 ms if it is in the cache).
    ///
    /// # Errors
    /// If it is not a provider; [`LoadError`] has a variant for each reason.
    pub fn load(&self, wasm: &[u8]) -> Result<Module, LoadError> {
        self.load_while(wasm, &|| true)
    }

    /// The same, unless this says while it compiles that it should not go on. It is asked several times a second.
    ///
    /// # Errors
    /// If it is not a provider, or its compilation was ended.
    pub fn load_while(&self, wasm: &[u8], goes_on: &dyn Fn() -> bool) -> Result<Module, LoadError> {
        let runtime = &self.inner;
        compile::recognise(wasm, &runtime.config)?;
        let sha256 = sha256(wasm);
        if let Some(placed) = runtime.cache.as_ref().and_then(|cache| cache.get(&runtime.engines, &sha256)) {
            return link(runtime, placed, &sha256, wasm.len(), true);
        }
        let bytes = compile::to_component(wasm, &runtime.config)?;
        let code = compile::compile(bytes, &runtime.config, goes_on)?;
        let placed = runtime.engines.place(|engine| compile::deserialize(engine, &code))?;
        let module = link(runtime, placed, &sha256, wasm.len(), false)?;
        let Some(cache) = &runtime.cache else { return Ok(module) };
        // Only what passed every check is cached, so that an entry means that its module may be called.
        cache.put(&code, &sha256);
        drop(code);
        // Mapped from the file, code takes memory only where it runs, and the kernel may take that back.
        match cache.get(&runtime.engines, &sha256) {
            Some(placed) => link(runtime, placed, &sha256, wasm.len(), false),
            None => Ok(module),
        }
    }

    /// Loads a module by its digest if its compiled code is in the cache; its bytes are not needed.
    #[must_use]
    pub fn recall(&self, digest: &str) -> Option<Module> {
        let runtime = &self.inner;
        let sha256 = parse_digest(digest)?;
        let placed = runtime.cache.as_ref()?.get(&runtime.engines, &sha256)?;
        // The rules of this version apply: a module that they refuse counts as missing.
        link(runtime, placed, &sha256, 0, true).ok()
    }
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
