//! The StatefulSet of a rack, and its pods.

use std::collections::BTreeMap;

use bartizan_sdk::json::{WriteJson, lazy, list, optional, text};
use bartizan_sdk::kubernetes::{container_security, pod_security};
use bartizan_sdk::object;
use bartizan_sdk::storage::{Annotations, Resources, claims, merge_annotations, volume_names};
use serde_json::{Value, json};

use super::services::PORTS;
use super::{Asked, Marks, access, database, rack_labels, rack_selector, services};
use crate::decision::Step;
use crate::labels::{CONFIG_HASH, MODE, RACK_SPEC, REMOVED, TEMPLATE, VERSION};
use crate::racks::{CONTAINER, Rack};
use crate::spec::{Mode, RackSpec};

/// The volume of a rack without claims.
const EPHEMERAL_VOLUME: &str = "data";
/// The volume of a rack's own configuration, and where it is.
const CONFIG_VOLUME: &str = "config";
const CONFIG_PATH: &str = "/mnt/config";
/// How long a member may take to write what it has in memory to disk.
const GRACE_SECONDS: i64 = 300;
/// The user that Cassandra's image has for it.
const USER: i64 = 999;

/// The StatefulSet of a rack.
pub(super) fn stateful_set<'a>(
    request: &'a Asked<'_>,
    rack: &'a Rack<'_>,
    spec: &'a RackSpec,
    step: &'a Step,
    template: &'a [u8],
    fingerprint: &'a str,
) -> impl WriteJson + 'a {
    let mut record = Annotations::from([
        (VERSION.to_owned(), request.spec.version.clone()),
        (MODE.to_owned(), request.spec.mode().as_str().to_owned()),
        (TEMPLATE.to_owned(), fingerprint.to_owned()),
        (RACK_SPEC.to_owned(), serde_json::to_string(spec).unwrap_or_default()),
    ]);
    if rack.removed {
        record.insert(REMOVED.to_owned(), "true".to_owned());
    }
    let when_scaled = if step.delete_claims { "Delete" } else { "Retain" };
    let claims = claims(&spec.storage.volume_claim_templates);
    object!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": rack.name,
            "namespace": request.namespace(),
            "labels": rack_labels(request, &rack.rack, Marks::default()),
            "annotations": annotations(request, spec, record.clone()),
        },
        "spec": {
            "serviceName": services::client_name(request),
            "replicas": step.replicas,
            "selector": {"matchLabels": rack_selector(request, &rack.rack)},
            // Whoever scales by hand makes members come and go one at a time, too.
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": step.partition}},
            // Deletes the claims of a member that has left the ring, and never those of one that was scaled away by hand.
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": request.spec.when_deleted(),
                "whenScaled": when_scaled,
            },
            "template": text(template),
            "volumeClaimTemplates": (!claims.is_empty()).then_some(&claims),
        },
    })
}

/// What people want on a rack's objects, beside what is ours.
fn annotations(request: &Asked<'_>, spec: &RackSpec, ours: Annotations) -> Annotations {
    merge_annotations(merge_annotations(ours, &spec.annotations), &request.spec.annotations)
}

/// The pod template of a rack; `config` is the hash of its ConfigMap, empty if it has none.
pub(super) fn template<'a>(request: &'a Asked<'_>, spec: &'a RackSpec, config: &'a str) -> impl WriteJson + 'a {
    let mut record: BTreeMap<_, _> = [(VERSION.to_owned(), request.spec.version.clone())].into();
    if !config.is_empty() {
        record.insert(CONFIG_HASH.to_owned(), config.to_owned());
    }
    object!({
        "metadata": {"labels": rack_labels(request, &spec.name, Marks::default()), "annotations": annotations(request, spec, record.clone())},
        "spec": pod(request, spec),
    })
}

