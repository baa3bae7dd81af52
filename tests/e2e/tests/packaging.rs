//! The Helm charts: they render what kustomize prints, install, upgrade and go without taking a store with them. Run by
//! `cargo xtask test --all`, since Helm takes minutes to build.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::NAMESPACE;
use bartizan_harness::ControlPlane;
use bartizan_harness::build::{self, workspace_root};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::process::Command;

/// Objects by kind, namespace and name.
type Objects = BTreeMap<String, Value>;

/// What only one of Helm and kustomize adds.
const LABELS: [&str; 3] = ["app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/chart"];

struct Helm {
    cluster: ControlPlane,
    folder: tempfile::TempDir,
    program: std::path::PathBuf,
}

impl Helm {
    async fn new() -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| build::helm(&build::silent)).await??;
        let folder = tempfile::Builder::new().prefix("bartizan-helm-").tempdir().context("no temporary folder")?;
        Ok(Self { cluster: ControlPlane::start().await?, folder, program })
    }

    /// Runs it, with its own folders and without those of whoever runs the test.
    async fn output(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let mut helm = Command::new(&self.program);
        helm.current_dir(workspace_root()).args(arguments).env("KUBECONFIG", self.cluster.admin_kubeconfig());
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(folder, self.folder.path().join(folder));
        }
        helm.output().await.context("helm cannot be run")
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments).await?;
        let (text, error) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
        ensure!(output.status.success(), "helm {}: {error}", arguments.join(" "));
        Ok(text)
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl_ok(arguments, None).await
    }

    /// What a kustomization below deploy/ has.
    async fn kustomized(&self, part: &str) -> Result<Objects> {
        let folder = workspace_root().join("deploy").join(part);
        objects(&self.kubectl(&["kustomize", &folder.to_string_lossy()]).await?)
    }
}

fn objects(text: &str) -> Result<Objects> {
    let documents: Vec<Value> =
        serde_yaml_ng::Deserializer::from_str(text).map(Value::deserialize).collect::<Result<_, _>>()?;
    let mut objects = Objects::new();
    for mut object in documents.into_iter().filter(|document| !document.is_null()) {
        let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = format!("{} {}/{}", object["kind"].as_str().unwrap_or_default(), of("namespace"), of("name"));
        // The namespace of the accounts stays where Helm uninstalls; a kustomization has no such word.
        if object["kind"] == "Namespace"
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("annotations");
        }
        if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.retain(|label, _| !LABELS.contains(&label.as_str()));
        }
        ensure!(objects.insert(key.clone(), object).is_none(), "{key} is there twice");
    }
    Ok(objects)
}

fn differences(ours: &Objects, theirs: &Objects) -> Vec<String> {
    let keys = ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>();
    let differs = keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key));
    // Of a CustomResourceDefinition, the beginning.
    let text = |object: Option<&Value>| {
        object.map(ToString::to_string).unwrap_or_default().chars().take(2000).collect::<String>()
    };
    differs.map(|key| format!("{key}:\n{}\n{}", text(ours.get(key)), text(theirs.get(key)))).collect()
}

#[tokio::test]
async fn the_charts_render_what_kustomize_prints_and_go_without_taking_a_store() -> Result<()> {
    let helm = Helm::new().await?;
    the_charts_render_what_kustomize_prints(&helm).await?;
    values_that_mean_nothing_are_refused(&helm).await?;
    rights_in_namespaces_are_roles(&helm).await?;
    an_uninstall_takes_no_store(&helm).await?;
    helm.cluster.stop().await
}

async fn the_charts_render_what_kustomize_prints(helm: &Helm) -> Result<()> {
    helm.run(&["lint", "--strict", "deploy/chart/bartizan", "deploy/chart/bartizan-crds"]).await?;
    let template = ["template", "bartizan", "deploy/chart/bartizan", "--namespace", NAMESPACE];
    let rendered = objects(&helm.run(&template).await?)?;
    let mut base = helm.kustomized("base").await?;
    // Helm makes the namespace of the release, or the administrator does.
    ensure!(base.remove("Namespace /bartizan-system").is_some(), "{:?}", base.keys());
    let differences_of_base = differences(&rendered, &base);
    ensure!(differences_of_base.is_empty(), "{}", differences_of_base.join("\n"));

    let more = [
        "--set=providers.cassandra.enabled=true",
        "--set=installCRDs=true",
        "--set=accessReviews=true",
        "--set=pullSecrets={registry}",
        "--set=admissionPolicies.enabled=true",
    ];
    let rendered = objects(&helm.run(&[&template[..], &more].concat()).await?)?;
    let added: Objects = rendered.iter().filter(|(key, _)| !base.contains_key(*key)).map(own).collect();
    let kustomization = format!(
        "resources: [{0}/providers/cassandra]\ncomponents: [{0}/optional/install-crds, {0}/optional/pull-secret, \
         {0}/optional/policies, {0}/optional/reviews]\n",
        "deploy"
    );
    // kustomize takes folders relative to its own only.
    let folder = tempfile::Builder::new().prefix("kustomization-").tempdir_in(workspace_root())?;
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization.replace("deploy", "../deploy"))?;
    let expected = objects(&helm.kubectl(&["kustomize", &folder.path().to_string_lossy()]).await?)?;
    let differences_of_options = differences(&added, &expected);
    ensure!(differences_of_options.is_empty(), "{}", differences_of_options.join("\n"));

    let rendered = objects(&helm.run(&["template", "kinds", "deploy/chart/bartizan-crds"]).await?)?;
    let differences_of_kinds = differences(&rendered, &helm.kustomized("crds").await?);
    ensure!(differences_of_kinds.is_empty(), "{}", differences_of_kinds.join("\n"));
    Ok(())
}

