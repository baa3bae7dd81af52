//! The host's log, the only function that a provider may import. Outside of WebAssembly it writes to standard error.

/// The severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the provider's author.
    Debug,
    /// For the host's operator.
    Info,
    /// Something looks wrong.
    Warn,
    /// Something is broken.
    Error,
}

/// Writes one line to the host's log.
#[cfg(target_arch = "wasm32")]
pub fn write(level: Level, message: &str) {
    use crate::bindings::bartizan::provider::log;
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
