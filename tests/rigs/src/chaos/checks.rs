//! Checks of the state that a run ends in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_e2e::{Provider, Snapshot, Stage, condition};
use bartizan_harness::AuditMark;
use kube::api::ListParams;
use kube::core::DynamicObject;
use serde_json::Value;

use super::world::{Kind, NAMESPACE, Parent, Wanted, World};

/// A store and a greeting that nobody touches.
pub(super) const BYSTANDER: &str = "bystander";
/// A ConfigMap with the labels of a child that the host did not create.
pub(super) const FORGED: &str = "forged";
/// How often convergence is checked.
const POLL: Duration = Duration::from_millis(500);

/// The state before the run, and the checks against it.
pub(super) struct Checks {
    /// `Kind/name` and UID of the objects that must stay.
    bystanders: BTreeMap<String, Value>,
    mark: AuditMark,
}

/// All parents and children at one moment.
struct Seen {
    parents: BTreeMap<(Kind, String), DynamicObject>,
    /// The number of parents in the status of the kind's Provider, which follows a moment later.
    counted: BTreeMap<Kind, Option<u64>>,
    children: Snapshot,
}

impl Seen {
    async fn now(stage: &Stage) -> Result<Self> {
        let (mut parents, mut counted) = (BTreeMap::new(), BTreeMap::new());
        for (kind, api, provider) in [
            (Kind::Store, stage.stores(NAMESPACE), Provider::Minio),
            (Kind::Greeting, stage.greetings(), Provider::Hello),
        ] {
            let status = stage.provider_objects().get(provider.name()).await?.data["status"].take();
            counted.insert(kind, status["parents"].as_u64());
            for parent in api.list(&ListParams::default()).await? {
                parents.insert((kind, parent.metadata.name.clone().unwrap_or_default()), parent);
            }
        }
        Ok(Self { parents, counted, children: stage.snapshot(NAMESPACE, PROVIDER_LABEL).await? })
    }
}

impl Checks {
    /// Records all objects that exist now.
    pub(super) async fn new(stage: &Stage) -> Result<Self> {
        let Seen { children, .. } = Seen::now(stage).await?;
        let uid = |name: &&str| ((*name).to_owned(), children.get(name)["metadata"]["uid"].clone());
        Ok(Self { bystanders: children.names().iter().map(uid).collect(), mark: stage.mark()? })
    }

    /// Waits until everything has converged; returns the problems that are left.
    pub(super) async fn converged(&self, stage: &Stage, world: &World, within: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + within;
        loop {
            let problems = self.problems(world, &Seen::now(stage).await?);
            if problems.is_empty() || Instant::now() > deadline {
                return Ok(problems);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn problems(&self, world: &World, seen: &Seen) -> Vec<String> {
        let mut problems = Vec::new();
        for parent in &world.parents {
            match (parent.wanted, seen.parents.get(&(parent.kind, parent.name.clone()))) {
                (None, None) => {}
                (None, Some(_)) => problems.push(format!("{} was deleted and is there", parent.name)),
                (Some(_), None) => problems.push(format!("{} is gone", parent.name)),
                (Some(wanted), Some(found)) => problems.extend(parent_problems(parent, wanted, found, &seen.children)),
            }
        }
        for (kind, counted) in &seen.counted {
            let there = seen.parents.keys().filter(|(other, _)| other == kind).count();
            if *counted != u64::try_from(there).ok() {
                problems.push(format!("the Provider of a {kind:?} counts {counted:?} parents instead of {there}"));
            }
        }
        let living: BTreeSet<&str> =
            seen.parents.values().filter_map(|parent| parent.metadata.uid.as_deref()).collect();
        for name in seen.children.names() {
            let owner = owner(seen.children.get(name));
            if !living.contains(owner) {
                problems.push(format!("{name} is left of a parent that is gone ({owner})"));
            }
        }
        for (name, uid) in &self.bystanders {
            let now = &seen.children.get(name)["metadata"]["uid"];
            if now != uid {
                problems.push(format!("{name}, which nobody touched, has UID {now} instead of {uid}"));
            }
        }
        problems
    }

    /// Deletions by the host that had no reason.
    pub(super) fn deletes(&self, stage: &Stage) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for request in stage.requests_since(self.mark)? {
            let done = request.verb.starts_with("delete") && matches!(request.code, Some(200 | 202));
            if done {
                problems.push(format!("the host deleted {} {}, which was wanted", request.resource, request.name));
            }
        }
        Ok(problems)
    }
}

/// The problems of a parent that should be like this.
fn parent_problems(parent: &Parent, wanted: Wanted, found: &DynamicObject, children: &Snapshot) -> Vec<String> {
    let name = &parent.name;
    let mut problems = Vec::new();
    let conditions: &[&str] = match parent.kind {
        Kind::Store => &["Ready", "Synced", "Valid"],
        Kind::Greeting => &["Synced"],
    };
    for type_ in conditions {
        if condition(found, type_).is_none_or(|condition| condition["status"] != "True") {
            let conditions_found = &found.data["status"]["conditions"];
            problems.push(format!(
                "{name} is not {type_} in generation {:?}: {conditions_found}",
                found.metadata.generation
            ));
        }
    }
    let uid = found.metadata.uid.as_deref().unwrap_or_default();
    let names: Vec<&str> = children.names().into_iter().filter(|child| owner(children.get(child)) == uid).collect();
    let expected = parent.children();
    if names != expected {
        problems.push(format!("{name} has the children {names:?} instead of {expected:?}"));
    }
    let revision = wanted.revision.to_string();
    let shown = match parent.kind {
        Kind::Greeting => vec![(
            children.get(&format!("ConfigMap/{name}"))["data"]["greeting"].clone(),
            format!("Hello, world {revision}!"),
        )],
        Kind::Store => vec![
            (
                children.get(&format!("StatefulSet/{name}"))["spec"]["template"]["spec"]["containers"][0]["image"]
                    .clone(),
                format!("example.com/minio:{revision}"),
            ),
            (
                children.get(&format!("Service/{name}-service"))["metadata"]["annotations"]["example.com/revision"]
                    .clone(),
                revision,
            ),
        ],
    };
    for (found, wanted) in shown {
        if found.as_str() != Some(&wanted) {
            problems.push(format!("a child of {name} says {found} instead of {wanted:?}"));
        }
    }
    problems
}

fn owner(child: &Value) -> &str {
    child["metadata"]["labels"][OWNER_UID_LABEL].as_str().unwrap_or_default()
}
