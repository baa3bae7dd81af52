use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_contract::provider::{GrantedNamespaces, PodGrant, PodLevel};
use rstest::rstest;
use serde_json::{Value, json};

use crate::gate::{self, Answer, GateInput};
use crate::secrets::Revealed;
use crate::{Grant, Grants, Observed, PodBounds, Refusal};

mod references;

/// The grants and the observed objects of one test.
struct Case {
    level: PodLevel,
    accounts: &'static [&'static str],
    secrets: Vec<GrantedNamespaces>,
    parent: Value,
    children: Vec<Value>,
}

impl Case {
    fn new(level: PodLevel) -> Self {
        let parent = json!({
            "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
            "metadata": {"name": "s", "namespace": "n", "uid": "p-1", "resourceVersion": "1"},
            "spec": {"image": "registry/minio", "credentials": {"name": "keys"}, "env": [{"valueFrom": {"name": "more"}}]},
            "status": {"secret": "status"},
        });
        Self { level, accounts: &[], secrets: Vec::new(), parent, children: Vec::new() }
    }

    fn check(&self, children: &Value) -> Result<Answer, Refusal> {
        let kinds = [
            ("", "ConfigMap"),
            ("", "Secret"),
            ("", "ServiceAccount"),
            ("", "Pod"),
            ("", "PodTemplate"),
            ("", "ReplicationController"),
            ("apps", "Deployment"),
            ("apps", "StatefulSet"),
            ("apps", "DaemonSet"),
            ("apps", "ReplicaSet"),
            ("batch", "Job"),
            ("batch", "CronJob"),
            ("example.com", "Deployment"),
        ];
        let namespaced = || Grant {
            namespaced: true,
            namespaces: vec![GrantedNamespaces::Parent, GrantedNamespaces::Named(vec!["other".to_owned()])],
        };
        let mut kinds: std::collections::BTreeMap<Kind, Grant> =
            kinds.into_iter().map(|(group, kind)| (Kind::new(group, "v1", kind), namespaced())).collect();
        kinds.insert(Kind::new("", "v1", "PersistentVolume"), Grant::of_parent(false));
        let granted = bartizan_contract::provider::Grants {
            pods: PodGrant {
                level: self.level,
                service_account_names: self.accounts.iter().map(|&name| name.to_owned()).collect(),
            },
            ..Default::default()
        };
        let mut pods = PodBounds::of(&granted);
        pods.secrets.namespaces.clone_from(&self.secrets);
        let observe = |object: &Value| Observed::project(object.clone(), "bartizan/minio").unwrap();
        let existing: Vec<Arc<Observed>> = self.children.iter().map(|child| Arc::new(observe(child))).collect();
        let input = GateInput {
            provider: "minio",
            grants: &Grants { children: kinds, pods, ..Grants::default() },
            parent: &observe(&self.parent),
            children: &existing,
            max_children: 10,
            finalizes: false,
            finalizing: false,
            issued: &Revealed::default(),
        };
        let children: Vec<Value> = children
            .as_array()
            .unwrap()
            .iter()
            .map(|child| match child.get("object") {
                Some(_) => child.clone(),
                None => json!({"object": child}),
            })
            .collect();
        let response = json!({
            "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ReconcileResponse", "children": children,
        });
        gate::check(gate::read(response.to_string().as_bytes())?, &input)
    }

    fn refusal(&self, children: &Value) -> String {
        self.check(children).err().map(|refusal| refusal.to_string()).unwrap_or_default()
    }
}

fn object(api_version: &str, kind: &str, body: &Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
    object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    object
}

fn pod(spec: &Value) -> Value {
    object("v1", "Pod", &json!({"spec": spec}))
}

/// The spec of a pod that meets Restricted, with changes merged into it and into its container.
fn hardened(pod: &Value, container: &Value) -> Value {
    let mut spec = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "c",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    });
    merge(&mut spec["containers"][0], container);
    merge(&mut spec, pod);
    spec
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

const NONE: fn() -> Value = || json!({});

/// The suffix of a message about a rule of a level.
fn of_level(granted: &str, needs: &str) -> String {
    format!(
        " at level {granted} of the Pod Security Standards, which is the granted level; to allow it, set \
         spec.grants.pods.level: {needs}"
    )
}

