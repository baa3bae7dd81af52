//! The StatefulSet of a rack, and its pods.

use bartizan_sdk::json::{WriteJson, optional, text};
use bartizan_sdk::kubernetes::{container_ports, container_security, pod_security, variable, variable_of_pod};
use bartizan_sdk::object;
use bartizan_sdk::storage::{Annotations, claims, merge_annotations, volume_names};

use super::metadata::{labels, rack_selector};
use super::services::PORTS;
use super::template::Template;
use super::{access, database, services};
use crate::labels::{CONFIG_HASH, MODE, RACK_SPEC, REMOVED, TEMPLATE, THROUGH, VERSION};
use crate::racks::CONTAINER;
use crate::spec::{ClusterRequest, Mode, RackSpec, SidecarImage};
use crate::step::Step;

/// The volume of a rack without claims.
const EPHEMERAL_VOLUME: &str = "data";
/// The volume of a rack's own configuration, and its mount path.
const CONFIG_VOLUME: &str = "config";
const CONFIG_PATH: &str = "/mnt/config";
/// How long a member may take to flush its memtables to disk.
const GRACE_SECONDS: i64 = 300;
/// The user `cassandra` of Cassandra's image.
const USER: i64 = 999;

/// The StatefulSet of a rack.
pub(super) fn stateful_set<'a>(
    request: &'a ClusterRequest<'_>,
    spec: &'a RackSpec,
    step: &'a Step<'a>,
    template: &'a Template,
) -> impl WriteJson + 'a {
    let rack = step.rack;
    let record = [
        (VERSION, Some(request.spec.version.clone())),
        (MODE, Some(request.spec.mode().as_str().to_owned())),
        (TEMPLATE, Some(template.fingerprint.clone())),
        (RACK_SPEC, serde_json::to_string(spec).ok()),
        (THROUGH, step.through.then(|| "true".to_owned())),
        (REMOVED, rack.removed.then(|| "true".to_owned())),
    ];
    let annotations = annotations(request, spec, record);
    let when_scaled = if step.delete_claims { "Delete" } else { "Retain" };
    let claims = claims(&spec.storage.volume_claim_templates);
    object!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": rack.name,
            "namespace": request.namespace(),
            "labels": labels(request, Some(&rack.rack)),
            "annotations": annotations,
        },
        "spec": {
            "serviceName": services::client_name(request),
            "replicas": step.replicas,
            "selector": {"matchLabels": rack_selector(request, &rack.rack)},
            // Members start and stop one at a time even when somebody scales the StatefulSet by hand.
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": step.partition}},
            // Deletes the claims of members that have left the ring, but never those of members that were scaled away by hand.
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": request.spec.when_deleted(),
                "whenScaled": when_scaled,
            },
            "template": text(&template.text),
            "volumeClaimTemplates": (!claims.is_empty()).then_some(&claims),
        },
    })
}

/// The annotations of a rack's objects: the provider's own, then those of the spec.
fn annotations<const N: usize>(
    request: &ClusterRequest<'_>,
    spec: &RackSpec,
    ours: [(&'static str, Option<String>); N],
) -> Annotations {
    let ours = ours.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    merge_annotations(merge_annotations(ours, &spec.annotations), &request.spec.annotations)
}

/// The pod template of a rack; `config` is the hash of its ConfigMap.
pub(super) fn template<'a>(
    request: &'a ClusterRequest<'_>,
    spec: &'a RackSpec,
    config: Option<String>,
) -> impl WriteJson + 'a {
    let record = [(VERSION, Some(request.spec.version.clone())), (CONFIG_HASH, config)];
    let annotations = annotations(request, spec, record);
    object!({
        "metadata": {"labels": labels(request, Some(&spec.name)), "annotations": annotations},
        "spec": pod(request, spec),
    })
}

fn pod<'a>(request: &'a ClusterRequest<'_>, spec: &'a RackSpec) -> impl WriteJson + 'a {
    let (placement, sidecar) = (&spec.placement, request.spec.sidecar_image.as_ref());
    let has_sidecar = sidecar.is_some();
    // ScyllaDB's image starts several programs as root.
    let security = optional((request.spec.mode() == Mode::Cassandra).then(|| pod_security(USER)));
    let sidecar = optional(sidecar.map(|image| sidecar_container(request, spec, image)));
    object!({
        "containers": [database_container(request, spec), sidecar],
        "serviceAccountName": access::account(request),
        // Only the sidecar calls the API server.
        "automountServiceAccountToken": has_sidecar,
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

/// The database. It deliberately has no liveness probe: a member that hangs should be inspected rather than killed in the
/// middle of a transfer, and one that has left the ring closes its ports.
fn database_container<'a>(request: &'a ClusterRequest<'_>, spec: &'a RackSpec) -> impl WriteJson + 'a {
    let mode = request.spec.mode();
    let resources = spec.resources.of(CONTAINER);
    let security = optional((mode == Mode::Cassandra).then(container_security));
    object!({
        "name": CONTAINER,
        "image": database::image(request),
        "command": spec.config_map_name.as_ref().map(|_| database::command(mode, CONFIG_PATH)),
        "args": database::arguments(request, spec, resources.as_ref()),
        "env": database::environment(request, spec, resources.as_ref()),
        "ports": container_ports(&PORTS),
        "resources": resources,
        "volumeMounts": mounts(mode, spec),
        // The member opens this port once it has streamed its share of the data.
        "readinessProbe": {"tcpSocket": {"port": "cql"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"exec": {"command": ["nodetool", "drain"]}}},
        "securityContext": security,
    })
}

fn sidecar_container<'a>(
    request: &'a ClusterRequest<'_>,
    spec: &'a RackSpec,
    image: &'a SidecarImage,
) -> impl WriteJson + 'a {
    object!({
        "name": "sidecar",
        "image": format!("{}:{}", image.repository, image.version),
        "env": [
            variable_of_pod("POD_NAME", "metadata.name"),
            variable_of_pod("POD_NAMESPACE", "metadata.namespace"),
            variable("CLUSTER", request.name()),
            variable("MODE", request.spec.mode().as_str()),
        ],
        "resources": spec.resources.of("sidecar"),
        "securityContext": container_security(),
    })
}

fn mounts(mode: Mode, spec: &RackSpec) -> impl WriteJson {
    let data = volume_names(&spec.storage.volume_claim_templates).into_iter().next();
    let config = spec.config_map_name.as_ref();
    let config = optional(config.map(|_| object!({"mountPath": CONFIG_PATH, "name": CONFIG_VOLUME, "readOnly": true})));
    object!([
        {"mountPath": database::data_path(mode), "name": data.as_deref().unwrap_or(EPHEMERAL_VOLUME)},
        config,
    ])
}

/// The volumes other than claims; null if there are none.
fn volumes(spec: &RackSpec) -> impl WriteJson {
    let ephemeral = spec.storage.volume_claim_templates.is_empty();
    let data = optional(ephemeral.then_some(object!({"emptyDir": {}, "name": EPHEMERAL_VOLUME})));
    let config = spec.config_map_name.as_ref();
    let any = ephemeral || config.is_some();
    let config = optional(config.map(|name| object!({"configMap": {"name": name}, "name": CONFIG_VOLUME})));
    optional(any.then_some(object!([data, config])))
}
