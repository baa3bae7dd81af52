//! Which Secrets and ServiceAccounts pods may use.

use super::*;

const FOREIGN: &str = "is not among the children of this answer, not named in the parent's spec, and not granted by \
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
fn a_pod_may_use_secrets_owned_or_named_by_the_parent_or_granted(#[case] spec: Value, #[case] path: &str) {
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
fn a_parent_written_by_the_provider_itself_names_no_secrets() {
    let uses = json!([pod(&json!({"imagePullSecrets": [{"name": "keys"}]}))]);
    let mut case = Case::new(PodLevel::Privileged);
    case.parent["metadata"]["labels"] = json!({PROVIDER_LABEL: "another"});
    assert_eq!(case.refusal(&uses), "");
    case.parent["metadata"]["labels"] = json!({PROVIDER_LABEL: "minio"});
    assert!(case.refusal(&uses).ends_with(FOREIGN));
}

/// An observed Secret with the labels of a child of the parent.
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
fn a_secret_that_does_not_exist_yet_is_applied_before_its_pods() {
    let uses = pod(&json!({"imagePullSecrets": [{"name": "x"}], "serviceAccountName": "default"}));
    let own = object("v1", "Secret", &json!({}));
    let mut case = Case::new(PodLevel::Privileged);
    let used = |case: &Case| {
        let answer = case.check(&json!([uses, own])).unwrap();
        answer.intents[0].uses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(used(&case), ["Secret n/x"]);
    // Whatever else it may use.
    case.secrets = vec![GrantedNamespaces::Parent];
    assert_eq!(used(&case), ["Secret n/x"]);
    case.secrets = Vec::new();
    case.children = vec![existing_secret("bartizan/minio")];
    assert_eq!(used(&case), Vec::<String>::new());
    assert_eq!(case.refusal(&json!([uses])), "", "it is kept, or deleted after the pod was applied");
    // Labels alone do not prove ownership: the plan will find that the name is taken.
    case.children = vec![existing_secret("kubectl")];
    assert_eq!(used(&case), ["Secret n/x"]);
    assert!(case.refusal(&json!([uses])).ends_with(FOREIGN));

    let later = json!([uses, {"object": own, "wave": 1}]);
    let expected = "response.children[0].object.spec.imagePullSecrets[0].name: Secret \"x\" is in a later wave: move it to \
                    the same or an earlier one";
    assert_eq!(Case::new(PodLevel::Privileged).refusal(&later), expected);
}

#[rstest]
#[case("serviceAccountName")]
#[case("serviceAccount")]
fn a_pod_runs_as_default_a_granted_account_or_one_of_the_answer(#[case] field: &str) {
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
fn token_secrets_and_pull_secrets_of_accounts_do_not_bypass_the_check() {
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
