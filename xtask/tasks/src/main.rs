//! The tasks of `cargo xtask`, which builds this program and hands over to it.

mod bench;
mod chart;
mod cluster;
mod demo;
mod example;
mod folder;
mod generate;
mod help;
mod image;
mod mutations;
mod progress;
mod rig;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this project
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show an ObjectStore become four ready MinIO pods, or a Cassandra ring of six members
    Demo(demo::Args),
    /// Run formatting, lints, unit, property, doc and end-to-end tests
    Test(test::Args),
    /// Disturb the host on a real control plane: kill it at each write, let requests fail
    Rig(rig::Args),
    /// Measure the figures of the README, in a release build
    Bench(bench::Args),
    /// Run the control plane in the foreground and print its kubeconfig
    Cluster(cluster::Args),
    /// Run the kubectl that is part of the control plane
    Kubectl {
        /// Arguments of kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        arguments: Vec<String>,
    },
    /// Build the host's image: a static program from scratch, the same for the same sources
    Image(image::Args),
    /// Write the charts of a release, whose values name the image and the modules by digest
    Chart(chart::Args),
    /// Write the files that are made from code: JSON schemas, CRDs, roles
    Generate(generate::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Rig(args) => rig::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Cluster(args) => cluster::run(&args),
        Task::Kubectl { arguments } => cluster::kubectl(&arguments),
        Task::Image(args) => image::run(&args),
        Task::Chart(args) => chart::run(&args),
        Task::Generate(args) => generate::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
