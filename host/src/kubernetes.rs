//! The Kubernetes API as the host uses it: every request that it sends, and every object that it reads.

pub(crate) mod access_review;
pub(crate) mod backoff;
pub(crate) mod connect;
pub(crate) mod crds;
pub(crate) mod deadline;
pub(crate) mod discovery;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod impersonation;
pub(crate) mod layer;
pub(crate) mod lease;
pub(crate) mod metadata;
pub(crate) mod object;
pub(crate) mod relisting;
pub(crate) mod requests;
pub(crate) mod resources;
pub(crate) mod retry_after;
pub(crate) mod served;
pub(crate) mod stored;
pub(crate) mod token_key;
pub(crate) mod user_agent;
pub(crate) mod watch;
pub(crate) mod watch_throttle;
pub(crate) mod writer;
