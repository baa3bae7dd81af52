//! Threads for calls. A long call continues at a lower priority, so that short calls and the host itself come first when
//! processors are scarce: until its timeout, a guest in a loop only uses processor time that nobody else wants.
//!
//! On Linux an unprivileged process can lower a thread's priority but not raise it again, so such a thread ends with its call.
//! That is why these are not the threads of an async runtime.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A call that uses more processor time than this is a long one. Most use less than a millisecond.
pub const LONG_CALL: Duration = Duration::from_millis(10);
/// Nice value of a long call: it gets about a hundredth of a contended processor, and all of an idle one.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

type Task = Box<dyn FnOnce() + Send>;

/// Threads for calls: as many as there are concurrent calls, started on demand. Idle ones end when this is dropped.
#[derive(Debug)]
pub struct Threads {
    to_idle: Sender<Task>,
    worker: Worker,
}

#[derive(Clone, Debug)]
struct Worker {
    tasks: Arc<Mutex<Receiver<Task>>>,
    /// Threads that wait for a task and have none assigned.
    idle: Arc<AtomicUsize>,
}

thread_local! {
    /// Priority of a thread for calls; `None` on all others.
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

    /// Runs a task on a thread of its own. A panic ends the task only.
    ///
    /// # Errors
    /// If no thread can be started. The task is dropped.
    pub fn run(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let task: Task = Box::new(task);
        let claim = |idle: usize| idle.checked_sub(1);
        if self.worker.idle.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).is_ok() {
            // This struct owns the receiver, so the channel cannot be closed.
            return self.to_idle.send(task).map_err(|_| io::Error::other("the channel to idle threads is closed"));
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
            // After a panic the sender of the result is dropped, which its receiver notices.
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

/// Whether this is a thread of [`Threads`] whose priority was lowered.
fn is_low_priority() -> bool {
    PRIORITY.get() == Some(Priority::Lowered)
}

/// The processor time that this thread has used so far; on platforms other than Linux, wall-clock time. Only differences are
/// meaningful.
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

/// Lowers the priority of this thread if it belongs to [`Threads`].
pub(crate) fn lower_priority() {
    if PRIORITY.get() != Some(Priority::Normal) {
        return;
    }
    // `None` is the calling thread. Only Linux has priorities per thread.
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
    fn a_thread_of_lowered_priority_ends_with_its_call() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let threads = Threads::new();
        lower_priority();
        let usual = nice();
        assert_eq!(run(&threads, move || (lower_priority(), nice()).1), Ok(NICE));
        assert_eq!(run(&threads, nice), Ok(usual));
        until_idle(&threads, 1);
    }
}
