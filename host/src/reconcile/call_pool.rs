//! Room for calls of modules, shared among providers: who waits, and who may begin, is decided by the engine's `share`. And the
//! threads that they run on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_engine::call_scheduler::{Granted, Room, Share};
use bartizan_runtime::{LONG_CALL, Threads, processor_time};
use tokio::sync::oneshot;

/// The room for calls of all providers of a host.
#[derive(Clone)]
pub(crate) struct Calls {
    share: Arc<Mutex<Share<oneshot::Sender<Permit>>>>,
    threads: Arc<Threads>,
}

/// Room for one call, given back when this is dropped.
struct Permit {
    /// `None` once it was given back.
    granted: Option<Granted>,
    /// Whether the call took long; `None`: it was not made.
    took_long: Option<bool>,
    calls: Calls,
}

impl Calls {
    /// So much room.
    pub(crate) fn new(room: Room) -> Self {
        Self { share: Arc::new(Mutex::new(Share::new(room))), threads: Arc::default() }
    }

    /// Waits for room for one call that takes up to so many bytes of memory, and makes it.
    ///
    /// # Errors
    /// Why it was not made, or that it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        provider: &str,
        bytes: usize,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        // Never closed: the room lives as long as the host.
        let mut permit = self.acquire(provider, bytes).await.ok_or("there is no room for calls any more")?;
        let (done, result) = oneshot::channel();
        let run = move || {
            let before = processor_time();
            let returned = call();
            permit.took_long = Some(processor_time().saturating_sub(before) >= LONG_CALL);
            // The room is given back by whoever waits for the answer: this thread may be stopped at any time for those that go
            // first, and must not hold what they wait for. If nobody waits any more, it is given back here.
            drop(done.send((returned, permit)));
        };
        self.threads.run(run).map_err(|error| format!("no thread to call it on: {error}"))?;
        let ended = result.await.map_err(|_| "the host's side of the call panicked, which its log shows".to_owned());
        ended.map(|(returned, _permit)| returned)
    }

    /// Waits for room for one call that takes up to so many bytes of memory. `None` never happens while the host lives.
    async fn acquire(&self, provider: &str, bytes: usize) -> Option<Permit> {
        let (begin, begins) = oneshot::channel();
        self.lock().ask(provider, u64::try_from(bytes).unwrap_or(u64::MAX), begin);
        self.grant();
        begins.await.ok()
    }

    /// Lets begin who may.
    fn grant(&self) {
        loop {
            let next = self.lock().grant();
            let Some((granted, begin)) = next else { return };
            let permit = Permit { granted: Some(granted), took_long: None, calls: self.clone() };
            // Nobody waits for it any more: the next one may have it.
            if let Err(mut permit) = begin.send(permit)
                && let Some(granted) = permit.granted.take()
            {
                self.lock().give_back(&granted, None);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Share<oneshot::Sender<Permit>>> {
        // Counters are as good after a panic as before.
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(granted) = self.granted.take() {
            self.calls.lock().give_back(&granted, self.took_long);
            self.calls.grant();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn room_goes_on_to_the_next_when_a_call_ends_and_past_those_that_no_longer_wait() {
        let calls = Calls::new(Room { calls: 1, bytes: 100 });
        let first = calls.acquire("a", 10).await;
        let gave_up = tokio::time::timeout(Duration::from_millis(1), calls.acquire("b", 10)).await;
        assert!(gave_up.is_err(), "there was room for two");
        let waits = tokio::spawn({
            let calls = calls.clone();
            async move { calls.acquire("c", 10).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waits.await.unwrap());
        assert!(calls.acquire("a", 10).await.is_some());
    }

    #[tokio::test]
    async fn a_call_that_panics_gives_its_room_back() {
        let calls = Calls::new(Room { calls: 1, bytes: 100 });
        assert_eq!(calls.run("a", 10, || 1).await, Ok(1));
        let panicked = calls.run("a", 10, || panic!("of a test")).await;
        assert_eq!(panicked, Err::<(), _>("the host's side of the call panicked, which its log shows".to_owned()));
        let next = tokio::time::timeout(Duration::from_secs(10), calls.run("b", 100, || 2)).await;
        assert_eq!(next, Ok(Ok(2)));
    }
}
