//! `bartizan`: the operator host. Parses the command line and turns results into exit codes.

mod api;
mod api_error;
mod ask;
mod ask_host;
mod breakers;
mod calls;
mod catalog;
mod cli;
mod conclude;
mod controller;
mod crds;
mod declared;
mod events;
mod execute;
mod explain;
mod explain_cli;
mod health;
mod identity;
mod job;
mod kinds;
mod metrics;
mod pace;
mod preview;
mod providers;
mod rbac;
mod reconcile;
mod recorder;
mod registry;
mod removal;
mod replay;
mod restless;
mod run;
mod say;
mod start;
mod telemetry;
mod token_key;
mod upgrade_cli;
mod values;
mod version;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

/// What kubectl and Helm users expect of a command that could not do its work because of how it was called.
const COULD_NOT_RUN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let cli::Cli { command } = cli::Cli::parse();
    let result = match command {
        cli::Command::Run(args) => {
            telemetry::init(args.log_format);
            run::run(args).await.map(|()| ExitCode::SUCCESS)
        }
        cli::Command::Compile => bartizan_runtime::compile_for_parent(std::io::stdin(), std::io::stdout())
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::msg),
        cli::Command::Crds(args) => catalog::print_crds(&args.module).map(|()| ExitCode::SUCCESS),
        cli::Command::Rbac(args) => rbac::print(&args).map(|()| ExitCode::SUCCESS),
        cli::Command::Explain(args) => explain_cli::explain(&args).await,
        cli::Command::Diff(args) => upgrade_cli::diff(&args).await,
        cli::Command::Approve(args) => upgrade_cli::approve(&args).await,
        cli::Command::Push(args) => registry::push(&args).await,
        cli::Command::Pull(args) => registry::pull(&args).await,
        cli::Command::Replay(args) => replay::replay(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", api_error::chain(error.as_ref()));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}
