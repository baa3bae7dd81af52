//! The Services for clients and for each member, and the seeds.

use bartizan_sdk::json::{WriteJson, extended, lazy, text, to_text};
use bartizan_sdk::kubernetes::{Meta, ServicePort, ServiceRole, service};
use bartizan_sdk::observed::Claims;
use bartizan_sdk::{Failure, Response, object};

use super::metadata::{labels, meta, selector};
use crate::labels::{DECOMMISSIONED, JOINED, SEED};
use crate::racks::Member;
use crate::spec::ClusterRequest;
use crate::step::Step;

/// The label with which the StatefulSet controller records a pod's name.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// How many members of each rack, from the first on, are seeds.
const SEEDS: i32 = 2;
/// The key in the ConfigMap of seeds.
pub(super) const SEEDS_KEY: &str = "seeds";

/// The ports of a member.
pub(super) const PORTS: [ServicePort<'static>; 6] = [
    ServicePort { name: "intra-node", port: 7000 },
    ServicePort { name: "tls-intra-node", port: 7001 },
    ServicePort { name: "jmx", port: 7199 },
    ServicePort { name: "cql", port: 9042 },
    ServicePort { name: "thrift", port: 9160 },
    ServicePort { name: "cql-ssl", port: 9142 },
];

/// The name of the Service for clients.
pub(super) fn client_name(request: &ClusterRequest<'_>) -> String {
    [request.name(), "-client"].concat()
}

/// The name of the ConfigMap of seeds.
pub(super) fn seeds_name(request: &ClusterRequest<'_>) -> String {
    [request.name(), "-seeds"].concat()
}

/// The address of a member, which stays the same when its pod is rescheduled.
pub(super) fn address(request: &ClusterRequest<'_>, member: &str) -> String {
    [member, ".", request.namespace(), ".svc"].concat()
}

/// The headless Service that resolves to all members, and gives each pod its DNS name.
pub(super) fn client(request: &ClusterRequest<'_>, ports: &[u8]) -> impl WriteJson {
    lazy(move |writer| {
        let name = client_name(request);
        let annotations = Some(&request.spec.service_annotations);
        let meta = meta(request, &name);
        service(meta, annotations, ServiceRole::Headless, selector(request), text(ports)).write_json(writer);
    })
}

/// The addresses of the seeds. They are in a ConfigMap of their own, so that a new seed restarts no member and each member reads
/// the current list when it starts. A member becomes a seed once it has joined, because seeds do not bootstrap; in a new
/// cluster the very first member is the seed.
pub(super) fn seeds(request: &ClusterRequest<'_>, steps: &[Step<'_>]) -> String {
    let mut seeds = Vec::new();
    for Step { rack, replicas, .. } in steps {
        let is_seed = |ordinal: &i32| {
            rack.members.get(ordinal).is_some_and(|member| is_joined(member) && member.decommissioned.is_none())
        };
        let ordinals = (0..SEEDS.min(*replicas)).filter(is_seed);
        seeds.extend(ordinals.map(|ordinal| address(request, &rack.member_name(ordinal))));
    }
    let first = steps.iter().find(|step| seeds.is_empty() && step.replicas > 0);
    seeds.extend(first.map(|step| address(request, &step.rack.member_name(0))));
    seeds.join(",")
}

fn is_joined(member: &Member<'_>) -> bool {
    member.is_ready() || member.joined
}

/// The Services of a rack's members: the wanted ones, and former ones that still have a pod or a claim.
pub(super) fn members(
    mut response: Response,
    request: &ClusterRequest<'_>,
    step: &Step<'_>,
    ports: &[u8],
) -> Result<Response, Failure> {
    let (rack, absent) = (step.rack, Member::default());
    let common = to_text(&labels(request, Some(&rack.rack)))?;
    for ordinal in 0..step.replicas.max(rack.members.keys().next_back().map_or(0, |last| last + 1)) {
        let member = rack.members.get(&ordinal).unwrap_or(&absent);
        // A member that was wanted until just now may have a pod that is not observed yet.
        let was = ordinal < rack.replicas() || !rack.is_counted();
        let is_left = member.pod.is_some() || member.has_service && (was || member.claims != Claims::None);
        if ordinal >= step.replicas && !is_left {
            continue;
        }
        let asked = (step.asked_to_leave == Some(ordinal)).then_some(false);
        let decommissioned = member.decommissioned.or(asked);
        let marks = object!({
            SEED: (ordinal < SEEDS).then_some("true"),
            JOINED: is_joined(member).then_some("true"),
            DECOMMISSIONED: decommissioned.map(|left| if left { "true" } else { "false" }),
        });
        response = response.child_json(lazy(|writer| {
            let name = &rack.member_name(ordinal);
            let meta = Meta { name, namespace: request.namespace(), labels: extended(&common, marks) };
            service(meta, None, ServiceRole::Member, object!({POD_NAME: name.as_str()}), text(ports))
                .write_json(writer);
        }));
    }
    Ok(response)
}
