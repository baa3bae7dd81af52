//! State shared by the connections of a proxy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use tokio::sync::watch;

use super::answer::Recorded;
use crate::faults::{Fault, Rules};
use crate::hold::Hold;
use crate::request::Summary;

/// A request that the proxy handled.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The request.
    pub request: Summary,
    /// Its fault.
    pub fault: Fault,
    /// The API server's last response code; `None` if there was none (yet).
    pub code: Option<u16>,
}

/// State shared by all connections.
pub(super) struct Shared {
    pub(super) upstream: Client,
    pub(super) rules: Mutex<Rules>,
    pub(super) hold: Mutex<Option<Hold>>,
    pub(super) log: Mutex<Vec<Entry>>,
    /// The last response to each list, by its URL.
    pub(super) lists: Mutex<HashMap<String, Recorded>>,
    /// The number of open connections and of writes in flight to the API server.
    pub(super) open: watch::Sender<usize>,
    /// Ends the faults in progress.
    pub(super) healed: watch::Sender<bool>,
}

/// Counts as open while it lives.
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

/// A panic elsewhere does not invalidate the data.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
