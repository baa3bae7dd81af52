//! What the folder declares is honoured or refused aloud, and no file of it stops the others.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, greeting, message_of, replace, script};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";

async fn host(stage: &Stage) -> Result<Host> {
    let mut command = stage.plain_command();
    command.arg("--trust-manifests").arg("--providers").arg(stage.providers());
    stage.listening(command).await
}

/// A document for `hello.wasm` that grants ConfigMaps, with this limit of children.
fn document(children: u32) -> Value {
    json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "hello"},
        "spec": {
            "module": {"file": "hello.wasm"},
            "grants": {"children": [{"group": "", "kinds": ["ConfigMap"]}]},
            "limits": {"children": children},
        },
    })
}

fn write(stage: &Stage, name: &str, document: &Value) -> Result<()> {
    replace(&stage.providers().join(name), document.to_string().as_bytes())
}

/// Waits until the Provider has this limit, from this file.
async fn limited(stage: &Stage, children: u32, file: &str) -> Result<DynamicObject> {
    let is_so = |provider: &DynamicObject| {
        provider.data["spec"]["limits"]["children"] == children
            && provider.metadata.annotations.as_ref().is_some_and(|all| all["bartizan.dev/file"] == file)
    };
    wait_object(stage.provider_objects(), "hello", &format!("{children} children by {file}"), SOON, is_so).await
}

async fn greeted(stage: &Stage, name: &str) -> Result<()> {
    apply_text(stage, &greeting(name, "world")).await?;
    wait_object(stage.api::<ConfigMap>(NS), name, "its greeting", SOON, |_: &ConfigMap| true).await?;
    Ok(())
}

