//! A new version shows what it would change before it takes over, and waits for approval where that could do harm.

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_e2e::{
    Host, Provider, SOON, Stage, apply_text, bartizan, code_and_output, hardened, message_of, patched, replace, script,
};
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";

/// A later edition of the scripted module.
fn edition(stage: &Stage, number: u8) -> Result<Vec<u8>> {
    let module = std::fs::read(stage.module(Provider::Scripted)?)?;
    if number == 1 {
        return Ok(module);
    }
    patched(&module, "scripting-edition-1", &format!("scripting-edition-{number}"))
}

fn install(stage: &Stage, number: u8) -> Result<()> {
    replace(&stage.providers().join("scripted.wasm"), &edition(stage, number)?)
}

fn config_map(name: &str, labels: &Value) -> Value {
    json!({"object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}})
}

fn stateful_set(name: &str, service: &str, on_immutable_change: &str) -> Value {
    let labels = json!({"app": name});
    let pod = hardened(json!([{"name": "db", "image": "db:1"}]));
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let spec = json!({
        "replicas": 0, "serviceName": service, "selector": {"matchLabels": labels}, "template": template,
    });
    json!({
        "object": {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec},
        "onImmutableChange": on_immutable_change,
    })
}

/// A Script whose first edition wants these children, and whose later ones want the others.
fn parent(name: &str, first: &[Value], later: &[Value]) -> String {
    let answers = json!([{"when": {"edition": 1}, "answer": {"children": first}}, {"answer": {"children": later}}]);
    script(name, &json!({"echo": true, "answers": answers}))
}

/// Waits until this version made the last decision on a parent.
async fn decided(stage: &Stage, name: &str, version: &str) -> Result<DynamicObject> {
    let wanted = |object: &DynamicObject| object.data["status"]["seen"]["version"] == version;
    wait_object(stage.scripts(NS), name, &format!("decided by {version}"), SOON, wanted).await
}

async fn provider(stage: &Stage) -> Result<DynamicObject> {
    stage.provider_objects().get("scripted").await.context("Provider scripted")
}

/// Waits until the Provider reports that this version serves and none waits.
async fn serves(stage: &Stage, version: &str) -> Result<DynamicObject> {
    let wanted = |object: &DynamicObject| {
        let status = &object.data["status"];
        status["active"]["version"] == version
            && status["candidate"].is_null()
            && !object.annotations().contains_key(APPROVE_ANNOTATION)
    };
    wait_object(stage.provider_objects(), "scripted", &format!("{version} serves"), SOON, wanted).await
}

async fn held(stage: &Stage, reason: &str) -> Result<String> {
    let message = message_of(stage.provider_objects(), "scripted", "UpgradeHeld", "True", reason).await?;
    let ends = "; see bartizan diff provider/scripted, and let it take over with bartizan approve provider/scripted";
    Ok(message.strip_suffix(ends).with_context(|| message.clone())?.to_owned())
}

fn diff(stage: &Stage, host: &Host, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let server = format!("http://{}", host.address);
    Ok(code_and_output(&bartizan(stage, &[&["diff", "provider/scripted", "--server", &server], more].concat())?))
}

fn approve(stage: &Stage, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let kubeconfig = stage.cluster.admin_kubeconfig().to_str().context("a path")?.to_owned();
    Ok(code_and_output(&bartizan(
        stage,
        &[&["approve", "provider/scripted", "--kubeconfig", &kubeconfig], more].concat(),
    )?))
}

#[tokio::test]
async fn a_version_that_would_delete_a_stateful_set_is_held_until_approved() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let (none, labelled) = (json!({}), json!({"later": "yes"}));
    let first = [stateful_set("db", "db", "Refuse"), config_map("settings", &none)];
    apply_text(&stage, &parent("shop", &first, &[config_map("settings", &labelled)])).await?;
    apply_text(&stage, &parent("same", &[config_map("one", &none)], &[config_map("one", &none)])).await?;
    for name in ["shop", "same"] {
        message_of(stage.scripts(NS), name, "Synced", "True", "Applied").await?;
    }
    let before = serves(&stage, "0.1.0").await?;
    ensure!(diff(&stage, &host, &[])? == (Some(0), String::new(), "provider/scripted: no version waits".to_owned()));
    let (code, _, complaint) = approve(&stage, &[])?;
    ensure!((code, complaint.as_str()) == (Some(2), "error: provider/scripted: no version waits for an approval"));

    install(&stage, 2)?;
    let message = held(&stage, "Deletes").await?;
    ensure!(message == "version 0.2.0 would update 1 child and delete 1 child of 1 parent", "{message}");
    let now = provider(&stage).await?;
    let (status, active) = (&now.data["status"], &before.data["status"]["active"]);
    ensure!(status["active"] == *active, "{status:#}");
    let expected = json!({"parents": 1, "update": 1, "delete": 1, "create": 0, "recreate": 0, "release": 0, "refuse": 0, "fail": 0, "unknown": 0});
    ensure!(status["candidate"]["changes"] == expected, "{status:#}");
    // The version before keeps serving.
    apply_text(&stage, &parent("new", &[config_map("two", &none)], &[config_map("two", &none)])).await?;
    decided(&stage, "new", "0.1.0").await?;
    ensure!(stage.api::<StatefulSet>(NS).get_opt("db").await?.is_some(), "it is gone");

    let (code, text, _) = diff(&stage, &host, &[])?;
    let expected = "provider/scripted 0.1.0 -> 0.2.0\n\n\
                    Script.test.bartizan.dev default/shop\n\
                    \x20 update ConfigMap default/settings\n\
                    \x20   + /metadata/labels/later: \"yes\"\n\
                    \x20 delete StatefulSet default/db\n\n\
                    Plan over 2 parents at ";
    ensure!(code == Some(1) && text.starts_with(expected), "{code:?} {text}");
    let (code, text, _) = diff(&stage, &host, &["-o", "json"])?;
    let shown: Value = serde_json::from_str(&text)?;
    ensure!(code == Some(1) && shown["parents"][0]["changes"][1]["action"] == "Delete", "{text}");

    let digest = status["candidate"]["digest"].as_str().context("a digest")?.to_owned();
    let (code, _, complaint) = approve(&stage, &["--digest", "sha256:00"])?;
    let expected = format!(
        "error: provider/scripted: version 0.2.0 waits ({digest}), not sha256:00; see bartizan diff provider/scripted"
    );
    ensure!(code == Some(2) && complaint == expected, "{complaint}");
    let (code, text, complaint) = approve(&stage, &[])?;
    ensure!((code, text.as_str()) == (Some(0), "provider/scripted approved: version 0.2.0 takes over"), "{complaint}");
    wait_gone(stage.api::<StatefulSet>(NS), "db", SOON).await?;
    let now = serves(&stage, "0.2.0").await?;
    let status = &now.data["status"];
    ensure!(status["active"]["digest"] == digest && status["previous"] == *active, "{status:#}");
    let conditions = status["conditions"].as_array().context("conditions")?;
    let held = conditions.iter().find(|condition| condition["type"] == "UpgradeHeld").context("UpgradeHeld")?;
    ensure!(held["status"] == "False" && held["reason"] == "NoneWaits", "{status:#}");
    decided(&stage, "new", "0.2.0").await?;
    ensure!(diff(&stage, &host, &[])?.0 == Some(0), "something waits still");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_harmless_version_takes_over_by_itself_and_a_pinned_digest_reverts_it() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let children = |labels: Value| [config_map("settings", &labels)];
    apply_text(&stage, &parent("shop", &children(json!({})), &children(json!({"later": "yes"})))).await?;
    message_of(stage.scripts(NS), "shop", "Synced", "True", "Applied").await?;
    install(&stage, 2)?;
    let has_label = |child: &ConfigMap| child.labels().contains_key("later");
    wait_object(stage.api::<ConfigMap>(NS), "settings", "the label", SOON, has_label).await?;
    let now = serves(&stage, "0.2.0").await?;

    // The file stays as it is.
    let old = now.data["status"]["previous"]["digest"].as_str().context("a digest")?;
    let pin = json!({"spec": {"module": {"digest": old}}}).to_string();
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", &pin], "").await?;
    wait_object(stage.api::<ConfigMap>(NS), "settings", "no label", SOON, |child| !has_label(child)).await?;
    serves(&stage, "0.1.0").await?;
    let message = message_of(stage.provider_objects(), "scripted", "Loaded", "True", "Loaded").await?;
    ensure!(message.ends_with(&format!(", and spec.module.digest wants {old}")), "{message}");
    message_of(stage.provider_objects(), "scripted", "Ready", "True", "Ready").await?;
    apply_text(&stage, &parent("new", &children(json!({"a": "b"})), &[])).await?;
    decided(&stage, "new", "0.1.0").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn with_policy_manual_every_version_waits_even_if_the_host_is_killed() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let same = [config_map("settings", &json!({}))];
    apply_text(&stage, &parent("shop", &same, &same)).await?;
    decided(&stage, "shop", "0.1.0").await?;
    serves(&stage, "0.1.0").await?;
    let manual = r#"{"spec":{"upgrade":{"policy":"Manual"}}}"#;
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", manual], "").await?;
    install(&stage, 2)?;
    ensure!(held(&stage, "Manual").await? == "version 0.2.0 would change no children");
    host.kill().await?;
    // A host that starts finds the old version in the cache, and the new one in the folder.
    let host = stage.host().await?;
    apply_text(&stage, &parent("new", &same, &same)).await?;
    decided(&stage, "new", "0.1.0").await?;
    ensure!(held(&stage, "Manual").await? == "version 0.2.0 would change no children");
    // Another version replaces the waiting one, and an approval is for one version only.
    let digest = provider(&stage).await?.data["status"]["candidate"]["digest"].clone();
    install(&stage, 3)?;
    let other = |object: &DynamicObject| object.data["status"]["candidate"]["version"] == "0.3.0";
    wait_object(stage.provider_objects(), "scripted", "another candidate", SOON, other).await?;
    let annotation = format!("{APPROVE_ANNOTATION}={}", digest.as_str().context("a digest")?);
    stage.kubectl(&["annotate", "provider", "scripted", &annotation], "").await?;
    apply_text(&stage, &parent("later", &same, &same)).await?;
    decided(&stage, "later", "0.1.0").await?;
    // Approved while no host runs.
    host.kill().await?;
    ensure!(approve(&stage, &[])?.0 == Some(0), "not approved");
    let host = stage.host().await?;
    serves(&stage, "0.3.0").await?;
    for name in ["shop", "new", "later"] {
        decided(&stage, name, "0.3.0").await?;
    }
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn recreations_refusals_and_failures_hold_a_version_until_it_is_fixed() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let first = [stateful_set("db", "db", "Refuse")];
    apply_text(&stage, &parent("shop", &first, &[stateful_set("db", "other", "Recreate")])).await?;
    message_of(stage.scripts(NS), "shop", "Synced", "True", "Applied").await?;
    serves(&stage, "0.1.0").await?;
    let uid = stage.api::<StatefulSet>(NS).get("db").await?.uid();
    install(&stage, 2)?;
    ensure!(held(&stage, "Recreates").await? == "version 0.2.0 would recreate 1 child of 1 parent");
    let (_, text, _) = diff(&stage, &host, &[])?;
    let expected = "\n  recreate StatefulSet default/db (/spec/serviceName never changes)\n\
                    \x20   - /spec/serviceName: \"db\"\n    + /spec/serviceName: \"other\"\n";
    ensure!(text.contains(expected), "{text}");

    // The provider would not even recreate it.
    apply_text(&stage, &parent("shop", &first, &[stateful_set("db", "other", "Refuse")])).await?;
    install(&stage, 3)?;
    ensure!(held(&stage, "Refuses").await? == "version 0.3.0 would fail to change 1 child of 1 parent");

    let answers = json!([
        {"when": {"edition": 1}, "answer": {"children": first}},
        {"when": {"edition": 5}, "answer": {"children": first}},
        {"fail": {"code": "internal", "message": "cannot do it"}},
    ]);
    apply_text(&stage, &script("shop", &json!({"echo": true, "answers": answers}))).await?;
    install(&stage, 4)?;
    let message = held(&stage, "Fails").await?;
    ensure!(
        message == "version 0.4.0 would change no children, and has no acceptable answer for 1 parent",
        "{message}"
    );
    let (code, text, _) = diff(&stage, &host, &[])?;
    let expected = "Script.test.bartizan.dev default/shop\n  ! no acceptable answer: cannot do it\n";
    ensure!(code == Some(1) && text.contains(expected), "{text}");

    // It fails for this parent with either version: that is no reason to hold.
    let fails = json!({"answers": [{"fail": {"code": "internal", "message": "never"}}]});
    apply_text(&stage, &script("broken", &fails)).await?;
    message_of(stage.scripts(NS), "broken", "Synced", "False", "ProviderFailed").await?;
    install(&stage, 5)?;
    serves(&stage, "0.5.0").await?;
    decided(&stage, "shop", "0.5.0").await?;
    ensure!(stage.api::<StatefulSet>(NS).get("db").await?.uid() == uid, "it was recreated");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_plan_sees_paused_parents_and_a_spec_that_both_versions_hold_blocks_nothing() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let first = [stateful_set("db", "db", "Refuse")];
    apply_text(&stage, &parent("shop", &first, &[])).await?;
    message_of(stage.scripts(NS), "shop", "Synced", "True", "Applied").await?;
    stage.kubectl(&["annotate", "script", "shop", "bartizan.dev/paused=true"], "").await?;
    message_of(stage.scripts(NS), "shop", "Synced", "False", "Paused").await?;
    apply_text(&stage, &script("invalid", &json!({"answers": [{"answer": {"hold": true}}]}))).await?;
    message_of(stage.scripts(NS), "invalid", "Synced", "False", "Held").await?;
    serves(&stage, "0.1.0").await?;
    let uid = stage.api::<StatefulSet>(NS).get("db").await?.uid();

    install(&stage, 2)?;
    let message = held(&stage, "Deletes").await?;
    ensure!(message == "version 0.2.0 would delete 1 child of 1 parent", "{message}");
    let (_, text, _) = diff(&stage, &host, &[])?;
    let listed = "Script.test.bartizan.dev default/invalid\n  = no acceptable answer, as before: it would hold";
    ensure!(text.contains(listed), "{text}");
    stage.kubectl(&["annotate", "script", "shop", "bartizan.dev/paused-"], "").await?;
    message_of(stage.scripts(NS), "shop", "Synced", "True", "Applied").await?;
    ensure!(stage.api::<StatefulSet>(NS).get("db").await?.uid() == uid, "it was deleted once the parent was unpaused");

    apply_text(&stage, &parent("shop", &first, &first)).await?;
    install(&stage, 3)?;
    serves(&stage, "0.3.0").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_version_with_other_kinds_is_previewed_with_watches_of_its_own() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let first = [stateful_set("db", "db", "Refuse"), config_map("settings", &json!({}))];
    apply_text(&stage, &parent("shop", &first, &[config_map("settings", &json!({}))])).await?;
    message_of(stage.scripts(NS), "shop", "Synced", "True", "Applied").await?;
    serves(&stage, "0.1.0").await?;
    let other = patched(&edition(&stage, 2)?, "gizmos.test.bartizan.dev/v1", "gizmos.test.bartizan.dev/v2")?;
    replace(&stage.providers().join("scripted.wasm"), &other)?;
    ensure!(held(&stage, "Deletes").await? == "version 0.2.0 would delete 1 child of 1 parent");
    apply_text(&stage, &parent("new", &first[1..], &[])).await?;
    decided(&stage, "new", "0.1.0").await?;
    // What its CRD removes is listed with the rest.
    install(&stage, 9)?;
    let message = held(&stage, "CrdIncompatible").await?;
    let expected = "version 0.9.0 would delete 1 child of 1 parent; its CustomResourceDefinitions do not fit: \
                    scripts.test.bartizan.dev: spec of v1alpha1 is required from now on";
    ensure!(message == expected, "{message}");
    let (_, text, _) = diff(&stage, &host, &[])?;
    ensure!(
        text.contains(
            "\n! CustomResourceDefinition: scripts.test.bartizan.dev: spec of v1alpha1 is required from now on\n"
        ),
        "{text}"
    );
    replace(&stage.providers().join("scripted.wasm"), &other)?;
    ensure!(held(&stage, "Deletes").await? == "version 0.2.0 would delete 1 child of 1 parent");
    // An administrator who accepts that can say so.
    let careless = r#"{"spec":{"upgrade":{"holdOn":[]}}}"#;
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", careless], "").await?;
    wait_gone(stage.api::<StatefulSet>(NS), "db", SOON).await?;
    serves(&stage, "0.2.0").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn crds_are_compared_with_the_clusters_if_the_last_version_is_unavailable() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut host = stage.host().await?;
    let children = [config_map("settings", &json!({}))];
    apply_text(&stage, &parent("shop", &children, &children)).await?;
    message_of(stage.scripts(NS), "shop", "Synced", "True", "Applied").await?;
    serves(&stage, "0.1.0").await?;
    host.stop().await?;
    std::fs::remove_dir_all(stage.path("compiled"))?;
    // As if it had owned one more kind.
    let owned = r#"{"status":{"active":{"owns":["Script.test.bartizan.dev","Toy.test.bartizan.dev"]}}}"#;
    stage.kubectl(&["patch", "provider", "scripted", "--subresource=status", "--type=merge", "-p", owned], "").await?;
    install(&stage, 9)?;
    host = stage.listening(stage.command()).await?;
    let message = held(&stage, "CrdIncompatible").await?;
    let expected = "version 0.9.0 would change no children; its CustomResourceDefinitions do not fit: \
                    scripts.test.bartizan.dev: spec of v1alpha1 is required from now on, and 1 more";
    ensure!(message == expected, "{message}");
    let (_, text, _) = diff(&stage, &host, &[])?;
    let first = "\n! CustomResourceDefinition: scripts.test.bartizan.dev: spec of v1alpha1 is required from now on\n";
    ensure!(text.contains(first), "{text}");
    ensure!(text.contains("\n! CustomResourceDefinition: Toy.test.bartizan.dev would no longer be served\n"), "{text}");
    ensure!(approve(&stage, &[])?.0 == Some(0));
    serves(&stage, "0.9.0").await?;
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
