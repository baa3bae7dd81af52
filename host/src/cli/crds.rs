//! `bartizan crds`: the CRDs of one module as a YAML stream.

use std::path::{Path, PathBuf};

use crate::catalog::module::manifest_of;

/// `bartizan crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct CrdsArgs {
    /// Provider module.
    #[arg(value_name = "FILE")]
    pub(crate) module: PathBuf,
}

/// Prints the CRDs of one module.
///
/// # Errors
/// If the file is no provider module.
pub(crate) fn print(file: &Path) -> anyhow::Result<()> {
    for crd in &manifest_of(file)?.crds {
        print!("---\n{}", serde_yaml_ng::to_string(crd)?);
    }
    Ok(())
}