#[rstest]
#[case::network(json!({"hostNetwork": true}), NONE(), "hostNetwork: must be false or left out")]
#[case::pid(json!({"hostPID": true}), NONE(), "hostPID: must be false or left out")]
#[case::ipc(json!({"hostIPC": true}), NONE(), "hostIPC: must be false or left out")]
#[case::path(
    json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "v", "hostPath": {"path": "/"}}]}),
    NONE(),
    "volumes[1].hostPath: a directory of a node is not allowed as a volume"
)]
#[case::privileged(
    NONE(),
    json!({"securityContext": {"privileged": true}}),
    "containers[0].securityContext.privileged: must be false or left out"
)]
#[case::privileged_at_start(
    json!({"initContainers": [{"securityContext": {"privileged": true}}]}),
    NONE(),
    "initContainers[0].securityContext.privileged: must be false or left out"
)]
#[case::privileged_later(
    json!({"ephemeralContainers": [{"securityContext": {"privileged": true}}]}),
    NONE(),
    "ephemeralContainers[0].securityContext.privileged: must be false or left out"
)]
#[case::capability(
    NONE(),
    json!({"securityContext": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}}),
    "containers[0].securityContext.capabilities.add[1]: capability \"SYS_ADMIN\" is not allowed"
)]
#[case::port(
    NONE(),
    json!({"ports": [{"containerPort": 80, "hostPort": 0}, {"hostPort": 80}]}),
    "containers[0].ports[1].hostPort: must be left out"
)]
#[case::probe(
    NONE(),
    json!({"readinessProbe": {"httpGet": {"host": "10.0.0.1"}}}),
    "containers[0].readinessProbe.httpGet.host: must be left out"
)]
#[case::hook(
    NONE(),
    json!({"lifecycle": {"preStop": {"tcpSocket": {"host": "a"}}}}),
    "containers[0].lifecycle.preStop.tcpSocket.host: must be left out"
)]
#[case::selinux_type(
    NONE(),
    json!({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}),
    "containers[0].securityContext.seLinuxOptions.type: must be one of container_t, container_init_t, container_kvm_t, \
     container_engine_t, or left out"
)]
#[case::selinux_user(
    json!({"securityContext": {"seLinuxOptions": {"user": "u"}}}),
    NONE(),
    "securityContext.seLinuxOptions.user: must be left out"
)]
#[case::selinux_role(
    json!({"securityContext": {"seLinuxOptions": {"role": "r"}}}),
    NONE(),
    "securityContext.seLinuxOptions.role: must be left out"
)]
#[case::proc_mount(
    NONE(),
    json!({"securityContext": {"procMount": "Unmasked"}}),
    "containers[0].securityContext.procMount: must be Default or left out"
)]
#[case::seccomp(
    json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
    NONE(),
    "securityContext.seccompProfile.type: must be RuntimeDefault or Localhost, or left out"
)]
#[case::seccomp_of_a_container(
    NONE(),
    json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
    "containers[0].securityContext.seccompProfile.type: must be RuntimeDefault or Localhost, or left out"
)]
#[case::apparmor(
    NONE(),
    json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
    "containers[0].securityContext.appArmorProfile.type: must be RuntimeDefault or Localhost, or left out"
)]
#[case::sysctl(
    json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.msgmax"}]}}),
    NONE(),
    "securityContext.sysctls[1].name: sysctl \"kernel.msgmax\" is not allowed"
)]
#[case::windows_host(
    json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
    NONE(),
    "securityContext.windowsOptions.hostProcess: must be false or left out"
)]
#[case::windows_host_of_a_container(
    NONE(),
    json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
    "containers[0].securityContext.windowsOptions.hostProcess: must be false or left out"
)]
fn what_baseline_forbids_needs_privileged(#[case] spec: Value, #[case] container: Value, #[case] rule: &str) {
    let spec = hardened(&spec, &container);
    for (level, name) in [(PodLevel::Baseline, "Baseline"), (PodLevel::Restricted, "Restricted")] {
        let expected = format!("response.children[0].object.spec.{rule}{}", of_level(name, "Privileged"));
        assert_eq!(Case::new(level).refusal(&json!([pod(&spec)])), expected);
    }
    assert_eq!(Case::new(PodLevel::Privileged).refusal(&json!([pod(&spec)])), "");
}

