//! The README's first command: an ObjectStore or a Cassandra ring becomes ready pods, reconciled by the host under its own
//! account.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bartizan_harness::{ControlPlane, HostProcess, build, kubectl_command};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::runtime;
use crate::example::{Show, Subject, crd, deploy};

/// `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to show: an ObjectStore with four servers, or a Cassandra ring of two racks with three members each
    #[arg(value_enum, default_value = "minio")]
    show: Show,
    /// Exit with 0 once it is Ready, or with 1 and the reason if it is not within 120 s
    #[arg(long)]
    once: bool,
    /// Use this cluster instead of starting a control plane; the demo removes what it creates there
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// How long the host's token is valid: longer than anybody watches a demo.
const TOKEN_SECONDS: i64 = 24 * 3600;
/// How long `--once` waits for Ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the objects are read.
const LOOK: Duration = Duration::from_millis(250);

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let subject = args.show.subject();
    let (control_plane, module, host) = built(subject)?;
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
        let demo = Demo { subject, control_plane, kubeconfig, folder: folder.path().to_owned(), started };
        // On an existing cluster, refuse before anything is created: at its end, the demo removes these objects.
        if cluster.is_none() {
            let made = subject.made();
            let mut get = vec!["get", "--ignore-not-found", "--output", "name"];
            get.extend(made.iter().map(String::as_str));
            let there = demo.kubectl(&get)?;
            if !there.trim().is_empty() {
                let there: Vec<&str> = there.split_whitespace().collect();
                bail!("already in this cluster, and the demo would overwrite and remove it: {}", there.join(", "));
            }
        }
        let result = tokio::select! {
            result = demo.play(&module, &host, args.once) => result,
            result = interrupted() => result.map(|()| ExitCode::SUCCESS),
        };
        match cluster {
            Some(cluster) => cluster.stop().await?,
            None => demo.remove(),
        }
        result
    })
}

/// Paths of the control plane, the provider's module and the host. `cargo xtask` has built them, and showed the progress.
fn built(subject: &Subject) -> Result<(PathBuf, PathBuf, PathBuf)> {
    let control_plane = build::control_plane(&build::silent)?;
    let module = build::guests(&[subject.provider], &build::silent)?.into_iter().next();
    Ok((control_plane, module.context("no module was built")?, build::host(&build::silent)?))
}

/// Returns on Ctrl-C or SIGTERM, so that neither leaves anything behind.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("Ctrl-C cannot be handled"),
        _ = terminate.recv() => Ok(()),
    }
}

struct Demo {
    subject: &'static Subject,
    control_plane: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
    started: Instant,
}

