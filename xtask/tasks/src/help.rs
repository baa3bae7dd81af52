//! The help texts of the tasks as files. `cargo xtask` prints them without building this program first.

use std::path::PathBuf;

use clap::CommandFactory as _;

use crate::Cli;

/// Path and content of each file, below the root of the workspace.
pub(crate) fn files() -> Vec<(PathBuf, String)> {
    let mut cli = Cli::command();
    cli.build();
    let tasks = cli.get_subcommands_mut();
    tasks
        .map(|task| {
            let file = PathBuf::from("xtask/src/help").join(format!("{}.txt", task.get_name()));
            (file, task.render_help().to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bartizan_harness::build;

    use super::*;

    #[test]
    fn the_help_of_cargo_xtask_is_what_this_program_would_print() -> anyhow::Result<()> {
        for (file, text) in files() {
            let written = std::fs::read_to_string(build::workspace_root().join(&file)).unwrap_or_default();
            assert_eq!(written, text, "run `cargo xtask generate`: {}", file.display());
        }
        Ok(())
    }
}
