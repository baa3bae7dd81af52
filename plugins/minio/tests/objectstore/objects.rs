//! Properties of the objects of all stores.

use std::collections::BTreeSet;

use minio::{Layout, MinIo, Mode};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::store::{Store, child};

fn servers(store: Store) -> Value {
    child(&store.request().answer::<MinIo>().unwrap(), "StatefulSet", "photos").clone()
}

fn pod(store: Store) -> Value {
    servers(store)["spec"]["template"]["spec"].clone()
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let request = Store::example("object-store").running(3).request().bytes(&[]);
    let answers: BTreeSet<_> = (0..3).map(|_| bartizan_sdk::reconcile_bytes::<MinIo>(&request).unwrap()).collect();
    assert_eq!(answers.len(), 1);
}

#[test]
fn two_stores_of_one_namespace_share_neither_names_nor_selectors() {
    let identity = |name: &str| {
        let answer = Store::new(name).request().answer::<MinIo>().unwrap();
        let objects = answer.children.iter().map(|child| &child.object);
        let names: BTreeSet<String> =
            objects.clone().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect();
        let selectors: BTreeSet<String> = objects
            .filter_map(|object| object["spec"].get("selector"))
            .map(|selector| selector.get("matchLabels").unwrap_or(selector).to_string())
            .collect();
        (names, selectors)
    };
    let (photos, music) = (identity("photos"), identity("photos-2"));
    assert!(photos.0.is_disjoint(&music.0), "{photos:?} {music:?}");
    assert_eq!(photos.1.len(), 1, "one selector per store");
    assert!(photos.1.is_disjoint(&music.1));
}

#[test]
fn pods_carry_app_minio_and_no_selector_asks_for_it() {
    let answer = Store::new("photos").request().answer::<MinIo>().unwrap();
    let servers = child(&answer, "StatefulSet", "photos");
    assert_eq!(servers["spec"]["template"]["metadata"]["labels"]["app"], "minio");
    for object in answer.children.iter().map(|child| &child.object) {
        assert!(!object["spec"]["selector"].to_string().contains("\"app\""), "{object}");
    }
}

#[test]
fn no_secret_value_stands_outside_the_secret() {
    let keys = json!({"credentials": {"accessKey": "admin", "secretKey": "correct-horse"}});
    let answer = Store::new("photos").with(keys).request().answer::<MinIo>().unwrap();
    for child in &answer.children {
        let text = child.object.to_string();
        assert!(!text.contains("correct-horse"), "{text}");
        assert_eq!(child.object["kind"] == "Secret", text.contains("Y29ycmVjdC1ob3JzZQ=="), "{text}");
    }
}

#[rstest]
#[case::list(json!([{"name": "objectserver", "limits": {"cpu": "500m"}}]), json!({"limits": {"cpu": "500m"}}))]
#[case::single(json!({"requests": {"cpu": 1}, "limits": null}), json!({"requests": {"cpu": "1"}}))]
#[case::map(json!({"objectserver": {"limits": {"memory": "1Gi"}}}), json!({"limits": {"memory": "1Gi"}}))]
#[case::map_over_single(
    json!({"limits": {"cpu": 2}, "objectserver": {"limits": {"cpu": 1}}}), json!({"limits": {"cpu": "1"}})
)]
#[case::nothing(json!([]), Value::Null)]
fn resources_are_read_in_every_shape(#[case] resources: Value, #[case] expected: Value) {
    let pod = pod(Store::new("photos").with(json!({"resources": resources})));
    assert_eq!(pod["containers"][0]["resources"], expected);
}

#[test]
fn what_people_may_set_reaches_the_pods() {
    let pod = pod(Store::new("photos").with(json!({
        "image": "registry.example/minio:1",
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "MINIO_BROWSER", "value": "off"}],
        "network": {"hostNetwork": true, "ports": [{"name": "api", "port": 9999}]},
        "placement": {
            "tolerations": [{"key": "storage", "operator": "Exists", "value": null}],
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
        },
    })));
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example/minio:1");
    assert_eq!(container["env"][2], json!({"name": "MINIO_BROWSER", "value": "off"}));
    assert_eq!(container["ports"][0]["containerPort"], 9999);
    assert_eq!((&container["args"][1], &container["args"][2]), (&json!("--address"), &json!(":9999")));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["tolerations"], json!([{"key": "storage", "operator": "Exists"}]));
    assert_eq!(pod["affinity"].as_object().unwrap().keys().collect::<Vec<_>>(), ["nodeAffinity"]);
    assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&json!(true), &json!("ClusterFirstWithHostNet")));
}

#[test]
fn annotations_are_added_and_never_replace_ours() {
    let given = json!({"annotations": {"team": "a", "minio.rook.io/nodes": "9", "minio.rook.io/config-hash": "x"}});
    let servers = servers(Store::new("photos").with(given));
    assert_eq!(servers["metadata"]["annotations"]["team"], "a");
    assert_eq!(servers["metadata"]["annotations"]["minio.rook.io/nodes"], "4");
    let pod = &servers["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(pod["team"], "a");
    assert_ne!(pod["minio.rook.io/config-hash"], "x");
}

#[test]
fn a_single_server_gets_paths_and_no_disruption_budget() {
    let store = Store::new("photos").with(json!({"mode": "standalone", "scope": {"nodeCount": 1}}));
    let answer = store.request().answer::<MinIo>().unwrap();
    let servers = child(&answer, "StatefulSet", "photos");
    assert_eq!(servers["spec"]["template"]["spec"]["containers"][0]["args"], json!(["server", "/data/data"]));
    assert!(!answer.children.iter().any(|child| child.object["kind"] == "PodDisruptionBudget"));
}

proptest! {
    #[test]
    fn every_drive_has_one_endpoint_and_neighbours_are_on_different_servers(nodes in 2_u32..40, volumes in 1_usize..9) {
        let layout = Layout {
            name: "photos".to_owned(),
            namespace: "storage".to_owned(),
            domain: "cluster.local".to_owned(),
            mode: Mode::Distributed,
            nodes,
            volumes: (0..volumes).map(|index| format!("data{index}")).collect(),
            claims: Vec::new(),
            port: 9000,
        };
        let endpoints = layout.endpoints();
        let expected: BTreeSet<String> = (0..nodes)
            .flat_map(|node| (0..volumes).map(move |volume| {
                format!("http://photos-{node}.photos.storage.svc.cluster.local:9000/data/data{volume}")
            }))
            .collect();
        prop_assert_eq!(endpoints.len(), expected.len());
        prop_assert_eq!(&endpoints.iter().cloned().collect::<BTreeSet<_>>(), &expected);
        let host = |endpoint: &str| endpoint.split('.').next().map(str::to_owned);
        for pair in endpoints.windows(2) {
            prop_assert_ne!(host(&pair[0]), host(&pair[1]));
        }
    }
}
