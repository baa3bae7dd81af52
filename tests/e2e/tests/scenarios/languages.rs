//! The hello provider in languages other than Rust: alone in the sandbox, and served by the host.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::ReconcileResponse;
use bartizan_e2e::{Programs, Provider, SOON, Stage, first_request, message_of};
use bartizan_harness::build::{self, Language};
use bartizan_harness::wait::wait_object;
use bartizan_runtime::{Config, Fault, Limits, LogLevel, Module, Runtime};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wasmparser::{Parser, Payload};

/// A module that was built and loaded.
struct Example {
    language: Language,
    file: PathBuf,
    module: Module,
}

/// The compile cache that is kept from one test run to the next: compiling takes half a minute of CPU time.
fn compiled() -> PathBuf {
    build::target_dir().join("languages-compiled")
}

/// All that can be built on this machine, built and loaded once.
async fn examples() -> Result<&'static [Example]> {
    static LOADED: OnceCell<Vec<Example>> = OnceCell::const_new();
    let loaded = LOADED.get_or_try_init(|| async {
        tokio::task::spawn_blocking(|| {
            // Other tests and builds share the machine, so that timings say nothing about the modules.
            let compile_timeout = Duration::from_secs(300);
            let runtime = Runtime::new(Config { cache_dir: Some(compiled()), compile_timeout, ..Config::default() })?;
            let mut examples = Vec::new();
            for language in Language::ALL {
                match build::hello_in(language, &build::silent)? {
                    build::Module::Built(file) => {
                        let module = runtime.load(&fs::read(&file)?).with_context(|| language.name())?;
                        examples.push(Example { language, file, module });
                    }
                    build::Module::LeftOut(sentence) => eprintln!("left out: {sentence}"),
                }
            }
            Ok(examples)
        })
        .await?
    });
    loaded.await.map(Vec::as_slice)
}

/// A request about a Greeting of this provider with this spec.
fn request(provider: &str, spec: &Value) -> Vec<u8> {
    let parent = json!({
        "apiVersion": format!("{provider}.bartizan.dev/v1alpha1"), "kind": "Greeting",
        "metadata": {"name": "hello", "namespace": "default", "uid": "0", "generation": 1}, "spec": spec,
    });
    first_request(provider, &parent, &json!({"ConfigMap.v1": {}}))
}

fn children(response: &[u8]) -> Result<Value> {
    let response: ReconcileResponse = serde_json::from_slice(response)?;
    Ok(serde_json::to_value(response.children)?)
}

/// The names of a component's imports, without types.
fn imports(wasm: &[u8]) -> Result<Vec<String>> {
    let mut depth = 0;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.push(import?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[tokio::test]
async fn a_provider_in_another_language_imports_only_log_and_answers_like_rust() -> Result<()> {
    let examples = examples().await?;
    let hello = fs::read(Programs::get().await?.module(Provider::Hello)?)?;
    let spec = json!({"name": "wörld \"☃\""});
    let limits = Limits::default();
    let expected = Runtime::new(Config { concurrent_calls: 1, ..Config::default() })?.load(&hello)?;
    let expected = children(&expected.reconcile(&request("hello", &spec), &limits)?.response)?;
    ensure!(expected[0]["object"]["data"]["greeting"] == "Hello, wörld \"☃\"!", "{expected}");

    for Example { language, file, module } in examples {
        let name = language.name();
        ensure!(imports(&fs::read(file)?)? == ["bartizan:provider/log@0.1.0"], "{name} imports more");
        let manifest = module.describe(&limits)?.manifest;
        ensure!((manifest.name.as_str(), manifest.crds.len()) == (name, 1), "{manifest:?}");
        let first = module.reconcile(&request(name, &spec), &limits)?;
        ensure!(children(&first.response)? == expected, "{name}: {}", String::from_utf8_lossy(&first.response));
        let logged: Vec<_> = first.logs.iter().map(|line| (line.level, line.message.as_str())).collect();
        ensure!(logged == [(LogLevel::Debug, "greets wörld \"☃\"")], "{name}: {logged:?}");

        let refused = module.reconcile(&request(name, &json!({})), &limits).err().context("not refused")?;
        ensure!(refused.to_string() == "spec.name: is required", "{name}: {refused}");
        ensure!(matches!(&refused.fault, Fault::Failure(failure) if failure.code.as_str() == "invalid"), "{refused:?}");
        // Neither this call nor an earlier one leaves a trace.
        for _ in 0..3 {
            ensure!(module.reconcile(&request(name, &spec), &limits)? == first, "{name} answers differently");
        }
    }
    Ok(())
}

#[tokio::test]
async fn one_host_serves_providers_in_several_languages() -> Result<()> {
    let examples = examples().await?;
    if examples.is_empty() {
        return Ok(());
    }
    let stage = Stage::bare().await?;
    copy_compiled(&stage.path("compiled"))?;
    for Example { language, file, module } in examples {
        let name = language.name();
        let crd =
            json!({"apiVersion": "v1", "kind": "List", "items": module.describe(&Limits::default())?.manifest.crds});
        stage.kubectl(&["apply", "-f", "-"], &crd.to_string()).await?;
        let established = ["wait", "--for=condition=Established", "--timeout=60s"];
        let crd = format!("crd/greetings.{name}.bartizan.dev");
        stage.kubectl(&[&established[..], &[&crd]].concat(), "").await?;
        apply(&stage, &language.sources().join("rbac.yaml")).await?;
        fs::copy(file, stage.providers().join(format!("{name}.wasm")))?;
    }
    let host = stage.host().await?;
    for Example { language, .. } in examples {
        let name = language.name();
        apply(&stage, &language.sources().join("greeting.yaml")).await?;
        wait_object(stage.api::<ConfigMap>("default"), name, "the greeting", SOON, |map| {
            map.data.as_ref().and_then(|data| data.get("greeting")).is_some_and(|text| text == "Hello, world!")
        })
        .await?;
        let kind = GroupVersionKind::gvk(&format!("{name}.bartizan.dev"), "v1alpha1", "Greeting");
        let resource = ApiResource::from_gvk_with_plural(&kind, "greetings");
        let greetings = Api::default_namespaced_with(stage.cluster.client(), &resource);
        message_of(greetings, name, "Synced", "True", "Applied").await?;
    }
    host.stop().await?;
    stage.stop().await
}

/// Gives a host a cache folder with the compiled modules.
fn copy_compiled(to: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(compiled())? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

async fn apply(stage: &Stage, file: &Path) -> Result<()> {
    stage.kubectl(&["apply", "-f", file.to_str().context("a path that is not UTF-8")?], "").await?;
    Ok(())
}
