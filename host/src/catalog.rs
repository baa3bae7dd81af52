//! The catalog of modules: their origins, what was loaded from each, and why something was not. Modules come and go while the
//! host runs. The catalog's actor ([`actor`]) follows them, and publishes a [`snapshot`] whenever one changes.

pub(crate) mod actor;
mod config_maps;
pub(crate) mod documents;
mod fetch;
mod folder;
pub(crate) mod module;
mod module_store;
mod registries;
mod signers;
pub(crate) mod snapshot;
mod watch_folder;

pub(crate) use bartizan_engine::provider::source::{OciOrigin, Origin, Trouble, Wanted};

use bartizan_engine::provider::module::ModuleInfo;
use bartizan_engine::provider::source;
use bartizan_engine::provider::version::Version;
use bartizan_runtime::Module;

/// A module that can serve, with its code.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What decides about it must know.
    pub(crate) info: ModuleInfo,
    /// Its code.
    pub(crate) module: Module,
}

/// What each origin holds now: a module with its code, or why not.
pub(crate) type Library = source::Library<Loaded>;

/// A version with the code that it runs.
#[derive(Clone, Debug)]
pub(crate) struct Runnable {
    /// The version.
    pub(crate) version: Version,
    /// Code of its module.
    pub(crate) module: Module,
}
