//! `bartizan debug-key`: runs in the host's container, for those commands that ask the host.

use std::path::PathBuf;

use crate::endpoints::one_time_key;

#[derive(Debug, clap::Args)]
pub(crate) struct DebugKeyArgs {
    /// File of the host with the secret of one-time keys.
    #[arg(long, value_name = "FILE", env = "BARTIZAN_DEBUG_KEY_FILE")]
    pub(crate) debug_key_file: PathBuf,
}

/// Prints a key.
///
/// # Errors
/// If the file cannot be read, or holds no secret.
pub(crate) fn print(args: &DebugKeyArgs) -> anyhow::Result<()> {
    println!("{}", one_time_key::make(&args.debug_key_file)?);
    Ok(())
}
