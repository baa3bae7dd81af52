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

use crate::kubernetes::backoff::{self, ASKED, Backoff};
use crate::kubernetes::error::retry_after;

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

struct State<K> {
    events: Events<K>,
    began: Instant,
    backoff: Backoff,
    /// Before the next list, if the watch broke.
    pause: Option<Duration>,
}

/// The events of a watch without end. After each error comes a whole list.
pub(crate) fn relisting<K>(api: Api<K>, config: watcher::Config) -> Events<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let state = State { events: begin(), began: Instant::now(), backoff: Backoff::new(backoff::WATCH), pause: None };
    stream::unfold((state, begin), |(mut state, begin)| async move {
        if let Some(pause) = state.pause.take() {
            tokio::time::sleep(pause).await;
            (state.events, state.began) = (begin(), Instant::now());
        }
        // It never ends by itself.
        let event = state.events.next().await?;
        if let Err(error) = &event {
            if state.began.elapsed() > backoff::WATCH.longest {
                state.backoff.reset();
            }
            state.pause = Some(state.backoff.next_delay() + retry_after(error).unwrap_or_default().min(ASKED));
        }
        Some((event, (state, begin)))
    })
    .boxed()
}
