//! The baseline of the scale bench: a controller as a kube-rs user writes it after the guide, for one kind with three
//! ConfigMaps.

mod controller;
mod triple;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "A native controller for Triples, as a baseline")]
struct Cli {
    /// Kubeconfig file.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { kubeconfig } = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let file = kubeconfig.display();
    let kubeconfig = Kubeconfig::read_from(&kubeconfig).with_context(|| format!("--kubeconfig {file}"))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    controller::run(Client::try_from(config)?).await;
    Ok(())
}
