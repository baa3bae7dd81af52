//! What a cluster consists of in Kubernetes.

mod access;
mod database;
mod member;
mod services;

use bartizan_sdk::json::{WriteJson, to_text};
use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{ConfigMap, Service};
use bartizan_sdk::kubernetes::{Meta, config_map, disruption_budget, service_ports};
use bartizan_sdk::observed::ConfigMapView;
use bartizan_sdk::{ChildKind, Failure, Request, Response, Treatment, config_hash, fingerprint, object};

use crate::decision::{Action, Step};
use crate::labels::{CLUSTER, DATACENTER, MANAGED_BY, NAME, RACK};
use crate::racks::{Rack, Racks};
use crate::spec::ClusterSpec;
pub(crate) use database::OWN_VARIABLES;
use services::SEEDS_KEY;

/// A member's Service is there before its pod: StatefulSets come after everything else.
const STATEFUL_SETS: Treatment = Treatment::wave(1);
/// How many members may be away on purpose at the same time: with three copies of everything, reads and writes of a quorum
/// go on with one of them away.
const MAX_UNAVAILABLE: i32 = 1;

/// What is asked.
type Asked<'a> = Request<'a, ClusterSpec>;

/// A rack's pod template.
pub(crate) struct Template {
    /// As JSON.
    text: Vec<u8>,
    /// Tells it from another one.
    pub(crate) fingerprint: String,
}

impl Template {
    fn new(text: Vec<u8>) -> Self {
        Self { fingerprint: fingerprint(&text), text }
    }
}

/// The template of each rack; or the name of the first ConfigMap that is missing.
pub(crate) fn templates(request: &Asked<'_>, racks: &[Rack<'_>]) -> Result<Result<Vec<Template>, String>, Failure> {
    let mut templates = Vec::new();
    for rack in racks {
        let Some(spec) = &rack.spec else {
            templates.push(Template::new(Vec::new()));
            continue;
        };
        let mut hash = None;
        if let Some(name) = &spec.config_map_name {
            let Some(config) = request.related::<ConfigMapView>(name)? else { return Ok(Err(name.clone())) };
            hash = Some(config_hash(&(config.data, config.binary_data)));
        }
        templates.push(Template::new(to_text(&member::template(request, spec, hash))?));
    }
    Ok(Ok(templates))
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
    racks: &Racks<'_>,
    steps: &[Step<'_>],
    templates: &[Template],
) -> Result<Response, Failure> {
    let mut response = ask(Response::new(), request, &racks.all);
    response = access::grant(response, request)?;
    let seeds = object!({SEEDS_KEY: services::seeds(request, steps)});
    let ports = to_text(&service_ports(&services::PORTS))?;
    response = response
        .child_json(services::client(request, &ports))
        .child_json(config_map(meta(request, &services::seeds_name(request)), seeds))
        .child_json(disruption_budget(meta(request, request.name()), MAX_UNAVAILABLE, selector(request)));
    for step in steps {
        response = services::members(response, request, step, &ports)?;
    }
    for stray in &racks.strays {
        response = response.keep(ChildKind::of::<Service>(), stray);
    }
    for (step, template) in steps.iter().zip(templates) {
        response = match (step.action, &step.rack.spec) {
            (Action::Apply, Some(spec)) => {
                response.child_with(STATEFUL_SETS, member::stateful_set(request, spec, step, template))
            }
            (Action::Remove, _) => response,
            _ => response.keep(ChildKind::of::<StatefulSet>(), &step.rack.name),
        };
    }
    Ok(response)
}

fn meta<'a>(request: &'a Asked<'_>, name: &'a str) -> Meta<'a, impl WriteJson> {
    Meta { name, namespace: request.namespace(), labels: labels(request, None) }
}

/// What selects the members of a cluster, and of no other.
fn selector(request: &Asked<'_>) -> impl WriteJson {
    object!({CLUSTER: request.name()})
}

/// What selects the members of a rack.
fn rack_selector(request: &Asked<'_>, rack: &str) -> impl WriteJson {
    object!({CLUSTER: request.name(), DATACENTER: request.spec.datacenter.name, RACK: rack})
}

/// Labels of every object of a cluster, and of a rack.
fn labels(request: &Asked<'_>, rack: Option<&str>) -> impl WriteJson {
    object!({
        NAME: request.spec.mode().as_str(),
        MANAGED_BY: "bartizan",
        CLUSTER: request.name(),
        DATACENTER: rack.map(|_| &request.spec.datacenter.name),
        RACK: rack,
    })
}
