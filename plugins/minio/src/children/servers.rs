//! The StatefulSet of MinIO servers.

use bartizan_sdk::json::{WriteJson, list, optional};
use bartizan_sdk::kubernetes::{container_security, pod_security};
use bartizan_sdk::object;
use bartizan_sdk::storage::merge_annotations;

use super::credentials;
use super::metadata::{labels, pod_labels, selector};
use crate::keys::{FINGERPRINT, Keys};
use crate::layout::Layout;
use crate::permanent;
use crate::plan::{COMPONENT, PORT_NAME, Plan};

/// The default image. MinIO no longer publishes its own; this is a maintained rebuild.
pub(crate) const DEFAULT_IMAGE: &str = "cgr.dev/chainguard/minio:latest";
/// Annotation of the pods that changes when something outside of the pod template requires a restart.
const CONFIG_HASH: &str = "minio.rook.io/config-hash";
/// The user of the servers; any user but root works.
const USER: i64 = 1000;

/// The StatefulSet.
pub(super) fn stateful_set(plan: &Plan<'_>, keys: &Keys<'_>) -> impl WriteJson {
    let layout = &plan.layout;
    let mut record = permanent::record(plan);
    record.extend(keys.fingerprint.clone().map(|fingerprint| (FINGERPRINT.to_owned(), fingerprint)));
    let annotations = merge_annotations(record, &plan.spec.annotations);
    object!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": layout.name,
            "namespace": layout.namespace,
            "labels": labels(layout),
            "annotations": annotations,
        },
        "spec": {
            "serviceName": layout.name,
            "replicas": layout.nodes,
            "selector": {"matchLabels": selector(layout)},
            // With OrderedReady, the first pod would wait for a quorum that cannot form.
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": template(plan),
            "volumeClaimTemplates": (!layout.claims.is_empty()).then_some(&layout.claims),
        },
    })
}

fn template(plan: &Plan<'_>) -> impl WriteJson {
    let hash = [(CONFIG_HASH.to_owned(), credentials::hash(plan))].into();
    let annotations = merge_annotations(hash, &plan.spec.annotations);
    object!({
        "metadata": {"labels": pod_labels(&plan.layout), "annotations": annotations},
        "spec": pod(plan),
    })
}

fn pod(plan: &Plan<'_>) -> impl WriteJson {
    let placement = &plan.spec.placement;
    object!({
        "containers": [container(plan)],
        "imagePullSecrets": plan.spec.image_pull_secrets,
        "volumes": ephemeral_volume(&plan.layout),
        "affinity": placement.affinity(),
        "tolerations": placement.tolerations,
        "topologySpreadConstraints": placement.topology_spread_constraints,
        "hostNetwork": plan.host_network.then_some(true),
        "dnsPolicy": plan.host_network.then_some("ClusterFirstWithHostNet"),
        // Servers do not call the API server, and the variables of a Service whose name starts with "minio" could collide with
        // MinIO's own.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": pod_security(USER),
    })
}

fn container(plan: &Plan<'_>) -> impl WriteJson {
    let layout = &plan.layout;
    object!({
        "name": "minio",
        "image": plan.spec.image.as_deref().unwrap_or(DEFAULT_IMAGE),
        "args": layout.arguments(),
        "env": credentials::environment(plan),
        "ports": [{"name": PORT_NAME, "containerPort": layout.port, "protocol": "TCP"}],
        "resources": plan.spec.resources.of(COMPONENT),
        "volumeMounts": list(layout.volumes.iter().map(|volume| mount(volume))),
        "livenessProbe": probe("/minio/health/live", 20, 6),
        "readinessProbe": probe("/minio/health/ready", 5, 3),
        "securityContext": container_security(),
    })
}

fn mount(volume: &str) -> impl WriteJson {
    object!({"name": volume, "mountPath": Layout::mount_path(volume)})
}

/// An HTTP probe with this period in seconds and this failure threshold.
fn probe(path: &str, period: i32, failures: i32) -> impl WriteJson {
    object!({
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    })
}

/// The volume of a store without claims, which is deleted with its pod.
fn ephemeral_volume(layout: &Layout) -> impl WriteJson {
    let volume = |name| object!({"name": name, "emptyDir": {}});
    optional(layout.claims.is_empty().then(|| list(layout.volumes.iter().map(volume))))
}
