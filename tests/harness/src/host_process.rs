//! The host as a child process: output, memory, signals and exit.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::sync::watch;

use crate::{
    guard::Guard,
    process::{describe_end, signal},
};

/// How often an ending process is polled.
const POLL: Duration = Duration::from_millis(5);

/// Ticks of a second in /proc/PID/stat: USER_HZ, which Linux holds at 100 for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// How many lines of output an error includes.
const OUTPUT_TAIL: usize = 30;

/// A child process whose output is kept, line by line, in memory and in a file.
/// It is killed when this is dropped, and also when this process is killed.
pub struct HostProcess {
    child: Child,
    /// Set once the process has ended and been waited for.
    ended: Option<ExitStatus>,
    output: Arc<Output>,
    news: watch::Receiver<News>,
    log: PathBuf,
    /// Released first when the process ends, since its id may be reused.
    guard: Option<Guard>,
}

/// What the process has printed, stdout and stderr as they came.
struct Output {
    lines: Mutex<Vec<String>>,
    log: Mutex<File>,
}

/// How much output there is, for those who wait.
#[derive(Clone, Copy, Default)]
struct News {
    lines: usize,
    /// How many of the two streams have ended.
    closed: usize,
}

impl HostProcess {
    /// Starts a prepared command. Its input is empty; its stdout and stderr go
    /// line by line into one buffer and into the file `log`.
    ///
    /// It inherits our environment and process group, as any child does; set others in the command. (In our group it
    /// gets a Ctrl-C from the terminal at the same time as we do.)
    ///
    /// # Errors
    /// When the program cannot be started or the log file cannot be created.
    pub fn spawn(mut command: Command, log: impl Into<PathBuf>) -> Result<Self> {
        let log = log.into();
        let program = command.get_program().to_string_lossy().into_owned();
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let output = Arc::new(Output { lines: Mutex::default(), log: Mutex::new(file) });
        let (sender, news) = watch::channel(News::default());
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let (output, sender) = (Arc::clone(&output), sender.clone());
            // Threads, since they read whether or not the test's runtime is busy, and the process never blocks on a
            // full pipe.
            thread::spawn(move || output.copy(stream, &sender));
        }
        // From here on, Drop kills the child if something fails.
        let mut process = Self { child, ended: None, output, news, log, guard: None };
        process.guard = Some(Guard::kill_process(process.id())?);
        Ok(process)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with all its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All its output so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.output.lines).clone()
    }

    /// Marks the end of the output so far, for [`HostProcess::wait_for_line_after`].
    pub fn mark(&self) -> usize {
        lock(&self.output.lines).len()
    }

    /// Waits for a line of output that contains `pattern`, and returns the first one. Earlier lines count.
    ///
    /// # Errors
    /// When the time is over or the process ends before that, with its last lines.
    pub async fn wait_for_line(&mut self, pattern: &str, within: Duration) -> Result<String> {
        self.wait_for_line_after(0, pattern, within).await
    }

    /// Like [`HostProcess::wait_for_line`], for lines after a mark.
    ///
    /// # Errors
    /// When the time is over or the process ends before that, with its last lines.
    pub async fn wait_for_line_after(&mut self, mark: usize, pattern: &str, within: Duration) -> Result<String> {
        let output = Arc::clone(&self.output);
        let mut seen = mark;
        let search = self.news.wait_for(|news| {
            let lines = lock(&output.lines);
            let fresh = lines.get(seen..).unwrap_or_default();
            let found = fresh.iter().any(|line| line.contains(pattern));
            if !found {
                seen = seen.max(lines.len());
            }
            found || news.closed == 2
        });
        let in_time = tokio::time::timeout(within, search).await.is_ok();
        let found = lock(&self.output.lines).iter().skip(mark).find(|line| line.contains(pattern)).cloned();
        match found {
            Some(line) => Ok(line),
            None if in_time => bail!("the process ended without a line with {pattern:?}; {}", self.tail()),
            None => bail!("no line with {pattern:?} within {} s; {}", within.as_secs_f32(), self.tail()),
        }
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When the signal cannot be sent; not when the process has ended.
    pub fn sigterm(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Sends SIGINT, as Ctrl-C does.
    ///
    /// # Errors
    /// When the signal cannot be sent; not when the process has ended.
    pub fn sigint(&mut self) -> Result<()> {
        self.signal(Signal::SIGINT)
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// When the signal cannot be sent; not when the process has ended.
    pub fn sigkill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Sends SIGSTOP: it keeps its connections and does nothing.
    ///
    /// # Errors
    /// When the signal cannot be sent; not when the process has ended.
    pub fn sigstop(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Resumes it after [`HostProcess::sigstop`].
    ///
    /// # Errors
    /// When the signal cannot be sent; not when the process has ended.
    pub fn sigcont(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Its exit status, or `None` while it runs.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait().context("cannot wait for a process")?
        {
            self.guard = None;
            self.ended = Some(status);
        }
        Ok(self.ended)
    }

    /// Waits until it has ended and all its output has been read.
    ///
    /// # Errors
    /// When it still runs once the time is over, with its last lines.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited()? {
                // A grandchild could hold the streams open; its output does not matter.
                let closed = self.news.wait_for(|news| news.closed == 2);
                let _ = tokio::time::timeout(Duration::from_secs(1), closed).await;
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("the process still runs after {} s; {}", within.as_secs_f32(), self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Its resident memory now, in MiB.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn rss_mib(&self) -> Result<f64> {
        self.memory_mib("VmRSS:")
    }

    /// Its peak resident memory, in MiB.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn peak_rss_mib(&self) -> Result<f64> {
        self.memory_mib("VmHWM:")
    }

    /// Its CPU time so far, in seconds with two decimals.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The program's name may contain spaces and parentheses; what follows the last one does not.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // utime and stime: fields 14 and 15, of which the first two are before the parenthesis.
        let ticks: Option<u32> = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().ok()).sum();
        Ok(f64::from(ticks.with_context(|| format!("{path} has no times"))?) / TICKS_PER_SECOND)
    }

    fn memory_mib(&self, field: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kib: u32 = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|value| value.trim().strip_suffix("kB"))
            .and_then(|value| value.trim().parse().ok())
            .with_context(|| format!("{path} has no {field} as the process has ended"))?;
        Ok(f64::from(kib) / 1024.0)
    }

    fn signal(&mut self, kind: Signal) -> Result<()> {
        match self.exited()? {
            // Its id may belong to another process by now.
            Some(_) => Ok(()),
            None => signal(self.id(), kind),
        }
    }

    /// Its exit status, if it has ended, and the last lines of its output.
    fn tail(&mut self) -> String {
        let state = match self.exited() {
            Ok(Some(status)) => describe_end(status),
            _ => "runs".to_owned(),
        };
        let lines = lock(&self.output.lines);
        let tail = &lines[lines.len().saturating_sub(OUTPUT_TAIL)..];
        format!("it {state}; its last lines (all: {}):\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        if matches!(self.exited(), Ok(None)) {
            // The guard is dropped after the kill and before the wait: until the wait nobody else can get this id.
            let _ = self.child.kill();
            self.guard = None;
            let _ = self.child.wait();
        }
    }
}

impl Output {
    fn copy(&self, stream: Box<dyn Read + Send>, news: &watch::Sender<News>) {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            // The file is for people; a full disk must not fail a test.
            let _ = writeln!(lock(&self.log), "{line}");
            lock(&self.lines).push(line);
            news.send_modify(|news| news.lines += 1);
        }
        news.send_modify(|news| news.closed += 1);
    }
}

/// A panic elsewhere does not invalidate these lines.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
