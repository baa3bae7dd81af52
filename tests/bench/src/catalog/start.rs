//! The time from the start of the host's process until it is ready, with the shipped providers, without and with a compile cache.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bartizan_harness::build;

use super::args::Args;
use super::figures::Start;
use super::world::World;
use crate::percentile::rounded;

/// How often each is measured.
const ROUNDS: usize = 7;

pub(crate) async fn measure(args: &Args) -> Result<Start> {
    let world = World::new().await?;
    for part in ["deploy/crds", "deploy/providers/minio", "deploy/providers/cassandra"] {
        let folder = build::workspace_root().join(part);
        world.cluster.kubectl_ok(&["apply", "-k", folder.to_str().context("a path")?], None).await?;
    }
    world.cluster.kubectl_ok(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], None).await?;
    for (module, name) in [(&args.minio, "minio.wasm"), (&args.cassandra, "cassandra.wasm")] {
        std::fs::copy(module, world.providers().join(name)).with_context(|| module.display().to_string())?;
    }
    let document = build::workspace_root().join("deploy/providers/cassandra/cassandra.yaml");
    std::fs::copy(document, world.providers().join("cassandra.yaml")).context("the document")?;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        world.forget_compiled()?;
        for times in [&mut cold, &mut warm] {
            let started = Instant::now();
            let host = world.start(&args.host, "bench").await?;
            times.push(started.elapsed());
            host.stop().await?;
        }
    }
    world.cluster.stop().await?;
    Ok(Start { ready_cold_ms: median(cold), ready_warm_ms: median(warm) })
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    rounded(times[times.len() / 2].as_secs_f64() * 1e3, 0)
}
