//! A watch that the API server (or a proxy before it) ends at once is begun again ever more slowly. kube's watcher takes a
//! clean end for the usual one after some minutes, and would ask again without a pause.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, Service};

/// A watch that lasted so long ended as watches do.
const LASTED: Duration = Duration::from_secs(2);
/// First and longest pause.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The watches of one watcher, one after the other.
#[derive(Debug, Default)]
struct Streak {
    begun: Option<Instant>,
    short: u32,
}

impl Streak {
    /// How long to wait before the next watch begins, which is asked for now.
    fn pause(&mut self, now: Instant) -> Duration {
        let is_short = self.begun.is_some_and(|begun| now.saturating_duration_since(begun) < LASTED);
        self.short = if is_short { self.short.saturating_add(1) } else { 0 };
        let doubled = |times: u32| PAUSE.0.saturating_mul(1 << times.min(16)).min(PAUSE.1);
        let pause = self.short.checked_sub(1).map_or(Duration::ZERO, doubled);
        self.begun = Some(now + pause);
        pause
    }
}

/// The client for one watcher.
pub(crate) fn paced(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Paced { client, streak: Arc::default() }, namespace)
}

#[derive(Clone)]
struct Paced {
    client: Client,
    streak: Arc<Mutex<Streak>>,
}

impl Service<Request<Body>> for Paced {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The client waits within the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_watch =
            request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with("watch=")));
        let pause = if is_watch {
            // Two instants are as good after a panic as before.
            self.streak.lock().unwrap_or_else(PoisonError::into_inner).pause(Instant::now())
        } else {
            Duration::ZERO
        };
        let client = self.client.clone();
        Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            client.send(request).await.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_that_end_at_once_are_begun_ever_more_slowly_and_one_that_lasts_starts_anew() {
        let (mut streak, mut now) = (Streak::default(), Instant::now());
        assert_eq!(streak.pause(now), Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let pause = streak.pause(now);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        now += LASTED;
        assert_eq!(streak.pause(now), Duration::ZERO);
    }
}
