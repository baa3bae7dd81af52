//! Many providers in one host, made from a few modules: the API group in a module's bytes is replaced by another one
//! of the same length, so that each copy owns a kind of its own. Each has its own Provider, account and rights.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bartizan_harness::ControlPlane;
use kube::api::{ApiResource, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::versions::{patched, replace};

/// The kind that a module owns as built.
#[derive(Clone, Copy, Debug)]
pub struct Original {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
}

impl Original {
    /// Of the module `hello`.
    pub const HELLO: Self = Self { group: "hello.bartizan.dev", kind: "Greeting", plural: "greetings" };
    /// Of the module `faulty`.
    pub const FAULTY: Self = Self { group: "test.bartizan.dev", kind: "Fault", plural: "faults" };
    /// Of the module `triple`.
    pub const TRIPLE: Self = Self { group: "bench.bartizan.dev", kind: "Triple", plural: "triples" };
}

/// A copy of a module, with a Provider and a kind of its own.
#[derive(Clone, Debug)]
pub struct ModuleCopy {
    /// Name of its Provider, and of its files.
    pub name: String,
    /// The kind of its parents.
    pub resource: ApiResource,
    /// The file with its module.
    pub module: PathBuf,
}

impl ModuleCopy {
    /// Puts a copy with a kind of its own into the folder, and beside it a document with these further fields in its
    /// spec.
    ///
    /// # Errors
    /// If the module does not contain the group exactly once, or a file cannot be written.
    pub fn new(original: Original, module: &[u8], number: u8, more: &Value, folder: &Path) -> Result<Self> {
        ensure!(number < 100, "two digits are replaced");
        let Original { group, kind, plural } = original;
        let own = format!("{}{number:02}{}", &group[..1], &group[3..]);
        let name = own.split('.').next().unwrap_or_default().to_owned();
        let mut document = json!({
            "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": name},
            "spec": {
                "module": {"file": format!("{name}.wasm")},
                "grants": {"children": [{"group": "", "kinds": ["ConfigMap"]}]},
                // Their accounts have a ClusterRole.
                "allowHostSecrets": true,
            },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            document["spec"][field] = value.clone();
        }
        std::fs::write(folder.join(format!("{name}.yaml")), document.to_string()).context("the document")?;
        let file = folder.join(format!("{name}.wasm"));
        replace(&file, &patched(module, group, &own)?)?;
        let kind = GroupVersionKind::gvk(&own, "v1alpha1", kind);
        Ok(Self { name, resource: ApiResource::from_gvk_with_plural(&kind, plural), module: file })
    }

    /// Its parents in the default namespace.
    #[must_use]
    pub fn parents(&self, client: Client) -> Api<DynamicObject> {
        Api::default_namespaced_with(client, &self.resource)
    }

    /// Creates or changes one of its parents. The name begins with the provider's, so that children of different
    /// providers have different names.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply(&self, client: Client, number: usize, spec: Value) -> Result<()> {
        let name = self.parent_name(number);
        let parent = json!({
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": {"name": name}, "spec": spec,
        });
        let params = PatchParams::apply("somebody").force();
        let applied = self.parents(client).patch(&name, &params, &Patch::Apply(parent)).await;
        applied.with_context(|| format!("applying {name}"))?;
        Ok(())
    }

    /// The name of a parent.
    #[must_use]
    pub fn parent_name(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// Its CustomResourceDefinition and rights as `bartizan` prints them for the module, and its account.
    fn needs(&self, bartizan: &Path) -> Result<String> {
        let account = format!("provider-{}", self.name);
        let made = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": "bartizan-providers"},
        });
        let account = format!("bartizan-providers/{account}");
        let crds = printed(Command::new(bartizan).arg("crds").arg(&self.module))?;
        let rights = printed(Command::new(bartizan).args(["rbac", "--account", &account]).arg(&self.module))?;
        Ok([made.to_string(), crds, rights].join("\n---\n"))
    }
}

/// Applies what these copies need, and waits until their kinds are served.
///
/// # Errors
/// If a module is invalid, or the API server refuses something.
pub async fn deploy_copies(cluster: &ControlPlane, bartizan: &Path, copies: &[ModuleCopy]) -> Result<()> {
    let mut needs: Vec<String> = Vec::new();
    // Copies of one module differ in their names only, and each command compiles a module.
    for alike in copies.chunk_by(|left, right| left.resource.kind == right.resource.kind) {
        let Some(first) = alike.first().cloned() else { continue };
        let (name, bartizan) = (first.name.clone(), bartizan.to_owned());
        let printed = tokio::task::spawn_blocking(move || first.needs(&bartizan)).await??;
        needs.extend(alike.iter().map(|copy| printed.replace(&name, &copy.name)));
    }
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(&needs.join("\n---\n"))).await?;
    let of_crd = |copy: &ModuleCopy| format!("crd/{}.{}", copy.resource.plural, copy.resource.group);
    let crds: Vec<String> = copies.iter().map(of_crd).collect();
    let mut wait = vec!["wait", "--for=condition=Established", "--timeout=60s"];
    wait.extend(crds.iter().map(String::as_str));
    cluster.kubectl_ok(&wait, None).await?;
    Ok(())
}

fn printed(command: &mut Command) -> Result<String> {
    let output = command.env_remove("RUST_LOG").output().context("bartizan cannot be run")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
