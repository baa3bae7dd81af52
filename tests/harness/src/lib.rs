//! Starts the real control plane for tests, the demo and the benches.
//!
//! [`ControlPlane`] is etcd, the API server, the controllers, the scheduler and fake nodes, all real programs on free
//! ports of this machine, in a temporary folder, stopped and removed whatever happens. [`HostProcess`] runs the host
//! beside it as its users do, as a process of its own. [`build`] builds the programs that both need, [`wait`] waits
//! for conditions, and [`audit`] shows who sent which requests to the API server.

pub mod audit;
pub mod wait;

mod certificates;
mod control_plane;
mod guard;
mod host_process;
mod kubeconfig;
mod kubectl;
mod process;
mod registry;
mod signing_authority;

pub use audit::{AuditMark, AuditRequest};
pub use bartizan_build as build;
pub use control_plane::{ControlPlane, Options};
pub use host_process::HostProcess;
pub use kubectl::{KubectlOutput, kubectl_command};
pub use registry::{Registry, RegistryOptions};
pub use signing_authority::{Artifact, Signer, SigningAuthority, referrers};
