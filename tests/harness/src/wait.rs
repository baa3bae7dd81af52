//! Waits for conditions, always with a deadline, and reports what was seen instead when it passes.

use std::{
    fmt::Debug,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use kube::{Api, Resource, runtime::watcher::watch_object};
use serde::{Serialize, de::DeserializeOwned};

/// How often [`wait_for`] polls.
const POLL: Duration = Duration::from_millis(50);

/// Polls every 50 ms until there is an answer. Errors count as "not yet"; the last one is in the error when the time
/// is over.
///
/// For objects, [`wait_object`] is faster and needs fewer requests.
///
/// # Errors
/// When there is no answer in time, with what was waited for.
pub async fn wait_for<T>(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let mut last_error = None;
    loop {
        let left = within.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => last_error = None,
            Ok(Err(error)) => last_error = Some(error),
            Err(_) => last_error = last_error.or_else(|| Some(anyhow!("the last attempt did not end"))),
        }
        if start.elapsed() >= within {
            let waited = format!("waited {} s for {what}", within.as_secs_f32());
            return Err(match last_error {
                Some(error) => error.context(waited),
                None => anyhow!(waited),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Watches an object until it exists and satisfies a condition, and returns it as it was then.
///
/// The API server need not serve the kind at first.
///
/// # Errors
/// When that does not happen in time, with what was waited for and the object as last seen.
pub async fn wait_object<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    within: Duration,
    mut condition: impl FnMut(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
{
    let found = watch(api, name, what, within, |object| object.is_some_and(&mut condition)).await?;
    found.with_context(|| format!("{name} vanished while waiting for: {what}"))
}

/// Watches an object until it does not exist any more.
///
/// # Errors
/// When it still exists in the end, with the object as last seen.
pub async fn wait_gone<K>(api: Api<K>, name: &str, within: Duration) -> Result<()>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
{
    watch(api, name, "its end", within, |object| object.is_none()).await?;
    Ok(())
}

async fn watch<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    within: Duration,
    mut done: impl FnMut(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
{
    let mut last: Option<K> = None;
    let mut last_error = None;
    let watched = async {
        let mut states = pin!(watch_object(api, name));
        while let Some(state) = states.next().await {
            match state {
                Ok(object) => {
                    last_error = None;
                    last = object;
                    if done(last.as_ref()) {
                        return;
                    }
                }
                // The stream retries at once, which is too often for us: the kind may not be served yet.
                Err(error) => {
                    last_error = Some(error);
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    };
    let ended = tokio::time::timeout(within, watched).await;
    if ended.is_ok() {
        return Ok(last);
    }
    let waited = format!("waited {} s for {name}: {what}", within.as_secs_f32());
    match (last_error, last) {
        (Some(error), _) => bail!("{waited}; it cannot be watched: {error}"),
        (None, None) => bail!("{waited}; it does not exist"),
        (None, Some(mut object)) => {
            // Half of the text and none of the news.
            object.meta_mut().managed_fields = None;
            let seen = serde_yaml_ng::to_string(&object).unwrap_or_else(|_| format!("{object:?}"));
            bail!("{waited}; last seen as:\n{seen}")
        }
    }
}
