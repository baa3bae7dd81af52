//! Validates a spec, first by itself and then against the running cluster. All faults are reported at once, each with its field.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use bartizan_sdk::kubernetes::{LONGEST_STATEFUL_SET, dns_label_fault, image_fault, is_dns_label, service_name_fault};
use bartizan_sdk::storage::{annotation_faults, claim_faults, claims, environment_faults, same_claims};
use bartizan_sdk::{Fault, Version};

use crate::children::OWN_VARIABLES;
use crate::labels::{DATACENTER, MODE, REMOVED};
use crate::racks::{Rack, set_name};
use crate::spec::{ClusterRequest, ClusterSpec, RackSpec};
use crate::version;

/// The components that can have resources.
pub(crate) const COMPONENTS: [&str; 2] = ["cassandra", "sidecar"];
/// The maximum number of members of a rack, which guards against typos and bounds the length of a member's name.
const MOST_MEMBERS: i32 = 1000;

/// The faults of a spec by itself.
pub(crate) fn faults(request: &ClusterRequest<'_>) -> Vec<Fault> {
    let spec = &request.spec;
    let mut faults = Vec::new();
    faults.extend(service_name_fault(request.name()).map(|message| Fault::new("metadata.name", message)));
    faults.extend(version::fault(spec.mode(), &spec.version).map(|message| Fault::new("spec.version", message)));
    let sidecar = spec.sidecar_image.as_ref();
    faults.extend(image_fault("spec.repository", spec.repository.as_deref()));
    faults.extend(image_fault("spec.sidecarImage.repository", sidecar.map(|image| image.repository.as_str())));
    faults.extend(image_fault("spec.sidecarImage.version", sidecar.map(|image| image.version.as_str())));
    faults.extend(annotation_faults(&spec.annotations, "spec.annotations"));
    faults.extend(annotation_faults(&spec.service_annotations, "spec.serviceAnnotations"));
    faults.extend(environment_faults(&spec.env, "spec.env", |name| {
        OWN_VARIABLES.contains(&name).then_some("the other fields of the spec")
    }));
    let canary = spec.canary.unwrap_or_default();
    faults.extend(Fault::unless(canary >= 0, "spec.canary", format_args!("must be at least 0, but is {canary}")));
    check_racks(request, &mut faults);
    faults
}

fn check_racks(request: &ClusterRequest<'_>, faults: &mut Vec<Fault>) {
    let datacenter = &request.spec.datacenter;
    faults.extend(dns_label_fault("spec.datacenter.name", &datacenter.name));
    let mut names = BTreeSet::new();
    for (index, rack) in datacenter.racks.iter().enumerate() {
        let path = format_args!("spec.datacenter.racks[{index}]");
        let field = format_args!("{path}.name");
        let (name, length) = (set_name(request.name(), &datacenter.name, &rack.name), LONGEST_STATEFUL_SET);
        let unique = format_args!("must be unique, but another rack is also named \"{}\"", rack.name);
        let shorter = format_args!(
            "must be shorter: the StatefulSet's name \"{name}\" has {} characters, and at most {length} are allowed",
            name.len()
        );
        let fault = dns_label_fault(field, &rack.name)
            .or_else(|| Fault::unless(names.insert(&rack.name), field, unique))
            .or_else(|| Fault::unless(name.len() <= length, field, shorter));
        faults.extend(fault);
        check_rack(rack, path, faults);
    }
    let all: i64 = datacenter.racks.iter().map(|rack| i64::from(rack.members.max(0))).sum();
    let allowed = all > 0 || request.spec.allow_removing_last_member == Some(true);
    let message = format_args!(
        "must have at least one member in total: removing the last one deletes all data, which requires \
         spec.allowRemovingLastMember: true"
    );
    faults.extend(Fault::unless(allowed, "spec.datacenter.racks", message));
}

fn check_rack(rack: &RackSpec, path: fmt::Arguments<'_>, faults: &mut Vec<Fault>) {
    let members = format_args!("must be from 0 to {MOST_MEMBERS}, but is {}", rack.members);
    faults.extend(Fault::unless((0..=MOST_MEMBERS).contains(&rack.members), format_args!("{path}.members"), members));
    let templates = &rack.storage.volume_claim_templates;
    let claims = format_args!("{path}.storage.volumeClaimTemplates");
    let one =
        format_args!("must have at most one item, since a member has one data directory, but has {}", templates.len());
    faults.extend(Fault::unless(templates.len() <= 1, claims, one));
    faults.extend(claim_faults(templates, claims));
    faults.extend(annotation_faults(&rack.annotations, format_args!("{path}.annotations")));
    faults.extend(rack.resources.component_faults(format_args!("{path}.resources"), &COMPONENTS));
    faults.extend(rack.placement.faults(format_args!("{path}.placement")));
    let name = rack.config_map_name.as_deref().unwrap_or("none");
    let message = format_args!("must be the name of a ConfigMap, but is \"{name}\"");
    faults.extend(Fault::unless(name.split('.').all(is_dns_label), format_args!("{path}.configMapName"), message));
}

/// The faults of a spec that is valid by itself, but cannot be reached from the running cluster.
pub(crate) fn permanent_faults(spec: &ClusterSpec, racks: &[Rack<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let sets = racks.iter().filter_map(|rack| rack.set.as_ref());
    let differs = |key: &str, wanted: &str| {
        let made = sets
            .clone()
            .find_map(|set| set.metadata.annotation(key).or_else(|| set.metadata.label(key).map(Cow::Borrowed)));
        made.filter(|made| *made != wanted)
    };
    if let Some(made) = differs(MODE, spec.mode().as_str()) {
        let message = format!("cannot change from {made} to {}: it is a different database", spec.mode().as_str());
        faults.push(Fault::new("spec.mode", message));
    }
    if let Some(made) = differs(DATACENTER, &spec.datacenter.name) {
        let message = format!("cannot change from {made} to {}: the members have stored it", spec.datacenter.name);
        faults.push(Fault::new("spec.datacenter.name", message));
        // Every rack would look removed, and new.
        return faults;
    }
    let running: Vec<Version> = racks.iter().flat_map(Rack::versions).collect();
    let step = Version::parse(&spec.version).and_then(|wanted| version::step_fault(spec.mode(), &running, wanted));
    faults.extend(step.map(|message| Fault::new("spec.version", message)));
    let lost = racks.iter().find(|rack| {
        let accepted = rack.set.as_ref().is_some_and(|set| set.metadata.annotation(REMOVED).is_some());
        rack.removed && !accepted && rack.replicas() > 0
    });
    for (index, rack) in racks.iter().enumerate().filter(|(_, rack)| !rack.removed) {
        let path = format!("spec.datacenter.racks[{index}]");
        match (&rack.set, lost) {
            (None, Some(lost)) => {
                let message = format!(
                    "is new while rack {}, which has members, was removed: racks cannot be renamed; to replace one, add \
                     the new rack first and remove the old one once the new one is ready",
                    lost.rack
                );
                faults.push(Fault::new(format!("{path}.name"), message));
            }
            (Some(set), _) => {
                let templates = rack.spec.as_ref().map_or(&[][..], |spec| &spec.storage.volume_claim_templates);
                let same = same_claims(&claims(templates), &set.spec.volume_claim_templates);
                let message = format_args!(
                    "cannot change: the claims of a rack are fixed when it is created; add a rack with other claims"
                );
                faults.extend(Fault::unless(same, format_args!("{path}.storage.volumeClaimTemplates"), message));
            }
            (None, None) => {}
        }
    }
    faults
}
