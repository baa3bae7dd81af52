//! An OCI registry on the loopback address, stopped and removed with its folder when it is dropped.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use bartizan_build as build;
use bartizan_contract::digest::digest_of;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::certificates::Authority;

/// The one user of a registry with [`RegistryOptions::users`].
const USER: &str = "tester";
const PASSWORD: &str = "open sesame";
/// The line of the htpasswd file: the password's bcrypt hash with the lowest cost, since it is checked at every
/// request.
const HTPASSWD: &str = "tester:$2a$04$lR0pOsO7qTTYoX8Jm0kFNOJMvaBPC7praCeS0DHWppDS4W/L.5llG\n";

/// Media type of the manifests that tests upload.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of blobs.
const BLOB: &str = "application/octet-stream";

/// Options of a registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// With TLS by an authority of its own; plain HTTP otherwise.
    pub tls: bool,
    /// Admits only its one user.
    pub users: bool,
    /// Admits only clients with a token, and refers them to this URL for one. Nobody has one.
    pub tokens: Option<String>,
}

/// A registry that runs, or is stopped for a while.
pub struct Registry {
    folder: TempDir,
    options: RegistryOptions,
    program: PathBuf,
    address: String,
    child: Option<Child>,
    /// Reserves the port while nobody listens there, since the host of another test might take it, and answer.
    held: Option<TcpSocket>,
}

impl Registry {
    /// Builds the program if necessary, and starts it on any free port.
    ///
    /// # Errors
    /// If it cannot be built or does not start.
    pub async fn start(options: RegistryOptions) -> Result<Self> {
        let started = tokio::task::spawn_blocking(move || {
            let program = build::registry(&build::silent)?;
            let folder = tempfile::Builder::new().prefix("bartizan-registry-").tempdir()?;
            if options.tls {
                let authority = Authority::new()?;
                let server = authority.server()?;
                fs::write(folder.path().join("ca.pem"), authority.certificate())?;
                fs::write(folder.path().join("server.pem"), server.certificate)?;
                fs::write(folder.path().join("server.key"), server.key)?;
            }
            if options.users {
                fs::write(folder.path().join("htpasswd"), HTPASSWD)?;
            }
            let mut registry =
                Self { folder, options, program, address: "127.0.0.1:0".to_owned(), child: None, held: None };
            registry.resume()?;
            Ok(registry)
        });
        started.await.context("the start of the registry was interrupted")?
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate of the authority that signed it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Docker's configuration file for its user, or with a wrong password.
    #[must_use]
    pub fn docker_config(&self, right: bool) -> Value {
        let password = if right { PASSWORD } else { "open barley" };
        let auth = BASE64_STANDARD.encode(format!("{USER}:{password}"));
        json!({"auths": {&self.address: {"auth": auth}}})
    }

    /// Uploads a manifest as it is; the blobs that it refers to must exist. Only for registries with plain HTTP and
    /// without users.
    ///
    /// # Errors
    /// If the registry rejects it.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<()> {
        let kind = manifest["mediaType"].as_str().unwrap_or(MANIFEST);
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.send("PUT", &path, kind, manifest.to_string().as_bytes()).map(drop)
    }

    /// Uploads a blob. Only for registries with plain HTTP and without users.
    ///
    /// # Errors
    /// If the registry rejects it.
    pub fn put_blob(&self, repository: &str, blob: &[u8]) -> Result<()> {
        let opened = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), BLOB, b"")?;
        let location = opened.lines().find_map(|line| line.strip_prefix("Location: ")).context("no location")?;
        let (_, path) = location.split_once(&self.address).context("another registry")?;
        self.send("PUT", &format!("{path}&digest={}", digest_of(blob)), BLOB, blob).map(drop)
    }

    /// Sends a request, and returns the answer to one that succeeds.
    fn send(&self, verb: &str, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address).context("the registry cannot be reached")?;
        write!(
            stream,
            "{verb} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 20"), "the registry did not take {verb} {path}: {answer}");
        Ok(answer)
    }

    /// Changes the last byte of a stored blob. Returns the digest of the result.
    ///
    /// # Errors
    /// If there is no blob with this digest.
    pub fn damage(&self, digest: &str) -> Result<String> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() > 2).context("not a SHA-256 digest")?;
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        let file = blobs.join(&hex[..2]).join(hex).join("data");
        let mut bytes = fs::read(&file).with_context(|| format!("nothing is stored under {digest}"))?;
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        fs::write(&file, &bytes)?;
        Ok(digest_of(&bytes))
    }

    /// Stops it: connections are refused. Its content stays.
    ///
    /// # Errors
    /// If its port cannot be reserved.
    pub fn pause(&mut self) -> Result<()> {
        self.stop();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address.parse()?).with_context(|| format!("{} cannot be kept", self.address))?;
        self.held = Some(socket);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it at the same address.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&mut self) -> Result<()> {
        self.stop();
        let folder = self.folder.path();
        let mut command = Command::new(&self.program);
        command.args(["-listen", &self.address, "-root"]).arg(folder.join("data"));
        if self.options.tls {
            command.arg("-tls-certificate").arg(folder.join("server.pem"));
            command.arg("-tls-key").arg(folder.join("server.key"));
        }
        if let Some(address) = &self.options.tokens {
            command.args(["-tokens", address]);
        }
        if self.options.users {
            command.arg("-htpasswd").arg(folder.join("htpasswd"));
        }
        let log = folder.join("registry.log");
        let errors = fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut child = spawned.with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("cannot read what the registry says")?;
        }
        self.child = Some(child);
        match line.trim_end().strip_prefix("serving ") {
            Some(address) => (self.address, self.held) = (address.to_owned(), None),
            None => bail!("the registry did not start: {}", log_of(&log)),
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn log_of(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}
