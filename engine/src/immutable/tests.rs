use rstest::rstest;
use serde_json::json;

use super::*;

/// Every pointer at which two values differ, as deep as it goes.
fn differences(old: &Value, new: &Value, at: &str, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differences(&of(old), &of(new), &format!("{at}/{name}"), found);
            }
        }
        _ if old != new => found.push(at.to_owned()),
        _ => {}
    }
}

fn first_refused(kind: &str, old: &Value, new: &Value) -> Option<String> {
    let (mut found, kind) = (Vec::new(), kind.parse().unwrap());
    differences(old, new, "", &mut found);
    let deep = refused(&kind, old, new, found.iter().map(String::as_str)).map(str::to_owned);
    // Whoever knows less of where they differ hears the same.
    let whole = refused(&kind, old, new, ["/spec", ""]);
    assert_eq!(whole.is_some(), deep.is_some(), "{kind} {old} {new}");
    deep
}

#[rstest]
#[case("StatefulSet.apps", "/spec/serviceName", true)]
#[case("StatefulSet.apps", "/spec/podManagementPolicy", true)]
#[case("StatefulSet.apps", "/spec/selector/matchLabels/app", true)]
#[case("StatefulSet.apps", "/spec/volumeClaimTemplates", true)]
#[case("StatefulSet.apps", "/spec/replicas", false)]
#[case("StatefulSet.apps", "/spec/replicasMax", true)]
#[case("StatefulSet.apps", "/spec/ordinals/start", false)]
#[case("StatefulSet.apps", "/spec/template/spec/containers", false)]
#[case("StatefulSet.apps", "/spec/updateStrategy", false)]
#[case("StatefulSet.apps", "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted", false)]
#[case("StatefulSet.apps", "/spec/minReadySeconds", false)]
#[case("StatefulSet.apps", "/spec/revisionHistoryLimit", false)]
#[case("StatefulSet.apps", "/metadata/labels/app", false)]
#[case("StatefulSet.example.com", "/spec/serviceName", false)]
#[case("Deployment.apps", "/spec/selector/matchLabels/app", true)]
#[case("Deployment.apps", "/spec/strategy", false)]
#[case("DaemonSet.apps", "/spec/selector", true)]
#[case("ReplicaSet.apps", "/spec/selector", true)]
#[case("ReplicationController", "/spec/selector", false)]
#[case("ControllerRevision.apps", "/data/spec", true)]
#[case("ControllerRevision.apps", "/revision", false)]
#[case("Job.batch", "/spec/template/spec/containers", true)]
#[case("Job.batch", "/spec/selector", true)]
#[case("Job.batch", "/spec/completionMode", true)]
#[case("Job.batch", "/spec/completions", true)]
#[case("Job.batch", "/spec/podFailurePolicy/rules", true)]
#[case("Job.batch", "/spec/backoffLimitPerIndex", true)]
#[case("Job.batch", "/spec/managedBy", true)]
#[case("Job.batch", "/spec/successPolicy", true)]
#[case("Job.batch", "/spec/parallelism", false)]
#[case("Job.batch", "/spec/backoffLimit", false)]
#[case("Job.batch", "/spec/suspend", false)]
#[case("Job.batch", "/spec/ttlSecondsAfterFinished", false)]
#[case("CronJob.batch", "/spec/jobTemplate/spec/template", false)]
#[case("PersistentVolumeClaim", "/spec/storageClassName", true)]
#[case("PersistentVolumeClaim", "/spec/accessModes", true)]
#[case("PersistentVolumeClaim", "/spec/resources/limits", true)]
#[case("PersistentVolumeClaim", "/spec/resources/requests/storage", false)]
#[case("PersistentVolumeClaim", "/spec/volumeAttributesClassName", false)]
#[case("PersistentVolume", "/spec/nfs/server", true)]
#[case("PersistentVolume", "/spec/volumeMode", true)]
#[case("PersistentVolume", "/spec/capacity/storage", false)]
#[case("PersistentVolume", "/spec/persistentVolumeReclaimPolicy", false)]
#[case("Secret", "/type", true)]
#[case("Secret", "/data/key", false)]
#[case("ConfigMap", "/data/key", false)]
#[case("RoleBinding.rbac.authorization.k8s.io", "/roleRef/name", true)]
#[case("RoleBinding.rbac.authorization.k8s.io", "/subjects", false)]
#[case("ClusterRoleBinding.rbac.authorization.k8s.io", "/roleRef/name", true)]
#[case("StorageClass.storage.k8s.io", "/provisioner", true)]
#[case("StorageClass.storage.k8s.io", "/parameters/type", true)]
#[case("StorageClass.storage.k8s.io", "/reclaimPolicy", true)]
#[case("StorageClass.storage.k8s.io", "/volumeBindingMode", true)]
#[case("StorageClass.storage.k8s.io", "/allowVolumeExpansion", false)]
#[case("CSIDriver.storage.k8s.io", "/spec/attachRequired", true)]
#[case("CSIDriver.storage.k8s.io", "/spec/volumeLifecycleModes", true)]
#[case("CSIDriver.storage.k8s.io", "/spec/fsGroupPolicy", false)]
#[case("VolumeAttributesClass.storage.k8s.io", "/parameters/iops", true)]
#[case("VolumeAttachment.storage.k8s.io", "/spec/nodeName", true)]
#[case("PriorityClass.scheduling.k8s.io", "/value", true)]
#[case("PriorityClass.scheduling.k8s.io", "/preemptionPolicy", true)]
#[case("PriorityClass.scheduling.k8s.io", "/description", false)]
#[case("IngressClass.networking.k8s.io", "/spec/controller", true)]
#[case("IngressClass.networking.k8s.io", "/spec/parameters", false)]
#[case("IPAddress.networking.k8s.io", "/spec/parentRef", true)]
#[case("RuntimeClass.node.k8s.io", "/handler", true)]
#[case("RuntimeClass.node.k8s.io", "/overhead", false)]
#[case("EndpointSlice.discovery.k8s.io", "/addressType", true)]
#[case("EndpointSlice.discovery.k8s.io", "/endpoints", false)]
#[case("ResourceClaim.resource.k8s.io", "/spec/devices", true)]
#[case("ResourceClaimTemplate.resource.k8s.io", "/spec/spec", true)]
#[case("Pod", "/spec/nodeName", true)]
#[case("Pod", "/spec/terminationGracePeriodSeconds", true)]
#[case("Pod", "/metadata/labels/app", false)]
#[case("Service", "/spec/sessionAffinity", false)]
#[case("Widget.example.com", "/spec/size", false)]
fn the_immutable_fields_of_each_kind_are_known(#[case] kind: &str, #[case] pointer: &str, #[case] is: bool) {
    let object = |value: &str| {
        let parts: Vec<&str> = pointer[1..].split('/').collect();
        parts.iter().rev().fold(json!(value), |inner, name| json!({*name: inner}))
    };
    for (old, new) in [(object("a"), object("b")), (json!({}), object("b")), (object("a"), json!({}))] {
        let (mut found, group_kind) = (Vec::new(), kind.parse().unwrap());
        differences(&old, &new, "", &mut found);
        assert_eq!(refused(&group_kind, &old, &new, [pointer]), is.then_some(pointer), "{old} {new}");
        assert_eq!(refused(&group_kind, &old, &new, ["/metadata", ""]).is_some(), is, "{old} {new}");
    }
    assert_eq!(refused(&kind.parse().unwrap(), &object("a"), &object("a"), [pointer, ""]), None);
}

