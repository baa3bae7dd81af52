//! From the bytes of a `.wasm` to a module that can be called.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::engine::Inner;
use crate::{LoadError, Module, compile, imports, resources};

pub(crate) fn load(runtime: &Arc<Inner>, wasm: &[u8]) -> Result<Module, LoadError> {
    compile::recognise(wasm, &runtime.config)?;
    let sha256: [u8; 32] = Sha256::digest(wasm).into();
    if let Some(component) = runtime.cache.as_ref().and_then(|cache| cache.get(&runtime.engine, &sha256)) {
        return link(runtime, component, &sha256, wasm.len(), true);
    }
    let bytes = compile::to_component(wasm, &runtime.config)?;
    let code = compile::compile(bytes, &runtime.config)?;
    let component = compile::deserialize(&runtime.engine, &code)?;
    let module = link(runtime, component, &sha256, wasm.len(), false)?;
    // Only what passed every check is kept, so that an entry says that its module may be called.
    if let Some(cache) = &runtime.cache {
        cache.put(&code, &sha256);
    }
    Ok(module)
}

fn link(
    runtime: &Arc<Inner>,
    component: Component,
    sha256: &[u8; 32],
    size: usize,
    from_cache: bool,
) -> Result<Module, LoadError> {
    resources::check_component(&component)?;
    let linker = imports::link(&runtime.engine, &component)?;
    let exports = imports::exports(&component)?;
    let pre = linker.instantiate_pre(&component).map_err(|error| LoadError::Compile { cause: format!("{error:#}") })?;
    Ok(Module::new(Arc::clone(runtime), pre, exports, sha256, size, from_cache))
}