impl Demo {
    async fn play(&self, module: &Path, program: &Path, once: bool) -> Result<ExitCode> {
        self.say("the control plane answers");
        let client = self.client().await?;
        self.kubectl(&["apply", "--filename", &crd("providers.bartizan.dev")])?;
        self.kubectl(&["apply", "--kustomize", &deploy("access")])?;
        let mut host = self.start_host(module, program, &self.account_kubeconfig(&client).await?)?;
        self.say("the host runs as system:serviceaccount:bartizan-system:bartizan");
        let Subject { example, namespace, noun, .. } = self.subject;
        self.kubectl(&["apply", "--filename", &self.subject.crd()])?;
        self.kubectl(&["apply", "--kustomize", &self.subject.deploy()])?;
        let namespace = Namespace {
            metadata: kube::core::ObjectMeta { name: Some((*namespace).to_owned()), ..Default::default() },
            ..Default::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.context("namespace")?;
        self.kubectl(&["apply", "--filename", &self.example()?])?;
        self.say(&format!("applied {example}"));

        let mut screen = Screen::default();
        let mut said_how = false;
        loop {
            let tree = self.tree(program)?;
            let parent = tree.first().cloned().unwrap_or_default();
            let is_ready = parent.contains(" Ready=True");
            screen.show(&tree, self.started);
            if is_ready && once {
                screen.finish();
                self.say(&format!("the {noun} is Ready"));
                return Ok(ExitCode::SUCCESS);
            }
            if is_ready && !said_how {
                said_how = true;
                self.say_how();
                screen = Screen::default();
            }
            if let Some(status) = host.exited()? {
                bail!("the host ended ({status}): {}", host.lines().last().cloned().unwrap_or_default());
            }
            if once && self.started.elapsed() > PATIENCE {
                screen.finish();
                eprintln!("the {noun} is not Ready after {} s: {}", PATIENCE.as_secs(), parent.trim());
                return Ok(ExitCode::FAILURE);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What `bartizan tree` shows.
    fn tree(&self, program: &Path) -> Result<Vec<String>> {
        let Subject { plural, group, name, namespace, .. } = self.subject;
        let mut command = Command::new(program);
        command.args(["tree", &format!("{plural}.{group}/{name}"), "--namespace", namespace, "--kubeconfig"]);
        // Ctrl-C reaches the demo only.
        let output = command.arg(&self.kubeconfig).process_group(0).output().context("bartizan tree")?;
        // Exit code 1: it is not there yet.
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("bartizan tree: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// A copy of the example with the demo's namespace.
    fn example(&self) -> Result<String> {
        let Subject { example, written, namespace, .. } = self.subject;
        let text = std::fs::read_to_string(build::workspace_root().join(example)).context("example")?;
        let file = self.folder.join("example.yaml");
        let text = text.replace(&format!("namespace: {written}"), &format!("namespace: {namespace}"));
        std::fs::write(&file, text).context("example")?;
        Ok(file.display().to_string())
    }

    /// Starts the host with a copy of the module and of the document that is shipped with it, if any, under the account of
    /// deploy/access.
    fn start_host(&self, module: &Path, host: &Path, kubeconfig: &Path) -> Result<HostProcess> {
        let providers = self.folder.join("providers");
        std::fs::create_dir(&providers).context("providers folder")?;
        let document = format!("{}.yaml", self.subject.provider);
        let shipped = PathBuf::from(self.subject.deploy()).join(&document);
        if shipped.is_file() {
            std::fs::copy(shipped, providers.join(document)).context("document")?;
        }
        let name = module.file_name().context("module without a name")?;
        std::fs::copy(module, providers.join(name)).context("module")?;
        let mut command = Command::new(host);
        command.args(["run", "--trust-manifests", "--listen", "127.0.0.1:0", "--providers"]).arg(&providers);
        command.arg("--kubeconfig").arg(kubeconfig);
        // Ctrl-C reaches the demo only, which then stops the host.
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

    /// Removes what was created in an existing cluster. Continues after an error, to remove as much as possible.
    fn remove(&self) {
        // The host, which would take it off, has ended.
        let finalizers = r#"{"metadata": {"finalizers": null}}"#;
        let provider = self.subject.provider;
        for arguments in [
            &["delete", "namespace", self.subject.namespace, "--ignore-not-found", "--timeout=60s"][..],
            &["patch", "providers.bartizan.dev", provider, "--type=merge", "--patch", finalizers],
            &["delete", "--ignore-not-found", "--timeout=60s", "--kustomize", &self.subject.deploy()],
            &["delete", "--ignore-not-found", "--timeout=60s", "--filename", &self.subject.crd()],
            &["delete", "--ignore-not-found", "--timeout=60s", "--kustomize", &deploy("access")],
            &["delete", "--ignore-not-found", "--timeout=60s", "--filename", &crd("providers.bartizan.dev")],
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
        let Subject { namespace, plural, group, name, noun, child, .. } = self.subject;
        self.say(&format!("the {noun} is Ready. Look around in another terminal, then press Ctrl-C here:"));
        println!("         export KUBECONFIG={}", self.kubeconfig.display());
        println!("         cargo xtask kubectl -n {namespace} get {plural}.{group},statefulsets,services,pods");
        println!("         cargo xtask kubectl -n {namespace} delete {child}   # comes back");
        println!("         cargo xtask kubectl -n {namespace} describe {plural}.{group} {name}");
    }
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
