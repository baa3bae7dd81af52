//! Modules are added, replaced and removed while the host runs: in its folder, by every way of replacing files, and
//! in ConfigMaps.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{NAMESPACE, Provider, SOON, Stage, apply_text, greeting, message_of, patched, replace};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// The text that a version of the hello module writes.
fn version_with_text(stage: &Stage, text: &str) -> Result<Vec<u8>> {
    patched(&std::fs::read(stage.module(Provider::Hello)?)?, "Hello, ", text)
}

/// A Provider of a module, which may write ConfigMaps, with the account of the hello example.
fn document(name: &str, module: &Value) -> Value {
    json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": name},
        "spec": {
            "module": module, "serviceAccountName": "provider-hello",
            "grants": {"children": [{"group": "", "kinds": ["ConfigMap"]}]},
        },
    })
}

/// Waits until the child of the Greeting has this text.
async fn wait_text(stage: &Stage, name: &str, text: &str) -> Result<()> {
    let shows =
        |child: &ConfigMap| child.data.as_ref().and_then(|data| data.get("greeting")).is_some_and(|it| it == text);
    wait_object(stage.api::<ConfigMap>("default"), name, text, SOON, shows).await?;
    Ok(())
}

/// Waits until the Provider's module comes from this file.
async fn wait_loaded_from(stage: &Stage, provider: &str, file: &str) -> Result<()> {
    let wanted = |object: &DynamicObject| object.data["spec"]["module"]["file"] == file;
    wait_object(stage.provider_objects(), provider, file, SOON, wanted).await?;
    message_of(stage.provider_objects(), provider, "Loaded", "True", "Loaded").await?;
    Ok(())
}

#[tokio::test]
async fn a_module_is_added_replaced_renamed_and_deleted_while_the_host_runs() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    // The folder itself does not exist yet.
    let folder = stage.path("later");
    let mut command = stage.plain_command();
    command.arg("--trust-manifests").arg("--providers").arg(&folder);
    let mut host = stage.listening(command).await?;
    host.process.wait_for_line("no such folder; nothing is loaded from it until it is there", SOON).await?;
    ensure!(host.ready().await? == "readyz check passed\n");

    std::fs::create_dir(&folder)?;
    host.process.wait_for_line("no modules (*.wasm) in it; they are loaded as they come", SOON).await?;
    let file = folder.join("hello.wasm");
    std::fs::copy(stage.module(Provider::Hello)?, &file)?;
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    apply_text(&stage, &greeting("a", "world")).await?;
    wait_text(&stage, "a", "Hello, world!").await?;

    // Overwritten in place.
    std::fs::write(&file, version_with_text(&stage, "Salut, ")?)?;
    wait_text(&stage, "a", "Salut, world!").await?;
    // Replaced by renaming another file over it.
    replace(&file, &version_with_text(&stage, "Ciao!, ")?)?;
    wait_text(&stage, "a", "Ciao!, world!").await?;
    // Deleted and created again.
    std::fs::remove_file(&file)?;
    std::fs::write(&file, version_with_text(&stage, "Hallo, ")?)?;
    wait_text(&stage, "a", "Hallo, world!").await?;
    // Under another file name, the same Provider uses it.
    std::fs::rename(&file, folder.join("greet.wasm"))?;
    wait_loaded_from(&stage, "hello", "greet.wasm").await?;

    // A deleted module keeps serving, with a condition that says so; also after a restart, from the compile cache.
    std::fs::remove_file(folder.join("greet.wasm"))?;
    let expected = "there is no greet.wasm in the host's folder of providers; it is loaded once it is there; version 0.1.0 \
                    keeps serving";
    let message = message_of(stage.provider_objects(), "hello", "Loaded", "False", "SourceMissing").await?;
    ensure!(message == expected, "{message}");
    let message = message_of(stage.provider_objects(), "hello", "Accepted", "True", "SourceMissing").await?;
    ensure!(
        message.contains("greet.wasm, which it was made from, is gone from the folder: delete the Provider"),
        "{message}"
    );
    apply_text(&stage, &greeting("a", "all")).await?;
    wait_text(&stage, "a", "Hallo, all!").await?;
    host.kill().await?;
    let mut command = stage.plain_command();
    command.arg("--trust-manifests").arg("--providers").arg(&folder);
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    apply_text(&stage, &greeting("a", "you")).await?;
    wait_text(&stage, "a", "Hallo, you!").await?;
    let message = message_of(stage.provider_objects(), "hello", "Loaded", "False", "SourceMissing").await?;
    ensure!(message == expected, "{message}");
    host.stop().await?;
    stage.stop().await
}