fn own((key, object): (&String, &Value)) -> (String, Value) {
    (key.clone(), object.clone())
}

async fn values_that_mean_nothing_are_refused(helm: &Helm) -> Result<()> {
    for (value, expected) in [
        ("logFormat=xml", "at '/logFormat': value must be one of 'text', 'json'"),
        ("replica=3", "additional properties 'replica' not allowed"),
        ("image.digest=latest", "at '/image/digest'"),
        ("callMemory=much", "at '/callMemory'"),
        ("podLabels.app\\.kubernetes\\.io/name=x", "invalid propertyName 'app.kubernetes.io/name'"),
        ("providerNamespace.name=default", "providerNamespace.name: it must not be the namespace of the release"),
        ("providers.minio.module.pullSecretName=registry", "registry is not one of pullSecrets"),
        ("providers.minio.module.verify.keys={a}", "it is for a module in a registry, and there is no reference"),
        ("providers.minio.module.verify.key=a", "additional properties 'key' not allowed"),
        ("providers.nfs.enabled=true", "providers.nfs: this chart has no rights for it"),
    ] {
        let set = format!("--set={value}");
        let output = helm.output(&["template", "bartizan", "deploy/chart/bartizan", &set]).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && error.contains(expected), "{value}: {error}");
    }
    Ok(())
}

/// The same as `bartizan rbac --namespace` prints: Roles, and for people what the cluster adds to its own roles.
async fn rights_in_namespaces_are_roles(helm: &Helm) -> Result<()> {
    let template = ["template", "bartizan", "deploy/chart/bartizan", "--namespace", NAMESPACE];
    let set = "--set=providers.minio.namespaces={shop,bank}";
    let rendered = objects(&helm.run(&[&template[..], &[set]].concat()).await?)?;
    let of_minio: Objects = rendered.iter().filter(|(key, _)| key.contains("minio")).map(own).collect();
    let module = tokio::task::spawn_blocking(|| build::guests(&["minio"], &build::silent)).await??;
    let host = tokio::task::spawn_blocking(|| build::host(&build::silent)).await??;
    let output = Command::new(host).arg("rbac").args(module).args(["-n", "shop", "-n", "bank"]).output().await?;
    let printed = objects(&String::from_utf8(output.stdout)?)?;
    let differences = differences(&of_minio, &printed);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

async fn an_uninstall_takes_no_store(helm: &Helm) -> Result<()> {
    helm.run(&["install", "kinds", "deploy/chart/bartizan-crds"]).await?;
    let install = ["bartizan", "deploy/chart/bartizan", "--namespace", NAMESPACE];
    helm.run(&[&["install", "--create-namespace", "--wait", "--timeout=120s"][..], &install].concat()).await?;
    helm.kubectl(&["-n", NAMESPACE, "wait", "--for=condition=Available", "--timeout=60s", "deploy/bartizan"]).await?;
    helm.run(&[&["upgrade", "--wait", "--timeout=120s", "--set=replicas=1"][..], &install].concat()).await?;
    helm.kubectl(&["create", "namespace", "rook-minio"]).await?;
    let store = workspace_root().join("examples/minio/object-store-minimal.yaml");
    helm.kubectl(&["apply", "-f", &store.to_string_lossy()]).await?;
    for release in [&["bartizan", "--namespace", NAMESPACE][..], &["kinds"]] {
        helm.run(&[&["uninstall", "--wait", "--timeout=60s"][..], release].concat()).await?;
        let deleted = ["get", "-f", &store.to_string_lossy(), "-o", "jsonpath={.metadata.deletionTimestamp}"];
        ensure!(helm.kubectl(&deleted).await?.is_empty(), "a store went with {release:?}");
    }
    helm.kubectl(&["get", "crd", "providers.bartizan.dev", "objectstores.minio.rook.io"]).await?;
    // What stayed is taken up again.
    helm.run(&["install", "kinds", "deploy/chart/bartizan-crds", "--take-ownership"]).await?;
    Ok(())
}
