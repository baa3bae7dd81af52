//! `bartizan`: the operator host. Parses the command line and turns results into exit codes.

mod catalog;
mod cli;
mod controller;
mod endpoints;
mod kubernetes;
mod providers;
mod reconcile;
mod run;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

/// Exit code of a command that failed; 1 is a negative result, as a difference of `bartizan diff`.
const COULD_NOT_RUN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let cli::Cli { command } = cli::Cli::parse();
    let result = match command {
        cli::Command::Run(args) => {
            telemetry::logging::init(args.log_format);
            run::run(args).await.map(|()| ExitCode::SUCCESS)
        }
        cli::Command::Compile(args) => {
            bartizan_runtime::compile_for_parent(args.limits(), std::io::stdin(), std::io::stdout())
                .map(|()| ExitCode::SUCCESS)
                .map_err(anyhow::Error::from)
        }
        cli::Command::DebugKey(args) => cli::debug_key::print(&args).map(|()| ExitCode::SUCCESS),
        cli::Command::Crds(args) => cli::crds::print(&args.module).map(|()| ExitCode::SUCCESS),
        cli::Command::Rbac(args) => cli::rbac::print(&args).map(|()| ExitCode::SUCCESS),
        cli::Command::Status(args) => cli::status::status(&args).await,
        cli::Command::Tree(args) => cli::tree::tree(&args).await,
        cli::Command::Explain(args) => cli::explain::explain(&args).await,
        cli::Command::Diff(args) => cli::upgrade::diff(&args).await,
        cli::Command::Approve(args) => cli::upgrade::approve(&args).await,
        cli::Command::Uninstall(args) => cli::uninstall::uninstall(&args).await,
        cli::Command::Push(args) => cli::registry::push(&args).await,
        cli::Command::Pull(args) => cli::registry::pull(&args).await,
        cli::Command::Save(args) => cli::transfer::save(&args).await,
        cli::Command::Load(args) => cli::transfer::load(&args).await,
        cli::Command::Replay(args) => cli::replay::replay(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", kubernetes::error::chain(error.as_ref()));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}