/// Replaces the content of the folder as a kubelet does: a new folder beside the old one, and a symlink that is
/// switched to it.
fn swap_symlink(folder: &Path, number: u32, module: &[u8]) -> Result<()> {
    let data = format!("..2026_{number}");
    std::fs::create_dir_all(folder.join(&data))?;
    std::fs::write(folder.join(&data).join("hello.wasm"), module)?;
    std::fs::write(
        folder.join(&data).join("hello.yaml"),
        document("greeter", &json!({"file": "hello.wasm"})).to_string(),
    )?;
    symlink(&data, folder.join("..data_tmp"))?;
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).context("the link cannot be swapped")?;
    for file in ["hello.wasm", "hello.yaml"] {
        if !folder.join(file).is_symlink() {
            symlink(format!("..data/{file}"), folder.join(file))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_mounted_config_map_is_reloaded_and_documents_follow_their_modules() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let folder = stage.providers();
    swap_symlink(&folder, 1, &version_with_text(&stage, "Hello, ")?)?;
    let mut command = stage.plain_command();
    command.arg("--providers").arg(&folder);
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    apply_text(&stage, &greeting("a", "world")).await?;
    wait_text(&stage, "a", "Hello, world!").await?;
    for (number, text) in [(2, "Salut, "), (3, "Ciao!, ")] {
        swap_symlink(&folder, number, &version_with_text(&stage, text)?)?;
        wait_text(&stage, "a", &format!("{text}world!")).await?;
    }

    // Documents are reloaded while the host runs, too: changed, removed and added ones.
    let mut wider = document("greeter", &json!({"file": "hello.wasm"}));
    wider["metadata"]["labels"] = json!({"team": "a"});
    replace(&folder.join("hello.yaml"), wider.to_string().as_bytes())?;
    let labelled = |object: &DynamicObject| object.labels().contains_key("team");
    wait_object(stage.provider_objects(), "greeter", "its label", SOON, labelled).await?;
    std::fs::remove_file(folder.join("hello.yaml"))?;
    let expected = "the spec can be honoured as it stands; hello.yaml, which it was made from, is gone from the folder: delete \
                    the Provider if it should go, too";
    let message = message_of(stage.provider_objects(), "greeter", "Accepted", "True", "SourceMissing").await?;
    ensure!(message == expected, "{message}");
    message_of(stage.provider_objects(), "greeter", "Serving", "True", "Serving").await?;
    replace(&folder.join("hello.yaml"), wider.to_string().as_bytes())?;
    message_of(stage.provider_objects(), "greeter", "Accepted", "True", "Accepted").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_broken_replacement_is_reported_and_leaves_the_old_version_serving() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello, Provider::Scripted]).await?;
    std::fs::remove_file(stage.providers().join("scripted.wasm"))?;
    let (file, yaml) = (stage.providers().join("hello.wasm"), stage.providers().join("hello.yaml"));
    std::fs::write(yaml, document("greeter", &json!({"file": "hello.wasm"})).to_string())?;
    let mut command = stage.plain_command();
    command.arg("--providers").arg(stage.providers());
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    apply_text(&stage, &greeting("a", "0")).await?;
    wait_text(&stage, "a", "Hello, 0!").await?;
    let before = stage.provider_objects().get("greeter").await?.data["status"]["active"].clone();

    let good = std::fs::read(&file)?;
    let broken: [(&str, Vec<u8>, &str, &str); 5] = [
        (
            "empty",
            Vec::new(),
            "ModuleInvalid",
            "module hello.wasm: the file is empty, perhaps because it is still being copied; build or copy the module again",
        ),
        (
            "text",
            b"text".to_vec(),
            "ModuleInvalid",
            "module hello.wasm: not a WebAssembly module: it begins with \"text\", not with \"\\0asm\"; use the .wasm file that the build produced",
        ),
        (
            "cut",
            good[..good.len() / 2].to_vec(),
            "ModuleInvalid",
            "module hello.wasm: the module is damaged or truncated at byte ",
        ),
        (
            "no provider",
            wat::parse_str("(module)")?,
            "ModuleInvalid",
            "module hello.wasm: the core module was not built as a provider: it has no custom section \"component-type\"",
        ),
        (
            "of another kind",
            std::fs::read(stage.module(Provider::Scripted)?)?,
            "NotGranted",
            "scripted 0.1.0 asks for more than it is granted: Secret is not in spec.grants.children",
        ),
    ];
    for (number, (what, bytes, reason, begins)) in broken.into_iter().enumerate() {
        replace(&file, &bytes)?;
        let message = message_of(stage.provider_objects(), "greeter", "Loaded", "False", reason).await?;
        // Two modules that are refused for the same reason have different messages.
        let shows = |object: &DynamicObject| loaded(object).is_some_and(|message| message.starts_with(begins));
        let object = wait_object(stage.provider_objects(), "greeter", begins, SOON, shows).await?;
        let message = loaded(&object).unwrap_or(message);
        ensure!(message.ends_with("; version 0.1.0 keeps serving"), "{what}: {message}");
        ensure!(object.data["status"]["active"] == before, "{what}: {object:?}");
        message_of(stage.provider_objects(), "greeter", "Serving", "True", "Serving").await?;
        apply_text(&stage, &greeting("a", &number.to_string())).await?;
        wait_text(&stage, "a", &format!("Hello, {number}!")).await?;
        ensure!(host.get("/readyz").await?.0 == 200, "{what}: not ready");
    }
    // Larger than the limit: a sparse file.
    let large = std::fs::File::create(stage.providers().join("large.part"))?;
    large.set_len((64 << 20) + 1)?;
    std::fs::rename(stage.providers().join("large.part"), &file)?;
    let expected = "module hello.wasm: the module has 67108865 bytes, more than the limit of 67108864; build it \
                    optimised and stripped; version 0.1.0 keeps serving";
    let shows = |object: &DynamicObject| loaded(object).is_some_and(|message| message == expected);
    wait_object(stage.provider_objects(), "greeter", expected, SOON, shows).await?;

    // Once fixed, it is loaded.
    replace(&file, &version_with_text(&stage, "Salut, ")?)?;
    message_of(stage.provider_objects(), "greeter", "Loaded", "True", "Loaded").await?;
    wait_text(&stage, "a", "Salut, 4!").await?;
    host.stop().await?;
    stage.stop().await
}

