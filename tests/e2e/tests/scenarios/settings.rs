//! Settings of a provider: they are passed with the defaults of their schema, and invalid ones are reported before it
//! is called.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, bartizan, code_and_output, message_of, patched, replace};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

/// The document beside the module, with these settings.
fn document(settings: &Value) -> String {
    json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "notice"},
        "spec": {
            "module": {"file": "notice.wasm"},
            "settings": settings,
            "grants": {"children": [{"group": "", "kinds": ["ConfigMap"]}]},
        },
    })
    .to_string()
}

fn notice(text: &str) -> String {
    json!({
        "apiVersion": "test.bartizan.dev/v1alpha1", "kind": "Notice", "metadata": {"name": "a", "namespace": "default"},
        "spec": {"text": text},
    })
    .to_string()
}

/// Waits until the child has this text, and returns the settings that the provider received.
async fn wait_text(stage: &Stage, text: &str) -> Result<Value> {
    let shows = |child: &ConfigMap| child.data.as_ref().and_then(|data| data.get("text")).is_some_and(|it| it == text);
    let child = wait_object(stage.api::<ConfigMap>("default"), "a", text, SOON, shows).await?;
    let seen = child.data.unwrap_or_default().remove("settings").context("no settings were seen")?;
    Ok(serde_json::from_str(&seen)?)
}

async fn condition(stage: &Stage, kind: &str, status: &str, reason: &str) -> Result<String> {
    message_of(stage.provider_objects(), "notice", kind, status, reason).await
}

