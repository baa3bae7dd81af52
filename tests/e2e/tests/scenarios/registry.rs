//! Modules in OCI registries: pushed and pulled by people, fetched for Providers, kept for when the registry is down.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{NAMESPACE, Provider, SOON, Stage, apply_text, condition, greeting, message_of, patched};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::wait_object;
use bartizan_harness::{Registry, RegistryOptions};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// Nothing is to happen for this long; the delays of a registry that does not ask to wait begin with one second.
const QUIET: Duration = Duration::from_secs(6);

/// Exit code, stdout and stderr.
pub(crate) type Said = (Option<i32>, String, String);

/// Runs a command of the host's binary with the Docker configuration in this folder.
pub(crate) fn bartizan(stage: &Stage, docker: &Path, arguments: &[&str]) -> Result<Said> {
    let mut command = Command::new(stage.plain_command().get_program());
    command.args(arguments).current_dir(docker).env("DOCKER_CONFIG", docker).env_remove("RUST_LOG");
    let output = command.env_remove("BARTIZAN_REGISTRY_CA").output().context("bartizan cannot be run")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

/// A folder of the stage with a Docker configuration in it.
pub(crate) fn docker_folder(stage: &Stage, name: &str, config: &Value) -> Result<std::path::PathBuf> {
    let folder = stage.path(name);
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("config.json"), config.to_string())?;
    Ok(folder)
}

/// Writes the hello module with another text and returns its path.
pub(crate) fn version(stage: &Stage, text: &str) -> Result<String> {
    let path = stage.path("hello-to-push.wasm");
    std::fs::write(&path, patched(&std::fs::read(stage.module(Provider::Hello)?)?, "Hello, ", text)?)?;
    Ok(path.to_str().context("the path is not UTF-8")?.to_owned())
}

pub(crate) async fn apply_provider(stage: &Stage, module: &Value) -> Result<()> {
    let provider = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "greeter"},
        "spec": {"module": module, "serviceAccountName": "provider-hello", "grants": {"children": [{"group": "", "kinds": ["ConfigMap"]}]}},
    });
    apply_text(stage, &provider.to_string()).await
}

pub(crate) async fn wait_text(stage: &Stage, text: &str) -> Result<()> {
    let shows =
        |child: &ConfigMap| child.data.as_ref().and_then(|data| data.get("greeting")).is_some_and(|it| it == text);
    wait_object(stage.api::<ConfigMap>("default"), "a", text, SOON, shows).await?;
    Ok(())
}

/// Waits until `Loaded=False` of the Provider has this reason and exactly this message.
pub(crate) async fn wait_load_failure(stage: &Stage, reason: &str, message: &str) -> Result<()> {
    let wanted = |object: &DynamicObject| {
        condition(object, "Loaded").is_some_and(|it| it["reason"] == reason && it["message"] == message)
    };
    wait_object(stage.provider_objects(), "greeter", message, SOON, wanted).await?;
    Ok(())
}

