//! What people and programs see of the host: logs, metrics, health, explanations and recordings.

pub(crate) mod explain;
pub(crate) mod hand_over;
pub(crate) mod health;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod observer;
pub(crate) mod recorder;
pub(crate) mod subject;
pub(crate) mod timestamp;
