//! The chaos rig: stores and greetings are created, edited and deleted, their children are deleted or lose their
//! labels, and the host is killed. Meanwhile requests fail, get lost or are duplicated, and watches end, freeze or
//! start at an expired version. Then all faults stop, and everything must converge and stay converged.

mod checks;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, greeting, message_of, store};
use bartizan_harness::wait::wait_gone;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::json;

use crate::faults::{Rules, Seeded};
use crate::proxy::Proxy;
use crate::secrets::Secrets;
use checks::Checks;
use world::{Action, KEYS, Kind, NAMESPACE, Parent, World};

/// How long no write may follow once everything has converged.
const QUIET: Duration = Duration::from_secs(10);

/// Duration and seed of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long requests fail.
    pub time: Duration,
    /// Decides the actions and which requests fail.
    pub seed: u64,
}

/// Runs the rig; returns whether everything converged.
///
/// # Errors
/// If the control plane cannot be started, or the host does not work even undisturbed.
pub async fn run(options: Options) -> Result<bool> {
    println!("chaos: seed {}, {} s of faults", options.seed, options.time.as_secs());
    let rig = Rig::start(options.seed).await?;
    let mut host = rig.host().await?;
    host.ready().await?;
    let checks = rig.create_bystanders().await?;
    let secrets = Secrets::watch(rig.stage.api(NAMESPACE));

    rig.proxy.disturb(Rules::Seeded(Seeded::new(options.seed)));
    // Another host, whose watches start under these rules.
    host = rig.act(&World::new(options.seed), Action::KillHost, host).await?;
    let mut world = World::new(options.seed);
    let began = Instant::now();
    let mut actions = 0;
    while began.elapsed() < options.time {
        let (pause, action) = world.next();
        // Not a wait for a condition: the pause is part of the run.
        tokio::time::sleep(pause).await;
        let what = format!("{action:?}");
        host = rig.act(&world, action, host).await.with_context(|| format!("{what} (seed {})", options.seed))?;
        actions += 1;
    }
    rig.proxy.heal();
    println!("chaos: {actions} actions; requests: {:?}", rig.proxy.faults());

    // A parent that failed all the time waits as long again before its next attempt, and a watch up to 30 s.
    let within = Duration::from_secs(60).max(options.time * 3);
    let healed = Instant::now();
    let mut problems = checks.converged(&rig.stage, &world, within).await?;
    println!("chaos: {} s after the last fault: {} problems", healed.elapsed().as_secs(), problems.len());
    if problems.is_empty() {
        let before = rig.proxy.log().len();
        let writes = rig.proxy.writes();
        tokio::time::sleep(QUIET).await;
        if rig.proxy.writes() > writes {
            let log = rig.proxy.log();
            let late = log[before..].iter().map(|entry| format!("{} ({:?})", entry.request, entry.code));
            problems.push(format!("requests after all had converged: {}", late.collect::<Vec<_>>().join(", ")));
        }
    }
    problems.extend(checks.deletes(&rig.stage)?);
    problems.extend(secrets.problems());
    drop(secrets);
    for problem in &problems {
        println!("chaos: PROBLEM: {problem}");
    }
    println!("chaos: seed {}: {}", options.seed, if problems.is_empty() { "all as it should be" } else { "FAILED" });
    if !problems.is_empty() {
        rig.keep_log()?;
        // Dropped without being stopped, the control plane keeps its logs and prints where.
        return Ok(false);
    }
    host.stop().await?;
    rig.stage.stop().await?;
    Ok(true)
}

/// A control plane, and the proxy in front of it.
struct Rig {
    stage: Stage,
    proxy: Proxy,
    seed: u64,
}

impl Rig {
    async fn start(seed: u64) -> Result<Self> {
        let stage = Stage::start(&[Provider::Minio, Provider::Hello]).await?;
        let proxy = Proxy::start(stage.kubeconfig(), Rules::Pass).await?;
        proxy.write_kubeconfig(stage.kubeconfig(), &stage.path("through-the-proxy.yaml"))?;
        Ok(Self { stage, proxy, seed })
    }

    async fn host(&self) -> Result<Host> {
        self.stage.listening(self.stage.command_with(&self.stage.path("through-the-proxy.yaml"))).await
    }

