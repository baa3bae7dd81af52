//! The README's first command: the talk's ObjectStore becomes ready pods, driven by the host as its own account.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bartizan_harness::{ControlPlane, HostProcess, build, kubectl_command};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::runtime;
use crate::progress;
use crate::tree::Tree;

/// `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Exit 0 once the store is Ready, 1 with the reason if it is not within 120 s.
    #[arg(long)]
    once: bool,
    /// Use this cluster instead of one of our own; what the demo makes there, it removes.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// The talk's namespace and store.
const NAMESPACE: &str = "rook-minio";
const STORE: &str = "my-store";
/// What the demo makes in a cluster, but for what goes with the namespaces.
const MADE: [&str; 9] = [
    "namespace/rook-minio",
    "namespace/bartizan-system",
    "namespace/bartizan-providers",
    "customresourcedefinition/providers.bartizan.dev",
    "customresourcedefinition/objectstores.minio.rook.io",
    "clusterrole/bartizan",
    "clusterrole/bartizan-provider-minio",
    "clusterrolebinding/bartizan",
    "clusterrolebinding/bartizan-provider-minio",
];
/// How long the host's token is good: longer than anybody looks at a demo.
const TOKEN_SECONDS: i64 = 24 * 3600;
/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the tree is looked at.
const LOOK: Duration = Duration::from_millis(150);

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (control_plane, modules, host) = progress::build_all(&["minio"])?;
    let started = Instant::now();
    runtime()?.block_on(async {
        let folder = tempfile::tempdir().context("temporary folder")?;
        let cluster = match &args.kubeconfig {
            None => Some(ControlPlane::start().await?),
            Some(_) => None,
        };
        let kubeconfig = match (&cluster, &args.kubeconfig) {
            (Some(cluster), _) => cluster.admin_kubeconfig().to_owned(),
            (None, Some(file)) => file.clone(),
            (None, None) => bail!("no cluster"),
        };
        let demo = Demo { control_plane, kubeconfig, folder: folder.path().to_owned(), started };
        // On a cluster of somebody's, refuse before anything is made: what the demo made it removes at its end.
        if cluster.is_none() {
            let there = demo.kubectl(&[&["get", "--ignore-not-found", "--output", "name"][..], &MADE[..]].concat())?;
            if !there.trim().is_empty() {
                let there: Vec<&str> = there.split_whitespace().collect();
                bail!("in this cluster already, and the demo would overwrite and remove it: {}", there.join(", "));
            }
        }
        let result = tokio::select! {
            result = demo.play(&modules, &host, args.once) => result,
            result = interrupted() => result.map(|()| ExitCode::SUCCESS),
        };
        match cluster {
            Some(cluster) => cluster.stop().await?,
            None => demo.remove(),
        }
        result
    })
}

/// Ends with Ctrl-C or SIGTERM, so that either leaves nothing behind.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("Ctrl-C cannot be handled"),
        _ = terminate.recv() => Ok(()),
    }
}

struct Demo {
    control_plane: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
    started: Instant,
}

