//! The Kubernetes objects of a cluster.

mod access;
mod database;
mod member;
mod metadata;
mod services;
mod template;

use bartizan_sdk::json::to_text;
use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{ConfigMap, Service};
use bartizan_sdk::kubernetes::{config_map, disruption_budget, service_ports};
use bartizan_sdk::observed::ConfigMapView;
use bartizan_sdk::{ChildKind, Failure, Response, Treatment, config_hash, object};

use crate::racks::{Rack, Racks};
use crate::spec::ClusterRequest;
use crate::step::{Action, Step};
pub(crate) use database::OWN_VARIABLES;
use metadata::{meta, selector};
use services::SEEDS_KEY;
use template::Template;

/// StatefulSets come last, so that the Service of a member exists before its pod.
const STATEFUL_SETS: Treatment = Treatment::wave(1);
/// How many members may be disrupted voluntarily at the same time: with a replication factor of three, quorum reads and writes
/// survive the loss of one.
const MAX_UNAVAILABLE: i32 = 1;

/// The template of each rack, or the name of the first ConfigMap that is missing.
pub(crate) fn templates(
    request: &ClusterRequest<'_>,
    racks: &[Rack<'_>],
) -> Result<Result<Vec<Template>, String>, Failure> {
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

/// Requests the related objects: the racks' ConfigMaps, and accounts of members that somebody else may have created.
pub(crate) fn request_related(response: Response, request: &ClusterRequest<'_>, racks: &[Rack<'_>]) -> Response {
    let configs = racks.iter().filter_map(|rack| rack.spec.as_ref()?.config_map_name.as_deref()).collect::<Vec<_>>();
    let response = if configs.is_empty() { response } else { response.related(ChildKind::of::<ConfigMap>(), &configs) };
    access::request_related(response, request)
}

/// All children, in a fixed order.
pub(crate) fn desired(
    request: &ClusterRequest<'_>,
    racks: &Racks<'_>,
    steps: &[Step<'_>],
    templates: &[Template],
) -> Result<Response, Failure> {
    let mut response = request_related(Response::new(), request, &racks.all);
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