#[tokio::test]
async fn a_document_is_honoured_or_refused_aloud() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    for file in [stage.providers().join("hello.yaml"), stage.providers().join("hello.yml")] {
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    let mut host = host(&stage).await?;
    host.ready().await?;
    greeted(&stage, "by-manifest").await?;

    // Later than the module, which its manifest has declared.
    write(&stage, "hello.yaml", &document(7))?;
    limited(&stage, 7, "hello.yaml").await?;
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    write(&stage, "hello.yaml", &document(8))?;
    limited(&stage, 8, "hello.yaml").await?;

    // A wrong one changes nothing and says so.
    let mut wrong = document(9);
    wrong["spec"]["grants"]["children"][0]["kinds"] = json!(["*"]);
    write(&stage, "hello.yaml", &wrong)?;
    let message = message_of(stage.provider_objects(), "hello", "Accepted", "False", "Invalid").await?;
    ensure!(message.starts_with("hello.yaml: spec.grants.children[0].kinds[0]"), "{message}");
    ensure!(message.ends_with("; until that is corrected, it stays as it is"), "{message}");
    greeted(&stage, "beside-a-wrong-document").await?;
    limited(&stage, 8, "hello.yaml").await?;
    write(&stage, "hello.yaml", &document(9))?;
    limited(&stage, 9, "hello.yaml").await?;
    message_of(stage.provider_objects(), "hello", "Accepted", "True", "Accepted").await?;

    // Under another name it is as good, and two are one too many.
    write(&stage, "limits.yaml", &document(5))?;
    let message = message_of(stage.provider_objects(), "hello", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("hello.yaml and limits.yaml both declare what it may do; remove one"), "{message}");
    std::fs::remove_file(stage.providers().join("hello.yaml"))?;
    limited(&stage, 5, "limits.yaml").await?;
    message_of(stage.provider_objects(), "hello", "Accepted", "True", "Accepted").await?;

    // Once it is gone, the manifest does not widen what it granted; nor does a host that starts anew.
    std::fs::remove_file(stage.providers().join("limits.yaml"))?;
    message_of(stage.provider_objects(), "hello", "Accepted", "True", "SourceMissing").await?;
    host.stop().await?;
    let mut host = self::host(&stage).await?;
    host.ready().await?;
    greeted(&stage, "after-a-restart").await?;
    limited(&stage, 5, "limits.yaml").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn the_folder_takes_nothing_from_who_applied_a_provider() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    write(&stage, "hello.yaml", &document(7))?;
    let mut host = host(&stage).await?;
    host.ready().await?;
    limited(&stage, 7, "hello.yaml").await?;
    // A pipeline takes a field over.
    let theirs = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "hello"},
        "spec": {"module": {"file": "hello.wasm"}, "limits": {"children": 3}},
    });
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=pipeline", "-f", "-"];
    stage.kubectl(&apply, &theirs.to_string()).await?;
    write(&stage, "hello.yaml", &document(8))?;
    let message = message_of(stage.provider_objects(), "hello", "Accepted", "False", "Conflict").await?;
    ensure!(message.starts_with("hello.yaml in the host's folder declares it otherwise, and is not used"), "{message}");
    ensure!(message.contains(".spec.limits.children") && message.contains("\"pipeline\""), "{message}");
    limited(&stage, 3, "hello.yaml").await?;
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    greeted(&stage, "beside-a-conflict").await?;
    // The pipeline agrees with the document: there is no conflict any more.
    let theirs = theirs.to_string().replace("\"children\":3", "\"children\":8");
    stage.kubectl(&apply, &theirs).await?;
    message_of(stage.provider_objects(), "hello", "Accepted", "True", "Accepted").await?;

    // One that somebody made wins as a whole.
    host.stop().await?;
    let released = r#"{"metadata":{"finalizers":[]}}"#;
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", released], "").await?;
    stage.kubectl(&["delete", "provider", "hello", "--timeout=60s"], "").await?;
    stage.kubectl(&apply, &theirs.replace("\"children\":8", "\"children\":4")).await?;
    let mut host = self::host(&stage).await?;
    // The grants of the document are not in force.
    message_of(stage.provider_objects(), "hello", "Accepted", "False", "NotGranted").await?;
    stage
        .kubectl(
            &["apply", "--server-side", "--force-conflicts", "--field-manager=pipeline", "-f", "-"],
            &document(4).to_string(),
        )
        .await?;
    let message = message_of(stage.provider_objects(), "hello", "Accepted", "False", "Conflict").await?;
    ensure!(message.contains("since somebody else applied this Provider"), "{message}");
    host.ready().await?;
    greeted(&stage, "of-the-pipeline").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn no_file_of_the_folder_stops_the_others() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello, Provider::Scripted]).await?;
    let at = |name: &str| stage.providers().join(name);
    std::fs::copy(stage.module(Provider::Scripted)?, at("scripted (1).wasm"))?;
    std::fs::copy(stage.module(Provider::Hello)?, at("hello-old.wasm"))?;
    std::fs::write(at("broken.wasm"), "no module")?;
    write(&stage, "stray.yaml", &json!({"apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider"}))?;
    let mut host = host(&stage).await?;
    let said = [
        "module scripted (1).wasm: no Provider can name this file; rename it: spec.module.file",
        "module stray.yaml: there is no module beside it in the folder for what this document declares",
        "module broken.wasm: ",
    ];
    for line in said {
        host.process.wait_for_line(line, SOON).await?;
    }
    host.ready().await?;
    greeted(&stage, "one").await?;
    apply_text(&stage, &script("one", &json!({"answers": [{"answer": {"children": []}}]}))).await?;
    message_of(stage.scripts(NS), "one", "Synced", "True", "Applied").await?;
    // Of two modules of one name, one serves, and the Provider names the other.
    told(&stage, "in the host's folder is the module of this Provider, too, and is not used: hello").await?;
    is_quiet(&stage, &at("hello.wasm")).await?;

    // A document decides over all copies.
    write(&stage, "hello.yaml", &document(7))?;
    limited(&stage, 7, "hello.yaml").await?;
    told(
        &stage,
        "hello-old.wasm in the host's folder is the module of this Provider, too, and is not used: hello.yaml decides",
    )
    .await?;
    host.stop().await?;
    stage.stop().await
}

/// Waits until the Provider says this.
async fn told(stage: &Stage, text: &str) -> Result<()> {
    let is_told = |provider: &DynamicObject| provider.data["status"]["conditions"].to_string().contains(text);
    wait_object(stage.provider_objects(), "hello", text, SOON, is_told).await?;
    Ok(())
}

/// Nothing is written for the files that cannot be used, again and again.
async fn is_quiet(stage: &Stage, touched: &Path) -> Result<()> {
    let mark = stage.mark()?;
    // A change of the folder after which everything is looked at again.
    std::fs::File::open(touched)?.set_modified(std::time::SystemTime::now()).context("the time of a file")?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let writes = stage.writes_since(mark)?;
    ensure!(writes.len() <= 2, "{writes:?}");
    wait_for("quiet", SOON, async || {
        let mark = stage.mark()?;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        Ok(stage.writes_since(mark)?.is_empty().then_some(()))
    })
    .await
}
