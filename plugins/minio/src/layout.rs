//! The servers and drives of a store: names, addresses, and the arithmetic of erasure sets.

use serde_json::Value;

use crate::spec::Mode;

/// MinIO's default port.
pub(crate) const DEFAULT_PORT: u16 = 9000;
/// The default DNS domain of clusters.
pub(crate) const DEFAULT_DOMAIN: &str = "cluster.local";
/// The maximum number of drives of a store: the arguments of the servers contain the address of each, and an object in Kubernetes
/// has at most 1.5 MiB.
pub(crate) const MOST_DRIVES: u32 = 1024;
/// The possible numbers of drives of an erasure set.
const SET_SIZES: std::ops::RangeInclusive<u32> = 4..=16;
/// The volume of a store without claim templates.
pub(crate) const EPHEMERAL_VOLUME: &str = "data";

/// A store's servers and drives.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The name of the store, its StatefulSet and its headless Service.
    pub name: String,
    /// The store's namespace.
    pub namespace: String,
    /// The cluster's DNS domain.
    pub domain: String,
    /// How data is stored.
    pub mode: Mode,
    /// The number of servers.
    pub nodes: u32,
    /// The names of each server's volumes.
    pub volumes: Vec<String>,
    /// The claim templates of each server, one per volume; none: one ephemeral volume.
    pub claims: Vec<Value>,
    /// The port of the servers.
    pub port: u16,
}

impl Layout {
    /// The mount path of a volume.
    #[must_use]
    pub fn mount_path(volume: &str) -> String {
        format!("/data/{volume}")
    }

    /// The addresses of the drives, as arguments of every server. Consecutive drives are on different servers, because MinIO forms
    /// erasure sets of consecutive ones: a lost server then costs each set as few drives as possible.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let Self { name, namespace, domain, port, .. } = self;
        let mut endpoints = Vec::new();
        for volume in &self.volumes {
            let path = Self::mount_path(volume);
            for node in 0..self.nodes {
                endpoints.push(match self.mode {
                    Mode::Distributed => format!("http://{name}-{node}.{name}.{namespace}.svc.{domain}:{port}{path}"),
                    // A single server accepts paths only.
                    Mode::Standalone => path.clone(),
                });
            }
        }
        endpoints
    }

    /// The arguments of every server.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["server".to_owned()];
        if self.port != DEFAULT_PORT {
            arguments.extend(["--address".to_owned(), format!(":{}", self.port)]);
        }
        arguments.extend(self.endpoints());
        arguments
    }

    /// The URL of the store for clients.
    #[must_use]
    pub fn client_endpoint(&self) -> String {
        client_endpoint(&self.name, &self.namespace, &self.domain, self.port)
    }
}

/// The name of the Service for clients.
pub(crate) fn client_service(name: &str) -> String {
    format!("{name}-service")
}

/// The URL of a store for clients.
pub(crate) fn client_endpoint(name: &str, namespace: &str, domain: &str, port: u16) -> String {
    format!("http://{}.{namespace}.svc.{domain}:{port}", client_service(name))
}

/// The message of the fault of a number of servers.
pub(crate) fn node_count_fault(mode: Mode, nodes: i32) -> Option<String> {
    match (mode, nodes) {
        (_, ..=0) => Some(format!("must be at least 1, but is {nodes}")),
        (Mode::Standalone, 1) => None,
        (Mode::Standalone, _) => Some(format!("must be 1 in standalone mode, but is {nodes}")),
        (Mode::Distributed, 1) => {
            Some("must be an even number of at least 4, but is 1; mode: standalone allows one server".to_owned())
        }
        (Mode::Distributed, _) if nodes < 4 || nodes % 2 != 0 => {
            Some(format!("must be an even number of at least 4, but is {nodes}"))
        }
        (Mode::Distributed, _) => None,
    }
}

/// The message of the fault of a number of servers with this many drives each.
pub(crate) fn drives_fault(nodes: u32, volumes: u32) -> Option<String> {
    let servers = if nodes == 1 { "server" } else { "servers" };
    let each = if volumes == 1 { "drive" } else { "drives" };
    let what = format!("{nodes} {servers} with {volumes} {each} each");
    match nodes.checked_mul(volumes).filter(|drives| *drives <= MOST_DRIVES) {
        None => Some(format!("must not give more than {MOST_DRIVES} drives, but {what} give more")),
        // A single drive needs no erasure set.
        Some(1) => None,
        Some(drives) if SET_SIZES.into_iter().any(|size| drives % size == 0) => None,
        Some(drives) => Some(format!("must divide into erasure sets of 4 to 16 drives, but {what} give {drives}")),
    }
}
