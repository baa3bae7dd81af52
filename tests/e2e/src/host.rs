//! The host as a process, and its HTTP port.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bartizan_harness::HostProcess;
use bartizan_harness::wait::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::timeouts::SOON;

/// Longer than the time that the host gives reconciles in flight after SIGTERM (25 s).
const GRACE: Duration = Duration::from_secs(30);

/// A running host.
pub struct Host {
    /// The process: its lines, memory and signals.
    pub process: HostProcess,
    /// Where it listens, as `127.0.0.1:8080`.
    pub address: String,
}

impl Host {
    /// Waits until the host logs its address.
    ///
    /// # Errors
    /// If it exits before, or does not log it in time.
    pub async fn listening(mut process: HostProcess) -> Result<Self> {
        let line = process.wait_for_line("listening on http://", SOON).await?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([' ', '"']).next());
        let address = address.with_context(|| format!("no address in: {line}"))?.to_owned();
        Ok(Self { process, address })
    }

    /// Waits until /readyz answers 200 and says of no provider that it does not serve, and returns the body.
    ///
    /// # Errors
    /// If it does not in time, with the last answer and the end of the log.
    pub async fn ready(&mut self) -> Result<String> {
        let probe = async || match self.get("/readyz").await? {
            (200, text) if !text.contains("[ ]") => Ok(Some(text)),
            (code, text) => bail!("{code}: {text}"),
        };
        let ready = wait_for("/readyz to answer 200, with every provider", SOON, probe).await;
        ready.with_context(|| self.process.lines().join("\n"))
    }

    /// Waits until /readyz answers 503 with exactly this text.
    ///
    /// # Errors
    /// If it does not in time, with the last answer.
    pub async fn unready(&self, text: &str) -> Result<()> {
        self.readyz(503, text).await
    }

    /// Waits until /readyz answers with this code and exactly this text.
    ///
    /// # Errors
    /// If it does not in time, with the last answer.
    pub async fn readyz(&self, expected: u16, text: &str) -> Result<()> {
        let probe = async || match self.get("/readyz").await? {
            (code, body) if (code, &*body) == (expected, text) => Ok(Some(())),
            (code, body) => bail!("{code}: {body}"),
        };
        wait_for(&format!("/readyz to answer {expected} with {text:?}"), SOON, probe).await
    }

    /// Status code and body of a GET.
    ///
    /// # Errors
    /// If there is no HTTP answer.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        self.get_with(path, "").await
    }

    /// Status code and body of a GET by somebody who proves who they are with this value of the header Authorization.
    ///
    /// # Errors
    /// If there is no HTTP answer.
    pub async fn get_as(&self, path: &str, credential: &str) -> Result<(u16, String)> {
        self.get_with(path, &format!("Authorization: {credential}\r\n")).await
    }

    async fn get_with(&self, path: &str, header: &str) -> Result<(u16, String)> {
        // HTTP/1.0: the response ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n{header}\r\n", self.address);
        let answer = exchange(&self.address, &request).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("an answer without a code")?;
        Ok((code, body.to_owned()))
    }

    /// The process that compiles a module for it now, if there is one.
    ///
    /// # Errors
    /// If the system does not show its processes.
    pub fn compiler(&self) -> Result<Option<String>> {
        for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).unwrap_or_default();
            let arguments = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if parent == self.process.id().to_string() && arguments.contains("\0compile\0") {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }

    /// Sends SIGTERM and expects a clean exit.
    ///
    /// # Errors
    /// If it exits with another code than 0, or not within the grace period that Kubernetes gives a pod.
    pub async fn stop(mut self) -> Result<()> {
        self.process.sigterm()?;
        let status = self.process.wait_exit(GRACE).await?;
        ensure!(status.success(), "ended with {status}: {}", self.process.lines().join("\n"));
        Ok(())
    }

    /// Sends SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If it still runs after that.
    pub async fn kill(mut self) -> Result<ExitStatus> {
        self.process.sigkill()?;
        self.process.wait_exit(SOON).await
    }
}

/// Sends a text over TCP and reads until the other side closes.
///
/// # Errors
/// If there is no connection, or it breaks.
pub async fn exchange(address: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("no connection to {address}"))?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
