//! The fault proxy: sits between the host and the API server, and applies the rules to each request. The host
//! connects over plain HTTP with its own token, which is passed on: the proxy has no rights of its own.

mod answer;
mod forward;
mod shared;
mod stream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::faults::Rules;
use crate::hold::{Hold, Point};
use crate::request::{Class, Summary};
pub use shared::Entry;

use shared::{Counted, Shared, lock};

/// A running proxy; it ends, with all its connections, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy to the API server of a kubeconfig.
    ///
    /// # Errors
    /// If the kubeconfig cannot be used.
    pub async fn start(kubeconfig: &Path, rules: Rules) -> Result<Self> {
        let cannot_use = || format!("cannot use {}", kubeconfig.display());
        let document = Kubeconfig::read_from(kubeconfig).with_context(cannot_use)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(document, &options).await.with_context(cannot_use)?;
        // The host's requests carry its own credentials.
        config.auth_info = kube::config::AuthInfo::default();
        // A request that the host sends once must reach the API server once.
        config.default_retry = false;
        let upstream = Client::try_from(config).context("cannot make an API client")?;
        Self::to(upstream, rules).await
    }

    /// Starts a proxy to the server of this client.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn to(upstream: Client, rules: Rules) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on 127.0.0.1")?;
        let address = listener.local_addr().context("cannot determine the proxy's port")?;
        let shared = Arc::new(Shared {
            upstream,
            rules: Mutex::new(rules),
            hold: Mutex::default(),
            log: Mutex::default(),
            lists: Mutex::default(),
            open: watch::Sender::new(0),
            healed: watch::Sender::new(false),
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _server: server })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a copy of a kubeconfig that points to the proxy.
    ///
    /// # Errors
    /// If one cannot be read or the other not be written.
    pub fn write_kubeconfig(&self, from: &Path, to: &Path) -> Result<()> {
        let cannot = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
        let text = std::fs::read_to_string(from).with_context(|| cannot("read", from))?;
        let mut document: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(&text).with_context(|| cannot("parse", from))?;
        document["clusters"][0]["cluster"]["server"] = format!("http://{}", self.address).into();
        let text = serde_yaml_ng::to_string(&document)?;
        // It holds a token.
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(to);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| cannot("write", to))
    }

    /// Replaces the rules.
    pub fn disturb(&self, rules: Rules) {
        *lock(&self.shared.rules) = rules;
    }

    /// Ends all faults; frozen streams resume.
    pub fn heal(&self) {
        *lock(&self.shared.rules) = Rules::Pass;
        self.shared.healed.send_replace(true);
    }

    /// Stops the host at this write. The receiver gets the write once it is held.
    pub fn hold(&self, point: Point) -> oneshot::Receiver<Summary> {
        let (hold, held) = Hold::arm(point);
        *lock(&self.shared.hold) = Some(hold);
        held
    }

    /// Ends the hold. Held requests are not passed on: their connections are closed.
    pub fn release(&self) {
        if let Some(hold) = lock(&self.shared.hold).take() {
            hold.release();
        }
    }

    /// Waits until no connection is open and every write that was sent has been answered, so that nothing of a killed
    /// host is in flight.
    ///
    /// # Errors
    /// If that is not so in time.
    pub async fn closed(&self, within: Duration) -> Result<()> {
        let mut open = self.shared.open.subscribe();
        let closed = tokio::time::timeout(within, open.wait_for(|open| *open == 0)).await;
        closed.with_context(|| format!("still connected to the proxy after {} s", within.as_secs()))??;
        Ok(())
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        lock(&self.shared.log).clone()
    }

    /// The number of writes so far, except lease renewals.
    #[must_use]
    pub fn writes(&self) -> usize {
        let is_change = |entry: &&Entry| entry.request.class == Class::Write && entry.request.resource != "leases";
        lock(&self.shared.log).iter().filter(is_change).count()
    }

    /// The number of requests by fault.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<&'static str, usize> {
        let mut faults = BTreeMap::new();
        for entry in lock(&self.shared.log).iter() {
            *faults.entry(entry.fault.name()).or_default() += 1;
        }
        faults
    }
}

/// Accepts connections until it is dropped, and closes them all then.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _counted = Counted::new(&shared);
    let service = service_fn(|request| forward::handle(Arc::clone(&shared), request));
    // Errors are the purpose of this proxy.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
