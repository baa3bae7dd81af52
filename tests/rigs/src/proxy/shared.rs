//! What the connections of a proxy share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use tokio::sync::watch;

use super::answer::Recorded;
use crate::faults::{Fault, Rules};
use crate::hold::Hold;
use crate::request::Summary;

/// A request that came by.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request.
    pub request: Summary,
    /// What happened to it.
    pub fault: Fault,
    /// The API server's last answer to it; `None` if there was none (yet).
    pub code: Option<u16>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) upstream: Client,
    pub(super) rules: Mutex<Rules>,
    pub(super) hold: Mutex<Option<Hold>>,
    pub(super) log: Mutex<Vec<Entry>>,
    /// The last answer to each list, by its URL.
    pub(super) lists: Mutex<HashMap<String, Recorded>>,
    /// How many connections are open, and writes are on their way to the API server.
    pub(super) open: watch::Sender<usize>,
    /// Ends what still goes wrong when nothing should any more.
    pub(super) healed: watch::Sender<bool>,
}

/// Counts as something under way while it lives.
pub(super) struct Counted(Arc<Shared>);

impl Counted {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.open.send_modify(|open| *open += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// A panic elsewhere does not make these wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