#[tokio::test]
async fn settings_are_passed_with_defaults_and_invalid_ones_named_by_field() -> Result<()> {
    let stage = Stage::start(&[Provider::Notice]).await?;
    let file = stage.providers().join("notice.yaml");
    let set = |settings: &Value| replace(&file, document(settings).as_bytes());

    // The schema's default of a required field that is not set.
    set(&json!({}))?;
    let mut host = stage.listening(stage.command()).await?;
    apply_text(&stage, &notice("hi")).await?;
    let message = condition(&stage, "Accepted", "False", "Invalid").await?;
    ensure!(message == "spec.settings.prefix: is required", "{message}");

    set(&json!({"prefix": "> "}))?;
    let seen = wait_text(&stage, "> hi").await?;
    ensure!(seen == json!({"prefix": "> ", "times": 1, "tone": {"loud": false}}), "{seen}");
    condition(&stage, "Accepted", "True", "Accepted").await?;
    host.ready().await?;

    // Every child is updated to the new settings.
    set(&json!({"prefix": "> ", "times": 2, "tone": {"mark": "!"}}))?;
    let seen = wait_text(&stage, "> hi!> hi!").await?;
    ensure!(seen == json!({"prefix": "> ", "times": 2, "tone": {"loud": false, "mark": "!"}}), "{seen}");

    // Invalid settings are passed to nobody: the provider keeps the last valid ones.
    set(&json!({"prefix": 5, "tiems": 2, "tone": {"loud": "very"}}))?;
    let message = condition(&stage, "Loaded", "False", "Invalid").await?;
    let expected = "spec.settings.prefix: 5 is not of type \"string\"; spec.settings.tone.loud: \"very\" is not of type \"boolean\"; \
                    spec.settings.tiems: there is no such setting; version 0.1.0 keeps serving";
    let sorted = |text: &str| {
        let mut parts: Vec<String> = text.split("; ").map(str::to_owned).collect();
        parts.sort();
        parts
    };
    ensure!(sorted(&message) == sorted(expected), "{message}");
    condition(&stage, "Serving", "True", "Serving").await?;
    apply_text(&stage, &notice("ho")).await?;
    wait_text(&stage, "> ho!> ho!").await?;
    apply_text(&stage, &notice("hi")).await?;

    set(&json!({"prefix": "* ", "tone": {"loud": true}}))?;
    wait_text(&stage, "* HI").await?;
    condition(&stage, "Serving", "True", "Serving").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_module_that_rejects_the_current_settings_leaves_the_old_one_serving() -> Result<()> {
    let stage = Stage::start(&[Provider::Notice]).await?;
    std::fs::write(stage.providers().join("notice.yaml"), document(&json!({"prefix": "> "})))?;
    let module = stage.providers().join("notice.wasm");
    let notice_wasm = std::fs::read(&module)?;
    let host = stage.host().await?;
    apply_text(&stage, &notice("hi")).await?;
    wait_text(&stage, "> hi").await?;

    // This version accepts a different prefix only.
    replace(&module, &patched(&notice_wasm, "^[^#]", "^[^>]")?)?;
    let message = condition(&stage, "Loaded", "False", "Invalid").await?;
    let expected = "spec.settings.prefix: \"> \" does not match \"^[^>]\"; version 0.1.0 keeps serving";
    ensure!(message == expected, "{message}");
    condition(&stage, "Serving", "True", "Serving").await?;
    apply_text(&stage, &notice("ho")).await?;
    wait_text(&stage, "> ho").await?;

    // A module whose settings schema is invalid is refused.
    replace(&module, &patched(&notice_wasm, "^[^#]", "^[^#(")?)?;
    let message = condition(&stage, "Loaded", "False", "ModuleInvalid").await?;
    let expected = "module notice.wasm: manifest.settings.properties.prefix.pattern: \"^[^#(\" is not a \"regex\"; version 0.1.0 \
                    keeps serving";
    ensure!(message == expected, "{message}");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn with_policy_manual_changed_settings_wait_for_approval_across_restarts() -> Result<()> {
    let stage = Stage::start(&[Provider::Notice]).await?;
    let set = |prefix: &str| {
        let mut manual: Value = serde_json::from_str(&document(&json!({"prefix": prefix})))?;
        manual["spec"]["upgrade"] = json!({"policy": "Manual"});
        replace(&stage.providers().join("notice.yaml"), manual.to_string().as_bytes())
    };
    set("> ")?;
    let host = stage.host().await?;
    apply_text(&stage, &notice("hi")).await?;
    wait_text(&stage, "> hi").await?;
    set("* ")?;
    let message = condition(&stage, "UpgradeHeld", "True", "Manual").await?;
    ensure!(message.starts_with("version 0.1.0 would update 1 child of 1 parent; see bartizan diff"), "{message}");
    let (_, text, _) =
        code_and_output(&bartizan(&stage, &["diff", "notice", "--server", &format!("http://{}", host.address)])?);
    ensure!(text.starts_with("provider/notice 0.1.0: other settings\n"), "{text}");
    ensure!(text.contains("\n    - /data/text: \"> hi\"\n    + /data/text: \"* hi\"\n"), "{text}");
    host.kill().await?;
    let host = stage.host().await?;
    apply_text(&stage, &notice("ho")).await?;
    wait_text(&stage, "> ho").await?;
    condition(&stage, "UpgradeHeld", "True", "Manual").await?;
    let kubeconfig = stage.cluster.admin_kubeconfig().to_str().context("a path")?.to_owned();
    let (code, _, complaint) = code_and_output(&bartizan(&stage, &["approve", "notice", "--kubeconfig", &kubeconfig])?);
    ensure!(code == Some(0), "{complaint}");
    wait_text(&stage, "* ho").await?;
    wait_object(stage.provider_objects(), "notice", "the previous settings in the status", SOON, |now| {
        now.data["status"]["previous"]["settings"] == json!({"prefix": "> "})
    })
    .await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_document_that_the_api_server_refuses_stops_no_other_provider() -> Result<()> {
    let stage = Stage::start(&[Provider::Notice, Provider::Hello]).await?;
    replace(&stage.providers().join("notice.yaml"), document(&json!({"prefix": "> "})).as_bytes())?;
    let refused = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
        "metadata": {"name": "hello", "labels": {"not a label": "x"}},
        "spec": {"module": {"file": "hello.wasm"}},
    });
    replace(&stage.providers().join("hello.yaml"), refused.to_string().as_bytes())?;
    let mut host = stage.listening(stage.command()).await?;
    host.process.wait_for_line("Provider hello could not be written", SOON).await?;
    apply_text(&stage, &notice("hi")).await?;
    wait_text(&stage, "> hi").await?;
    host.stop().await?;
    stage.stop().await
}
