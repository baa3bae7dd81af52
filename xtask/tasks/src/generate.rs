//! Generates files that are kept in the repository so that people can read and apply them: schemas, CRDs, roles, help texts.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use bartizan_contract::ProviderManifest;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::Provider;
use bartizan_harness::build::{self, Observer};
use serde_json::json;

use crate::{help, progress};

/// `cargo xtask generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file is out of date
    #[arg(long)]
    check: bool,
}

/// Providers whose CRDs are kept in the repository, and the files.
const CRDS: [(&str, &str); 8] = [
    ("minio", "deploy/crds/objectstores.minio.rook.io.yaml"),
    ("cassandra", "deploy/crds/clusters.cassandra.rook.io.yaml"),
    ("hello", "examples/hello/deploy/crd.yaml"),
    ("faulty", "tests/guests/faulty/deploy/crd.yaml"),
    ("scripted", "tests/guests/scripted/deploy/crd.yaml"),
    ("scripted-finalizing", "tests/guests/scripted-finalizing/deploy/crd.yaml"),
    ("scripted-cluster-scoped", "tests/guests/scripted-cluster-scoped/deploy/crd.yaml"),
    ("notice", "tests/guests/notice/deploy/crd.yaml"),
];

/// Providers whose roles, printed by `bartizan rbac`, are kept in the repository, and the files.
const ROLES: [(&str, &str); 3] = [
    ("minio", "deploy/providers/minio/rbac.yaml"),
    ("cassandra", "deploy/providers/cassandra/rbac.yaml"),
    ("hello", "examples/hello/deploy/rbac.yaml"),
];

/// The CRD of the host's own kind.
const PROVIDERS: &str = "deploy/crds/providers.bartizan.dev.yaml";

/// A kind outlives its chart, or every store of every tenant would go with it.
const KEPT: &str = "\nkind: CustomResourceDefinition\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  labels:\n    \
                    app.kubernetes.io/part-of: bartizan\n";

/// Shipped providers whose Providers the chart makes, the manifests, and the files.
const PROVIDER_OBJECTS: [(&str, &str); 2] = [
    ("plugins/minio/manifest.json", "deploy/chart/bartizan/files/providers/minio-provider.yaml"),
    ("plugins/cassandra/manifest.json", "deploy/chart/bartizan/files/providers/cassandra-provider.yaml"),
];

/// Files that a Helm chart needs in its own folder, and of which they are copies.
const COPIES: [(&str, &str); 6] = [
    ("deploy/crds/providers.bartizan.dev.yaml", "deploy/chart/bartizan-crds/templates/providers.bartizan.dev.yaml"),
    (
        "deploy/crds/objectstores.minio.rook.io.yaml",
        "deploy/chart/bartizan-crds/templates/objectstores.minio.rook.io.yaml",
    ),
    (
        "deploy/crds/clusters.cassandra.rook.io.yaml",
        "deploy/chart/bartizan-crds/templates/clusters.cassandra.rook.io.yaml",
    ),
    ("deploy/providers/minio/rbac.yaml", "deploy/chart/bartizan/files/providers/minio.yaml"),
    ("deploy/providers/cassandra/rbac.yaml", "deploy/chart/bartizan/files/providers/cassandra.yaml"),
    ("deploy/providers/cassandra/members.yaml", "deploy/chart/bartizan/files/providers/cassandra-members.yaml"),
];

/// Fails if a file is out of date.
pub(crate) fn check() -> Result<()> {
    run(&Args { check: true }).map(|_| ())
}

/// Builds the modules of all providers in [`CRDS`].
pub(crate) fn modules(observer: Observer<'_>) -> Result<Vec<PathBuf>> {
    build::guests(&CRDS.map(|(name, _)| name), observer)
}