impl Demo {
    async fn play(&self, modules: &[PathBuf], host: &Path, once: bool) -> Result<ExitCode> {
        self.say("the control plane answers");
        let client = self.client().await?;
        self.kubectl(&["apply", "--kustomize", &deploy("access")])?;
        let mut host = self.start_host(modules, host, &self.account_kubeconfig(&client).await?)?;
        self.say("the host runs as system:serviceaccount:bartizan-system:bartizan");
        self.kubectl(&["apply", "--kustomize", &deploy("providers/minio")])?;
        let namespace = Namespace {
            metadata: kube::core::ObjectMeta { name: Some(NAMESPACE.to_owned()), ..Default::default() },
            ..Default::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.context("namespace")?;
        let store = build::workspace_root().join("examples/minio/object-store.yaml");
        self.kubectl(&["apply", "--filename", &store.display().to_string()])?;
        self.say("applied examples/minio/object-store.yaml");

        let mut screen = Screen::default();
        let mut said_how = false;
        loop {
            let tree = look(&client).await?;
            screen.show(&tree.lines(), self.started);
            if tree.is_ready() && once {
                screen.finish();
                self.say("the store is Ready");
                return Ok(ExitCode::SUCCESS);
            }
            if tree.is_ready() && !said_how {
                said_how = true;
                self.say_how();
                screen = Screen::default();
            }
            if let Some(status) = host.exited()? {
                bail!("the host ended ({status}): {}", host.lines().last().cloned().unwrap_or_default());
            }
            if once && self.started.elapsed() > PATIENCE {
                screen.finish();
                eprintln!("the store is not Ready after {} s: {}", PATIENCE.as_secs(), tree.reason());
                return Ok(ExitCode::FAILURE);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The host with a copy of the module, as the account that deploy/access makes.
    fn start_host(&self, modules: &[PathBuf], host: &Path, kubeconfig: &Path) -> Result<HostProcess> {
        let providers = self.folder.join("providers");
        std::fs::create_dir(&providers).context("providers folder")?;
        for module in modules {
            let name = module.file_name().context("module without a name")?;
            std::fs::copy(module, providers.join(name)).context("module")?;
        }
        let mut command = Command::new(host);
        command.args(["run", "--trust-manifests", "--listen", "127.0.0.1:0", "--providers"]).arg(&providers);
        command.arg("--kubeconfig").arg(kubeconfig);
        // Ctrl-C is for the demo, which stops the host in its turn.
        command.process_group(0);
        HostProcess::spawn(command, self.folder.join("host.log"))
    }

    /// The given kubeconfig with the account's token in place of its user.
    async fn account_kubeconfig(&self, client: &Client) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "bartizan-system");
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request("bartizan", &PostParams::default(), &request).await?;
        let token = answer.status.map(|status| status.token).context("no token for the account bartizan")?;
        let mut config = serde_json::to_value(Kubeconfig::read_from(&self.kubeconfig)?)?;
        let current = config["current-context"].clone();
        config["users"] = json!([{"name": "bartizan", "user": {"token": token}}]);
        for context in config["contexts"].as_array_mut().into_iter().flatten() {
            if context["name"] == current {
                context["context"]["user"] = json!("bartizan");
            }
        }
        let file = self.folder.join("account.kubeconfig");
        std::fs::write(&file, config.to_string()).context("kubeconfig of the account")?;
        Ok(file)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = kubectl_command(&self.control_plane, &self.kubeconfig, &self.folder.join("kubectl-cache"));
        let output = command.args(arguments).output().context("kubectl cannot be run")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).context("kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Removes what was made in a cluster that is not ours. Goes on after an error: each thing removed is one less.
    fn remove(&self) {
        for arguments in [
            &["delete", "namespace", NAMESPACE, "--ignore-not-found"][..],
            &["delete", "--ignore-not-found", "--kustomize", &deploy("providers/minio")],
            &["delete", "--ignore-not-found", "--kustomize", &deploy("access")],
        ] {
            if let Err(error) = self.kubectl(arguments) {
                eprintln!("{error:#}");
            }
        }
    }

    fn say(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.started.elapsed().as_secs_f64());
    }

    fn say_how(&self) {
        self.say("the store is Ready. Look around in another terminal, then press Ctrl-C here:");
        println!("         export KUBECONFIG={}", self.kubeconfig.display());
        println!("         cargo xtask kubectl -n {NAMESPACE} get objectstores,statefulsets,services,pods");
        println!("         cargo xtask kubectl -n {NAMESPACE} delete statefulset {STORE}   # comes back");
        println!("         cargo xtask kubectl -n {NAMESPACE} describe objectstore {STORE}");
    }
}

/// A folder below deploy/.
fn deploy(part: &str) -> String {
    build::workspace_root().join("deploy").join(part).display().to_string()
}

/// The store with everything below it, as it is now.
async fn look(client: &Client) -> Result<Tree> {
    let resource = ApiResource {
        group: "minio.rook.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "minio.rook.io/v1alpha1".to_owned(),
        kind: "ObjectStore".to_owned(),
        plural: "objectstores".to_owned(),
    };
    let stores: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let Some(store) = stores.get_opt(STORE).await? else { return Ok(Tree::default()) };
    let uid = store.metadata.uid.clone().unwrap_or_default();
    let children = ListParams::default().labels(&format!("bartizan.dev/owner-uid={uid}"));
    let mut tree = Tree { parent: serde_json::to_value(&store)?, ..Tree::default() };
    tree.children.extend(list::<Secret>(client, &children).await?);
    tree.children.extend(list::<Service>(client, &children).await?);
    tree.children.extend(list::<PodDisruptionBudget>(client, &children).await?);
    tree.children.extend(list::<StatefulSet>(client, &children).await?);
    tree.pods = list::<Pod>(client, &ListParams::default()).await?;
    Ok(tree)
}

async fn list<K>(client: &Client, params: &ListParams) -> Result<Vec<Value>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let objects = Api::<K>::namespaced(client.clone(), NAMESPACE).list(params).await?;
    objects.items.iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
}

/// The tree on a terminal, drawn again in place; elsewhere the lines that changed.
#[derive(Default)]
struct Screen {
    shown: Vec<String>,
}

impl Screen {
    fn show(&mut self, lines: &[String], started: Instant) {
        if lines == self.shown {
            return;
        }
        if std::io::stdout().is_terminal() {
            if !self.shown.is_empty() {
                // Up to the first line of the last tree, and clear from there.
                print!("\x1b[{}A\x1b[J", self.shown.len());
            }
            for line in lines {
                println!("         {line}");
            }
        } else {
            for line in lines.iter().filter(|line| !self.shown.contains(line)) {
                println!("{:>5.1} s  {line}", started.elapsed().as_secs_f64());
            }
        }
        self.shown = lines.to_vec();
    }

    /// Prints the whole tree once more where only changes were shown.
    fn finish(&self) {
        if !std::io::stdout().is_terminal() {
            println!("{}", self.shown.join("\n"));
        }
    }
}
