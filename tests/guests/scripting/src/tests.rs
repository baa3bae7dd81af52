use std::collections::BTreeMap;

use bartizan_contract::{FailureCode, ProviderManifest, ReconcileRequest, ReconcileResponse};
use rstest::rstest;

use serde_json::{Value, json};

use super::contract::API_VERSION;
use super::*;

fn request(spec: &Value) -> Value {
    let config = |value: &str| json!({"data": {"color": value, "app.properties": "a: b"}});
    json!({
        "apiVersion": API_VERSION, "kind": "ReconcileRequest",
        "provider": {"name": "scripted", "version": "0.1.0", "settings": {"region": "north"}},
        "cluster": {"version": "v1.36.3", "kinds": {"Widget.test.bartizan.dev": false}},
        "parent": {
            "apiVersion": "test.bartizan.dev/v1alpha1", "kind": "Script",
            "metadata": {"name": "judy", "namespace": "default"}, "spec": spec,
        },
        "children": {
            "ConfigMap.v1": {"default/both": config("old"), "default/child": config("red")},
            "Secret.v1": {"default/made": {"data": {"key": "bz:made"}}},
            "StatefulSet.apps/v1": {"default/judy": {}},
        },
        "descendants": {"PersistentVolumeClaim.v1": {}, "Pod.v1": {"default/judy-1": {}, "default/judy-0": {}}},
        "related": {
            "ConfigMap.v1": {"default/both": config("new")},
            "Secret.v1": {"default/given": {"data": {"key": "bz:given"}}},
        },
        "finalizing": false, "namespaceTerminating": false,
    })
}

fn ask(request: &Value) -> Result<Value, Failure> {
    let request = request.to_string();
    // The request is one that a host could send.
    serde_json::from_str::<ReconcileRequest<'_>>(&request).unwrap();
    let answer = reconcile(request.as_bytes())?;
    assert_eq!(reconcile(request.as_bytes()).unwrap(), answer, "another answer to the same request");
    Ok(serde_json::from_slice(&answer).unwrap())
}

fn answer(spec: &Value) -> Value {
    ask(&request(spec)).unwrap()
}

/// The field and the message of a failure.
fn fault(spec: &Value) -> (String, String) {
    let failure = ask(&request(spec)).unwrap_err();
    assert_eq!(failure.code, "invalid");
    (failure.field.unwrap(), failure.message)
}

/// A text of the answer after replacement, if the parent's secret is `bz:own`.
fn filled(text: &str) -> Value {
    let spec = json!({"secret": "bz:own", "answers": [{"answer": {"status": {"list": [{"text": text}]}}}]});
    answer(&spec)["status"]["list"][0]["text"].clone()
}

#[rstest]
#[case(json!({}))]
#[case(Value::Null)]
#[case(json!({"answers": []}))]
#[case(json!({"note": 1, "answers": [{"when": {"finalizing": true}, "answer": {}}]}))]
fn without_an_entry_for_the_request_it_holds(#[case] spec: Value) {
    assert_eq!(answer(&spec), json!({"apiVersion": API_VERSION, "kind": "ReconcileResponse", "hold": true}));
}

#[test]
fn the_first_entry_that_matches_wins() {
    let entry = |when: Value, seconds: u32| json!({"when": when, "answer": {"resyncAfterSeconds": seconds}});
    let entries = json!([entry(json!({"finalizing": true}), 1), entry(json!({}), 2), entry(json!({}), 3)]);
    assert_eq!(answer(&json!({"answers": entries}))["resyncAfterSeconds"], 2);
}