/// Writes, or checks.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    manifests(args.check)?;
    let modules = progress::step("providers", modules)?;
    let host = progress::step("host", build::host)?;
    let mut files = help::files();
    for (name, schema) in bartizan_contract::schema::all() {
        files.push((PathBuf::from("wit").join(name), format!("{}\n", serde_json::to_string_pretty(&schema)?)));
    }
    let header = "# Made by `cargo xtask generate` from contract/src/provider.rs. Do not edit.\n";
    let providers = serde_yaml_ng::to_string(&bartizan_contract::provider::crd())?;
    files.push((PathBuf::from(PROVIDERS), format!("{header}{providers}")));
    for ((name, file), module) in CRDS.iter().zip(&modules) {
        let header = format!("# Made by `cargo xtask generate` from the provider \"{name}\". Do not edit.\n");
        files.push((PathBuf::from(file), format!("{header}{}", printed(&host, "crds", module)?)));
        if let Some((_, file)) = ROLES.iter().find(|(role, _)| role == name) {
            files.push((PathBuf::from(file), format!("{header}{}", printed(&host, "rbac", module)?)));
        }
    }
    for (manifest, file) in PROVIDER_OBJECTS {
        let header = format!("# Made by `cargo xtask generate` from {manifest}. Do not edit.\n");
        let text = std::fs::read_to_string(root(Path::new(manifest))).context(manifest)?;
        files.push((PathBuf::from(file), format!("{header}{}", provider_object(&serde_json::from_str(&text)?)?)));
    }
    for (original, copy) in COPIES {
        let generated = files.iter().find(|(file, _)| file == Path::new(original)).map(|(_, text)| text.clone());
        let text = match generated {
            Some(text) => text,
            None => std::fs::read_to_string(root(Path::new(original))).context(original)?,
        };
        // What the kustomization of the kinds adds.
        let text = text.replacen("\nkind: CustomResourceDefinition\nmetadata:\n", KEPT, 1);
        files.push((PathBuf::from(copy), text));
    }
    let stale: Vec<String> = files
        .iter()
        .filter(|(file, text)| std::fs::read_to_string(root(file)).ok().as_ref() != Some(text))
        .map(|(file, _)| file.display().to_string())
        .collect();
    if args.check {
        if !stale.is_empty() {
            bail!("out of date: {}; run `cargo xtask generate` and commit the result", stale.join(", "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    for (file, text) in &files {
        std::fs::write(root(file), text).with_context(|| file.display().to_string())?;
    }
    for file in stale {
        println!("wrote {file}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes, or checks, the minified manifests that the shipped providers embed. First, since CRDs and roles are made of them. A
/// test of each provider does the work, because only native code of a provider can tell its manifest; the whole workspace is
/// selected so that cargo builds with the same features as `cargo test --workspace`.
fn manifests(check: bool) -> Result<()> {
    let mut command = build::cargo();
    command.args(["test", "--quiet", "--workspace", "--test", "cluster", "--test", "objectstore", "manifest::"]);
    if !check {
        command.env("BARTIZAN_UPDATE_MANIFEST", "1");
    }
    let status = command.status().context("cargo cannot be run")?;
    if !status.success() {
        bail!("the manifests are not what the code says: run `cargo xtask generate` and commit the result");
    }
    Ok(())
}

/// A Provider that grants a module what it asks for. Where the module is, the chart says.
fn provider_object(manifest: &ProviderManifest) -> Result<String> {
    let mut provider = serde_json::to_value(Provider::default_for(manifest, "module.wasm"))?;
    let spec = provider["spec"].as_object_mut().context("a Provider without a spec")?;
    spec.remove("module");
    let document = json!({
        "apiVersion": PROVIDER_API_VERSION, "kind": PROVIDER_KIND, "metadata": {"name": manifest.name}, "spec": spec,
    });
    Ok(serde_yaml_ng::to_string(&document)?)
}

fn root(file: &Path) -> PathBuf {
    build::workspace_root().join(file)
}

/// The output of `bartizan WHAT MODULE`.
fn printed(host: &Path, what: &str, module: &Path) -> Result<String> {
    let output = Command::new(host).arg(what).arg(module).output().with_context(|| format!("bartizan {what}"))?;
    if !output.status.success() {
        bail!("bartizan {what} {}: {}", module.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
