//! The examples that the demo can show, and what each needs.

use bartizan_harness::build;

/// The examples.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Show {
    Minio,
    Cassandra,
}

/// An example, and what it needs.
pub(crate) struct Subject {
    /// Name of the provider.
    pub(crate) provider: &'static str,
    /// The example, below the root of the workspace.
    pub(crate) example: &'static str,
    /// The namespace in the example.
    pub(crate) written: &'static str,
    /// The namespace that the demo creates, and deletes with everything in it.
    pub(crate) namespace: &'static str,
    /// Name of the parent.
    pub(crate) name: &'static str,
    /// Group and plural of the parent.
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    /// What people call the parent.
    pub(crate) noun: &'static str,
    /// A child that the host recreates when it is deleted.
    pub(crate) child: &'static str,
    /// Names of the ClusterRoles of the provider, and of their bindings.
    pub(crate) roles: &'static [&'static str],
}

const MINIO: Subject = Subject {
    provider: "minio",
    example: "examples/minio/object-store.yaml",
    written: "rook-minio",
    namespace: "rook-minio",
    name: "my-store",
    group: "minio.rook.io",
    plural: "objectstores",
    noun: "store",
    child: "statefulset my-store",
    roles: &["bartizan-provider-minio"],
};

const CASSANDRA: Subject = Subject {
    provider: "cassandra",
    example: "examples/cassandra/cluster.yaml",
    written: "default",
    namespace: "rook-cassandra",
    name: "orders",
    group: "cassandra.rook.io",
    plural: "clusters",
    noun: "ring",
    child: "service orders-client",
    roles: &["bartizan-provider-cassandra", "bartizan-provider-cassandra-members"],
};

impl Show {
    /// What to show.
    pub(crate) fn subject(self) -> &'static Subject {
        match self {
            Self::Minio => &MINIO,
            Self::Cassandra => &CASSANDRA,
        }
    }
}

impl Subject {
    /// The objects that the demo creates in a cluster, except those within its namespaces.
    pub(crate) fn made(&self) -> Vec<String> {
        let mut made = vec![
            format!("namespace/{}", self.namespace),
            "namespace/bartizan-system".to_owned(),
            "namespace/bartizan-providers".to_owned(),
            "customresourcedefinition/providers.bartizan.dev".to_owned(),
            format!("customresourcedefinition/{}.{}", self.plural, self.group),
        ];
        made.extend(["view", "edit"].map(|right| format!("clusterrole/bartizan-{}-{right}", self.provider)));
        for role in ["bartizan"].iter().chain(self.roles) {
            made.extend([format!("clusterrole/{role}"), format!("clusterrolebinding/{role}")]);
        }
        made
    }

    /// The folder with the provider's roles.
    pub(crate) fn deploy(&self) -> String {
        deploy(&format!("providers/{}", self.provider))
    }

    /// The file with the provider's CRD.
    pub(crate) fn crd(&self) -> String {
        crd(&format!("{}.{}", self.plural, self.group))
    }
}

/// The file with the CRD of this name.
pub(crate) fn crd(name: &str) -> String {
    deploy(&format!("crds/{name}.yaml"))
}

/// A folder in deploy/.
pub(crate) fn deploy(part: &str) -> String {
    build::workspace_root().join("deploy").join(part).display().to_string()
}
