//! A controller's requests to the API server, counted in the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bartizan_harness::{AuditMark, AuditRequest, ControlPlane};

/// No request for so long: the controller is at rest. Longer than the first retry delays of both.
const QUIET: Duration = Duration::from_secs(6);
/// How often the log is read.
const POLL: Duration = Duration::from_millis(200);

/// Requests except watches and lease renewals, which depend on time and not on work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// All of them.
    pub(crate) requests: usize,
    /// The writes.
    pub(crate) writes: usize,
    /// When the last write arrived, RFC 3339 with microseconds.
    pub(crate) last_write: Option<String>,
    /// Resources that are watched.
    watched: BTreeSet<String>,
    /// By verb and resource, for people.
    sorts: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, request: AuditRequest) {
        if request.is_watch() {
            self.watched.insert(request.resource);
            return;
        }
        if request.resource == "leases" {
            return;
        }
        self.requests += 1;
        let AuditRequest { verb, uri, resource, subresource, .. } = &request;
        let sort = match (resource.as_str(), subresource.as_str()) {
            ("", _) => format!("{verb} {uri}"),
            (_, "") => format!("{verb} {resource}"),
            _ => format!("{verb} {resource}/{subresource}"),
        };
        *self.sorts.entry(sort).or_default() += 1;
        if request.is_write() {
            self.writes += 1;
            self.last_write = Some(request.time);
        }
    }
}

impl Tally {
    /// Whether both kinds are watched: a watch starts where its list ended.
    pub(crate) fn has_listed(&self) -> bool {
        ["triples", "configmaps"].iter().all(|resource| self.watched.contains(*resource))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorts: Vec<String> = self.sorts.iter().map(|(sort, count)| format!("{count} {sort}")).collect();
        if sorts.is_empty() { out.write_str("no requests") } else { out.write_str(&sorts.join(", ")) }
    }
}

/// Counts from a mark on.
pub(crate) struct Counter<'a> {
    cluster: &'a ControlPlane,
    user: &'static str,
    mark: AuditMark,
    tally: Tally,
}

impl<'a> Counter<'a> {
    pub(crate) fn start(cluster: &'a ControlPlane, user: &'static str) -> Result<Self> {
        Ok(Self { cluster, user, mark: cluster.audit_mark()?, tally: Tally::default() })
    }

    /// The requests until now.
    pub(crate) fn now(&mut self) -> Result<&Tally> {
        self.mark = self.cluster.audit_visit_since(self.user, self.mark, |request| self.tally.add(request))?;
        Ok(&self.tally)
    }

    /// The requests until the controller is at rest.
    pub(crate) async fn until_quiet(mut self, timeout: Duration) -> Result<Tally> {
        let started = Instant::now();
        let (mut before, mut since) = (0, Instant::now());
        while since.elapsed() < QUIET {
            let requests = self.now()?.requests;
            if requests != before {
                (before, since) = (requests, Instant::now());
            }
            if started.elapsed() > timeout {
                bail!("{} is not quiet after {} s: {}", self.user, timeout.as_secs(), self.tally);
            }
            tokio::time::sleep(POLL).await;
        }
        self.now()?;
        Ok(self.tally)
    }
}