#[tokio::test]
async fn a_module_from_a_registry_serves_while_it_is_down_and_its_tag_moves() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let mut registry = Registry::start(RegistryOptions::default()).await?;
    let docker = docker_folder(&stage, "docker", &json!({}))?;
    let reference = format!("{}/providers/hello:1", registry.address());
    let run = |arguments: &[&str]| bartizan(&stage, &docker, arguments);
    let push = |text: &str| run(&["push", &version(&stage, text)?, &reference, "--plain-http"]);

    // The repository is empty, and a file that is no provider is not pushed.
    let absent = format!("{reference} does not exist in the registry");
    let (code, _, complaint) = run(&["pull", &reference, "--plain-http"])?;
    ensure!((code, complaint) == (Some(2), format!("error: {absent}")), "pulled what is not there");
    let none = docker.join("none.wasm");
    std::fs::write(&none, "text")?;
    let none = none.to_str().context("a path")?;
    let (code, _, complaint) = run(&["push", none, &reference, "--plain-http"])?;
    let expected = format!("error: module {none}: not a WebAssembly module: it begins with \"text\"");
    ensure!(code == Some(1) && complaint.starts_with(&expected), "{complaint}");

    let mut host = stage.host().await?;
    let source = json!({"oci": {"reference": reference, "plainHttp": true}});
    apply_provider(&stage, &source).await?;
    wait_load_failure(&stage, "SourceMissing", &format!("{absent}; it is loaded once it is there")).await?;
    apply_text(&stage, &greeting("a", "world")).await?;

    let (code, pushed, complaint) = push("Hello, ")?;
    let prefix = format!("{reference}@sha256:");
    ensure!(code == Some(0) && pushed.starts_with(&prefix) && pushed.lines().count() == 1, "{pushed} {complaint}");
    ensure!(push("Hello, ")?.1 == pushed, "the same module was pushed as something else");
    wait_text(&stage, "Hello, world!").await?;
    // By its digest, into a file named after the repository.
    let (code, pulled, complaint) = run(&["pull", &pushed, "--plain-http"])?;
    let status = stage.provider_objects().get("greeter").await?.data["status"].clone();
    ensure!(code == Some(0) && status["active"]["digest"] == pulled.as_str(), "{pulled} {complaint}");
    ensure!(std::fs::read(docker.join("hello.wasm"))? == std::fs::read(stage.module(Provider::Hello)?)?, "other bytes");

    // The tag moves, the registry stops, the host restarts: nobody decided to upgrade.
    ensure!(push("Salut, ")?.0 == Some(0));
    registry.pause()?;
    host.kill().await?;
    host = stage.host().await?;
    message_of(stage.provider_objects(), "greeter", "Loaded", "True", "Loaded").await?;
    apply_text(&stage, &greeting("a", "all")).await?;
    wait_text(&stage, "Hello, all!").await?;

    // An unreachable reference, and a pinned one: the last good version keeps serving.
    let address = registry.address().to_owned();
    let other = json!({"oci": {"reference": format!("{address}/providers/hello:2"), "plainHttp": true}});
    apply_provider(&stage, &other).await?;
    let refused = "could not be reached: Connection refused (os error 111); version 0.1.0 keeps serving";
    wait_load_failure(
        &stage,
        "SourceUnavailable",
        &format!("module {address}/providers/hello:2: registry {address} {refused}"),
    )
    .await?;
    registry.resume()?;
    let moved = run(&["pull", &reference, "--plain-http", "-o", "moved.wasm"])?.1;
    let pinned = json!({"oci": {"reference": reference, "plainHttp": true}, "digest": pulled});
    apply_provider(&stage, &pinned).await?;
    let expected =
        format!("the module was loaded; module {reference} is {moved}, and spec.module.digest wants {pulled}");
    let message = message_of(stage.provider_objects(), "greeter", "Loaded", "True", "Loaded").await?;
    ensure!(message == expected, "{message}");
    apply_text(&stage, &greeting("a", "you")).await?;
    wait_text(&stage, "Hello, you!").await?;
    // Without the pin the source is new, and looked up.
    apply_provider(&stage, &source).await?;
    wait_text(&stage, "Salut, you!").await?;
    ensure!(host.get("/readyz").await?.0 == 200);
    host.stop().await?;
    stage.stop().await
}

