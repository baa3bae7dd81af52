//! Runs module calls on dedicated threads, in the order of the engine's call scheduler.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_engine::call_scheduler::{CallScheduler, Capacity, Granted};
use bartizan_runtime::{LONG_CALL, Threads, processor_time};
use tokio::sync::oneshot;

/// Runs the module calls of all providers.
#[derive(Clone)]
pub(crate) struct CallPool {
    scheduler: Arc<Mutex<CallScheduler<oneshot::Sender<Permit>>>>,
    threads: Arc<Threads>,
}

/// Capacity for one call, released on drop.
struct Permit {
    /// `None` once it is released.
    granted: Option<Granted>,
    /// Whether the call was long; `None` if it did not run.
    was_long: Option<bool>,
    pool: CallPool,
}

impl CallPool {
    /// A pool of this capacity.
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self { scheduler: Arc::new(Mutex::new(CallScheduler::new(capacity))), threads: Arc::default() }
    }

    /// Waits for capacity for one call that needs up to `bytes` of memory, and runs it.
    ///
    /// # Errors
    /// If it could not be run, or panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        provider: &str,
        bytes: usize,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        // Never closed: the pool lives as long as the host.
        let mut permit = self.acquire(provider, bytes).await.ok_or("the call scheduler has stopped")?;
        let (done, result) = oneshot::channel();
        let run = move || {
            let before = processor_time();
            let returned = call();
            permit.was_long = Some(processor_time().saturating_sub(before) >= LONG_CALL);
            // The receiver releases the capacity: this thread may be preempted at any time by threads of higher priority, and
            // must not hold what they wait for. If the receiver is gone, it is released here.
            drop(done.send((returned, permit)));
        };
        self.threads.run(run).map_err(|error| format!("no thread for the call: {error}"))?;
        let ended = result.await.map_err(|_| "the host's side of the call panicked; see the host's log".to_owned());
        ended.map(|(returned, _permit)| returned)
    }

    /// Waits for capacity for one call. Never returns `None` while the host runs.
    async fn acquire(&self, provider: &str, bytes: usize) -> Option<Permit> {
        let (start, started) = oneshot::channel();
        self.lock().request(provider, u64::try_from(bytes).unwrap_or(u64::MAX), start);
        self.grant();
        started.await.ok()
    }

    /// Starts every call for which there is capacity.
    fn grant(&self) {
        loop {
            let next = self.lock().grant();
            let Some((granted, start)) = next else { return };
            let permit = Permit { granted: Some(granted), was_long: None, pool: self.clone() };
            // If the caller has given up, its capacity goes to the next call.
            if let Err(mut permit) = start.send(permit)
                && let Some(granted) = permit.granted.take()
            {
                self.lock().release(&granted, None);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, CallScheduler<oneshot::Sender<Permit>>> {
        // A panic leaves the scheduler consistent.
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(granted) = self.granted.take() {
            self.pool.lock().release(&granted, self.was_long);
            self.pool.grant();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn capacity_goes_to_the_next_call_that_is_still_waiting() {
        let pool = CallPool::new(Capacity { calls: 1, bytes: 100 });
        let first = pool.acquire("a", 10).await;
        let gave_up = tokio::time::timeout(Duration::from_millis(1), pool.acquire("b", 10)).await;
        assert!(gave_up.is_err(), "there was capacity for two");
        let waits = tokio::spawn({
            let pool = pool.clone();
            async move { pool.acquire("c", 10).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waits.await.unwrap());
        assert!(pool.acquire("a", 10).await.is_some());
    }

    #[tokio::test]
    async fn a_call_that_panics_releases_its_capacity() {
        let pool = CallPool::new(Capacity { calls: 1, bytes: 100 });
        assert_eq!(pool.run("a", 10, || 1).await, Ok(1));
        let panicked = pool.run("a", 10, || panic!("of a test")).await;
        assert_eq!(panicked, Err::<(), _>("the host's side of the call panicked; see the host's log".to_owned()));
        let next = tokio::time::timeout(Duration::from_secs(10), pool.run("b", 100, || 2)).await;
        assert_eq!(next, Ok(Ok(2)));
    }
}