#[test]
fn the_first_pointer_into_an_immutable_field_is_returned() {
    let (old, new) =
        (json!({"spec": {"a": 1, "b": 1, "replicas": 1}}), json!({"spec": {"a": 2, "b": 2, "replicas": 2}}));
    let first = |pointers: &[&'static str]| {
        refused(&GroupKind::new("apps", "StatefulSet"), &old, &new, pointers.iter().copied())
    };
    assert_eq!(first(&["/spec/replicas", "/spec/b", "/spec/a"]), Some("/spec/b"));
    assert_eq!(first(&["/spec/replicas", "/spec"]), Some("/spec"));
    assert_eq!(first(&["/spec/replicas", "/spe"]), None);
    assert_eq!(first(&[]), None);
}

#[test]
fn an_empty_field_equals_an_absent_one_except_a_storage_class() {
    let claim = |spec: Value| json!({"spec": spec});
    let refused = |old, new| first_refused("PersistentVolumeClaim", &claim(old), &claim(new));
    assert_eq!(refused(json!({"selector": {}, "accessModes": []}), json!({})), None);
    assert_eq!(refused(json!({"resources": {"requests": {"storage": "1Gi"}}}), json!({})), None);
    assert_eq!(refused(json!({}), json!({"resources": {"requests": {"storage": "1Gi"}}})), None);
    assert_eq!(refused(json!({}), json!({"storageClassName": ""})), Some("/spec/storageClassName".to_owned()));
}

