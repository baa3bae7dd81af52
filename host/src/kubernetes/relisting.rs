//! Watches of the host's own: of Providers, CustomResourceDefinitions and ConfigMaps. kube's watcher goes on with the last resource version
//! after an error, which the API server may not know any more, or not yet: one of a store that went back in time would stay silent until
//! the numbers have caught up. Each of these lists again after any error, with a backoff.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::kubernetes::backoff::{self, Backoff};
use crate::kubernetes::error::retry_after;

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

struct State<K> {
    events: Events<K>,
    began: Instant,
    backoff: Backoff,
    /// If the watch broke: how long it lasted, and the delay that the API server asks for.
    broken: Option<(Duration, Option<Duration>)>,
}

/// The events of a watch without end. After each error comes a whole list.
pub(crate) fn relisting<K>(api: Api<K>, config: watcher::Config) -> Events<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let state = State { events: begin(), began: Instant::now(), backoff: Backoff::new(backoff::WATCH), broken: None };
    stream::unfold((state, begin), |(mut state, begin)| async move {
        if let Some((lasted, asked)) = state.broken.take() {
            state.backoff.wait_after_watch(lasted, asked).await;
            (state.events, state.began) = (begin(), Instant::now());
        }
        // It never ends by itself.
        let event = state.events.next().await?;
        state.broken = event.as_ref().err().map(|error| (state.began.elapsed(), retry_after(error)));
        Some((event, (state, begin)))
    })
    .boxed()
}
