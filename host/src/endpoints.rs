//! What the host answers over HTTP, and to whom.

pub(crate) mod one_time_key;
pub(crate) mod server;
pub(crate) mod viewer;
