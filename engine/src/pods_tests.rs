use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_contract::provider::{GrantedNamespaces, PodGrant, PodLevel};
use rstest::rstest;
use serde_json::{Value, json};

use crate::gate::{self, Answer, GateInput};
use crate::secrets::Revealed;
use crate::{Grant, Grants, Observed, PodBounds, Refusal};

/// What one test grants, and what it finds.
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

/// A pod that meets Restricted, with something merged into it and into its container.
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

/// What follows every rule of a level.
fn of_level(granted: &str, needs: &str) -> String {
    format!(
        " at level {granted} of the Pod Security Standards, which is what is granted; who needs more grants \
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
    "volumes[1].hostPath: a directory of a node may not be a volume"
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
    "containers[0].securityContext.capabilities.add[1]: capability \"SYS_ADMIN\" may not be added"
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
    "securityContext.sysctls[1].name: sysctl \"kernel.msgmax\" may not be set"
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
#[case::escalation_wished(
    NONE(),
    json!({"securityContext": {"allowPrivilegeEscalation": true}}),
    "containers[0].securityContext.allowPrivilegeEscalation: must be false"
)]
#[case::root_maybe(
    json!({"securityContext": {"runAsNonRoot": null}}),
    NONE(),
    "containers[0].securityContext.runAsNonRoot: must be true, here or in the securityContext of the pod"
)]
#[case::root_wished(
    NONE(),
    json!({"securityContext": {"runAsNonRoot": false}}),
    "containers[0].securityContext.runAsNonRoot: must be true"
)]
#[case::root_wished_by_the_pod(
    json!({"securityContext": {"runAsNonRoot": false}}),
    NONE(),
    "securityContext.runAsNonRoot: must be true"
)]
#[case::user(
    json!({"securityContext": {"runAsUser": 0}}),
    NONE(),
    "securityContext.runAsUser: must be another user than 0"
)]
#[case::user_of_a_container(
    NONE(),
    json!({"securityContext": {"runAsUser": 0}}),
    "containers[0].securityContext.runAsUser: must be another user than 0"
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
    "containers[0].securityContext.capabilities.drop: must hold ALL"
)]
#[case::capability(
    NONE(),
    json!({"securityContext": {"capabilities": {"add": ["CHOWN"]}}}),
    "containers[0].securityContext.capabilities.add[0]: capability \"CHOWN\" may not be added"
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
fn a_user_namespace_lets_baseline_unmask_proc_and_restricted_not() {
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
fn every_kind_that_holds_a_pod_is_checked(#[case] api_version: &str, #[case] kind: &str, #[case] below: &str) {
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
fn another_groups_deployment_is_none_and_an_app_armor_annotation_is_a_profile() {
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
fn a_directory_of_a_node_is_no_volume_either_if_it_is_an_object_of_its_own(#[case] source: &str) {
    let volume = object("v1", "PersistentVolume", &json!({"spec": {source: {"path": "/"}}}));
    let expected = format!(
        "response.children[0].object.spec.{source}: a directory of a node may not be a volume{}",
        of_level("Baseline", "Privileged")
    );
    assert_eq!(Case::new(PodLevel::Baseline).refusal(&json!([volume])), expected);
    assert_eq!(Case::new(PodLevel::Privileged).refusal(&json!([volume])), "");
    let csi = object("v1", "PersistentVolume", &json!({"spec": {"csi": {"driver": "d"}}}));
    assert_eq!(Case::new(PodLevel::Restricted).refusal(&json!([csi])), "");
}

const FOREIGN: &str = "is not among the children of this answer, not named in the parent's spec, and not granted to be read by \
                       spec.grants.related";

#[rstest]
#[case(json!({"imagePullSecrets": [{"name": "x"}]}), "imagePullSecrets[0].name")]
#[case(
    json!({"containers": [{"env": [{"value": "a"}, {"valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]}]}),
    "containers[0].env[1].valueFrom.secretKeyRef.name"
)]
#[case(
    json!({"initContainers": [{"envFrom": [{"configMapRef": {"name": "y"}}, {"secretRef": {"name": "x"}}]}]}),
    "initContainers[0].envFrom[1].secretRef.name"
)]
#[case(json!({"volumes": [{"secret": {"secretName": "x"}}]}), "volumes[0].secret.secretName")]
#[case(
    json!({"volumes": [{"projected": {"sources": [{"configMap": {"name": "y"}}, {"secret": {"name": "x"}}]}}]}),
    "volumes[0].projected.sources[1].secret.name"
)]
#[case(
    json!({"volumes": [{"csi": {"driver": "d", "nodePublishSecretRef": {"name": "x"}}}]}),
    "volumes[0].csi.nodePublishSecretRef.name"
)]
#[case(json!({"volumes": [{"cephfs": {"secretRef": {"name": "x"}}}]}), "volumes[0].cephfs.secretRef.name")]
fn a_pod_may_use_secrets_that_are_the_parents_own_named_by_it_or_granted(#[case] spec: Value, #[case] path: &str) {
    let spec_text = spec.to_string();
    let uses = |name: &str| pod(&serde_json::from_str(&spec_text.replace("\"x\"", &format!("\"{name}\""))).unwrap());
    let mut case = Case::new(PodLevel::Privileged);
    for foreign in ["x", "status", "s"] {
        let expected = format!("response.children[0].object.spec.{path}: Secret \"{foreign}\" {FOREIGN}");
        assert_eq!(case.refusal(&json!([uses(foreign)])), expected);
    }
    for named in ["keys", "more"] {
        assert_eq!(case.refusal(&json!([uses(named)])), "");
        let mut elsewhere = uses(named);
        elsewhere["metadata"]["namespace"] = json!("other");
        assert!(case.refusal(&json!([elsewhere])).ends_with(FOREIGN), "{named} was named in another namespace");
    }
    let own = object("v1", "Secret", &json!({}));
    assert_eq!(case.refusal(&json!([uses("x"), own])), "");
    case.secrets = vec![GrantedNamespaces::Parent];
    assert_eq!(case.refusal(&json!([uses("x")])), "");
    case.secrets = vec![GrantedNamespaces::Named(vec!["other".to_owned()])];
    assert!(case.refusal(&json!([uses("x")])).ends_with(FOREIGN));
}

#[test]
fn a_parent_that_the_provider_wrote_itself_names_no_secret_for_it() {
    let uses = json!([pod(&json!({"imagePullSecrets": [{"name": "keys"}]}))]);
    let mut case = Case::new(PodLevel::Privileged);
    case.parent["metadata"]["labels"] = json!({PROVIDER_LABEL: "another"});
    assert_eq!(case.refusal(&uses), "");
    case.parent["metadata"]["labels"] = json!({PROVIDER_LABEL: "minio"});
    assert!(case.refusal(&uses).ends_with(FOREIGN));
}

/// A Secret of the parent's as it is in the cluster.
fn existing_secret(applied_by: &str) -> Value {
    let labels = json!({PROVIDER_LABEL: "minio", OWNER_UID_LABEL: "p-1"});
    object(
        "v1",
        "Secret",
        &json!({"metadata": {
            "name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": labels,
            "managedFields": [{"manager": applied_by, "operation": "Apply", "time": "2026-01-01T00:00:00Z"}],
        }}),
    )
}

#[test]
fn what_is_not_there_yet_is_written_before_the_pods_that_use_it() {
    let uses = pod(&json!({"imagePullSecrets": [{"name": "x"}], "serviceAccountName": "default"}));
    let own = object("v1", "Secret", &json!({}));
    let mut case = Case::new(PodLevel::Privileged);
    let used = |case: &Case| {
        let answer = case.check(&json!([uses, own])).unwrap();
        answer.intents[0].uses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(used(&case), ["Secret n/x"]);
    case.children = vec![existing_secret("bartizan/minio")];
    assert_eq!(used(&case), Vec::<String>::new());
    assert_eq!(case.refusal(&json!([uses])), "", "it is kept, or goes after the pod was written");
    // Labels alone make nothing the parent's own: the plan will find that the name is taken.
    case.children = vec![existing_secret("kubectl")];
    assert_eq!(used(&case), ["Secret n/x"]);
    assert!(case.refusal(&json!([uses])).ends_with(FOREIGN));

    let later = json!([uses, {"object": own, "wave": 1}]);
    let expected = "response.children[0].object.spec.imagePullSecrets[0].name: Secret \"x\" comes in a later wave: give it \
                    the same or an earlier one";
    assert_eq!(Case::new(PodLevel::Privileged).refusal(&later), expected);
}

#[rstest]
#[case("serviceAccountName")]
#[case("serviceAccount")]
fn a_pod_runs_as_default_as_a_granted_account_or_as_one_of_the_answer(#[case] field: &str) {
    let runs_as = |name: &str| pod(&json!({field: name}));
    let mut case = Case::new(PodLevel::Privileged);
    let expected = format!(
        "response.children[0].object.spec.{field}: ServiceAccount \"x\" is not among the children of this answer, and not in \
         spec.grants.pods.serviceAccountNames"
    );
    assert_eq!(case.refusal(&json!([runs_as("x")])), expected);
    for account in ["", "default"] {
        assert_eq!(case.refusal(&json!([runs_as(account)])), "");
    }
    assert_eq!(case.refusal(&json!([runs_as("x"), object("v1", "ServiceAccount", &json!({}))])), "");
    let elsewhere = object("v1", "ServiceAccount", &json!({"metadata": {"name": "x", "namespace": "other"}}));
    assert_eq!(case.refusal(&json!([runs_as("x"), elsewhere])), expected);
    case.accounts = &["x"];
    assert_eq!(case.refusal(&json!([runs_as("x")])), "");
}

#[test]
fn neither_a_token_secret_nor_the_pull_secrets_of_an_account_are_a_way_around() {
    let token = |account: &str| {
        object(
            "v1",
            "Secret",
            &json!({
                "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": account}},
                "type": "kubernetes.io/service-account-token",
            }),
        )
    };
    let case = Case::new(PodLevel::Privileged);
    let refusal = case.refusal(&json!([token("admin")]));
    let expected = "response.children[0].object.metadata.annotations[kubernetes.io/service-account.name]: ServiceAccount \
                    \"admin\" is not among the children of this answer, and not in spec.grants.pods.serviceAccountNames";
    assert_eq!(refusal, expected);
    let account = |pulls_with: &str| {
        object("v1", "ServiceAccount", &json!({"metadata": {"name": "a"}, "imagePullSecrets": [{"name": pulls_with}]}))
    };
    assert_eq!(case.refusal(&json!([token("a"), account("keys")])), "");
    let refusal = case.refusal(&json!([account("foreign")]));
    assert_eq!(refusal, format!("response.children[0].object.imagePullSecrets[0].name: Secret \"foreign\" {FOREIGN}"));
}

#[test]
fn one_pod_that_is_not_granted_refuses_the_whole_answer() {
    let good = object("v1", "ConfigMap", &json!({}));
    let bad = pod(&json!({"hostNetwork": true}));
    let refusal = Case::new(PodLevel::Baseline).refusal(&json!([good, bad]));
    assert!(refusal.starts_with("response.children[1].object.spec.hostNetwork: "), "{refusal}");
}