#[rstest]
#[case(json!({"finalizing": false}), true)]
#[case(json!({"finalizing": true}), false)]
#[case(json!({"namespaceTerminating": false}), true)]
#[case(json!({"namespaceTerminating": true}), false)]
#[case(json!({"children": ["ConfigMap.v1 default/child", "StatefulSet.apps/v1 default/judy"]}), true)]
#[case(json!({"children": ["ConfigMap.v1 default/child", "ConfigMap.v1 default/none"]}), false)]
#[case(json!({"children": ["Secret.v1 default/given"]}), false)]
#[case(json!({"absent": ["Service.v1 default/judy", "Secret.v1 default/given"]}), true)]
#[case(json!({"absent": ["Service.v1 default/judy", "Secret.v1 default/made"]}), false)]
#[case(json!({"related": ["Secret.v1 default/given"]}), true)]
#[case(json!({"related": ["Secret.v1 default/made"]}), false)]
#[case(json!({"descendants": ["Pod.v1 default/judy-0", "Pod.v1 default/judy-1"]}), true)]
#[case(json!({"descendants": ["Pod.v1 default/judy-0", "Pod.v1 default/judy-2"]}), false)]
#[case(json!({"kinds": {"Widget.test.bartizan.dev": false}}), true)]
#[case(json!({"kinds": {"Widget.test.bartizan.dev": true}}), false)]
#[case(json!({"kinds": {"Gadget.test.bartizan.dev": false}}), false)]
#[case(json!({"finalizing": false, "children": ["ConfigMap.v1 default/none"]}), false)]
fn an_entry_matches_only_if_every_condition_of_its_when_holds(#[case] when: Value, #[case] matches: bool) {
    let answer = answer(&json!({"answers": [{"when": when, "answer": {}}]}));
    assert_eq!(answer.get("hold").is_none(), matches);
}

#[test]
fn finalizing_and_a_terminating_namespace_are_distinct() {
    let spec = json!({"answers": [
        {"when": {"namespaceTerminating": true}, "answer": {"keep": []}},
        {"when": {"finalizing": true}, "answer": {"finalized": true}},
    ]});
    let mut request = request(&spec);
    request["finalizing"] = json!(true);
    assert_eq!(ask(&request).unwrap()["finalized"], true);
    request["namespaceTerminating"] = json!(true);
    assert_eq!(ask(&request).unwrap()["keep"], json!([]));
}

#[rstest]
#[case("$(parent.name)-a-$(parent.name)", "judy-a-judy")]
#[case("$(parent.secret)", "bz:own")]
#[case("$(secret:default/given:key)", "bz:given")]
#[case("$(secret:default/made:key)", "bz:made")]
#[case("$(secret:default/none:key)", "")]
#[case("[$(secret:default/made:none)]", "[]")]
#[case("$(config:default/child:color)", "red")]
#[case("$(config:default/both:color)", "new")]
#[case("$(config:default/child:app.properties)", "a: b")]
#[case("$(config:default/none:color)", "")]
#[case(
    "$(POD_NAME) $(parent.uid) $(volume:a:b) $(config:a) $(",
    "$(POD_NAME) $(parent.uid) $(volume:a:b) $(config:a) $("
)]
#[case("$(no $(parent.name)", "$(no judy")]
#[case("$(config:$(a:b)!", "!")]
fn a_placeholder_is_replaced_by_what_the_request_holds(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(filled(text), expected);
}

#[rstest]
#[case(json!({}))]
#[case(json!({"secret": null}))]
fn a_parent_without_a_secret_has_an_empty_one(#[case] mut spec: Value) {
    spec["answers"] = json!([{"answer": {"status": {"text": "<$(parent.secret)>"}}}]);
    assert_eq!(answer(&spec)["status"]["text"], "<>");
}

#[test]
fn replaced_text_is_not_expanded_again_and_keys_stay() {
    let spec = json!({"secret": "$(parent.name)", "answers": [{"answer": {"status": {"$(parent.name)": "$(parent.secret)"}}}]});
    assert_eq!(answer(&spec)["status"], json!({"$(parent.name)": "$(parent.name)"}));
}

