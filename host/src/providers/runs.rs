//! The controllers that run: started, swapped and stopped as the fleet says, each with a handle until it ends.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bartizan_contract::provider::ActiveModule;
use bartizan_engine::provider::event::{ControllerEvent, Event, Purpose, RunId, Start};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::catalog::Runnable;
use crate::controller::Inputs;
use crate::controller::reporter::Reporter;
use crate::controller::startup::{self, Host, Predecessor};

/// The controllers that run.
pub(super) struct Runs {
    host: Host,
    reports: mpsc::UnboundedSender<Event>,
    handles: BTreeMap<RunId, Handle>,
    tasks: JoinSet<(RunId, anyhow::Result<()>)>,
}

/// One of them.
struct Handle {
    /// Name of the Provider.
    provider: String,
    /// The version that its status names.
    recorded: watch::Sender<Option<ActiveModule>>,
    stop: CancellationToken,
    ended: CancellationToken,
    /// The version that it serves with as soon as it can.
    versions: watch::Sender<Runnable>,
    /// Another one to preview.
    candidates: watch::Sender<Option<Runnable>>,
}

impl Runs {
    /// None yet; they will report there.
    pub(super) fn new(host: Host, reports: mpsc::UnboundedSender<Event>) -> Self {
        Self { host, reports, handles: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Starts one.
    pub(super) fn start(&mut self, start: Start, runnable: Runnable) {
        let Start { run, provider, version: _, limits, kinds, claims, purpose } = start;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (versions, versions_seen) = watch::channel(runnable);
        let (candidates, candidates_seen) = watch::channel(None);
        let (recorded, recorded_seen) = watch::channel(provider.status.active.clone());
        let inputs = Inputs { versions: versions_seen, candidates: candidates_seen, recorded: recorded_seen };
        let before = match purpose {
            Purpose::Serve { after, takes_over } => {
                let before = after.and_then(|after| self.predecessor(after));
                if let Some(before) = before.as_ref().filter(|_| !takes_over) {
                    before.stop.cancel();
                }
                before
            }
            Purpose::Preview { .. } => None,
        };
        let name = provider.metadata.name.clone();
        let reporter = Reporter::new(&name, run, self.reports.clone());
        let start = startup::Start {
            host: self.host.clone(),
            provider,
            inputs,
            reporter: reporter.clone(),
            before,
            limits,
            kinds,
            purpose,
            claims,
        };
        let handle =
            Handle { provider: name, recorded, stop: stop.clone(), ended: ended.clone(), versions, candidates };
        self.handles.insert(run, handle);
        self.tasks.spawn(async move {
            let ended = ended.drop_guard();
            let result = match purpose {
                Purpose::Serve { .. } => start.serve(stop).await,
                Purpose::Preview { .. } => start.preview(stop).await,
            };
            drop(ended);
            reporter.report(ControllerEvent::Ended);
            (run, result)
        });
    }

    /// One that may still work, for whoever waits for its end.
    pub(super) fn predecessor(&self, run: RunId) -> Option<Predecessor> {
        let handle = self.handles.get(&run)?;
        Some(Predecessor { stop: handle.stop.clone(), ended: handle.ended.clone() })
    }

    /// Sets the version that one serves with.
    pub(super) fn swap(&self, run: RunId, runnable: Runnable) {
        if let Some(handle) = self.handles.get(&run) {
            handle.versions.send_replace(runnable);
        }
    }

    /// Sets the version that the status of a Provider names.
    pub(super) fn recorded(&self, provider: &str, active: Option<ActiveModule>) {
        for handle in self.handles.values().filter(|handle| handle.provider == provider) {
            handle.recorded.send_replace(active.clone());
        }
    }

    /// Sets the candidate that one previews; `None` ends the preview.
    pub(super) fn preview(&self, run: RunId, runnable: Option<Runnable>) {
        if let Some(handle) = self.handles.get(&run) {
            handle.candidates.send_replace(runnable);
        }
    }

    /// Cancels one.
    pub(super) fn stop(&self, run: RunId) {
        if let Some(handle) = self.handles.get(&run) {
            handle.stop.cancel();
        }
    }

    /// Waits for the end of one; forever if there is none.
    ///
    /// # Errors
    /// If one ended that never should.
    pub(super) async fn next_end(&mut self) -> anyhow::Result<()> {
        let Some(ended) = self.tasks.join_next().await else { return std::future::pending().await };
        let (run, result) = ended.context("a provider ended unexpectedly")?;
        self.handles.remove(&run);
        result
    }

    /// Cancels all, and waits for their end.
    ///
    /// # Errors
    /// If one ended otherwise than it should.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        for handle in self.handles.values() {
            handle.stop.cancel();
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a provider ended unexpectedly")?.1?;
        }
        Ok(())
    }
}
