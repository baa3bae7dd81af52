//! One watch as a stream of observations: a list, then its changes, for ever. Every failure ends in a new list after a
//! backoff, so that a watch that the API server keeps refusing (410 at its start) heals, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_engine::Observed;
use bartizan_engine::index::Scope;
use bartizan_engine::object::Projection;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::warn;

use crate::kubernetes::error::chain;
use crate::kubernetes::object::project;
use crate::kubernetes::served::Resource;
use crate::kubernetes::watch_throttle::paced;

/// What a watch saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A list begins.
    Relist,
    /// An object is there, as it is now.
    Object(Box<Observed>),
    /// An object is gone.
    Gone(Box<Observed>),
    /// The list is complete.
    Listed,
    /// The watch broke, with the reason; a list follows.
    Broken(String),
}

/// First and longest delay before a broken watch is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Everything that a watch needs.
pub(crate) struct Watch {
    /// The client to watch with.
    pub(crate) client: Client,
    /// What is watched.
    pub(crate) scope: Scope,
    /// Where it is.
    pub(crate) resource: Resource,
    /// Label selector; `None`: all objects.
    pub(crate) selector: Option<String>,
    /// How objects are projected for the provider.
    pub(crate) projection: Arc<Projection>,
}

impl Watch {
    /// Watches until the receiver is gone.
    pub(crate) async fn run(self, to: mpsc::Sender<(Scope, Seen)>) {
        let mut delay = BACKOFF.0;
        loop {
            let started = Instant::now();
            match self.once(&to).await {
                Ok(()) => return,
                Err(reason) => {
                    // Only a watch that lasted starts the backoff anew: a list that succeeds says nothing about the watch.
                    if started.elapsed() > BACKOFF.1 {
                        delay = BACKOFF.0;
                    }
                    warn!(kind = %self.scope.kind, namespace = self.scope.namespace, %reason, "watch broke; listing again");
                    if to.send((self.scope.clone(), Seen::Broken(reason))).await.is_err() {
                        return;
                    }
                }
            }
            tokio::time::sleep(delay.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            delay = (delay * 2).min(BACKOFF.1);
        }
    }

    /// One list and its changes. `Ok` means that nobody listens any more.
    async fn once(&self, to: &mpsc::Sender<(Scope, Seen)>) -> Result<(), String> {
        let api: Api<DynamicObject> = match &self.scope.namespace {
            Some(namespace) => Api::namespaced_with(paced(self.client.clone()), namespace, &self.resource.api),
            None => Api::all_with(paced(self.client.clone()), &self.resource.api),
        };
        let mut config = watcher::Config::default();
        if let Some(selector) = &self.selector {
            config = config.labels(selector);
        }
        let mut events = watcher(api, config).boxed();
        while let Some(event) = events.try_next().await.map_err(|error| chain(&error))? {
            let seen = match event {
                Event::Init => Some(Seen::Relist),
                Event::InitApply(object) | Event::Apply(object) => self.project(object).map(Seen::Object),
                Event::Delete(object) => self.project(object).map(Seen::Gone),
                Event::InitDone => Some(Seen::Listed),
            };
            if let Some(seen) = seen
                && to.send((self.scope.clone(), seen)).await.is_err()
            {
                return Ok(());
            }
        }
        Err("the stream of events ended".to_owned())
    }

    fn project(&self, mut object: DynamicObject) -> Option<Box<Observed>> {
        // Items of a list have no type of their own.
        object.types = Some(kube::core::TypeMeta {
            api_version: self.scope.kind.api_version(),
            kind: self.scope.kind.kind.clone(),
        });
        match project(object, &self.projection) {
            Ok(observed) => Some(Box::new(observed)),
            Err(reason) => {
                warn!(kind = %self.scope.kind, %reason, "object left out");
                None
            }
        }
    }
}