/// How the artifact under each tag is refused, and the message.
fn refusals(digest: &str, stored: &str) -> [(&'static str, String); 4] {
    let push = "push the module with bartizan push";
    [
        (
            "image",
            format!("it has no WebAssembly layer (its layers are {IMAGE_LAYER}, none is application/wasm); {push}"),
        ),
        (
            "large",
            "the module has 67108865 bytes, more than the limit of 67108864; build it optimised and stripped"
                .to_owned(),
        ),
        ("two", "it has more than one WebAssembly layer; push each module separately".to_owned()),
        ("1", format!("sent {stored} for {digest}: its copy is damaged; delete it there and push it again")),
    ]
}

const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[tokio::test]
async fn invalid_artifacts_are_refused_and_both_module_media_types_accepted() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let registry = Registry::start(RegistryOptions::default()).await?;
    let docker = docker_folder(&stage, "docker", &json!({}))?;
    let address = registry.address();
    let reference = |tag: &str| format!("{address}/providers/hello:{tag}");
    let run = |arguments: &[&str]| bartizan(&stage, &docker, arguments);

    // Another module under the tag 1, so that only the registry has it.
    let file = version(&stage, "Salut, ")?;
    ensure!(run(&["push", &file, &reference("1"), "--plain-http"])?.0 == Some(0));
    let salut = run(&["pull", &reference("1"), "--plain-http"])?.1;
    let file = version(&stage, "Hello, ")?;
    ensure!(run(&["push", &file, &reference("2"), "--plain-http"])?.0 == Some(0));
    let hello = run(&["pull", &reference("2"), "--plain-http"])?.1;
    let size = std::fs::metadata(&file)?.len();
    let layer = |media_type: &str, size: u64| json!({"mediaType": media_type, "digest": hello, "size": size});
    for (tag, layers) in [
        ("older", json!([layer("application/vnd.wasm.content.layer.v1+wasm", size)])),
        ("image", json!([layer(IMAGE_LAYER, size)])),
        ("large", json!([layer("application/wasm", (64 << 20) + 1)])),
        ("two", json!([layer("application/wasm", size), layer("application/wasm", size)])),
    ] {
        let config = layer("application/vnd.wasm.config.v0+json", size);
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        registry.put_manifest("providers/hello", tag, &manifest)?;
    }
    let stored = registry.damage(&salut)?;

    // The command and the host refuse with the same message.
    let host = stage.host().await?;
    let source = |tag: &str| json!({"oci": {"reference": reference(tag), "plainHttp": true}});
    for (tag, refusal) in refusals(&salut, &stored) {
        let refusal = if tag == "1" { format!("registry {address} {refusal}") } else { refusal };
        let (code, _, complaint) = run(&["pull", &reference(tag), "--plain-http"])?;
        ensure!((code, complaint.as_str()) == (Some(1), format!("error: {refusal}").as_str()), "{complaint}");
        apply_provider(&stage, &source(tag)).await?;
        wait_load_failure(&stage, "ModuleInvalid", &format!("module {}: {refusal}", reference(tag))).await?;
    }
    // There is no fallback to plain HTTP for a registry that does not speak TLS.
    let refusal = format!("registry {address} does not speak TLS; if that is intended, set plainHttp (--plain-http)");
    let (code, _, complaint) = run(&["pull", &reference("2")])?;
    ensure!((code, complaint.as_str()) == (Some(2), format!("error: {refusal}").as_str()), "{complaint}");
    apply_provider(&stage, &json!({"oci": {"reference": reference("2")}})).await?;
    wait_load_failure(&stage, "SourceUnavailable", &format!("module {}: {refusal}", reference("2"))).await?;

    let upper = json!({"oci": {"reference": "example.com/A"}});
    apply_provider(&stage, &upper).await?;
    let message = message_of(stage.provider_objects(), "greeter", "Accepted", "False", "Invalid").await?;
    let advice = "write it as registry.example.com/providers/minio:1.0.0";
    let expected = format!(
        "spec.module.oci.reference: \"example.com/A\" is not a reference of a registry (invalid reference \
         format): {advice}"
    );
    ensure!(message == expected, "{message}");

    apply_provider(&stage, &source("older")).await?;
    message_of(stage.provider_objects(), "greeter", "Serving", "True", "Serving").await?;
    host.stop().await?;
    stage.stop().await
}

fn pull_secret(config: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry", "namespace": NAMESPACE},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()},
    })
    .to_string()
}

#[tokio::test]
async fn a_private_registry_is_read_with_its_own_ca_and_the_pull_secret() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let registry = Registry::start(RegistryOptions { tls: true, users: true, tokens: None }).await?;
    let (address, authority) = (registry.address(), registry.authority());
    let authority = authority.to_str().context("a path")?;
    let reference = format!("{address}/providers/hello:1");
    let file = version(&stage, "Hello, ")?;
    let right = docker_folder(&stage, "right", &registry.docker_config(true))?;
    let wrong = docker_folder(&stage, "wrong", &registry.docker_config(false))?;
    let config = wrong.join("config.json");
    for (docker, more, expected) in [
        (&wrong, "", format!("registry {address} could not be reached: invalid peer certificate: UnknownIssuer")),
        (&wrong, authority, format!("registry {address} rejected the credentials of {} (401)", config.display())),
        (&right, authority, String::new()),
    ] {
        let authority: &[&str] = if more.is_empty() { &[] } else { &["--registry-ca", more] };
        let (code, _, complaint) = bartizan(&stage, docker, &[&["push", &file, &reference], authority].concat())?;
        match expected.as_str() {
            "" => ensure!(code == Some(0), "{complaint}"),
            expected => ensure!((code, complaint) == (Some(2), format!("error: {expected}")), "{expected}"),
        }
    }

    let mut command = stage.command();
    command.args(["--registry-ca", authority]);
    // No password appears in less prominent output either.
    command.env("RUST_LOG", "info,kube=debug,oci_client=trace,reqwest=trace,hyper_util=trace");
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    apply_provider(&stage, &json!({"oci": {"reference": reference}})).await?;
    let wants = "requires credentials (401), but spec.module.oci.pullSecretName is not set";
    wait_load_failure(&stage, "SourceUnavailable", &format!("module {reference}: registry {address} {wants}")).await?;

    // Each missing step, found by trying again.
    apply_provider(&stage, &json!({"oci": {"reference": reference, "pullSecretName": "registry"}})).await?;
    let title = format!("Secret registry in namespace {NAMESPACE} (spec.module.oci.pullSecretName)");
    let advice = "may not be read: allow the host to get it by name, with a Role as in docs/administrators/registry.md";
    wait_load_failure(&stage, "SourceUnavailable", &format!("module {reference}: {title} {advice}")).await?;
    let rights = std::fs::read_to_string(workspace_root().join("deploy/optional/pull-secret/rbac.yaml"))?;
    apply_text(&stage, &rights).await?;
    wait_load_failure(&stage, "SourceUnavailable", &format!("module {reference}: there is no {title}")).await?;
    apply_text(&stage, &pull_secret(&registry.docker_config(false))).await?;
    let refused = format!("registry {address} rejected the credentials of Secret registry (401)");
    wait_load_failure(&stage, "SourceUnavailable", &format!("module {reference}: {refused}")).await?;
    apply_text(&stage, &pull_secret(&registry.docker_config(true))).await?;
    message_of(stage.provider_objects(), "greeter", "Serving", "True", "Serving").await?;
    let log = host.process.lines().join("\n");
    ensure!(log.contains("Authorizing for image"), "the library logged nothing: {log}");
    for config in [registry.docker_config(true), registry.docker_config(false)] {
        let auth = config["auths"][address]["auth"].as_str().context("no auth")?;
        ensure!(!log.contains(auth), "a password is in the log");
    }
    ensure!(!log.contains("open sesame") && !log.contains("open barley"), "a password is in the log");
    host.stop().await?;

    // A registry that speaks TLS may refer to a token endpoint, which gets the credentials: not without TLS.
    let elsewhere = TcpListener::bind("127.0.0.1:0")?;
    elsewhere.set_nonblocking(true)?;
    let tokens = Some(format!("http://{}/token", elsewhere.local_addr()?));
    let registry = Registry::start(RegistryOptions { tls: true, users: false, tokens }).await?;
    let (address, authority) = (registry.address(), registry.authority());
    let authority = authority.to_str().context("a path")?;
    let docker = docker_folder(&stage, "tokens", &registry.docker_config(true))?;
    let reference = format!("{address}/providers/hello:1");
    let (code, _, complaint) = bartizan(&stage, &docker, &["pull", &reference, "--registry-ca", authority])?;
    let expected = format!("error: registry {address} issues tokens without TLS, which is refused");
    ensure!((code, complaint.as_str()) == (Some(2), expected.as_str()), "{complaint}");
    ensure!(elsewhere.accept().is_err(), "somebody was asked for a token");
    stage.stop().await
}

