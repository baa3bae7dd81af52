//! The programs that the tests run, built once per test process by whichever test needs them first.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bartizan_harness::build;
use tokio::sync::OnceCell;

/// A provider that tests can put into the host's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Shipped: ObjectStores.
    Minio,
    /// Shipped: Clusters.
    Cassandra,
    /// The example of the README: Greetings.
    Hello,
    /// Misbehaves as its parent asks: Faults.
    Faulty,
    /// Answers as its parent says: Scripts.
    Scripted,
    /// The same, and it finalizes: FinalizingScripts.
    ScriptedFinalizing,
    /// The same for cluster-scoped parents: ClusterScripts.
    ScriptedClusterScoped,
    /// Has settings: Notices.
    Notice,
}

impl Provider {
    /// All of them, always built together: cargo links the modules again whenever the set changes.
    const ALL: [Self; 8] = [
        Self::Minio,
        Self::Cassandra,
        Self::Hello,
        Self::Faulty,
        Self::Scripted,
        Self::ScriptedFinalizing,
        Self::ScriptedClusterScoped,
        Self::Notice,
    ];

    /// Name of the provider and of its package.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Cassandra => "cassandra",
            Self::Hello => "hello",
            Self::Faulty => "faulty",
            Self::Scripted => "scripted",
            Self::ScriptedFinalizing => "scripted-finalizing",
            Self::ScriptedClusterScoped => "scripted-cluster-scoped",
            Self::Notice => "notice",
        }
    }

    /// Name of the CustomResourceDefinition that it owns.
    #[must_use]
    pub fn crd(self) -> &'static str {
        match self {
            Self::Minio => "objectstores.minio.rook.io",
            Self::Cassandra => "clusters.cassandra.rook.io",
            Self::Hello => "greetings.hello.bartizan.dev",
            Self::Faulty => "faults.test.bartizan.dev",
            Self::Scripted => "scripts.test.bartizan.dev",
            Self::ScriptedFinalizing => "finalizingscripts.test.bartizan.dev",
            Self::ScriptedClusterScoped => "clusterscripts.test.bartizan.dev",
            Self::Notice => "notices.test.bartizan.dev",
        }
    }

    /// The file with its CRD, if that is not in its kustomization.
    #[must_use]
    pub fn crd_file(self) -> Option<PathBuf> {
        let file = crd_file(self.crd());
        file.is_file().then_some(file)
    }

    /// The kustomization with the rights that it needs, and its CRD if it is not shipped.
    #[must_use]
    pub fn deploy_folder(self) -> PathBuf {
        build::workspace_root().join(match self {
            Self::Minio => "deploy/providers/minio",
            Self::Cassandra => "deploy/providers/cassandra",
            Self::Hello => "examples/hello/deploy",
            Self::Faulty => "tests/guests/faulty/deploy",
            Self::Scripted => "tests/guests/scripted/deploy",
            Self::ScriptedFinalizing => "tests/guests/scripted-finalizing/deploy",
            Self::ScriptedClusterScoped => "tests/guests/scripted-cluster-scoped/deploy",
            Self::Notice => "tests/guests/notice/deploy",
        })
    }

    /// The document that ships with a provider, if it needs more than `--trust-manifests` grants.
    #[must_use]
    pub fn document(self) -> Option<PathBuf> {
        let document = self.deploy_folder().join(format!("{}.yaml", self.name()));
        document.is_file().then_some(document)
    }
}

/// The file in deploy/crds for the CRD of this name.
#[must_use]
pub fn crd_file(name: &str) -> PathBuf {
    build::workspace_root().join(format!("deploy/crds/{name}.yaml"))
}

/// Where the built programs are.
#[derive(Debug)]
pub struct Programs {
    /// The host, `bartizan`.
    pub host: PathBuf,
    modules: Vec<PathBuf>,
}

impl Programs {
    /// Builds what is not built yet.
    ///
    /// # Errors
    /// If a build fails, with the end of its output.
    pub async fn get() -> Result<&'static Self> {
        static BUILT: OnceCell<Programs> = OnceCell::const_new();
        BUILT
            .get_or_try_init(|| async {
                let built = tokio::task::spawn_blocking(|| {
                    let modules = build::guests(&Provider::ALL.map(Provider::name), &build::silent)?;
                    // Another build of it, as that of the image.
                    let given = std::env::var_os("BARTIZAN_TEST_HOST").map(PathBuf::from);
                    let host = given.map_or_else(|| build::host(&build::silent), Ok)?;
                    build::control_plane(&build::silent)?;
                    Ok(Programs { host, modules })
                });
                built.await.context("the build was interrupted")?
            })
            .await
    }

    /// The module of a provider.
    ///
    /// # Errors
    /// If it was not built.
    pub fn module(&self, provider: Provider) -> Result<&Path> {
        let position = Provider::ALL.iter().position(|known| *known == provider);
        let module = position.and_then(|position| self.modules.get(position));
        Ok(module.with_context(|| format!("the module of {} was not built", provider.name()))?)
    }
}
