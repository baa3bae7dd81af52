//! What a cluster consists of in Kubernetes.

mod access;
mod database;
mod member;
mod services;

use bartizan_sdk::json::{WriteJson, to_text};
use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{ConfigMap, Service};
use bartizan_sdk::kubernetes::{Meta, disruption_budget, service_ports};
use bartizan_sdk::observed::ConfigMapView;
use bartizan_sdk::{ChildKind, Failure, Request, Response, Treatment, config_hash, object};

use crate::decision::{Action, Step};
use crate::labels::{CLUSTER, DATACENTER, DECOMMISSIONED, JOINED, MANAGED_BY, NAME, RACK, SEED};
use crate::racks::{Rack, Racks};
use crate::spec::ClusterSpec;
pub(crate) use database::OWN_VARIABLES;

/// A member's Service is there before its pod: StatefulSets come after everything else.
const STATEFUL_SETS: Treatment = Treatment::wave(1);
/// How many members may be away on purpose at the same time: with three copies of everything, reads and writes of a quorum
/// go on with one of them away.
const MAX_UNAVAILABLE: i32 = 1;

/// What is asked.
type Asked<'a> = Request<'a, ClusterSpec>;

/// The hash of each rack's ConfigMap, empty where it has none; or the name of the first that is missing.
pub(crate) fn configs(request: &Asked<'_>, racks: &[Rack<'_>]) -> Result<Result<Vec<String>, String>, Failure> {
    let mut hashes = Vec::new();
    for rack in racks {
        let name = rack.spec.as_ref().and_then(|spec| spec.config_map_name.as_deref());
        hashes.push(match name {
            None => String::new(),
            Some(name) => match request.related::<ConfigMapView>(name)? {
                Some(config) => config_hash(&(config.data, config.binary_data)),
                None => return Ok(Err(name.to_owned())),
            },
        });
    }
    Ok(Ok(hashes))
}

/// The pod template of each rack, as JSON.
pub(crate) fn templates(request: &Asked<'_>, racks: &[Rack<'_>], configs: &[String]) -> Result<Vec<Vec<u8>>, Failure> {
    let template = |(rack, config): (&Rack<'_>, &String)| match &rack.spec {
        Some(spec) => to_text(&member::template(request, spec, config)),
        None => Ok(Vec::new()),
    };
    racks.iter().zip(configs).map(template).collect()
}

/// Asks for what must be seen: the racks' ConfigMaps, and whether somebody else made the accounts of members.
pub(crate) fn ask(response: Response, request: &Asked<'_>, racks: &[Rack<'_>]) -> Response {
    let configs = racks.iter().filter_map(|rack| rack.spec.as_ref()?.config_map_name.as_deref()).collect::<Vec<_>>();
    let response = if configs.is_empty() { response } else { response.related(ChildKind::of::<ConfigMap>(), &configs) };
    access::ask(response, request)
}

/// All children, in an order that never changes.
pub(crate) fn desired(
    request: &Asked<'_>,
    Racks { all: racks, strays }: &Racks<'_>,
    steps: &[Step],
    templates: &[Vec<u8>],
    fingerprints: &[String],
) -> Result<Response, Failure> {
    let mut response = ask(Response::new(), request, racks);
    response = access::grant(response, request)?;
    let ports = to_text(&service_ports(&services::PORTS))?;
    response = response
        .child_json(services::client(request, &ports))
        .child_json(services::seeds(request, racks, steps))
        .child_json(disruption_budget(meta(request, request.name()), MAX_UNAVAILABLE, selector(request)));
    for (rack, step) in racks.iter().zip(steps) {
        response = services::members(response, request, rack, step, &ports);
    }
    for stray in strays {
        response = response.keep(ChildKind::of::<Service>(), stray);
    }
    for (((rack, step), template), fingerprint) in racks.iter().zip(steps).zip(templates).zip(fingerprints) {
        response = match (step.action, &rack.spec) {
            (Action::Apply, Some(spec)) => {
                let set = member::stateful_set(request, rack, spec, step, template, fingerprint);
                response.child_with(STATEFUL_SETS, set)
            }
            (Action::Remove, _) => response,
            _ => response.keep(ChildKind::of::<StatefulSet>(), &rack.name),
        };
    }
    Ok(response)
}

fn meta<'a>(request: &'a Asked<'_>, name: &'a str) -> Meta<'a, impl WriteJson> {
    Meta { name, namespace: request.namespace(), labels: labels(request) }
}

/// What selects the members of a cluster, and of no other.
fn selector(request: &Asked<'_>) -> impl WriteJson {
    object!({CLUSTER: request.name()})
}

/// Labels of every object of a cluster.
fn labels(request: &Asked<'_>) -> impl WriteJson {
    object!({NAME: request.spec.mode().as_str(), MANAGED_BY: "bartizan", CLUSTER: request.name()})
}

/// What selects the members of a rack.
fn rack_selector(request: &Asked<'_>, rack: &str) -> impl WriteJson {
    object!({CLUSTER: request.name(), DATACENTER: request.spec.datacenter.name, RACK: rack})
}

/// Labels that tell members from each other.
#[derive(Clone, Copy, Default)]
struct Marks {
    seed: Option<&'static str>,
    joined: Option<&'static str>,
    decommissioned: Option<&'static str>,
}

/// Labels of every object of a rack.
fn rack_labels(request: &Asked<'_>, rack: &str, marks: Marks) -> impl WriteJson {
    object!({
        NAME: request.spec.mode().as_str(),
        MANAGED_BY: "bartizan",
        CLUSTER: request.name(),
        DATACENTER: request.spec.datacenter.name,
        RACK: rack,
        SEED: marks.seed,
        JOINED: marks.joined,
        DECOMMISSIONED: marks.decommissioned,
    })
}
