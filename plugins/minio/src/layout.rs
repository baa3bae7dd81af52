//! Where the servers and drives of a store are: names, addresses, and the arithmetic of erasure sets.

use serde_json::Value;

use crate::Mode;

/// The port that MinIO listens on.
pub(crate) const DEFAULT_PORT: u16 = 9000;
/// The DNS domain of most clusters.
pub(crate) const DEFAULT_DOMAIN: &str = "cluster.local";
/// Most drives of a store. Each has its address in the arguments of each server, and an object in Kubernetes has at most
/// 1.5 MiB.
pub(crate) const MOST_DRIVES: u32 = 1024;
/// How many drives an erasure set may have.
const SET_SIZES: std::ops::RangeInclusive<u32> = 4..=16;
/// The volume of a store without claim templates.
pub(crate) const EPHEMERAL_VOLUME: &str = "data";

/// A store's servers and drives.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The store's name, also that of its StatefulSet and headless Service.
    pub name: String,
    /// The store's namespace.
    pub namespace: String,
    /// The cluster's DNS domain.
    pub domain: String,
    /// How data is kept.
    pub mode: Mode,
    /// How many servers there are.
    pub nodes: u32,
    /// Names of the volumes of each server.
    pub volumes: Vec<String>,
    /// The claims of each server, one per volume; none: one ephemeral volume.
    pub claims: Vec<Value>,
    /// The port that servers listen on.
    pub port: u16,
}

impl Layout {
    /// Where a volume is mounted.
    #[must_use]
    pub fn mount_path(volume: &str) -> String {
        format!("/data/{volume}")
    }

    /// The drives of the store as every server gets them. Neighbours in the list are on different servers, since MinIO cuts
    /// its erasure sets from it: a lost server costs each set as few drives as can be.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let Self { name, namespace, domain, port, .. } = self;
        let mut endpoints = Vec::new();
        for volume in &self.volumes {
            let path = Self::mount_path(volume);
            for node in 0..self.nodes {
                endpoints.push(match self.mode {
                    Mode::Distributed => format!("http://{name}-{node}.{name}.{namespace}.svc.{domain}:{port}{path}"),
                    // A single server takes paths only.
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

    /// Where clients find the store.
    #[must_use]
    pub fn client_endpoint(&self) -> String {
        client_endpoint(&self.name, &self.namespace, &self.domain, self.port)
    }
}

/// Name of the Service for clients.
pub(crate) fn client_service(name: &str) -> String {
    format!("{name}-service")
}

/// Where clients find a store.
pub(crate) fn client_endpoint(name: &str, namespace: &str, domain: &str, port: u16) -> String {
    format!("http://{}.{namespace}.svc.{domain}:{port}", client_service(name))
}

/// What is wrong with a number of servers, in words that follow the field's name.
pub(crate) fn node_count_fault(mode: Mode, nodes: i32) -> Option<String> {
    match (mode, nodes) {
        (_, ..=0) => Some(format!("must be at least 1, but is {nodes}")),
        (Mode::Standalone, 1) => None,
        (Mode::Standalone, _) => Some(format!("must be 1 where mode is standalone, but is {nodes}")),
        (Mode::Distributed, 1) => {
            Some("must be an even number of at least 4, but is 1; mode: standalone allows one server".to_owned())
        }
        (Mode::Distributed, _) if nodes < 4 || nodes % 2 != 0 => {
            Some(format!("must be an even number of at least 4, but is {nodes}"))
        }
        (Mode::Distributed, _) => None,
    }
}

/// What is wrong with so many servers of so many drives each, in words that follow the field's name.
pub(crate) fn drives_fault(nodes: u32, volumes: u32) -> Option<String> {
    let servers = if nodes == 1 { "server" } else { "servers" };
    let each = if volumes == 1 { "drive" } else { "drives" };
    let what = format!("{nodes} {servers} with {volumes} {each} each");
    match nodes.checked_mul(volumes).filter(|drives| *drives <= MOST_DRIVES) {
        None => Some(format!("must not give more than {MOST_DRIVES} drives, but {what} give more")),
        // One drive on one server has nothing to be spread over.
        Some(1) => None,
        Some(drives) if SET_SIZES.into_iter().any(|size| drives % size == 0) => None,
        Some(drives) => Some(format!("must divide into erasure sets of 4 to 16 drives, but {what} give {drives}")),
    }
}
