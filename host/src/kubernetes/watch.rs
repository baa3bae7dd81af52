//! One watch as a stream of observations: a list, then its changes, without end. After any failure it lists again, with a backoff, so
//! that even a watch recovers that the API server keeps refusing (410 at its start).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_engine::Observed;
use bartizan_engine::index::Scope;
use bartizan_engine::object::Projection;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Uri;
use kube::Client;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::mpsc;
use tracing::warn;

use crate::kubernetes::backoff::{self, Backoff};
use crate::kubernetes::error::{chain, is_denied, retry_after};
use crate::kubernetes::layer::layered;
use crate::kubernetes::object::objects_as;
use crate::kubernetes::served::Resource;
use crate::kubernetes::stored::Stored;
use crate::kubernetes::watch_throttle::throttled;

/// A client whose streamed lists are consistent: kube asks for one that is not older than version 0, which any cache of an API server may
/// answer, however far it lags. Without a version, the list is as new as the store (KEP-3157).
fn consistent(client: Client) -> Client {
    layered(client, |client, mut request| {
        if let Some(uri) = without_version_zero(request.uri()) {
            *request.uri_mut() = uri;
        }
        async move { client.send(request).await }
    })
}

/// The address of a streamed list without its resource version; `None` if it is another request.
fn without_version_zero(uri: &Uri) -> Option<Uri> {
    let query = uri.query().filter(|query| query.split('&').any(|part| part == "sendInitialEvents=true"))?;
    let rest: Vec<&str> = query.split('&').filter(|part| *part != "resourceVersion=0").collect();
    format!("{}?{}", uri.path(), rest.join("&")).parse().ok()
}

/// Objects of a page where lists are not streamed.
const PAGE: u32 = 50;

/// What a watch saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A list starts.
    Relist,
    /// An object in its current state.
    Object(Box<Observed>),
    /// An object was deleted; this is its last state.
    Gone(Box<Observed>),
    /// The list is complete.
    Listed,
    /// The watch broke, for this reason; a list follows.
    Broken(Broken),
}

/// Why a watch broke.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// In words.
    pub(crate) reason: String,
    /// Whether a right is missing.
    pub(crate) is_denied: bool,
    /// The delay that the API server asks for.
    pause: Option<Duration>,
}

impl From<watcher::Error> for Broken {
    fn from(error: watcher::Error) -> Self {
        Self { reason: chain(&error), is_denied: is_denied(&error), pause: retry_after(&error) }
    }
}

/// Everything that a watch needs.
pub(crate) struct Watch {
    /// The client to watch with.
    pub(crate) client: Client,
    /// What is watched.
    pub(crate) scope: Scope,
    /// How the API server serves it.
    pub(crate) resource: Resource,
    /// Whether the API server may send lists as streams, an object at a time.
    pub(crate) may_stream: bool,
    /// Whether that is tried next.
    pub(crate) streams: bool,
    /// Label selector; `None`: all objects.
    pub(crate) selector: Option<String>,
    /// How objects are projected for the provider.
    pub(crate) projection: Arc<Projection>,
}

impl Watch {
    /// Watches until the receiver is dropped.
    pub(crate) async fn run(mut self, to: mpsc::Sender<(Scope, Seen)>) {
        let mut backoff = Backoff::new(backoff::WATCH);
        loop {
            let started = Instant::now();
            let mut is_listed = false;
            let Err(broken) = self.once(&to, &mut is_listed).await else { return };
            let lasted = started.elapsed();
            // It may be that this server sends no streams: an aggregated one, or one where that is off.
            self.streams = self.may_stream && (is_listed || !self.streams);
            let (reason, pause) = (&broken.reason, broken.pause);
            warn!(kind = %self.scope.kind, namespace = self.scope.namespace, %reason, "watch broke; listing again");
            if to.send((self.scope.clone(), Seen::Broken(broken))).await.is_err() {
                return;
            }
            backoff.wait_after_watch(lasted, pause).await;
        }
    }

    /// One list and its changes. `Ok` means that the receiver is dropped.
    async fn once(&self, to: &mpsc::Sender<(Scope, Seen)>, is_listed: &mut bool) -> Result<(), Broken> {
        let api = objects_as::<Stored>(
            &consistent(throttled(self.client.clone())),
            self.scope.namespace.as_deref(),
            &self.resource.api,
        );
        // An object may have more than a megabyte.
        let mut config = match self.streams {
            true => watcher::Config::default().streaming_lists(),
            false => watcher::Config::default().page_size(PAGE),
        };
        if let Some(selector) = &self.selector {
            config = config.labels(selector);
        }
        let mut events = watcher(api, config).boxed();
        while let Some(event) = events.try_next().await? {
            let seen = match event {
                Event::Init => Some(Seen::Relist),
                Event::InitApply(object) | Event::Apply(object) => self.project(object).map(Seen::Object),
                Event::Delete(object) => self.project(object).map(Seen::Gone),
                Event::InitDone => {
                    *is_listed = true;
                    Some(Seen::Listed)
                }
            };
            if let Some(seen) = seen
                && to.send((self.scope.clone(), seen)).await.is_err()
            {
                return Ok(());
            }
        }
        Err(Broken { reason: "the stream of events ended".to_owned(), is_denied: false, pause: None })
    }

    fn project(&self, object: Stored) -> Option<Box<Observed>> {
        match object.project(&self.scope.kind, &self.projection) {
            Ok(observed) => Some(Box::new(observed)),
            Err(reason) => {
                warn!(kind = %self.scope.kind, %reason, "object left out");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streamed_list_is_as_new_as_the_store() {
        let streamed =
            "/api/v1/secrets?watch=true&resourceVersion=0&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let expected = "/api/v1/secrets?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(without_version_zero(&streamed.parse().unwrap()).unwrap(), expected);
        let resumed = "/api/v1/secrets?watch=true&resourceVersion=0";
        assert_eq!(without_version_zero(&resumed.parse().unwrap()), None);
    }
}