fn so_far(asked: &Mutex<Vec<String>>) -> Vec<String> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A registry that is busy: each of its requests, or of those that ask it for a token. Returns its address and the paths it was asked for.
fn busy_registry(only_tokens: bool) -> Result<(String, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (record, realm) = (asked.clone(), format!("http://{address}/token"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_err() {
                continue;
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = if only_tokens && !path.starts_with("/token") {
                format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\"")
            } else {
                "429 Too Many Requests\r\nRetry-After: 120".to_owned()
            };
            record.lock().unwrap_or_else(PoisonError::into_inner).push(path);
            let _ = write!(stream, "HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    Ok((address, asked))
}

#[tokio::test]
async fn a_registry_that_asks_to_wait_is_asked_no_sooner_for_any_of_its_modules() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let (busy, asked) = busy_registry(false)?;
    let (tokens, asked_for_tokens) = busy_registry(true)?;
    let host = stage.host().await?;
    let name = |number: usize| format!("many-{number}");
    for (number, address) in [&busy, &busy, &busy, &tokens].into_iter().enumerate() {
        let provider = json!({
            "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": name(number)},
            "spec": {"module": {"oci": {"reference": format!("{address}/p/m{number}:1"), "plainHttp": true}}},
        });
        apply_text(&stage, &provider.to_string()).await?;
        let words = format!("registry {address} answered 429 (too many requests) and asks to wait 1");
        let until = "s; it is asked again at 2";
        let wanted = |object: &DynamicObject| {
            condition(object, "Loaded").is_some_and(|loaded| {
                let message = loaded["message"].as_str().unwrap_or_default();
                loaded["reason"] == "SourceUnavailable" && message.contains(&words) && message.contains(until)
            })
        };
        wait_object(stage.provider_objects(), &name(number), &words, SOON, wanted).await?;
    }
    // The first module's requests, and one that reads what it asks for; the others' make none. None is repeated.
    let before = so_far(&asked);
    ensure!(before.iter().all(|path| !path.contains("m1") && !path.contains("m2")), "{before:?}");
    let before = (before.len(), so_far(&asked_for_tokens).len());
    ensure!(before.0 <= 4 && before.1 <= 4, "{before:?}");
    tokio::time::sleep(QUIET).await;
    ensure!((so_far(&asked).len(), so_far(&asked_for_tokens).len()) == before, "they were asked again");
    host.stop().await?;
    stage.stop().await
}
