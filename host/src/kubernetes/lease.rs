//! The Lease by which one of several hosts works: `bartizan` in the host's namespace. Every write to it carries the resource version that
//! it was read at, so that of two hosts that claim it one is refused. While this host has no Lease, its client sends no writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bartizan_engine::election::{Election, GIVE_UP_AFTER, LEASE_DURATION, RENEW_EVERY, Record, Turn};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tower::BoxError;
use tracing::{error, info, warn};

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::text;
use crate::kubernetes::layer::layered;

/// Name of the Lease.
pub(crate) const NAME: &str = "bartizan";

/// Time until an attempt that failed, or came too late, is repeated.
const RETRY: Duration = Duration::from_millis(500);

/// Until when this host may write. A process that was stopped for a while sees what others wrote before it sees that it lost the Lease:
/// what it decides then would carry their resource versions.
#[derive(Clone, Debug, Default)]
struct Term(Arc<Mutex<Option<Instant>>>);

impl Term {
    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn has_ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= Instant::now())
    }
}

/// A write was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this host does not have the Lease any more, so that another one may work: nothing is written")]
struct TermEnded;

/// The Lease, and what this host knows of it.
pub(crate) struct Leadership {
    term: Term,
    leases: Api<Lease>,
    title: String,
    election: Election,
    /// As this host wrote it last, or found it.
    known: Option<Lease>,
}

/// Why this host does not lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Another one does, which is named.
    For(String),
    /// The Lease cannot be read or written: it may be that nobody leads.
    Fault(String),
}

/// Longest time of an attempt: one connection that hangs does not cost the Lease.
const ATTEMPT: Duration = Duration::from_secs(3);

/// How an attempt to get or to keep the Lease ended.
enum Attempt {
    /// This host has it.
    Held,
    /// Another one has it.
    Waits { holder: String, after: Duration },
    /// It was this host's, and another one has it now.
    Lost { holder: String },
    /// It changed in the meantime.
    Again,
}

