//! Edits of healthy parents, one after the other, and how long each takes to be served.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bartizan_e2e::{SOON, Stage, apply_text};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::SERVED;

/// Namespace of the healthy parents.
pub(super) const NAMESPACE: &str = "healthy";
const PARENTS: usize = 4;
/// Time between two edits.
const PAUSE: Duration = Duration::from_millis(200);

/// The edits that are under way.
pub(super) struct Edits {
    stop: CancellationToken,
    task: JoinHandle<Result<Vec<Duration>>>,
}

impl Edits {
    /// Makes the parents, and edits them until [`Edits::end`].
    ///
    /// # Errors
    /// If they are not served even undisturbed.
    pub(super) async fn start(stage: &Stage) -> Result<Self> {
        for number in 0..PARENTS {
            let greeting = json!({
                "apiVersion": "hello.bartizan.dev/v1alpha1", "kind": "Greeting",
                "metadata": {"name": name(number), "namespace": NAMESPACE}, "spec": {"name": "the first"},
            });
            apply_text(stage, &greeting.to_string()).await?;
            served(&stage.api(NAMESPACE), number, "the first").await?;
        }
        let (stop, parents, children) = (CancellationToken::new(), stage.greetings_in(NAMESPACE), stage.api(NAMESPACE));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.is_cancelled() {
                times.push(edit(&parents, &children, times.len()).await?);
                tokio::time::sleep(PAUSE).await;
            }
            Ok(times)
        });
        Ok(Self { stop, task })
    }

    /// Ends the edits, prints how long they took, and returns what took too long.
    ///
    /// # Errors
    /// If one was not served at all.
    pub(super) async fn end(self, when: &str) -> Result<Option<String>> {
        self.stop.cancel();
        let mut times = self.task.await.context("the edits ended unexpectedly")??;
        times.sort_unstable();
        let at = |share: usize| {
            times.get((times.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        let (median, p99, longest) = (at(50), at(99), at(100));
        println!("memory: {} edits {when}: p50 {median:.0?}, p99 {p99:.0?}, longest {longest:.0?}", times.len());
        Ok((longest > SERVED)
            .then(|| format!("an edit {when} was served after {longest:.1?}, not within {SERVED:.0?}")))
    }
}

async fn edit(parents: &Api<DynamicObject>, children: &Api<ConfigMap>, count: usize) -> Result<Duration> {
    let (number, whom) = (count % PARENTS, format!("edit {count}"));
    let began = Instant::now();
    let patch = json!({"spec": {"name": whom}});
    parents.patch(&name(number), &PatchParams::default(), &Patch::Merge(patch)).await.context("it cannot be edited")?;
    served(children, number, &whom).await?;
    Ok(began.elapsed())
}

async fn served(children: &Api<ConfigMap>, number: usize, whom: &str) -> Result<()> {
    let expected = format!("Hello, {whom}!");
    let shows = |child: &ConfigMap| child.data.iter().flatten().any(|(_, value)| *value == expected);
    wait_object(children.clone(), &name(number), &expected, SOON, shows).await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("edited-{number}")
}