#[rstest]
#[case::headless_from_now_on(json!({}), json!({"clusterIP": "None"}), Some("/spec/clusterIP"))]
#[case::an_address_of_its_own(json!({"clusterIP": "None"}), json!({"clusterIP": "10.0.0.1"}), Some("/spec/clusterIP"))]
// The API server puts the old address back in, also if it is None.
#[case::says_no_more(json!({"clusterIP": "None"}), json!({}), None)]
#[case::says_it_is_empty(json!({"clusterIP": "10.0.0.1"}), json!({"clusterIP": ""}), None)]
#[case::said_in_the_other_field(json!({"clusterIP": "None"}), json!({"clusterIPs": ["None"]}), None)]
#[case::another_address(json!({"clusterIPs": ["10.0.0.1"]}), json!({"clusterIPs": ["10.0.0.2"]}), Some("/spec/clusterIPs"))]
#[case::a_second_address(json!({"clusterIPs": ["10.0.0.1"]}), json!({"clusterIPs": ["10.0.0.1", "fd::1"]}), None)]
#[case::another_second(
    json!({"clusterIPs": ["10.0.0.1", "fd::1"]}), json!({"clusterIPs": ["10.0.0.1", "fd::2"]}), Some("/spec/clusterIPs")
)]
#[case::to_an_external_name(json!({"clusterIP": "10.0.0.1"}), json!({"type": "ExternalName", "clusterIP": ""}), None)]
#[case::from_an_external_name(json!({"type": "ExternalName"}), json!({"clusterIP": "None"}), None)]
#[case::another_family(json!({"ipFamilies": ["IPv4"]}), json!({"ipFamilies": ["IPv6"]}), Some("/spec/ipFamilies"))]
#[case::a_second_family(json!({"ipFamilies": ["IPv4"]}), json!({"ipFamilies": ["IPv4", "IPv6"]}), None)]
#[case::a_family_that_was_not_said(json!({}), json!({"ipFamilies": ["IPv6"]}), None)]
#[case::a_family_of_a_headless_one(
    json!({"clusterIP": "None", "ipFamilies": ["IPv4"]}), json!({"clusterIP": "None", "ipFamilies": ["IPv6"]}), None
)]
#[case::another_balancer(
    json!({"type": "LoadBalancer"}), json!({"type": "LoadBalancer", "loadBalancerClass": "a/b"}), Some("/spec/loadBalancerClass")
)]
#[case::a_balancer(json!({}), json!({"type": "LoadBalancer", "loadBalancerClass": "a/b"}), None)]
#[case::another_health_port(
    json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30000}),
    json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}),
    Some("/spec/healthCheckNodePort")
)]
#[case::ports(json!({"ports": [{"port": 1}]}), json!({"ports": [{"port": 2}]}), None)]
fn what_a_service_leaves_out_stays(#[case] old: Value, #[case] new: Value, #[case] expected: Option<&str>) {
    let refused = first_refused("Service", &json!({"spec": old}), &json!({"spec": new}));
    assert_eq!(refused.as_deref(), expected);
}

