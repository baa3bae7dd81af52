//! The timer of calls: an operating system thread that advances the engines' epochs. Guests check the epoch in every loop and
//! call, so that even `loop {}` is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Length of one tick. Timeouts are exact to two ticks, and longer if the process is starved; 100 wake-ups a second cost less than
/// a thousandth of a core.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Advances the epochs until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    ticks: Ticks,
}

/// Counter of ticks. A call that waits for a processor sees them once it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks(Arc<AtomicU64>);

impl Ticks {
    pub(crate) fn elapsed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Ticker {
    pub(crate) fn start(engines: &[&Engine]) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let engines: Vec<EngineWeak> = engines.iter().map(|engine| engine.weak()).collect();
        let ticks = Ticks::default();
        let counted = ticks.clone();
        let thread = thread::Builder::new().name("bartizan-epoch".to_owned()).spawn(move || {
            // One step per wake-up, however late: a machine that was suspended must not time out every call at once.
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                counted.0.fetch_add(1, Ordering::Relaxed);
                for engine in &engines {
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), ticks })
    }

    pub(crate) fn ticks(&self) -> &Ticks {
        &self.ticks
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // An error would be the thread's panic, which has nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// Ticks until a deadline: at the least one, since a deadline of 0 ticks traps at once, and one more because the current
/// tick has already begun.
pub(crate) fn ticks(timeout: Duration) -> u64 {
    let whole = timeout.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(whole).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_never_zero() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
        assert_eq!(ticks(Duration::MAX), u64::MAX / 2 + 1);
    }
}
