//! The examples that the demo can show, and what each takes.

use bartizan_harness::build;

/// What can be shown.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Show {
    /// The talk's ObjectStore: four servers.
    Minio,
    /// A Cassandra ring: two racks of three members.
    Cassandra,
}

/// An example, and what it takes.
pub(crate) struct Subject {
    /// Name of the provider.
    pub(crate) provider: &'static str,
    /// The example, below the root of the workspace.
    pub(crate) example: &'static str,
    /// The namespace that stands in the example.
    pub(crate) written: &'static str,
    /// The namespace that the demo makes, so that all goes with it.
    pub(crate) namespace: &'static str,
    /// Name of the parent.
    pub(crate) name: &'static str,
    /// Group, kind and plural of the parent.
    pub(crate) group: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    /// What people call it.
    pub(crate) noun: &'static str,
    /// A child that comes back when it is deleted.
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
    kind: "ObjectStore",
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
    kind: "Cluster",
    plural: "clusters",
    noun: "ring",
    child: "service orders-client",
    roles: &["bartizan-provider-cassandra", "bartizan-provider-cassandra-members"],
};

impl Show {
    /// The example of it.
    pub(crate) fn subject(self) -> &'static Subject {
        match self {
            Self::Minio => &MINIO,
            Self::Cassandra => &CASSANDRA,
        }
    }
}

impl Subject {
    /// What the demo makes in a cluster, but for what goes with the namespaces.
    pub(crate) fn made(&self) -> Vec<String> {
        let mut made = vec![
            format!("namespace/{}", self.namespace),
            "namespace/bartizan-system".to_owned(),
            "namespace/bartizan-providers".to_owned(),
            "customresourcedefinition/providers.bartizan.dev".to_owned(),
            format!("customresourcedefinition/{}.{}", self.plural, self.group),
        ];
        for role in ["bartizan"].iter().chain(self.roles) {
            made.extend([format!("clusterrole/{role}"), format!("clusterrolebinding/{role}")]);
        }
        made
    }

    /// The folder with its CRD and rights.
    pub(crate) fn deploy(&self) -> String {
        deploy(&format!("providers/{}", self.provider))
    }
}

/// A folder below deploy/.
pub(crate) fn deploy(part: &str) -> String {
    build::workspace_root().join("deploy").join(part).display().to_string()
}