impl Leadership {
    /// The Lease in this namespace, for a host of this identity.
    pub(crate) fn new(client: Client, namespace: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            title: format!("Lease {namespace}/{NAME}"),
            election: Election::new(identity),
            known: None,
            term: Term::default(),
        }
    }

    /// A client that reads at any time, and writes while this host has the Lease.
    pub(crate) fn guarded(&self, client: Client) -> Client {
        let term = self.term.clone();
        layered(client, move |client, request| {
            let term = term.clone();
            async move {
                if !request.method().is_safe() && term.has_ended() {
                    return Err(BoxError::from(TermEnded));
                }
                client.send(request).await.map_err(BoxError::from)
            }
        })
    }

    /// Waits until this host has the Lease. `waits` is called with the reason whenever that changes.
    pub(crate) async fn acquire(&mut self, waits: impl Fn(&Wait)) {
        let mut told = None;
        loop {
            let (wait, after) = match self.attempt_in_time(ATTEMPT).await {
                Ok(Attempt::Held) => {
                    info!(identity = self.election.identity(), "leading: {} is held", self.title);
                    return;
                }
                Ok(Attempt::Waits { holder, after }) => (Wait::For(holder), after),
                Ok(Attempt::Lost { .. } | Attempt::Again) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(error) => (Wait::Fault(text(&error)), RENEW_EVERY),
            };
            if told.as_ref() != Some(&wait) {
                match &wait {
                    Wait::For(holder) => info!(identity = self.election.identity(), "standing by: {holder} leads"),
                    Wait::Fault(error) => error!("cannot lead: {error}"),
                }
                waits(&wait);
                told = Some(wait);
            }
            tokio::time::sleep(after).await;
        }
    }

    /// Renews the Lease, and returns why this host must not work any more once it has lost it.
    pub(crate) async fn keep(&mut self) -> String {
        let lost = self.renew().await;
        self.term.set(None);
        lost
    }

    async fn renew(&mut self) -> String {
        let (mut failure, mut pause) = (None, RENEW_EVERY);
        loop {
            let left = || {
                let until = self.election.leads_until().unwrap_or_else(Instant::now);
                until.saturating_duration_since(Instant::now())
            };
            tokio::time::sleep(pause.min(left())).await;
            // Also after this process was stopped for a while.
            let left = left();
            let attempt = match left.is_zero() {
                false => Some(self.attempt_in_time(left.min(ATTEMPT)).await),
                true => None,
            };
            pause = if matches!(attempt, Some(Ok(Attempt::Held))) { RENEW_EVERY } else { RETRY };
            match attempt {
                Some(Ok(Attempt::Held)) => failure = None,
                Some(Ok(Attempt::Again)) => {}
                Some(Ok(Attempt::Lost { holder } | Attempt::Waits { holder, .. })) => {
                    return format!("{} was lost: {holder} holds it", self.title);
                }
                Some(Err(error)) => {
                    let error = text(&error);
                    if failure.as_ref() != Some(&error) {
                        warn!("{error}; it is tried again");
                    }
                    failure = Some(error);
                }
                None => {
                    let seconds = GIVE_UP_AFTER.as_secs();
                    let last = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
                    return format!("{} was lost: it was not renewed for {seconds} s{last}", self.title);
                }
            }
        }
    }

    /// Gives the Lease back, so that another host need not wait until it expires.
    pub(crate) async fn release(&mut self) {
        self.term.set(None);
        let Some(mut lease) = self.known.take().filter(|_| self.election.leads_until().is_some()) else { return };
        if let Some(spec) = &mut lease.spec {
            (spec.holder_identity, spec.lease_duration_seconds) = (None, Some(1));
        }
        match in_time(self.leases.replace(NAME, &PostParams::default(), &lease)).await {
            Ok(_) => info!("{} was given back", self.title),
            Err(error) => warn!("{} could not be given back, and expires: {}", self.title, text(&error)),
        }
    }

    async fn attempt_in_time(&mut self, limit: Duration) -> anyhow::Result<Attempt> {
        let attempted = tokio::time::timeout(limit, self.attempt()).await;
        attempted.unwrap_or_else(|_| Err(anyhow::anyhow!("{}: no answer within {} s", self.title, limit.as_secs())))
    }

    async fn attempt(&mut self) -> anyhow::Result<Attempt> {
        // The holder knows its state, and is refused if that has changed.
        if self.election.leads_until().is_none() || self.known.is_none() {
            let title = || format!("{} could not be read", self.title);
            self.known = self.leases.get_opt(NAME).await.with_context(title)?;
            match self.election.on(self.known.as_ref().map(record), Instant::now()) {
                Turn::Claim => {}
                Turn::Wait { holder, after } => return Ok(Attempt::Waits { holder, after }),
                Turn::Lost { holder } => return Ok(Attempt::Lost { holder }),
            }
        }
        let lease = claimed(self.known.as_ref(), self.election.identity());
        let sent = Instant::now();
        let written = match &self.known {
            Some(_) => self.leases.replace(NAME, &PostParams::default(), &lease).await,
            None => self.leases.create(&PostParams::default(), &lease).await,
        };
        match written {
            Ok(written) => {
                self.known = Some(written);
                self.election.claimed(sent);
                self.term.set(self.election.leads_until());
                Ok(Attempt::Held)
            }
            // Another host was faster, or somebody deleted it.
            Err(kube::Error::Api(status)) if status.code == 409 || (status.code == 404 && self.known.is_some()) => {
                self.known = None;
                Ok(Attempt::Again)
            }
            Err(error) => Err(error).with_context(|| format!("{} could not be written", self.title)),
        }
    }
}

/// What a Lease says.
fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity,
        renewed: spec.renew_time.map(|time| time.0.to_string()),
        duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
    }
}

/// The Lease with this host as its holder.
fn claimed(before: Option<&Lease>, identity: &str) -> Lease {
    let now = || Some(MicroTime(Timestamp::now()));
    let mut lease = before.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        ..Lease::default()
    });
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.holder_identity = Some(identity.to_owned());
        spec.acquire_time = now();
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |transitions| transitions.saturating_add(1)));
    }
    spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
    spec.renew_time = now();
    lease
}