#[rstest]
#[case("Secret", json!({"immutable": true, "data": {"a": "YQ=="}}), json!({"immutable": true, "data": {"a": "Yg=="}}), Some("/data/a"))]
#[case("Secret", json!({"immutable": true}), json!({"immutable": true, "stringData": {"a": "b"}}), Some("/stringData"))]
#[case("Secret", json!({"immutable": true}), json!({}), Some("/immutable"))]
#[case("Secret", json!({"data": {"a": "YQ=="}}), json!({"immutable": true, "data": {"a": "Yg=="}}), None)]
#[case("Secret", json!({}), json!({"type": "Opaque"}), None)]
#[case("ConfigMap", json!({"immutable": true, "data": {"a": "1"}}), json!({"immutable": true, "data": {"a": "2"}}), Some("/data/a"))]
#[case("ConfigMap", json!({"immutable": true}), json!({"immutable": true, "binaryData": {"a": "YQ=="}}), Some("/binaryData"))]
#[case("ConfigMap", json!({"immutable": false, "data": {"a": "1"}}), json!({"data": {"a": "2"}}), None)]
#[case("ResourceQuota", json!({"spec": {"scopes": ["A", "B"]}}), json!({"spec": {"scopes": ["B", "A"]}}), None)]
#[case("ResourceQuota", json!({"spec": {"scopes": ["A"]}}), json!({"spec": {"scopes": ["B"]}}), Some("/spec/scopes"))]
#[case("PersistentVolume", json!({"spec": {"csi": {}}}), json!({"spec": {"csi": {"controllerExpandSecretRef": {"name": "a"}}}}), None)]
#[case(
    "PersistentVolume", json!({"spec": {"csi": {"controllerExpandSecretRef": {"name": "a"}}}}),
    json!({"spec": {"csi": {"controllerExpandSecretRef": {"name": "b"}}}}), Some("/spec/csi/controllerExpandSecretRef/name")
)]
#[case("PersistentVolume", json!({"spec": {}}), json!({"spec": {"nodeAffinity": {"required": {"a": 1}}}}), None)]
#[case(
    "PersistentVolume", json!({"spec": {"nodeAffinity": {"required": {"a": 1}}}}), json!({"spec": {}}), Some("/spec/nodeAffinity")
)]
fn what_an_object_says_of_itself_counts(
    #[case] kind: &str,
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: Option<&str>,
) {
    assert_eq!(first_refused(kind, &old, &new).as_deref(), expected);
}

#[rstest]
#[case::grown(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}), None)]
#[case::out_of_step(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 3}), Some("/spec/completions"))]
#[case::not_indexed(json!({"completionMode": "NonIndexed", "completions": 2, "parallelism": 2}), Some("/spec/completionMode"))]
fn an_indexed_job_grows_in_step_with_its_parallelism(#[case] new: Value, #[case] expected: Option<&str>) {
    let old = json!({"completionMode": "Indexed", "completions": 1, "parallelism": 1});
    assert_eq!(first_refused("Job.batch", &json!({"spec": old}), &json!({"spec": new})).as_deref(), expected);
}

#[rstest]
#[case(json!({"nodeSelector": {"a": "b"}}), None)]
#[case(json!({"affinity": {"nodeAffinity": {"a": 1}}}), None)]
#[case(json!({"affinity": {"podAffinity": {"a": 1}}}), Some("/spec/template/spec/affinity"))]
#[case(json!({"containers": [{"image": "i", "resources": {"limits": {"cpu": "1"}}}]}), None)]
#[case(json!({"containers": [{"image": "j"}]}), Some("/spec/template/spec/containers"))]
fn parts_of_the_template_of_a_suspended_job_may_change(#[case] change: Value, #[case] expected: Option<&str>) {
    let job = |suspend: bool, spec: Value| json!({"spec": {"suspend": suspend, "template": {"spec": spec}}});
    let mut new = json!({"containers": [{"image": "i"}]});
    let old = new.clone();
    new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let refused = |suspend| first_refused("Job.batch", &job(suspend, old.clone()), &job(suspend, new.clone()));
    assert_eq!(refused(true).as_deref(), expected);
    assert!(refused(false).is_some());
}