#[test]
fn a_failure_is_returned_as_written() {
    let fail = json!({"code": "later", "message": "$(parent.name) waits", "field": "spec.x", "retryAfterSeconds": 7});
    let failure = ask(&request(&json!({"answers": [{"fail": fail}]}))).unwrap_err();
    assert_eq!(FailureCode::from(failure.code), FailureCode::Other("later".to_owned()));
    assert_eq!(failure.message, "judy waits");
    assert_eq!((failure.field.as_deref(), failure.retry_after_seconds), (Some("spec.x"), Some(7)));
}

#[test]
fn an_echo_reports_the_content_of_the_request() {
    let seen = json!({
        "children": [
            "ConfigMap.v1 default/both", "ConfigMap.v1 default/child", "Secret.v1 default/made",
            "StatefulSet.apps/v1 default/judy",
        ],
        "descendants": ["Pod.v1 default/judy-0", "Pod.v1 default/judy-1"],
        "related": ["ConfigMap.v1 default/both", "Secret.v1 default/given"],
        "finalizing": false,
        "namespaceTerminating": false,
        "kinds": {"Widget.test.bartizan.dev": false},
        "settings": {"region": "north"},
        "version": "0.1.0",
        "clusterVersion": "v1.36.3",
    });
    assert_eq!(answer(&json!({"echo": true}))["status"], json!({ "seen": seen }));
    let spec = json!({"echo": true, "answers": [{"answer": {"status": {"ready": 1}}}]});
    assert_eq!(answer(&spec)["status"], json!({"ready": 1, "seen": seen}));
}

#[test]
fn a_mistake_in_an_answer_is_passed_on() {
    let wrong = json!({"apiVersion": "v2", "childern": [], "status": "none"});
    let mut expected = wrong.clone();
    expected["kind"] = json!("ReconcileResponse");
    assert_eq!(answer(&json!({"echo": true, "answers": [{ "answer": wrong }]})), expected);
}

#[test]
fn every_field_of_the_contract_is_passed_through() {
    let config_map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "$(parent.name)"}});
    let mut full = json!({
        "children": [
            {"object": config_map, "wave": 2, "onDelete": "Retain", "onImmutableChange": "RecreateOrphan"},
        ],
        "keep": [{"apiVersion": "v1", "kind": "Secret", "namespace": "default", "name": "made"}],
        "hold": true,
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "AsAsked", "message": ""}]},
        "events": [{"type": "Warning", "reason": "Asked", "message": "as asked"}],
        "resyncAfterSeconds": 30,
        "finalized": true,
        "related": [
            {"apiVersion": "v1", "kind": "Secret", "names": ["given"]},
            {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "other", "matchLabels": {"app": "a"}},
        ],
        "generate": [{"secret": "made", "key": "password", "length": 20, "alphabet": "Hex"}],
    });
    let answer = answer(&json!({"answers": [{ "answer": full }]}));
    let response: ReconcileResponse = serde_json::from_value(answer.clone()).unwrap();
    full["children"][0]["object"]["data"]["a"] = json!("judy");
    full["apiVersion"] = json!(API_VERSION);
    full["kind"] = json!("ReconcileResponse");
    assert_eq!(answer, full);
    assert_eq!(serde_json::to_value(response).unwrap(), full);
}

