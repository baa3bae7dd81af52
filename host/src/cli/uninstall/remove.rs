//! Carries out an uninstall, step by step. Each can be done again: an attempt that failed is simply repeated.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bartizan_engine::patch::MergePatch;
use kube::api::DeleteParams;
use kube::{Client, ResourceExt as _};

use super::args::UninstallArgs;
use super::plan::is_ours;
use super::survey::{self, Found, Survey};
use crate::cli::lease;
use crate::kubernetes::deadline::in_time;
use crate::providers::release::{clear_status, patch, take_finalizers_off, unless_gone};

/// How often what changed meanwhile is looked at again.
const ROUNDS: usize = 10;
/// Time for a host to end, and for a kind to go.
const DEADLINE: Duration = Duration::from_secs(90);
/// Longer than the time that a pod has to end (`terminationGracePeriodSeconds`).
const GRACE: Duration = Duration::from_secs(35);

/// The cluster, and what was asked for.
pub(super) struct Removal<'a> {
    client: Client,
    args: &'a UninstallArgs,
}

impl<'a> Removal<'a> {
    pub(super) fn new(client: Client, args: &'a UninstallArgs) -> Self {
        Self { client, args }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Deletes the host's Deployments, and waits until nobody has the Lease: a host would make again what is removed.
    pub(super) async fn stop_hosts(&self, survey: &Survey) -> anyhow::Result<()> {
        let (namespace, plan) = (&self.args.system_namespace, &survey.plan);
        if plan.works && plan.deployments.is_empty() {
            // What has deleted its Deployment just now may have left it to end.
            eprintln!("a host works ({}): waiting until it ends", plan.lease);
            let what = format!(
                "a host works ({}), and no Deployment of it is labelled app.kubernetes.io/part-of=bartizan in namespace {namespace}: stop it \
                 first",
                plan.lease
            );
            return self.stopped(&what, GRACE).await;
        }
        for deployment in &survey.deployments {
            self.delete(deployment).await?;
        }
        self.stopped("a host still works: stop it first", DEADLINE).await
    }

    async fn stopped(&self, what: &str, deadline: Duration) -> anyhow::Result<()> {
        let is_over = async || Ok(!lease::of(&self.client, &self.args.system_namespace).await?.is_current);
        until(what, deadline, is_over).await
    }

    /// Releases the children: they lose the host's labels and owner references. One that changed meanwhile is looked at again, so that
    /// nothing is deleted before a look has found none.
    pub(super) async fn release(&self, mut survey: Survey) -> anyhow::Result<Survey> {
        let mut released = 0;
        for _ in 0..ROUNDS {
            if survey.releases.is_empty() {
                println!("{released} children released: they stay as they are");
                return Ok(survey);
            }
            for (served, release) in &survey.releases {
                let MergePatch { key, body, .. } = MergePatch::release(release);
                match patch(&self.client, &served.resource.api, key.namespace.as_deref(), &key.name, &body).await {
                    Ok(()) => released += 1,
                    Err(error) if is_conflict(&error) => {}
                    Err(error) => return Err(error.context(format!("{key} could not be released"))),
                }
            }
            survey = survey::look(&self.client, self.args).await?;
        }
        bail!("{} children change all the time, or are made again: does another host work?", survey.releases.len())
    }

    /// Removes everything else. Returns what should have gone, and why it did not.
    pub(super) async fn run(&self, survey: &Survey) -> anyhow::Result<Vec<String>> {
        for (parent, planned) in survey.parents.iter().zip(&survey.plan.parents) {
            self.let_go(parent, planned.goes).await?;
        }
        for provider in &survey.providers {
            self.delete(provider).await?;
            self.take_finalizers_off(provider).await?;
        }
        for crd in &survey.crds {
            self.delete(crd).await?;
        }
        let held = |name: &String| {
            format!("CustomResourceDefinition {name}: objects of it have finalizers of other controllers")
        };
        let mut left: Vec<String> = survey.plan.held.iter().map(held).collect();
        left.extend(self.not_gone(&survey.crds).await);
        for object in &survey.objects {
            self.delete(object).await?;
        }
        // A namespace takes its time, and whoever installs again would find it in the way.
        left.extend(self.not_gone(&survey.objects).await);
        Ok(left)
    }

    /// Waits until these are gone. Returns which are not, in time.
    async fn not_gone(&self, deleted: &[Found]) -> Vec<String> {
        let mut left = Vec::new();
        for object in deleted {
            let what = format!("{} is not gone yet", object.named());
            if let Err(error) = until(&what, DEADLINE, async || self.is_gone(object).await).await {
                left.push(format!("{error:#}"));
            }
        }
        left
    }

    /// Takes the host's finalizers off a parent, and its status back where it stays.
    async fn let_go(&self, parent: &Found, goes: bool) -> anyhow::Result<()> {
        self.take_finalizers_off(parent).await?;
        if goes {
            return Ok(());
        }
        let managers = parent.meta.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
        let mut providers: Vec<&str> = managers.filter_map(|manager| manager.strip_prefix("bartizan/")).collect();
        providers.dedup();
        for provider in providers {
            let cleared =
                clear_status(&self.client, provider, &parent.kind, &parent.served.resource.api, &parent.meta).await;
            // It holds nobody.
            if let Err(error) = cleared {
                eprintln!("{}: its status stays: {error:#}", parent.named());
            }
        }
        Ok(())
    }

    async fn take_finalizers_off(&self, object: &Found) -> anyhow::Result<()> {
        let api = object.served.api(&self.client, object.meta.namespace().as_deref());
        let name = object.meta.name_any();
        let title = || format!("the finalizers of {} could not be taken off", object.named());
        // As it is now: it may have been deleted since.
        let Some(live) = in_time(api.get_metadata_opt(&name)).await.with_context(title)? else { return Ok(()) };
        if live.uid() != object.meta.uid() || !live.finalizers().iter().any(|name| is_ours(name)) {
            return Ok(());
        }
        take_finalizers_off(&self.client, &object.served.resource.api, &live, is_ours).await.with_context(title)
    }

    async fn delete(&self, object: &Found) -> anyhow::Result<()> {
        let api = object.served.api(&self.client, object.meta.namespace().as_deref());
        let deleted = in_time(api.delete(&object.meta.name_any(), &DeleteParams::background())).await;
        unless_gone(deleted).with_context(|| format!("{} could not be deleted", object.named()))?;
        println!("{} deleted", object.named());
        Ok(())
    }

    async fn is_gone(&self, object: &Found) -> anyhow::Result<bool> {
        let api = object.served.api(&self.client, object.meta.namespace().as_deref());
        Ok(in_time(api.get_metadata_opt(&object.meta.name_any())).await?.is_none())
    }
}

fn is_conflict(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 409)
}

/// Waits until something is so.
async fn until(
    what: &str,
    deadline: Duration,
    mut is: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + deadline;
    while !is().await? {
        if tokio::time::Instant::now() > end {
            bail!("{what} (waited {} s)", deadline.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
