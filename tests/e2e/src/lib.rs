//! What the end-to-end tests in `tests/` share: a [`Stage`] is a real control plane with Bartizan's own manifests
//! applied, on which a [`Host`] runs under the ServiceAccount that it has in production.
//!
//! A test owns its stage and its hosts, and both stop when they are dropped, so that a failed test leaves no process
//! behind.

mod command;
mod copies;
mod host;
mod journal;
mod objects;
mod programs;
mod request;
mod sidecar;
mod stage;
mod timeouts;
mod versions;

pub use command::{bartizan, code_and_output};
pub use copies::{ModuleCopy, Original, deploy_copies};
pub use host::{Host, exchange};
pub use journal::{Change, Journal};
pub use objects::{
    Snapshot, apply_text, cassandra, cluster_script, condition, fault, finalizing_script, greeting, hardened,
    message_of, script, store,
};
pub use programs::{Programs, Provider, crd_file};
pub use request::first_request;
pub use sidecar::Sidecar;
pub use stage::{ACCOUNT, NAMESPACE, Stage, account_of};
pub use timeouts::SOON;
pub use versions::{patched, replace};
