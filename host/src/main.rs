//! `bartizan`: the operator host. Parses the command line and turns results into exit codes.

mod api;
mod catalog;
mod cli;
mod controller;
mod crds;
mod execute;
mod health;
mod kinds;
mod reconcile;
mod run;
mod telemetry;
mod values;
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
            run::run(args).await
        }
        cli::Command::Crds(args) => catalog::print_crds(&args.module),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", api::chain(error.as_ref()));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}
