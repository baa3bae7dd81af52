//! The one thing that a provider may call: the host's log. Outside WebAssembly it goes to standard error.

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the provider's author.
    Debug,
    /// For the person who runs the host.
    Info,
    /// Somebody should look.
    Warn,
    /// Something is broken.
    Error,
}

/// Writes one line to the host's log.
#[cfg(target_arch = "wasm32")]
pub fn write(level: Level, message: &str) {
    use crate::guest::bindings::bartizan::provider::log;
    let level = match level {
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message);
}

/// Writes one line to standard error.
#[cfg(not(target_arch = "wasm32"))]
pub fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
