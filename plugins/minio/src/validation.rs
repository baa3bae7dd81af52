//! Validates a spec: the result is a plan, or every fault at once, each with its field.

use bartizan_sdk::kubernetes::stateful_set_name_fault;
use bartizan_sdk::storage::{
    Credentials, CredentialsSource, Network, annotation_faults, claim_faults, claims, environment_faults, volume_names,
};
use bartizan_sdk::{Fault, Request, RetiredField, is_token};

use crate::keys::secret_name;
use crate::layout::{self, DEFAULT_DOMAIN, DEFAULT_PORT, EPHEMERAL_VOLUME, Layout};
use crate::plan::{ACCESS_KEY_VARIABLE, COMPONENT, PORT_NAME, Plan, SECRET_KEY_VARIABLE};
use crate::spec::{ObjectStoreSpec, SHORTEST_ACCESS_KEY, SHORTEST_SECRET_KEY};

/// The plan for a store, or none and the faults.
pub(crate) fn plan<'a>(
    request: &'a Request<'_, ObjectStoreSpec>,
    retired: &[RetiredField],
) -> (Option<Plan<'a>>, Vec<Fault>) {
    let spec = &request.spec;
    let mut faults = request.retired_faults(retired);
    faults.extend(stateful_set_name_fault(request.name()).map(|message| Fault::new("metadata.name", message)));
    let mode = spec.mode.unwrap_or_default();
    let nodes = check_scope(spec, &mut faults);
    faults.extend(spec.resources.component_faults("spec.resources", &[COMPONENT]));
    faults.extend(spec.placement.faults("spec.placement"));
    faults.extend(annotation_faults(&spec.annotations, "spec.annotations"));
    faults.extend(annotation_faults(&spec.service_annotations, "spec.serviceAnnotations"));
    faults.extend(environment_faults(&spec.env, "spec.env", |name| {
        [ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE].contains(&name).then_some("spec.credentials")
    }));
    let (host_network, port) = check_network(spec, &mut faults);
    let credentials = check_credentials(&spec.credentials, request, &mut faults);
    let domain = spec.cluster_domain.as_deref().filter(|domain| !domain.is_empty()).unwrap_or(DEFAULT_DOMAIN);
    let mut volumes = volume_names(&spec.scope.volume_claim_templates);
    if volumes.is_empty() {
        volumes.push(EPHEMERAL_VOLUME.to_owned());
    }
    let layout = Layout {
        name: request.name().to_owned(),
        namespace: request.namespace().to_owned(),
        domain: domain.to_owned(),
        mode,
        nodes,
        volumes,
        claims: claims(&spec.scope.volume_claim_templates),
        port,
    };
    let plan = credentials.map(|credentials| Plan { spec, layout, credentials, host_network });
    (plan.filter(|_| faults.is_empty()), faults)
}

fn check_scope(spec: &ObjectStoreSpec, faults: &mut Vec<Fault>) -> u32 {
    let nodes = u32::try_from(spec.scope.node_count).unwrap_or_default();
    let volumes = u32::try_from(spec.scope.volume_claim_templates.len().max(1)).unwrap_or(u32::MAX);
    let fault = layout::node_count_fault(spec.mode.unwrap_or_default(), spec.scope.node_count)
        .or_else(|| layout::drives_fault(nodes, volumes));
    faults.extend(fault.map(|message| Fault::new("spec.scope.nodeCount", message)));
    faults.extend(claim_faults(&spec.scope.volume_claim_templates, "spec.scope.volumeClaimTemplates"));
    nodes
}

/// The network, from `spec.network` or from the component in `spec.resources`, where Rook's published example has it.
fn check_network(spec: &ObjectStoreSpec, faults: &mut Vec<Fault>) -> (bool, u16) {
    let Network { host_network, ports } = &spec.network;
    let mut own_port = None;
    for (index, port) in ports.iter().enumerate() {
        if port.name != PORT_NAME {
            let message = format!("must be {PORT_NAME}, the only port, but is \"{}\"", port.name);
            faults.push(Fault::new(format!("spec.network.ports[{index}].name"), message));
        } else if own_port.replace(port.port).is_some() {
            let message = format!("must be unique, but {PORT_NAME} occurs twice");
            faults.push(Fault::new(format!("spec.network.ports[{index}].name"), message));
        }
    }
    let component = spec.resources.network(COMPONENT);
    let component_port = component.and_then(|network| network.port);
    let component_host = component.and_then(|network| network.host_network);
    if own_port.zip(component_port).is_some_and(|(own, other)| own != other) {
        faults.push(Fault::new(
            "spec.network.ports",
            format!("must agree with the port of {COMPONENT} in spec.resources"),
        ));
    }
    if host_network.zip(component_host).is_some_and(|(own, other)| own != other) {
        faults.push(Fault::new("spec.network.hostNetwork", format!("must agree with {COMPONENT} in spec.resources")));
    }
    let port = own_port.or(component_port).unwrap_or(DEFAULT_PORT);
    if port == 0 {
        faults.push(Fault::new("spec.network.ports", "must be a port from 1 to 65535, but is 0"));
    }
    (host_network.or(component_host).unwrap_or_default(), port)
}

fn check_credentials<'a>(
    credentials: &'a Credentials,
    request: &Request<'_, ObjectStoreSpec>,
    faults: &mut Vec<Fault>,
) -> Option<CredentialsSource<'a>> {
    let source = credentials.source("spec.credentials", request.namespace());
    let source = source.map_err(|fault| faults.push(fault)).ok()?;
    let own = secret_name(request.name());
    if source == CredentialsSource::Secret(&own) {
        let message = format!("must not be {own}, in which the store keeps the keys that it was made with");
        faults.push(Fault::new("spec.credentials.name", message));
    }
    if let CredentialsSource::Inline { access_key, secret_key } = source {
        for (field, key, shortest) in
            [("accessKey", access_key, SHORTEST_ACCESS_KEY), ("secretKey", secret_key, SHORTEST_SECRET_KEY)]
        {
            // The length of a token says nothing about the value; the schema of the CRD has the same rule.
            if !is_token(key) && key.chars().count() < shortest {
                let message = format!("must have at least {shortest} characters");
                faults.push(Fault::new(format!("spec.credentials.{field}"), message));
            }
        }
    }
    Some(source)
}
