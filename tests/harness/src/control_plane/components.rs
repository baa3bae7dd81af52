//! The command lines of the components, with the reasons for their flags.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use bartizan_build as build;

use crate::{
    certificates::{Authority, Identity, TokenKey},
    kubeconfig::{Credential, Kubeconfigs, write_private},
};

/// The components whose place in the order of start and stop matters.
pub(super) const ETCD: &str = "etcd";
pub(super) const APISERVER: &str = "kube-apiserver";

/// The ports of one cluster on the loopback address.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) apiserver: u16,
}

impl Ports {
    /// Ports that are free at this moment. Another process may take one before we do; the start is then repeated.
    pub(super) fn free() -> Result<Self> {
        // Both listeners are held at the same time, so that the ports differ.
        let listeners = [bind()?, bind()?];
        let [etcd, apiserver] = [&listeners[0], &listeners[1]].map(|listener| listener.local_addr());
        Ok(Self {
            etcd: etcd.context("cannot determine a free port")?.port(),
            apiserver: apiserver.context("cannot determine a free port")?.port(),
        })
    }
}

fn bind() -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0)).context("cannot find a free port on 127.0.0.1")
}

/// The files that the components share, laid out in one folder.
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) ports: Ports,
    pub(super) authority: Authority,
    pub(super) kubeconfigs: Kubeconfigs,
    pub(super) admin: PathBuf,
    controller_manager: PathBuf,
    scheduler: PathBuf,
    kwok: PathBuf,
}

impl Layout {
    /// Writes certificates, keys and kubeconfigs into the folder.
    pub(super) fn write(folder: &Path, ports: Ports) -> Result<Self> {
        for name in ["logs", "kubeconfigs", "kube-cache"] {
            let path = folder.join(name);
            // A second attempt finds the folders of the first.
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let authority = Authority::new()?;
        let Identity { certificate, key } = authority.server()?;
        let tokens = TokenKey::new()?;
        write_private(&folder.join("ca.crt"), authority.certificate())?;
        write_private(&folder.join("apiserver.crt"), &certificate)?;
        write_private(&folder.join("apiserver.key"), &key)?;
        write_private(&folder.join("tokens.key"), &tokens.private)?;
        write_private(&folder.join("tokens.pub"), &tokens.public)?;

        let kubeconfigs = Kubeconfigs {
            folder: folder.join("kubeconfigs"),
            server: format!("https://127.0.0.1:{}", ports.apiserver),
            authority: authority.certificate().to_owned(),
        };
        let write = |user: &str, groups: &[&str]| -> Result<PathBuf> {
            let identity = authority.client(user, groups)?;
            kubeconfigs.write(user, user, "default", &Credential::Certificate(&identity))
        };
        Ok(Self {
            // system:masters is above RBAC, whatever roles a test breaks.
            admin: write("admin", &["system:masters"])?,
            // These two have their rights by name from the built-in roles.
            controller_manager: write("system:kube-controller-manager", &[])?,
            scheduler: write("system:kube-scheduler", &[])?,
            // kwok plays kubelets and a provisioner, for which no one role exists.
            kwok: write("kwok", &["system:masters"])?,
            folder: folder.to_path_buf(),
            ports,
            authority,
            kubeconfigs,
        })
    }

    pub(super) fn etcd(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        vec![
            self.path_flag("data-dir", "etcd"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            // A cluster of one has no peers, but etcd insists on listening.
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            // This data need not survive a power failure, and fsync is most of the time of a write.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    pub(super) fn apiserver(&self) -> Vec<String> {
        let manifests = build::control_plane_sources().join("manifests");
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            // Otherwise it looks for the address of a default route, which a machine without a network lacks.
            // machine without a network does not have.
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.ports.apiserver),
            self.path_flag("tls-cert-file", "apiserver.crt"),
            self.path_flag("tls-private-key-file", "apiserver.key"),
            self.path_flag("client-ca-file", "ca.crt"),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            self.path_flag("service-account-key-file", "tokens.pub"),
            self.path_flag("service-account-signing-key-file", "tokens.key"),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // The `kubernetes` Service would get the endpoint 127.0.0.1, which is not a valid one; nothing here uses
            // it.
            "--endpoint-reconciler-type=none".to_owned(),
            self.path_flag("audit-log-path", AUDIT_LOG),
            // Otherwise it rotates the log after 100 MB, and a bench would lose requests that it counts.
            "--audit-log-maxsize=0".to_owned(),
            format!("--audit-policy-file={}", manifests.join("audit-policy.yaml").display()),
        ]
    }

    pub(super) fn controller_manager(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.controller_manager.display()),
            self.path_flag("root-ca-file", "ca.crt"),
            self.path_flag("service-account-private-key-file", "tokens.key"),
            // Each controller with its own account and rights, as in a real cluster: otherwise a test of the garbage
            // collector's rights would test nothing.
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // Nobody reads its metrics, and one port less is one race less.
            "--secure-port=0".to_owned(),
            // The default of 20 per second is meant for sharing a big cluster.
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=2000".to_owned(),
        ]
    }

    pub(super) fn scheduler(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.scheduler.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=2000".to_owned(),
        ]
    }

    pub(super) fn kwok(&self) -> Vec<String> {
        let stages = build::control_plane_sources().join("stages");
        let mut arguments = vec![
            format!("--kubeconfig={}", self.kwok.display()),
            "--manage-all-nodes=true".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            // What a kubelet uses; the node counts as lost when it expires.
            "--node-lease-duration-seconds=40".to_owned(),
        ];
        for name in ["node.yaml", "pod.yaml", "pod-trouble.yaml", "volume.yaml"] {
            arguments.push(format!("--config={}", stages.join(name).display()));
        }
        arguments
    }

    fn path_flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.folder.join(name).display())
    }
}

/// The name of the audit log in the cluster's folder.
pub(super) const AUDIT_LOG: &str = "audit.log";
