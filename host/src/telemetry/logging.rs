//! Logs: text for people or JSON for programs, filtered by `RUST_LOG`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging to standard error. By default, kube and its HTTP stack log nothing: what concerns anybody, the host says itself. `RUST_LOG`
/// shows their lines.
pub(crate) fn init(format: LogFormat) {
    let default = || EnvFilter::new("info,kube=off,hyper=off,tower=off");
    let set = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some_and(|value| !value.is_empty());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|error| {
        if set {
            eprintln!("warning: RUST_LOG: {error}; logging at info");
        }
        default()
    });
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