    /// Creates objects that nobody touches, and that must stay as they are.
    async fn create_bystanders(&self) -> Result<Checks> {
        let keys = ["create", "secret", "generic", KEYS, "--from-literal=username=a", "--from-literal=password=b"];
        self.stage.kubectl(&keys, "").await?;
        apply_text(&self.stage, &store(NAMESPACE, checks::BYSTANDER, &json!({"scope": {"nodeCount": 4}}))).await?;
        apply_text(&self.stage, &greeting(checks::BYSTANDER, "nobody")).await?;
        self.stage.wait_ready(NAMESPACE, checks::BYSTANDER).await?;
        message_of(self.stage.greetings(), checks::BYSTANDER, "Synced", "True", "Applied").await?;
        // Anybody can set labels: the host did not create this object.
        let owner = self.stage.greetings().get(checks::BYSTANDER).await?.metadata.uid.context("no UID")?;
        let labels = json!({PROVIDER_LABEL: Provider::Hello.name(), OWNER_UID_LABEL: owner});
        let forged = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": checks::FORGED, "namespace": NAMESPACE, "labels": labels},
        });
        apply_text(&self.stage, &forged.to_string()).await?;
        Checks::new(&self.stage).await
    }

    /// Performs an action, and returns the host that runs then.
    async fn act(&self, world: &World, action: Action, host: Host) -> Result<Host> {
        match action {
            Action::Create(number) => self.create(&world.parents[number]).await?,
            Action::Edit(number) => {
                let parent = &world.parents[number];
                let wanted = parent.wanted.context("an edit of nothing")?;
                let patch = Patch::Merge(json!({"spec": parent.spec(wanted)}));
                self.api(parent).patch(&parent.name, &PatchParams::default(), &patch).await?;
            }
            Action::Delete(number) => {
                let parent = &world.parents[number];
                self.api(parent).delete(&parent.name, &DeleteParams::default()).await?;
            }
            Action::DeleteChild(child) => {
                let (api, name) = self.child(&child)?;
                ignore_not_found(api.delete(name, &DeleteParams::default()).await)?;
            }
            Action::StripLabels(child) => {
                let (api, name) = self.child(&child)?;
                let patch = json!({"metadata": {"labels": {PROVIDER_LABEL: null, OWNER_UID_LABEL: null}}});
                ignore_not_found(api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await)?;
            }
            Action::KillHost => {
                host.kill().await?;
                self.proxy.closed(SOON).await?;
                return self.host().await;
            }
        }
        Ok(host)
    }

    async fn create(&self, parent: &Parent) -> Result<()> {
        let wanted = parent.wanted.context("a creation of nothing")?;
        let document = match parent.kind {
            Kind::Store => store(NAMESPACE, &parent.name, &parent.spec(wanted)),
            Kind::Greeting => greeting(&parent.name, parent.spec(wanted)["name"].as_str().unwrap_or_default()),
        };
        let object: DynamicObject = serde_json::from_str(&document)?;
        let api = self.api(parent);
        // A deleted predecessor may still have a finalizer.
        wait_gone(api.clone(), &parent.name, SOON).await?;
        let created = api.create(&PostParams::default(), &object).await?;
        ensure!(created.metadata.name.as_deref() == Some(&parent.name), "{created:?}");
        Ok(())
    }

    fn api(&self, parent: &Parent) -> Api<DynamicObject> {
        match parent.kind {
            Kind::Store => self.stage.stores(NAMESPACE),
            Kind::Greeting => self.stage.greetings(),
        }
    }

    /// The API and the name of a child given as `Kind/name`.
    fn child<'a>(&self, child: &'a str) -> Result<(Api<DynamicObject>, &'a str)> {
        let (kind, name) = child.split_once('/').context("a child without a kind")?;
        let resource = match kind {
            "Service" => ApiResource::erase::<Service>(&()),
            "Secret" => ApiResource::erase::<Secret>(&()),
            "ConfigMap" => ApiResource::erase::<ConfigMap>(&()),
            "StatefulSet" => ApiResource::erase::<StatefulSet>(&()),
            _ => ApiResource::erase::<PodDisruptionBudget>(&()),
        };
        Ok((Api::namespaced_with(self.stage.cluster.client(), NAMESPACE, &resource), name))
    }

    /// Writes the proxy's log beside the logs of the control plane, which are kept.
    fn keep_log(&self) -> Result<()> {
        let lines: Vec<String> = self
            .proxy
            .log()
            .iter()
            .map(|entry| {
                let (request, code) = (&entry.request, entry.code);
                format!("{} {}?{} {:?} {code:?}", request.method, request.path, request.query, entry.fault)
            })
            .collect();
        let path = self.stage.cluster.folder().join(format!("logs/proxy-{}.log", self.seed));
        std::fs::write(&path, lines.join("\n")).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Deleting or patching an object that does not exist is no error.
fn ignore_not_found<T>(result: kube::Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
