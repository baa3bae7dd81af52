//! Threads that calls run on. A call that takes long goes on at a lower priority, so that all the short ones, and the host
//! itself, go first where processors are scarce: a guest that loops uses what nobody else wants until its timeout.
//!
//! Linux lets everybody lower a thread's priority and few raise it again, so that such a thread ends with its call. That is
//! why these are not the threads of an async runtime.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A call that takes longer of a processor is a long one. Most take less than a millisecond.
pub const LONG_CALL: Duration = Duration::from_millis(10);
/// How nice a long call is: it has a hundredth of a processor that others want, and all of one that nobody wants.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

type Task = Box<dyn FnOnce() + Send>;

/// Threads for calls: as many as there are calls at the same time, started when they are needed. Idle ones end when this is
/// dropped.
#[derive(Debug)]
pub struct Threads {
    to_idle: Sender<Task>,
    worker: Worker,
}

#[derive(Clone, Debug)]
struct Worker {
    tasks: Arc<Mutex<Receiver<Task>>>,
    /// Threads that wait for a task and that none was sent for.
    idle: Arc<AtomicUsize>,
}

thread_local! {
    /// How the thread of a call stands; `None` on all others.
    static PRIORITY: Cell<Option<Priority>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Priority {
    Normal,
    Lowered,
}

impl Threads {
    /// No thread yet.
    #[must_use]
    pub fn new() -> Self {
        let (to_idle, tasks) = mpsc::channel();
        Self { to_idle, worker: Worker { tasks: Arc::new(Mutex::new(tasks)), idle: Arc::default() } }
    }

    /// Runs this on a thread of its own. If it panics, that is its own affair.
    ///
    /// # Errors
    /// If no thread can be started. The task is dropped.
    pub fn run(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let task: Task = Box::new(task);
        let claim = |idle: usize| idle.checked_sub(1);
        if self.worker.idle.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).is_ok() {
            // The other end is here, too: it cannot be closed.
            return self.to_idle.send(task).map_err(|_| io::Error::other("idle threads do not listen"));
        }
        let worker = self.worker.clone();
        thread::Builder::new().name("bartizan-call".to_owned()).spawn(move || worker.work(task)).map(drop)
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker {
    fn work(&self, first: Task) {
        PRIORITY.set(Some(Priority::Normal));
        let mut task = first;
        loop {
            // Whoever waits for its result learns of a panic by getting none.
            let _ = catch_unwind(AssertUnwindSafe(task));
            if is_low_priority() {
                return;
            }
            self.idle.fetch_add(1, Ordering::AcqRel);
            let next = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(next) => task = next,
                Err(mpsc::RecvError) => return,
            }
        }
    }
}

/// Whether this thread is one of [`Threads`] that a long call lowered.
fn is_low_priority() -> bool {
    PRIORITY.get() == Some(Priority::Lowered)
}

/// The time of a processor that this thread has used so far. Where that is not known, the time that went by: only differences
/// mean something.
#[must_use]
pub fn processor_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.try_into().unwrap_or(0), used.tv_nsec.try_into().unwrap_or(0))
    }
    #[cfg(not(target_os = "linux"))]
    {
        static BEGAN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        BEGAN.elapsed()
    }
}

/// Lowers the priority of this thread if it is one of [`Threads`].
pub(crate) fn lower_priority() {
    if PRIORITY.get() != Some(Priority::Normal) {
        return;
    }
    // Without a process: of the calling thread. Linux alone has priorities of threads.
    #[cfg(target_os = "linux")]
    match rustix::process::setpriority_process(None, NICE) {
        Ok(()) => PRIORITY.set(Some(Priority::Lowered)),
        Err(error) => tracing::debug!("a long call keeps its priority: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvTimeoutError;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Runs this and returns what it makes.
    fn run<T: Send + 'static>(
        threads: &Threads,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RecvTimeoutError> {
        let (done, result) = mpsc::channel();
        threads.run(move || drop(done.send(task()))).unwrap();
        result.recv_timeout(SOON)
    }

    fn until_idle(threads: &Threads, count: usize) {
        let deadline = std::time::Instant::now() + SOON;
        while threads.worker.idle.load(Ordering::Acquire) != count {
            assert!(std::time::Instant::now() < deadline, "never {count} idle threads");
            thread::yield_now();
        }
    }

    #[test]
    fn an_idle_thread_is_used_again_and_a_busy_one_is_not_waited_for() {
        let threads = Threads::new();
        let first = run(&threads, || thread::current().id()).unwrap();
        until_idle(&threads, 1);
        let (end, ended) = mpsc::channel::<()>();
        let second = {
            let (begun, id) = mpsc::channel();
            threads
                .run(move || {
                    begun.send(thread::current().id()).unwrap();
                    let _ = ended.recv();
                })
                .unwrap();
            id.recv_timeout(SOON).unwrap()
        };
        assert_eq!(first, second);
        assert_ne!(run(&threads, || thread::current().id()).unwrap(), second);
        drop(end);
        until_idle(&threads, 2);
    }

    #[test]
    fn a_panic_ends_its_task_alone() {
        let threads = Threads::new();
        assert_eq!(run(&threads, || panic!("of a test")), Err::<(), _>(RecvTimeoutError::Disconnected));
        until_idle(&threads, 1);
        assert_eq!(run(&threads, || 1), Ok(1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_whose_priority_was_lowered_ends_with_its_call_and_others_keep_theirs() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let threads = Threads::new();
        lower_priority();
        let usual = nice();
        assert_eq!(run(&threads, move || (lower_priority(), nice()).1), Ok(NICE));
        assert_eq!(run(&threads, nice), Ok(usual));
        until_idle(&threads, 1);
    }
}
