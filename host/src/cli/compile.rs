//! `bartizan compile`: the compiler process of a host.

use bartizan_runtime::CompilerLimits;

/// `bartizan compile`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompileArgs {
    /// Most memory, in bytes.
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// Most processor time, in seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

impl CompileArgs {
    /// The limits of the process.
    pub(crate) fn limits(&self) -> CompilerLimits {
        CompilerLimits { memory: self.memory, seconds: self.seconds }
    }
}