#[rstest]
#[case::image(json!({"containers": [{"image": "a"}]}), json!({"containers": [{"image": "b"}]}), None)]
#[case::command(json!({"containers": [{"image": "a"}]}), json!({"containers": [{"image": "a", "args": ["b"]}]}), Some("/spec/containers"))]
#[case::container(json!({"containers": [{"image": "a"}]}), json!({"containers": [{"image": "a"}, {"image": "b"}]}), Some("/spec/containers"))]
#[case::sooner(json!({"activeDeadlineSeconds": 9}), json!({"activeDeadlineSeconds": 8}), None)]
#[case::a_deadline(json!({}), json!({"activeDeadlineSeconds": 8}), None)]
#[case::later(json!({"activeDeadlineSeconds": 8}), json!({"activeDeadlineSeconds": 9}), Some("/spec/activeDeadlineSeconds"))]
#[case::no_deadline(json!({"activeDeadlineSeconds": 8}), json!({}), Some("/spec/activeDeadlineSeconds"))]
#[case::tolerates_more(json!({}), json!({"tolerations": [{"key": "a"}]}), None)]
#[case::tolerates_less(json!({"tolerations": [{"key": "a"}]}), json!({}), Some("/spec/tolerations"))]
#[case::gate_opened(json!({"schedulingGates": [{"name": "a"}]}), json!({}), None)]
#[case::gate_shut(json!({}), json!({"schedulingGates": [{"name": "a"}]}), Some("/spec/schedulingGates"))]
#[case::grace(json!({"terminationGracePeriodSeconds": -1}), json!({"terminationGracePeriodSeconds": 1}), None)]
#[case::node(json!({}), json!({"nodeSelector": {"a": "b"}}), Some("/spec/nodeSelector"))]
#[case::node_of_a_gated_one(
    json!({"schedulingGates": [{"name": "a"}]}), json!({"schedulingGates": [{"name": "a"}], "nodeSelector": {"a": "b"}}), None
)]
#[case::other_node_of_a_gated_one(
    json!({"schedulingGates": [{"name": "a"}], "nodeSelector": {"a": "b"}}),
    json!({"schedulingGates": [{"name": "a"}], "nodeSelector": {"a": "c"}}),
    Some("/spec/nodeSelector/a")
)]
fn of_a_pod_little_changes(#[case] old: Value, #[case] new: Value, #[case] expected: Option<&str>) {
    let refused = first_refused("Pod", &json!({"spec": old}), &json!({"spec": new}));
    assert_eq!(refused.as_deref(), expected);
}

#[rstest]
#[case::sealed("ConfigMap", "data", Immutability::Immutable)]
#[case::mutable_field("ConfigMap", "metadata.labels", Immutability::Mutable)]
#[case::in_brackets("ConfigMap", "data[a.b]", Immutability::Immutable)]
#[case::forbidden_in_a_custom_kind("Gizmo.example.com", "spec!", Immutability::Forbidden)]
#[case::invalid_in_a_custom_kind("Gizmo.example.com", "spec", Immutability::Mutable)]
fn a_refused_update_is_judged_by_the_fields_that_are_named(
    #[case] kind: &str,
    #[case] field: &str,
    #[case] expected: Immutability,
) {
    let live = json!({"immutable": true, "data": {"a.b": "1"}, "metadata": {"labels": {}}});
    let desired = json!({"immutable": true, "data": {"a.b": "2"}, "metadata": {"labels": {"x": "y"}}});
    let (path, is_forbidden) = field.strip_suffix('!').map_or((field, false), |path| (path, true));
    let field = InvalidField { path: path.to_owned(), is_forbidden };
    assert_eq!(judge(&kind.parse().unwrap(), &live, &desired, &[field]), expected);
}

#[test]
fn a_claim_that_would_shrink_is_no_matter_of_immutability() {
    let claim = |storage: &str| json!({"spec": {"resources": {"requests": {"storage": storage}}}});
    let fields = [InvalidField { path: "spec.resources.requests.storage".to_owned(), is_forbidden: true }];
    let kind = "PersistentVolumeClaim".parse().unwrap();
    assert_eq!(judge(&kind, &claim("2Gi"), &claim("1Gi"), &fields), Immutability::Mutable);
}

#[rstest]
#[case("spec.ports[0].name", "/spec/ports/0/name")]
#[case("data[a.b/c]", "/data/a.b~1c")]
#[case("roleRef", "/roleRef")]
fn a_field_path_becomes_a_pointer(#[case] field: &str, #[case] expected: &str) {
    assert_eq!(pointer(field), expected);
}
