//! Throttles watches that the API server, or a proxy in front of it, ends as soon as they start. kube's watcher takes a clean end
//! for the usual one after some minutes, and would start the next watch without a delay.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;

use crate::kubernetes::backoff::{self, Backoff};
use crate::kubernetes::layer::{is_watch, layered};

/// A watch that lasted this long ended as watches do.
const LASTED: Duration = Duration::from_secs(2);

/// The watches of one watcher, one after the other.
#[derive(Debug)]
struct Throttle {
    started: Option<Instant>,
    backoff: Backoff,
}

impl Throttle {
    fn new() -> Self {
        Self { started: None, backoff: Backoff::new(backoff::SHORT_WATCH) }
    }

    /// How long to delay the next watch, which is requested now.
    fn delay(&mut self, now: Instant) -> Duration {
        let was_short = self.started.is_some_and(|started| now.saturating_duration_since(started) < LASTED);
        let delay = if was_short {
            self.backoff.next_delay()
        } else {
            self.backoff.reset();
            Duration::ZERO
        };
        self.started = Some(now + delay);
        delay
    }
}

/// A client for one watcher.
pub(crate) fn throttled(client: Client) -> Client {
    let throttle = Arc::new(Mutex::new(Throttle::new()));
    layered(client, move |client, request| {
        let delay = if is_watch(&request) {
            // A panic cannot leave it in between two states.
            throttle.lock().unwrap_or_else(PoisonError::into_inner).delay(Instant::now())
        } else {
            Duration::ZERO
        };
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            client.send(request).await
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_that_end_at_once_are_delayed_until_one_lasts() {
        let (mut throttle, mut now) = (Throttle::new(), Instant::now());
        assert_eq!(throttle.delay(now), Duration::ZERO);
        let mut delays = Vec::new();
        for _ in 0..9 {
            let delay = throttle.delay(now);
            delays.push(delay.as_millis());
            now += delay;
        }
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        now += LASTED;
        assert_eq!(throttle.delay(now), Duration::ZERO);
        assert_eq!(throttle.delay(now), Duration::from_millis(250));
    }
}