/// Message of the condition Loaded.
fn loaded(object: &DynamicObject) -> Option<String> {
    let condition = bartizan_e2e::condition(object, "Loaded")?;
    condition["message"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_module_is_loaded_from_a_config_map_and_its_pinned_digest_enforced() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let host = stage.host().await?;
    let source = json!({"configMap": {"name": "modules", "key": "hello.wasm"}});
    apply_text(&stage, &document("greeter", &source).to_string()).await?;
    let message = message_of(stage.provider_objects(), "greeter", "Loaded", "False", "SourceMissing").await?;
    let missing = "there is no ConfigMap modules in the host's namespace; it is loaded once it is there";
    ensure!(message == missing, "{message}");
    apply_text(&stage, &greeting("a", "world")).await?;

    store_module(&stage, &version_with_text(&stage, "Hello, ")?).await?;
    wait_text(&stage, "a", "Hello, world!").await?;
    store_module(&stage, &version_with_text(&stage, "Salut, ")?).await?;
    wait_text(&stage, "a", "Salut, world!").await?;

    // Pinned to its current digest, it stays.
    let status = stage.provider_objects().get("greeter").await?.data["status"].clone();
    let pin = status["active"]["digest"].as_str().context("no digest")?.to_owned();
    let pinned = json!({"spec": {"module": {"digest": pin}}}).to_string();
    stage.kubectl(&["patch", "provider", "greeter", "--type=merge", "-p", &pinned], "").await?;
    message_of(stage.provider_objects(), "greeter", "Serving", "True", "Serving").await?;
    store_module(&stage, &version_with_text(&stage, "Ciao!, ")?).await?;
    let (starts, ends) = (
        "the module was loaded; module hello.wasm in ConfigMap modules is sha256:",
        format!(", and spec.module.digest wants {pin}"),
    );
    wait_object(stage.provider_objects(), "greeter", "another module is passed over", SOON, |provider| {
        let conditions = provider.data["status"]["conditions"].as_array();
        let loaded = conditions.into_iter().flatten().find(|condition| condition["type"] == "Loaded");
        let message = loaded.and_then(|loaded| loaded["message"].as_str()).unwrap_or_default();
        message.starts_with(starts) && message.ends_with(&ends)
    })
    .await?;
    message_of(stage.provider_objects(), "greeter", "Ready", "True", "Ready").await?;
    apply_text(&stage, &greeting("a", "all")).await?;
    wait_text(&stage, "a", "Salut, all!").await?;
    let unpinned = json!({"spec": {"module": {"digest": null}}}).to_string();
    stage.kubectl(&["patch", "provider", "greeter", "--type=merge", "-p", &unpinned], "").await?;
    wait_text(&stage, "a", "Ciao!, all!").await?;

    // Once deleted, it keeps serving.
    stage.kubectl(&["delete", "configmap", "modules", "-n", NAMESPACE], "").await?;
    let message = message_of(stage.provider_objects(), "greeter", "Loaded", "False", "SourceMissing").await?;
    ensure!(message == format!("{missing}; version 0.1.0 keeps serving"), "{message}");
    apply_text(&stage, &greeting("a", "you")).await?;
    wait_text(&stage, "a", "Ciao!, you!").await?;
    host.stop().await?;
    stage.stop().await
}

/// Puts a module into the ConfigMap `modules`.
async fn store_module(stage: &Stage, module: &[u8]) -> Result<()> {
    let path = stage.path("for-config-map");
    std::fs::write(&path, module)?;
    let from = format!("--from-file=hello.wasm={}", path.display());
    let create = ["create", "configmap", "modules", "-n", NAMESPACE, &from, "--dry-run=client", "-o", "json"];
    let object = stage.kubectl(&create, "").await?;
    stage.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &object).await?;
    Ok(())
}
