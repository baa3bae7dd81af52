//! Answers beyond the grants: the whole answer is refused, nothing is written, and the parent's conditions say why.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, hardened, message_of, script};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

const NS: &str = "default";

/// The provider may write all kinds that it asks for, its pods must meet Baseline, and it may read Secrets of one
/// other namespace only.
fn document() -> String {
    json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "scripted"},
        "spec": {
            "module": {"file": "scripted.wasm"},
            "allowHostSecrets": true,
            "grants": {
                "children": [
                    {"group": "", "kinds": ["ConfigMap", "Secret", "Service"]}, {"group": "apps", "kinds": ["StatefulSet"]},
                ],
                "descendants": [{"group": "", "kinds": ["Pod", "PersistentVolumeClaim"]}],
                "related": [{"group": "", "kinds": ["ConfigMap"]}, {"group": "", "kinds": ["Secret"], "namespaces": ["keys"]}],
                "pods": {"level": "Baseline", "serviceAccountNames": ["granted"]},
            },
        },
    })
    .to_string()
}

fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NS}, "data": {"key": "eA=="}})
}

/// A StatefulSet without replicas, with this in the spec of its pods.
fn set(name: &str, pod: &Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = hardened(json!([{"name": "c", "image": "example.invalid/c"}]));
    for (field, value) in pod.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// Names of Secrets that belong to others.
const FOREIGN: &str = "$(config:default/words:foreign)";
const ROBBED: &str = "$(config:default/words:robbed)";

/// The answer stands in the spec of a Script, and whoever names a Secret there vouches for it. So the names come from
/// here.
fn words() -> Value {
    let mut words = config("words");
    words["metadata"]["namespace"] = json!(NS);
    words["data"] = json!({"foreign": "foreign", "robbed": "robbed"});
    words
}

/// A Script with these children, and no name of a Secret in its spec.
fn unnamed(name: &str, children: &Value) -> String {
    let related = json!([{"apiVersion": "v1", "kind": "ConfigMap", "names": ["words"]}]);
    script(name, &json!({"answers": [{"answer": {"related": related, "children": children}}]}))
}

fn mounting(secret: &str) -> Value {
    json!({"volumes": [{"name": "v", "secret": {"secretName": secret}}]})
}

/// Children beside a ConfigMap that is fine, and the refusal that they cause.
fn refused() -> [(&'static str, Value, String); 6] {
    let privileged = json!([{"name": "c", "image": "example.invalid/c", "securityContext": {"privileged": true}}]);
    let of_pod = |path: &str, rule: &str| format!("response.children[1].object.spec.template.spec.{path}: {rule}");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    });
    let mut elsewhere = config("elsewhere");
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    [
        (
            "privileged",
            set("privileged", &json!({"containers": privileged})),
            of_pod(
                "containers[0].securityContext.privileged",
                "must be false or left out at level Baseline of the Pod Security Standards, which is the granted level; to \
                 allow it, set spec.grants.pods.level: Privileged",
            ),
        ),
        (
            "foreign-secret",
            set("foreign-secret", &mounting(FOREIGN)),
            of_pod(
                "volumes[0].secret.secretName",
                "Secret \"foreign\" is not among the children of this answer, not named in the parent's spec, and not granted by \
                 spec.grants.related",
            ),
        ),
        (
            "account",
            set("account", &json!({"serviceAccountName": "admin"})),
            of_pod(
                "serviceAccountName",
                "ServiceAccount \"admin\" is not among the children of this answer, and not in \
                 spec.grants.pods.serviceAccountNames",
            ),
        ),
        (
            "binding",
            binding,
            "response.children[1].object: ClusterRoleBinding.rbac.authorization.k8s.io/v1 was not granted to provider scripted; it \
             may write ConfigMap.v1, Secret.v1, Service.v1, StatefulSet.apps/v1"
                .to_owned(),
        ),
        (
            "kind",
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}}),
            "response.children[1].object: Job.batch/v1 was not granted to provider scripted; it may write ConfigMap.v1, \
             Secret.v1, Service.v1, StatefulSet.apps/v1"
                .to_owned(),
        ),
        (
            "namespace",
            elsewhere,
            "response.children[1].object.metadata.namespace: \"kube-system\" is not the parent's namespace \"default\", and was \
             not granted"
                .to_owned(),
        ),
    ]
}

#[tokio::test]
async fn anything_not_granted_refuses_the_whole_answer_and_nothing_is_written() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    std::fs::write(stage.providers().join("scripted.yaml"), document())?;
    apply_text(&stage, &secret("foreign").to_string()).await?;
    let mut command = stage.plain_command();
    command.arg("--providers").arg(stage.providers());
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    apply_text(&stage, &words().to_string()).await?;
    let mark = stage.mark()?;
    for (name, object, expected) in refused() {
        apply_text(&stage, &unnamed(name, &json!([{"object": config("fine")}, {"object": object}]))).await?;
        let message = message_of(stage.scripts(NS), name, "Synced", "False", "Refused").await?;
        let expected = format!("The answer of provider scripted was refused: {expected}");
        ensure!(message == expected, "{name}: {message}");
    }
    let writes = stage.writes_since(mark)?;
    let strange: Vec<&String> =
        writes.iter().filter(|write| !write.contains(" scripts/status ") && !write.contains(" events ")).collect();
    ensure!(strange.is_empty(), "{strange:?}");
    granted_objects_are_written(&stage).await?;
    a_foreign_secret_is_not_adopted_by_listing_it_as_a_child(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

async fn granted_objects_are_written(stage: &Stage) -> Result<()> {
    let mut pod = mounting("own");
    pod["serviceAccountName"] = json!("granted");
    // The parent names this Secret, so that its author vouches for it.
    pod["imagePullSecrets"] = json!([{"name": "foreign"}]);
    let children = json!([{"object": set("granted", &pod)}, {"object": secret("own")}]);
    apply_text(stage, &script("granted", &json!({"answers": [{"answer": {"children": children}}]}))).await?;
    message_of(stage.scripts(NS), "granted", "Synced", "True", "Applied").await?;
    let (set, secret) = (stage.api::<StatefulSet>(NS).get("granted").await?, stage.api::<Secret>(NS).get("own").await?);
    ensure!(set.metadata.uid.is_some() && secret.metadata.uid.is_some());
    Ok(())
}

/// The Secret that the answer lists as a child exists and is somebody else's: its pods must not get to see it.
async fn a_foreign_secret_is_not_adopted_by_listing_it_as_a_child(stage: &Stage) -> Result<()> {
    apply_text(stage, &secret("robbed").to_string()).await?;
    let own = secret(ROBBED);
    let children = json!([
        {"object": set("robber", &mounting(ROBBED))}, {"object": own}, {"object": config("bystander")},
    ]);
    apply_text(stage, &unnamed("robber", &children)).await?;
    let message = message_of(stage.scripts(NS), "robber", "Synced", "False", "NameTaken").await?;
    ensure!(message.contains("Secret default/robbed"), "{message}");
    wait_object(stage.api::<ConfigMap>(NS), "bystander", "existence", SOON, |_| true).await?;
    ensure!(stage.api::<StatefulSet>(NS).get_opt("robber").await?.is_none(), "its pods would see a Secret of others");
    stage.kubectl(&["delete", "secret", "robbed"], "").await?;
    message_of(stage.scripts(NS), "robber", "Synced", "True", "Applied").await?;
    wait_object(stage.api::<StatefulSet>(NS), "robber", "existence", SOON, |_| true).await?;
    Ok(())
}
