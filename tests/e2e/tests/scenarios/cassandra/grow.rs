//! From nothing to six members, and back to none.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Journal, Provider, SOON, Sidecar, Stage, apply_text, cassandra};
use bartizan_harness::AuditMark;
use bartizan_harness::wait::{wait_for, wait_gone};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;

use super::{DECOMMISSION, LONG, NS, edit, fault, pods, rack, set_racks, slow, spec, wait_ready};

/// The user that creates the pods of StatefulSets.
const CONTROLLER: &str = "system:serviceaccount:kube-system:statefulset-controller";
/// The user that starts them.
const NODES: &str = "kwok";
const START: &str = "300ms";

#[tokio::test]
async fn a_ring_grows_member_by_member_loses_a_rack_and_keeps_its_last_member() -> Result<()> {
    let stage = Stage::start(&[Provider::Cassandra]).await?;
    let host = stage.host().await?;
    let journal = Journal::start(&stage, NS).await?;
    let mark = stage.mark()?;
    apply_text(&stage, &cassandra(NS, "ring", &slow(spec("4.1.7", &[rack("a", 3), rack("b", 3)]), START))).await?;
    wait_ready(&stage, NS, "ring", "6/6").await?;
    the_audit_log_has_one_start_after_another(&stage, mark).await?;

    let sidecar = Sidecar::start(&stage, NS, "ring", DECOMMISSION).await?;
    a_removed_rack_is_drained_and_deleted(&stage).await?;
    journal.check().await?;
    the_last_member_stays_until_a_flag_allows_its_removal(&stage).await?;
    journal.check().await?;
    drop((sidecar, journal));
    host.stop().await?;
    stage.stop().await
}

/// Every pod was created after all earlier ones had started, in the rack with the fewest members. Prints how long
/// that took.
async fn the_audit_log_has_one_start_after_another(stage: &Stage, mark: AuditMark) -> Result<()> {
    // When pods were created (a rejected attempt creates none), and when their nodes reported them ready.
    let made = || {
        let requests = stage.cluster.audit_requests_since(CONTROLLER, mark)?;
        let made = requests.into_iter().filter(|request| request.verb == "create" && request.resource == "pods");
        made.filter(|request| request.code == Some(201))
            .map(|request| Ok((request.name, request.time.parse::<Timestamp>()?)))
            .collect::<Result<Vec<_>>>()
    };
    let made = wait_for("six pods in the audit log", SOON, async || Ok(Some(made()?).filter(|made| made.len() == 6)));
    let made = made.await?;
    let mut started: BTreeMap<String, Timestamp> = BTreeMap::new();
    for request in stage.cluster.audit_requests_since(NODES, mark)? {
        if request.verb == "patch" && request.resource == "pods" && request.subresource == "status" {
            started.entry(request.name).or_insert(request.time.parse()?);
        }
    }
    let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2"].map(|member| format!("ring-west-{member}"));
    ensure!(names == expected, "made in the order {names:?}");
    let mut own = Duration::ZERO;
    let mut last: Option<(&str, Timestamp)> = None;
    for (name, made) in &made {
        let started = *started.get(name).with_context(|| format!("nobody started {name}"))?;
        if let Some((before, ready)) = last {
            ensure!(*made > ready, "{name} was made at {made}, before {before} was ready at {ready}");
        }
        own += Duration::try_from(started.duration_since(*made))?;
        last = Some((name.as_str(), started));
    }
    let (first, last) = (made.first().context("no pod")?.1, last.context("no pod")?.1);
    let whole = Duration::try_from(last.duration_since(first))?;
    eprintln!("2 racks of 3: {whole:?} from the first pod to the last, {own:?} of it the pods' own starts");
    Ok(())
}

async fn a_removed_rack_is_drained_and_deleted(stage: &Stage) -> Result<()> {
    let of_a = async || -> Result<Vec<Option<String>>> {
        let pods = pods(stage, NS, "ring").await?;
        Ok(pods.iter().filter(|pod| pod.name_any().contains("-a-")).map(|pod| pod.uid()).collect())
    };
    let before = of_a().await?;
    set_racks(stage, NS, "ring", &[rack("a", 3)]).await?;
    wait_gone(stage.api::<StatefulSet>(NS), "ring-west-b", LONG).await?;
    wait_ready(stage, NS, "ring", "3/3").await?;
    no_services_or_claims_are_left(stage, "cassandra.rook.io/rack=b").await?;
    ensure!(of_a().await? == before, "members of the other rack were recreated");
    Ok(())
}

async fn the_last_member_stays_until_a_flag_allows_its_removal(stage: &Stage) -> Result<()> {
    set_racks(stage, NS, "ring", &[rack("a", 1)]).await?;
    wait_ready(stage, NS, "ring", "1/1").await?;
    set_racks(stage, NS, "ring", &[rack("a", 0)]).await?;
    let message = fault(stage, "ring", "InvalidSpec").await?;
    let expected = "spec.datacenter.racks: must have at least one member in total: removing the last one deletes all data, which \
                    requires spec.allowRemovingLastMember: true";
    ensure!(message == expected, "{message}");
    ensure!(pods(stage, NS, "ring").await?.len() == 1, "the last member is gone");
    edit(stage, NS, "ring", &json!({"allowRemovingLastMember": true})).await?;
    wait_ready(stage, NS, "ring", "0/0").await?;
    no_services_or_claims_are_left(stage, "cassandra.rook.io/rack=a,cassandra.rook.io/cluster=ring").await
}

/// No member's Service and no claim.
async fn no_services_or_claims_are_left(stage: &Stage, selector: &str) -> Result<()> {
    let selector = ListParams::default().labels(selector);
    wait_for("the deletion of Services and claims", SOON, async || {
        let services = stage.api::<Service>(NS).list(&selector).await?.items;
        let claims = stage.api::<PersistentVolumeClaim>(NS).list(&selector).await?.items;
        Ok((services.is_empty() && claims.is_empty()).then_some(()))
    })
    .await
}