fn pod<'a>(request: &'a Asked<'_>, spec: &'a RackSpec) -> impl WriteJson + 'a {
    let (placement, sidecar) = (&spec.placement, request.spec.sidecar_image.as_ref());
    // ScyllaDB's image starts several programs as root.
    let security = optional((request.spec.mode() == Mode::Cassandra).then(|| pod_security(USER)));
    let containers = lazy(move |writer| {
        writer.begin_list();
        writer.item(&database_container(request, spec));
        if let Some(image) = sidecar {
            writer.item(&sidecar_container(request, spec, format!("{}:{}", image.repository, image.version)));
        }
        writer.end_list();
    });
    object!({
        "containers": containers,
        "serviceAccountName": access::account(request),
        // Only the sidecar speaks to Kubernetes.
        "automountServiceAccountToken": sidecar.is_some(),
        "enableServiceLinks": false,
        "imagePullSecrets": request.spec.image_pull_secrets,
        "volumes": volumes(spec),
        "affinity": placement.affinity(),
        "tolerations": placement.tolerations,
        "topologySpreadConstraints": placement.topology_spread_constraints,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": security,
    })
}

/// The database. It has no liveness probe on purpose: a member that hangs is better looked at than killed in the middle of a
/// transfer, and one that has left the ring closes its ports.
fn database_container<'a>(request: &'a Asked<'_>, spec: &'a RackSpec) -> impl WriteJson + 'a {
    let mode = request.spec.mode();
    let resources = spec.resources.of(CONTAINER);
    let port = |name: &'static str, port: u16| object!({"name": name, "containerPort": port, "protocol": "TCP"});
    let security = optional((mode == Mode::Cassandra).then(container_security));
    object!({
        "name": CONTAINER,
        "image": database::image(request),
        "command": spec.config_map_name.as_ref().map(|_| database::command(mode, CONFIG_PATH)),
        "args": database::arguments(request, spec, resources.as_ref()),
        "env": database::environment(request, spec, resources.as_ref()),
        "ports": list(PORTS.iter().map(|given| port(given.name, given.port))),
        "resources": resources,
        "volumeMounts": mounts(mode, spec),
        // Clients are served once the member has its share of the data, and not before.
        "readinessProbe": {"tcpSocket": {"port": "cql"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"exec": {"command": ["nodetool", "drain"]}}},
        "securityContext": security,
    })
}

fn sidecar_container<'a>(request: &'a Asked<'_>, spec: &'a RackSpec, image: String) -> impl WriteJson + 'a {
    let resources: Option<Resources> = spec.resources.of("sidecar");
    object!({
        "name": "sidecar",
        "image": image,
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "CLUSTER", "value": request.name()},
            {"name": "MODE", "value": request.spec.mode().as_str()},
        ],
        "resources": resources,
        "securityContext": container_security(),
    })
}

fn data_volume(spec: &RackSpec) -> String {
    let named = volume_names(&spec.storage.volume_claim_templates).into_iter().next();
    named.unwrap_or_else(|| EPHEMERAL_VOLUME.to_owned())
}

fn mounts(mode: Mode, spec: &RackSpec) -> Vec<Value> {
    let data = json!({"name": data_volume(spec), "mountPath": database::data_path(mode)});
    let config = json!({"name": CONFIG_VOLUME, "mountPath": CONFIG_PATH, "readOnly": true});
    [data].into_iter().chain(spec.config_map_name.is_some().then_some(config)).collect()
}

/// The volumes that are no claims; nothing if there are none.
fn volumes(spec: &RackSpec) -> Option<Vec<Value>> {
    let ephemeral = spec.storage.volume_claim_templates.is_empty();
    let data = ephemeral.then(|| json!({"name": EPHEMERAL_VOLUME, "emptyDir": {}}));
    let config = spec.config_map_name.as_ref();
    let config = config.map(|name| json!({"name": CONFIG_VOLUME, "configMap": {"name": name}}));
    let volumes: Vec<Value> = data.into_iter().chain(config).collect();
    (!volumes.is_empty()).then_some(volumes)
}