#[rstest]
#[case::volume(
    json!({"volumes": [{"name": "v", "nfs": {"server": "a", "path": "/"}}]}),
    NONE(),
    "volumes[0].nfs: a volume must be one of configMap, csi, downwardAPI, emptyDir, ephemeral, image, \
     persistentVolumeClaim, projected, secret"
)]
#[case::escalation(
    NONE(),
    json!({"securityContext": {"allowPrivilegeEscalation": null}}),
    "containers[0].securityContext.allowPrivilegeEscalation: must be false"
)]
#[case::escalation_allowed(
    NONE(),
    json!({"securityContext": {"allowPrivilegeEscalation": true}}),
    "containers[0].securityContext.allowPrivilegeEscalation: must be false"
)]
#[case::root_possible(
    json!({"securityContext": {"runAsNonRoot": null}}),
    NONE(),
    "containers[0].securityContext.runAsNonRoot: must be true, here or in the securityContext of the pod"
)]
#[case::root_allowed(
    NONE(),
    json!({"securityContext": {"runAsNonRoot": false}}),
    "containers[0].securityContext.runAsNonRoot: must be true"
)]
#[case::root_allowed_by_the_pod(
    json!({"securityContext": {"runAsNonRoot": false}}),
    NONE(),
    "securityContext.runAsNonRoot: must be true"
)]
#[case::user(
    json!({"securityContext": {"runAsUser": 0}}),
    NONE(),
    "securityContext.runAsUser: must not be 0"
)]
#[case::user_of_a_container(
    NONE(),
    json!({"securityContext": {"runAsUser": 0}}),
    "containers[0].securityContext.runAsUser: must not be 0"
)]
#[case::seccomp(
    json!({"securityContext": {"seccompProfile": null}}),
    NONE(),
    "containers[0].securityContext.seccompProfile.type: must be RuntimeDefault or Localhost, here or in the securityContext \
     of the pod"
)]
#[case::capabilities(
    NONE(),
    json!({"securityContext": {"capabilities": {"drop": ["CHOWN"]}}}),
    "containers[0].securityContext.capabilities.drop: must contain ALL"
)]
#[case::capability(
    NONE(),
    json!({"securityContext": {"capabilities": {"add": ["CHOWN"]}}}),
    "containers[0].securityContext.capabilities.add[0]: capability \"CHOWN\" is not allowed"
)]
fn what_restricted_forbids_needs_baseline(#[case] spec: Value, #[case] container: Value, #[case] rule: &str) {
    let children = json!([pod(&hardened(&spec, &container))]);
    let expected = format!("response.children[0].object.spec.{rule}{}", of_level("Restricted", "Baseline"));
    assert_eq!(Case::new(PodLevel::Restricted).refusal(&children), expected);
    assert_eq!(Case::new(PodLevel::Baseline).refusal(&children), "");
}

#[rstest]
#[case::plain(NONE(), NONE())]
#[case::nothing_is_set(
    json!({"hostNetwork": false, "hostPID": null}),
    json!({"securityContext": {"privileged": false, "procMount": "Default", "seLinuxOptions": {"type": "", "level": "s0"}}})
)]
#[case::by_containers(
    json!({"securityContext": null}),
    json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}, "runAsUser": 7}})
)]
#[case::bind(NONE(), json!({"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}))]
#[case::volumes(
    json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "b"}}, {"name": "c"}]}),
    NONE()
)]
#[case::root_in_a_user_namespace(
    json!({"hostUsers": false, "securityContext": {"runAsNonRoot": null, "runAsUser": 0}}),
    NONE()
)]
#[case::windows(
    json!({"os": {"name": "windows"}, "securityContext": {"seccompProfile": null}}),
    json!({"securityContext": {"allowPrivilegeEscalation": null, "capabilities": null}})
)]
fn what_restricted_allows_passes(#[case] spec: Value, #[case] container: Value) {
    assert_eq!(Case::new(PodLevel::Restricted).refusal(&json!([pod(&hardened(&spec, &container))])), "");
}