#[rstest]
#[case(json!({"answers": [{"wen": {}, "answer": {}}]}), "spec.answers[0].wen", "unknown field `wen`, expected one of `when`, `answer`, `fail`")]
#[case(json!({"answers": [{"answer": {}}, {"when": {"child": []}, "answer": {}}]}), "spec.answers[1].when.child", "unknown field `child`, expected one of `finalizing`, `namespaceTerminating`, `edition`, `children`, `absent`, `related`, `descendants`, `kinds`")]
#[case(json!({"answers": [{"when": {"children": ["ConfigMap a/b"]}, "answer": {}}]}), "spec.answers[0].when.children[0]", "\"ConfigMap a/b\" is no object: write it as ConfigMap.v1 namespace/name")]
#[case(json!({"answers": [{}]}), "spec.answers[0]", "must have either an answer or fail")]
#[case(json!({"answers": [{"answer": {}, "fail": {"code": "retry", "message": ""}}]}), "spec.answers[0]", "must have either an answer or fail")]
#[case(json!({"answers": [{"fail": {"code": "retry"}}]}), "spec.answers[0].fail", "missing field `message`")]
#[case(json!({"echo": "yes"}), "spec.echo", "invalid type: string \"yes\", expected a boolean")]
#[case(json!("no"), "spec", "invalid type: string \"no\", expected struct Script")]
fn unknown_fields_are_named(#[case] spec: Value, #[case] field: &str, #[case] message: &str) {
    assert_eq!(fault(&spec), (field.to_owned(), message.to_owned()));
}

#[test]
fn an_unreadable_request_is_an_internal_failure() {
    let failure = reconcile(b"{}").unwrap_err();
    assert_eq!((failure.code.as_str(), failure.field), ("internal", None));
    assert_eq!(failure.message, "the request cannot be read: missing field `provider` at line 1 column 2");
}

#[rstest]
#[case(
    SCRIPTED, "scripted", "scripts", "Namespaced",
    &["ConfigMap.v1", "Secret.v1", "Service.v1", "StatefulSet.apps/v1", "Gizmo.gizmos.test.bartizan.dev/v1"], false
)]
#[case(
    FINALIZING, "scripted-finalizing", "finalizingscripts", "Namespaced",
    &["ConfigMap.v1", "Service.v1", "StatefulSet.apps/v1"], true
)]
#[case(
    CLUSTER_SCOPED, "scripted-cluster-scoped", "clusterscripts", "Cluster", &["Namespace.v1", "ConfigMap.v1"], false
)]
fn each_manifest_follows_the_contract(
    #[case] provider: Provider,
    #[case] name: &str,
    #[case] plural: &str,
    #[case] scope: &str,
    #[case] children: &[&str],
    #[case] finalizes: bool,
) {
    let manifest: ProviderManifest = serde_json::from_value(provider.manifest()).unwrap();
    assert_eq!(manifest.api_version, bartizan_contract::names::API_VERSION);
    assert_eq!(manifest.kind, bartizan_contract::names::MANIFEST_KIND);
    assert_eq!(manifest.name, name);
    assert_eq!(manifest.crds[0]["metadata"]["name"], format!("{plural}.test.bartizan.dev"));
    assert_eq!(format!("{}s", manifest.crds[0]["spec"]["names"]["singular"].as_str().unwrap()), plural);
    assert_eq!(manifest.crds[0]["spec"]["scope"], scope);
    let kinds: Vec<String> = manifest.children.iter().map(|child| child.kind().to_string()).collect();
    assert_eq!(kinds, children);
    assert_eq!(manifest.finalizes, finalizes);
}

#[test]
fn only_the_plain_scripted_provider_reads_more_than_its_children() {
    let manifest: ProviderManifest = serde_json::from_value(SCRIPTED.manifest()).unwrap();
    let descendants: Vec<String> = manifest.descendants.iter().map(|kind| kind.kind().to_string()).collect();
    assert_eq!(descendants, ["Pod.v1", "PersistentVolumeClaim.v1"]);
    let related: BTreeMap<&str, bool> =
        manifest.related.iter().map(|related| (related.kind.as_str(), related.optional)).collect();
    assert_eq!(related, BTreeMap::from([("ConfigMap", false), ("Secret", false), ("Widget", true)]));
    assert_eq!(manifest.sensitive, ["/spec/secret"]);
    for provider in [FINALIZING, CLUSTER_SCOPED] {
        let manifest: ProviderManifest = serde_json::from_value(provider.manifest()).unwrap();
        assert!(manifest.descendants.is_empty() && manifest.related.is_empty() && manifest.sensitive.is_empty());
    }
}
