//! From bytes to a module that can serve: compiled, and described by its own manifest.

use std::path::Path;
use std::sync::Arc;

use bartizan_contract::ProviderManifest;
use bartizan_contract::field::FieldError;
use bartizan_engine::provider::module::ModuleInfo;
use bartizan_runtime::{CallError, Config, Fault, Limits, LoadError, Module, Runtime};
use thiserror::Error;

use super::Loaded;

/// Why bytes are no module that can serve.
#[derive(Debug, Error)]
pub(crate) enum ModuleError {
    /// The runtime does not accept them.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The module does not describe itself.
    #[error(transparent)]
    Describe(CallError),
    /// It needs more for that than every module has.
    #[error(
        "describing itself takes it more than {0}, which is what every module has for that, whatever limits its Provider sets: its author \
         has to make that smaller"
    )]
    DescribeLimit(String),
    /// The schema of its settings is none.
    #[error(transparent)]
    Settings(#[from] FieldError),
}

/// Makes a module of bytes, and reads its manifest. Blocking: compiles what is not in the cache, while this says that it goes on.
///
/// # Errors
/// If the bytes are no provider module, or its compilation did not go on.
pub(crate) fn load(runtime: &Runtime, bytes: &[u8], goes_on: &dyn Fn() -> bool) -> Result<Loaded, ModuleError> {
    describe(runtime.load_while(bytes, goes_on)?)
}

/// A module that was loaded before, if its code is still in the cache. Blocking.
pub(super) fn recall(runtime: &Runtime, digest: &str) -> Option<Loaded> {
    describe(runtime.recall(digest)?).ok()
}

/// The manifest of the module in a file.
///
/// # Errors
/// If the file is no provider module.
pub(crate) fn manifest_of(file: &Path) -> anyhow::Result<Arc<ProviderManifest>> {
    let runtime = Runtime::new(Config::default())?;
    let bytes = std::fs::read(file);
    let file = file.display();
    let bytes = bytes.map_err(|error| anyhow::anyhow!("module {file}: cannot be read: {error}"))?;
    let loaded = load(&runtime, &bytes, &|| true).map_err(|error| anyhow::anyhow!("module {file}: {error}"))?;
    Ok(loaded.info.manifest)
}

fn describe(module: Module) -> Result<Loaded, ModuleError> {
    let manifest = module.describe(&Limits::default()).map_err(describe_error)?.manifest;
    let info = ModuleInfo::new(manifest, module.digest())?;
    Ok(Loaded { info, module })
}

fn describe_error(error: CallError) -> ModuleError {
    match &error.fault {
        Fault::Memory { limit } => ModuleError::DescribeLimit(format!("{} MiB of memory", limit >> 20)),
        Fault::Timeout { limit } => ModuleError::DescribeLimit(format!("{limit:?}")),
        _ => ModuleError::Describe(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_takes_too_much_to_describe_itself_is_not_told_to_raise_limits() {
        let error = CallError { fault: Fault::Memory { limit: 64 << 20 }, logs: Vec::new() };
        let expected = "describing itself takes it more than 64 MiB of memory, which is what every module has for that, whatever limits its \
                        Provider sets: its author has to make that smaller";
        assert_eq!(describe_error(error).to_string(), expected);
    }
}
