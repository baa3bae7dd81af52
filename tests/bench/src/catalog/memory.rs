//! Twenty providers without parents in one host, and twenty native controllers, each a process. The latter all watch
//! one kind without objects, which costs as much as a kind each.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bartizan_e2e::{ModuleCopy, Original};
use bartizan_harness::{HostProcess, build};
use serde_json::json;

use super::args::{Args, PROVIDERS};
use super::figures::Memory;
use super::world::World;
use crate::host;
use crate::percentile::rounded;

/// Time until all is at rest.
const REST: Duration = Duration::from_secs(15);

pub(crate) async fn measure(args: &Args) -> Result<Memory> {
    let world = World::new().await?;
    let module = args.triple()?;
    let copies = (0..PROVIDERS)
        .map(|number| ModuleCopy::new(Original::TRIPLE, &module, number, &json!({}), &world.providers()))
        .collect::<Result<Vec<_>>>()?;
    let host = world.host(&args.host, &copies).await?;
    let standby = world.standby(&args.host).await?;
    tokio::time::sleep(REST).await;
    let rss_20_mib = rounded(host.process.rss_mib()?, 1);
    let rss_20_standby_mib = rounded(standby.process.rss_mib()?, 1);
    standby.stop().await?;
    host.stop().await?;

    let root = build::workspace_root();
    for (flag, path) in [("-f", "tests/guests/triple/deploy/crd.yaml"), ("-k", "tests/bench/baseline/deploy")] {
        let path = root.join(path);
        world.cluster.kubectl_ok(&["apply", flag, path.to_str().context("a path")?], None).await?;
    }
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd/triples.bench.bartizan.dev"];
    world.cluster.kubectl_ok(&established, None).await?;
    let kubeconfig = world.cluster.kubeconfig_for_service_account("bartizan-baseline", "baseline").await?;
    let logs = world.cluster.folder().join("logs");
    let processes = (0..PROVIDERS)
        .map(|number| {
            HostProcess::spawn(host::baseline(&args.baseline, &kubeconfig), logs.join(format!("baseline-{number}.log")))
        })
        .collect::<Result<Vec<_>>>()?;
    tokio::time::sleep(REST).await;
    let each = processes.iter().map(HostProcess::rss_mib).collect::<Result<Vec<_>>>()?;
    drop(processes);
    world.cluster.stop().await?;
    Ok(Memory { rss_20_mib, rss_20_standby_mib, rss_20_native_mib: rounded(each.iter().sum(), 1) })
}