#[test]
fn a_user_namespace_allows_an_unmasked_proc_under_baseline_only() {
    let unmasked = json!({"securityContext": {"procMount": "Unmasked"}});
    let children = json!([pod(&hardened(&json!({"hostUsers": false}), &unmasked))]);
    assert_eq!(Case::new(PodLevel::Baseline).refusal(&children), "");
    let refusal = Case::new(PodLevel::Restricted).refusal(&children);
    assert!(refusal.contains("procMount: must be Default or left out at level Restricted"), "{refusal}");
}

#[rstest]
#[case("v1", "Pod", "")]
#[case("v1", "PodTemplate", "template.")]
#[case("v1", "ReplicationController", "spec.template.")]
#[case("apps/v1", "Deployment", "spec.template.")]
#[case("apps/v1", "StatefulSet", "spec.template.")]
#[case("apps/v1", "DaemonSet", "spec.template.")]
#[case("apps/v1", "ReplicaSet", "spec.template.")]
#[case("batch/v1", "Job", "spec.template.")]
#[case("batch/v1", "CronJob", "spec.jobTemplate.spec.template.")]
fn every_kind_with_a_pod_template_is_checked(#[case] api_version: &str, #[case] kind: &str, #[case] below: &str) {
    let wrap = |spec: &Value| {
        let fields = below.split('.').rev().filter(|field| !field.is_empty());
        fields.fold(json!({"spec": spec}), |inner, field| json!({field: inner}))
    };
    for (spec, expected) in [
        (json!({"hostPID": true}), "hostPID: must be false or left out at level Baseline"),
        (json!({"serviceAccountName": "admin"}), "serviceAccountName: ServiceAccount \"admin\" is not among"),
        (
            json!({"imagePullSecrets": [{"name": "foreign"}]}),
            "imagePullSecrets[0].name: Secret \"foreign\" is not among",
        ),
    ] {
        let refusal = Case::new(PodLevel::Baseline).refusal(&json!([object(api_version, kind, &wrap(&spec))]));
        assert!(refusal.starts_with(&format!("response.children[0].object.{below}spec.{expected}")), "{refusal}");
    }
}

#[test]
fn an_app_armor_annotation_counts_only_in_kinds_with_pods() {
    let template = json!({"spec": {"template": {
        "metadata": {"annotations": {
            "container.apparmor.security.beta.kubernetes.io/a": "localhost/x",
            "container.apparmor.security.beta.kubernetes.io/c": "unconfined",
        }},
        "spec": {"containers": []},
    }}});
    let case = Case::new(PodLevel::Baseline);
    assert_eq!(case.refusal(&json!([object("example.com/v1", "Deployment", &template)])), "");
    let expected = "response.children[0].object.spec.template.metadata.annotations\
                    [container.apparmor.security.beta.kubernetes.io/c]: must be runtime/default or localhost/..., or left out";
    let refusal = case.refusal(&json!([object("apps/v1", "Deployment", &template)]));
    assert_eq!(refusal, format!("{expected}{}", of_level("Baseline", "Privileged")));
}

#[rstest]
#[case("hostPath")]
#[case("local")]
fn a_persistent_volume_on_a_directory_of_a_node_needs_privileged(#[case] source: &str) {
    let volume = object("v1", "PersistentVolume", &json!({"spec": {source: {"path": "/"}}}));
    let expected = format!(
        "response.children[0].object.spec.{source}: a directory of a node is not allowed as a volume{}",
        of_level("Baseline", "Privileged")
    );
    assert_eq!(Case::new(PodLevel::Baseline).refusal(&json!([volume])), expected);
    assert_eq!(Case::new(PodLevel::Privileged).refusal(&json!([volume])), "");
    let csi = object("v1", "PersistentVolume", &json!({"spec": {"csi": {"driver": "d"}}}));
    assert_eq!(Case::new(PodLevel::Restricted).refusal(&json!([csi])), "");
}

#[test]
fn one_pod_that_is_not_granted_refuses_the_whole_answer() {
    let good = object("v1", "ConfigMap", &json!({}));
    let bad = pod(&json!({"hostNetwork": true}));
    let refusal = Case::new(PodLevel::Baseline).refusal(&json!([good, bad]));
    assert!(refusal.starts_with("response.children[1].object.spec.hostNetwork: "), "{refusal}");
}
