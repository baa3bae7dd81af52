//! What a provider sees beside its parent and children: related objects in rounds, and never a secret value.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, bartizan, code_and_output, message_of, script};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

const NS: &str = "default";
/// Values that must never be visible outside of Secrets and the field that holds them.
const PLANTED: [&str; 3] = ["planted-in-a-field", "planted-in-a-secret", "planted-in-the-second"];

fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn text_of<'a>(object: &'a ConfigMap, key: &str) -> &'a str {
    object.data.as_ref().and_then(|data| data.get(key)).map_or("", String::as_str)
}

#[tokio::test]
async fn related_objects_are_supplied_in_rounds_and_their_changes_are_seen() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut host = stage.host().await?;
    let by_name = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "names": [name]});
    // A claim, its class, and the cluster of the class: each is known only once the one before was supplied.
    let seen = |name: &str| format!("ConfigMap.v1 default/{name}");
    let copy = config("chain-copy", &json!({"text": "$(config:default/chain-cluster:text)"}));
    let spec = json!({"answers": [
        {
            "when": {"related": [seen("chain-class"), seen("chain-cluster")]},
            "answer": {"related": [by_name("chain-class"), by_name("chain-cluster")], "children": [{"object": copy}]},
        },
        {
            "when": {"related": [seen("chain-class")]},
            "answer": {"related": [by_name("chain-class"), by_name("chain-cluster")], "hold": true},
        },
        {"answer": {"related": [by_name("chain-class")], "hold": true}},
    ]});
    apply_text(&stage, &script("chain", &spec)).await?;
    message_of(stage.scripts(NS), "chain", "Synced", "False", "Held").await?;
    apply_text(&stage, &config("chain-class", &json!({})).to_string()).await?;
    apply_text(&stage, &config("chain-cluster", &json!({"text": "one"})).to_string()).await?;
    for text in ["one", "two"] {
        apply_text(&stage, &config("chain-cluster", &json!({"text": text})).to_string()).await?;
        let is = |copy: &ConfigMap| text_of(copy, "text") == text;
        wait_object(stage.api::<ConfigMap>(NS), "chain-copy", text, SOON, is).await?;
    }
    message_of(stage.scripts(NS), "chain", "Synced", "True", "Applied").await?;

    objects_selected_by_label_come_and_go(&stage).await?;
    related_objects_that_were_not_granted_are_refused(&stage).await?;
    an_optional_kind_appears_and_disappears(&stage, &mut host).await?;
    host.stop().await?;
    stage.stop().await
}

async fn objects_selected_by_label_come_and_go(stage: &Stage) -> Result<()> {
    let labelled = json!({"apiVersion": "v1", "kind": "ConfigMap", "matchLabels": {"chosen": "yes"}});
    let answer = |text: &str| json!({"related": [labelled], "children": [{"object": config("labels-copy", &json!({"text": text}))}]});
    let spec = json!({"answers": [
        {"when": {"related": ["ConfigMap.v1 default/chosen"]}, "answer": answer("chosen")},
        {"answer": answer("nothing")},
    ]});
    apply_text(stage, &script("labels", &spec)).await?;
    let copy = |text: &'static str| {
        wait_object(stage.api::<ConfigMap>(NS), "labels-copy", text, SOON, move |copy| text_of(copy, "text") == text)
    };
    copy("nothing").await?;
    apply_text(stage, &config("chosen", &json!({})).to_string()).await?;
    stage.kubectl(&["label", "configmap", "chosen", "chosen=yes"], "").await?;
    copy("chosen").await?;
    stage.kubectl(&["label", "configmap", "chosen", "chosen-"], "").await?;
    copy("nothing").await?;
    Ok(())
}

async fn related_objects_that_were_not_granted_are_refused(stage: &Stage) -> Result<()> {
    for (related, expected) in [
        (
            json!({"apiVersion": "v1", "kind": "Secret", "names": ["x"], "namespace": "kube-system"}),
            "response.related[0].namespace: Secret.v1 in namespace \"kube-system\" was not granted to provider scripted",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Node", "names": ["x"]}),
            "response.related[0]: Node.v1 was not granted to provider scripted to read; it may read ConfigMap.v1, Secret.v1",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Secret"}),
            "response.related[0]: needs names or matchLabels: selecting all objects of a kind is not supported",
        ),
    ] {
        apply_text(stage, &script("refused", &json!({"answers": [{"answer": {"related": [related]}}]}))).await?;
        let message = message_of(stage.scripts(NS), "refused", "Synced", "False", "Refused").await?;
        ensure!(message == format!("The answer of provider scripted was refused: {expected}"), "{message}");
    }
    stage.kubectl(&["delete", "script", "refused"], "").await?;
    Ok(())
}

