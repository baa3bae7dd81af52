//! A platform team tries Bartizan for an afternoon, as docs/administrators says: from `helm install` to uninstall in three orders, with the
//! tasks of every day between. Whatever happens, somebody who looks is told. Run by `cargo xtask test --all`, since Helm takes minutes to build.

mod everyday;
mod pods;
mod shell;
mod uninstall;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Programs, Provider, patched};
use bartizan_harness::{ControlPlane, Registry, RegistryOptions};

use crate::pods::Kubelet;
use crate::shell::{Shell, programs};

/// The talk's first store.
const STORE: &str = "examples/minio/object-store-minimal.yaml";

/// Where the team works.
pub(crate) struct Site {
    pub(crate) shell: Shell,
    pub(crate) kubelet: Kubelet,
    pub(crate) programs: &'static Programs,
    /// The module of MinIO and the next version of it, each pinned.
    pub(crate) modules: [String; 2],
}

#[tokio::test]
async fn a_platform_team_installs_it_operates_it_and_takes_it_away_and_is_told_everything() -> Result<()> {
    let (host, helm) = programs().await?;
    let programs = Programs::get().await?;
    let registry = Registry::start(RegistryOptions::default()).await?;
    let cluster = Arc::new(ControlPlane::start().await?);
    let mut shell = Shell::new(&cluster, &host, &helm)?;
    let kubelet = Kubelet::start(cluster.clone(), host, shell.path("pods").into());
    std::fs::create_dir_all(shell.path("pods"))?;

    shell.begin("release two versions of a module");
    let module = std::fs::read(programs.module(Provider::Minio)?)?;
    let next = patched(&module, "\"version\":\"0.1.0\"", "\"version\":\"0.1.1\"")?;
    let mut modules = [String::new(), String::new()];
    for (at, (version, bytes)) in [("0.1.0", module), ("0.1.1", next)].iter().enumerate() {
        let file = shell.path(&format!("minio-{version}.wasm"));
        std::fs::write(&file, bytes)?;
        let reference = format!("{}/providers/minio:{version}", registry.address());
        let pushed = shell.types(&format!("bartizan push {file} {reference} --plain-http")).await?;
        modules[at] = pushed.lines().find(|line| line.contains('@')).context("no digest")?.to_owned();
    }

    let mut site = Site { shell, kubelet, programs, modules };
    let tried = try_all(&mut site).await;
    let Site { mut shell, kubelet, .. } = site;
    shell.end();
    println!();
    for (task, time, lines) in &shell.done {
        println!("{:6.1} s  {lines:2} lines  {task}", time.as_secs_f64());
    }
    kubelet.stop().await?;
    tried?;
    drop(shell);
    Arc::into_inner(cluster).context("the control plane is in use")?.stop().await
}

async fn try_all(site: &mut Site) -> Result<()> {
    site.install().await?;
    site.first_store().await?;
    everyday::all(site).await?;
    uninstall::in_three_orders(site).await
}

impl Site {
    /// docs/administrators/install.md, with a module from a registry.
    pub(crate) async fn install(&mut self) -> Result<()> {
        let Self { shell, modules: [module, _], .. } = self;
        shell.begin("install with Helm");
        shell.types("kubectl create namespace bartizan-system --dry-run=client -o yaml | kubectl apply -f -").await?;
        shell
            .types("kubectl label namespace bartizan-system pod-security.kubernetes.io/enforce=restricted --overwrite")
            .await?;
        shell.types("helm install bartizan-crds deploy/chart/bartizan-crds --take-ownership").await?;
        let values = format!(
            "--set providers.minio.module.reference={module} --set providers.minio.module.plainHttp=true --set image.repository=registry.example.com/bartizan"
        );
        let chart = "deploy/chart/bartizan --namespace bartizan-system";
        shell.types(&format!("helm install bartizan {chart} --take-ownership --wait --timeout=120s {values}")).await?;
        shell.types("kubectl wait --for=condition=Ready --timeout=60s provider/minio").await?;
        shell.sees("bartizan status", "minio").await?;
        Ok(())
    }

    pub(crate) async fn first_store(&mut self) -> Result<()> {
        let Self { shell, .. } = self;
        shell.begin("a first store");
        shell.types("kubectl create namespace rook-minio --dry-run=client -o yaml | kubectl apply -f -").await?;
        shell.types(&format!("kubectl apply -f {STORE}")).await?;
        shell.types("kubectl wait --for=condition=Ready --timeout=90s objectstore/my-store -n rook-minio").await?;
        let tree = shell.types("bartizan tree objectstore/my-store -n rook-minio").await?;
        ensure!(tree.contains("StatefulSet/my-store") && tree.contains("4/4 ready"), "{tree}");
        Ok(())
    }

    /// Asks the host that leads, as `--server` does from its own machine.
    pub(crate) async fn asked(&mut self, command: &str) -> Result<String> {
        let lease = "kubectl -n bartizan-system get lease bartizan -o jsonpath={.spec.holderIdentity}";
        let leader = self.shell.types(lease).await?;
        let (address, key) = self.kubelet.server(leader.trim()).await?;
        Ok(format!(
            "BARTIZAN_DEBUG_KEY_FILE={} bartizan {command} --server http://{address} --kubeconfig \"$KUBECONFIG\"",
            key.display()
        ))
    }
}
