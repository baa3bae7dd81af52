//! How long the host waits before it tries something again: one policy for each thing that may fail. The queue of parents has its
//! own, which knows no clock.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use crate::kubernetes::error::retry_after;

/// Before a watch that broke is started again.
pub(crate) const WATCH: Policy = Policy::with_jitter(Duration::from_millis(200), Duration::from_secs(30));
/// Before a list that a decision waits for is tried again.
pub(crate) const LIST: Policy = Policy::with_jitter(Duration::from_millis(500), Duration::from_secs(30));
/// Before a registry is asked again for a module that it did not deliver.
pub(crate) const REGISTRY: Policy = Policy::with_jitter(Duration::from_secs(1), Duration::from_secs(300));
/// Before a watch starts if the one before it ended as soon as it started.
pub(crate) const SHORT_WATCH: Policy = Policy::exact(Duration::from_millis(250), Duration::from_secs(30));

/// Before a provider that could not start is started again. Constant: what it waits for is most often something that an
/// administrator is about to apply.
pub(crate) const PROVIDER_START: Duration = Duration::from_secs(5);
/// Before the host tries again to list or to write Providers. Constant for the same reason.
pub(crate) const PROVIDERS: Duration = Duration::from_secs(5);

/// Longest delay that the API server may ask for where a whole provider waits: one page of a proxy must not stop it for an hour.
pub(crate) const ASKED: Duration = Duration::from_secs(60);

/// A constant pause after this error, and no shorter than the API server asks for.
pub(crate) fn after(pause: Duration, error: &anyhow::Error) -> Duration {
    pause.max(retry_after(error.as_ref()).unwrap_or_default().min(ASKED))
}

/// Delays that double from one failure to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    first: Duration,
    /// The longest delay.
    pub(crate) longest: Duration,
    jitter: bool,
}

impl Policy {
    const fn exact(first: Duration, longest: Duration) -> Self {
        Self { first, longest, jitter: false }
    }

    /// Each delay is shortened at random, to no less than its half, so that those who failed together do not come back together.
    const fn with_jitter(first: Duration, longest: Duration) -> Self {
        Self { first, longest, jitter: true }
    }

    fn delays(self) -> ExponentialBackoff {
        let builder = ExponentialBuilder::new().without_max_times();
        let builder = if self.jitter {
            // backon lengthens a delay at random, to no more than its double.
            builder.with_min_delay(self.first / 2).with_max_delay(self.longest / 2).with_jitter()
        } else {
            builder.with_min_delay(self.first).with_max_delay(self.longest)
        };
        builder.build()
    }
}

/// The delays of one policy, for failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Policy,
    delays: ExponentialBackoff,
}

impl Backoff {
    /// Nothing has failed yet.
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, delays: policy.delays() }
    }

    /// One more failure: how long to wait now.
    pub(crate) fn next_delay(&mut self) -> Duration {
        // Without a limit of attempts there is always a next one.
        self.delays.next().unwrap_or(self.policy.longest)
    }

    /// One more failure: waits, and no shorter than who failed asks for, within [`ASKED`].
    pub(crate) async fn wait(&mut self, asked: Option<Duration>) {
        tokio::time::sleep(self.next_delay() + asked.unwrap_or_default().min(ASKED)).await;
    }

    /// The same for a watch that broke after this time. Only one that lasted begins anew: that a list succeeds says nothing about the watch.
    pub(crate) async fn wait_after_watch(&mut self, lasted: Duration, asked: Option<Duration>) {
        if lasted > self.policy.longest {
            self.reset();
        }
        self.wait(asked).await;
    }

    /// It went well: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.delays = self.policy.delays();
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::watch(WATCH, &[200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000])]
    #[case::list(LIST, &[500, 1000, 2000, 4000, 8000, 16000, 30000, 30000])]
    #[case::registry(REGISTRY, &[1000, 2000, 4000, 8000, 16000, 32000, 64000, 128_000, 256_000, 300_000, 300_000])]
    fn delays_double_and_are_spread_so_that_no_two_come_back_together(#[case] policy: Policy, #[case] longest: &[u64]) {
        let mut backoff = Backoff::new(policy);
        for _ in 0..2 {
            for millis in longest {
                let (delay, longest) = (backoff.next_delay(), Duration::from_millis(*millis));
                // backon calculates in single precision.
                let tolerance = longest / 1_000_000;
                assert!(delay + tolerance >= longest / 2 && delay <= longest + tolerance, "{delay:?} of {longest:?}");
            }
            backoff.reset();
        }
        let delays: Vec<Duration> = (0..100).map(|_| Backoff::new(policy).next_delay()).collect();
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }

    #[test]
    fn a_backoff_never_ends() {
        let mut backoff = Backoff::new(REGISTRY);
        assert!((0..100_000).all(|_| backoff.next_delay() >= Duration::from_millis(499)));
    }
}