async fn an_optional_kind_appears_and_disappears(stage: &Stage, host: &mut Host) -> Result<()> {
    let answer = |text: &str| json!({"children": [{"object": config("kinds-copy", &json!({"text": text}))}]});
    let spec = json!({"answers": [
        {"when": {"kinds": {"Widget.test.bartizan.dev": true}}, "answer": answer("served")},
        {"answer": answer("not served")},
    ]});
    apply_text(stage, &script("kinds", &spec)).await?;
    let copy = |text: &'static str| {
        wait_object(stage.api::<ConfigMap>(NS), "kinds-copy", text, SOON, move |copy| text_of(copy, "text") == text)
    };
    copy("not served").await?;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.bartizan.dev"},
        "spec": {
            "group": "test.bartizan.dev", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}],
        },
    });
    apply_text(stage, &crd.to_string()).await?;
    copy("served").await?;
    stage.kubectl(&["delete", "crd", "widgets.test.bartizan.dev"], "").await?;
    copy("not served").await?;
    host.ready().await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_copies_secrets_that_neither_it_nor_anyone_else_sees() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut command = stage.command();
    command.env("RUST_LOG", "trace,kube=debug,hyper=info,rustls=info,tower=info,h2=info,wasmtime=info,cranelift=info");
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    let [field, first, second] = PLANTED;
    let source = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}, "stringData": {"password": value}});
    apply_text(&stage, &source(first).to_string()).await?;
    let data = json!({"copy": "$(secret:default/source:password)", "field": "$(parent.secret)", "own": "b3du"});
    let copy = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "copy"}, "data": data});
    let leak = config("leak", &json!({"copy": "$(secret:default/source:password)", "field": "$(parent.secret)"}));
    let answer = json!({
        "related": [{"apiVersion": "v1", "kind": "Secret", "names": ["source"]}],
        "children": [{"object": copy}, {"object": leak}],
        "generate": [{"secret": "copy", "key": "made", "length": 24}],
        "status": {"field": "$(parent.secret)", "copy": "$(secret:default/source:password)"},
        "events": [{"type": "Normal", "reason": "Told", "message": "it is $(parent.secret)"}],
    });
    let spec = json!({"secret": field, "echo": true, "answers": [{"answer": answer}]});
    // Server-side, so that no annotation holds a copy that the API server would serve anyway.
    stage.kubectl(&["apply", "--server-side", "-f", "-"], &script("copier", &spec)).await?;
    message_of(stage.scripts(NS), "copier", "Synced", "True", "Applied").await?;
    let made = copied(&stage, first, field).await?;

    apply_text(&stage, &source(second).to_string()).await?;
    let rotated = |copy: &Secret| value(copy, "copy") == second;
    wait_object(stage.api::<Secret>(NS), "copy", "the new password", SOON, rotated).await?;
    ensure!(copied(&stage, second, field).await? == made, "what was generated changed");

    // A token that was not issued in this request, and a failure that quotes one.
    let stolen = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stolen"}, "data": {"x": "bz:00"}});
    apply_text(&stage, &script("thief", &json!({"answers": [{"answer": {"children": [{"object": stolen}]}}]}))).await?;
    let message = message_of(stage.scripts(NS), "thief", "Synced", "False", "Refused").await?;
    let expected = "The answer of provider scripted was refused: response.children[0].object.data.x: is a token that this request \
                    did not contain: copy tokens unchanged, and only from this request";
    ensure!(message == expected, "{message}");
    let fail = json!({"code": "internal", "message": "the secret is $(parent.secret)"});
    let talker = script("talker", &json!({"secret": field, "answers": [{"fail": fail}]}));
    stage.kubectl(&["apply", "--server-side", "-f", "-"], &talker).await?;
    let message = message_of(stage.scripts(NS), "talker", "Synced", "False", "ProviderFailed").await?;
    ensure!(message.contains("the secret is bz:"), "{message}");

    no_planted_secret_is_visible(&stage, &host).await?;
    host.stop().await?;
    stage.stop().await
}

fn value(secret: &Secret, key: &str) -> String {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    data.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
}

/// Checks the copy, and returns the generated value in it.
async fn copied(stage: &Stage, password: &str, field: &str) -> Result<String> {
    let copy = stage.api::<Secret>(NS).get("copy").await?;
    ensure!(value(&copy, "copy") == password, "the password was not copied");
    ensure!(value(&copy, "field") == field, "the field was not copied");
    ensure!(value(&copy, "own") == "own", "a value of the provider's own was changed");
    ensure!(value(&copy, "made").len() == 24, "nothing was generated");
    Ok(value(&copy, "made"))
}

/// Searches everything that the host logs, serves and writes, except Secrets.
async fn no_planted_secret_is_visible(stage: &Stage, host: &Host) -> Result<()> {
    let events = stage.kubectl(&["get", "events", "-A", "-o", "json"], "").await?;
    ensure!(events.contains("it is bz:"), "no such event: {events}");
    let config_maps = stage.kubectl(&["get", "configmaps", "-A", "-o", "json"], "").await?;
    ensure!(config_maps.contains("bz:"), "the ConfigMap does not hold the token");
    let parents = stage.kubectl(&["get", "scripts", "-A", "-o", "json"], "").await?;
    let parents: Value = serde_json::from_str(&parents)?;
    let items = parents["items"].as_array().context("no list")?;
    let statuses: Vec<String> = items.iter().map(|item| item["status"].to_string()).collect();
    let server = format!("http://{}", host.address);
    let explained = bartizan(stage, &["explain", "script/copier", "-n", NS, "--server", &server, "-o", "json"])?;
    let (_, explained, _) = code_and_output(&explained);
    ensure!(explained.contains("\"outcome\": \"Applied\""), "{explained}");
    let (_, metrics) = host.get("/metrics").await?;
    for planted in PLANTED {
        let encoded = base64_of(planted);
        for (place, text) in [
            ("the log", host.process.lines().join("\n")),
            ("events", events.clone()),
            ("ConfigMaps", config_maps.clone()),
            ("statuses", statuses.join("\n")),
            ("explain", explained.clone()),
            ("metrics", metrics.clone()),
        ] {
            ensure!(!text.contains(planted) && !text.contains(&encoded), "{planted} stands in {place}");
        }
    }
    Ok(())
}

fn base64_of(text: &str) -> String {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec()))
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
