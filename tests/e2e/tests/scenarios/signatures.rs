//! Who has released a module: signatures in a registry, and artefacts that are carried from one registry to another with theirs.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, condition, greeting, message_of};
use bartizan_harness::wait::wait_object;
use bartizan_harness::{Registry, RegistryOptions};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::registry::{apply_provider, bartizan, docker_folder, version, wait_load_failure, wait_text};

/// A pair of keys of ECDSA on P-256, in files of this folder: the paths of the private and of the public one.
fn pair_of_keys(folder: &Path, name: &str) -> Result<(String, String)> {
    let key = rcgen::KeyPair::generate()?;
    let path = |ending: &str| folder.join(format!("{name}.{ending}")).to_string_lossy().into_owned();
    let files = (path("key"), path("pub"));
    std::fs::write(&files.0, key.serialize_pem())?;
    std::fs::write(&files.1, key.public_key_pem())?;
    Ok(files)
}

#[tokio::test]
async fn a_module_that_no_named_key_has_signed_is_refused_by_name() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let registry = Registry::start(RegistryOptions::default()).await?;
    let docker = docker_folder(&stage, "docker", &json!({}))?;
    let reference = format!("{}/providers/hello:1", registry.address());
    let run = |arguments: &[&str]| bartizan(&stage, &docker, arguments);
    let module = version(&stage, "Hello, ")?;
    let ((ours, our_public), (theirs, their_public)) =
        (pair_of_keys(&docker, "ours")?, pair_of_keys(&docker, "theirs")?);
    let host = stage.host().await?;
    let source = |keys: &[&str]| -> Result<Value> {
        let keys = keys.iter().map(std::fs::read_to_string).collect::<std::io::Result<Vec<_>>>()?;
        Ok(json!({"oci": {"reference": reference, "plainHttp": true, "verify": {"keys": keys}}}))
    };
    apply_text(&stage, &greeting("a", "world")).await?;

    // Without a signature, and with that of somebody else.
    let (code, pushed, complaint) = run(&["push", &module, &reference, "--plain-http"])?;
    ensure!(code == Some(0), "{complaint}");
    let manifest = pushed.split_once('@').context("no digest")?.1.to_owned();
    apply_provider(&stage, &source(&[&our_public])?).await?;
    let unsigned =
        format!("{reference}: manifest {manifest} has no signatures; sign it (bartizan push --sign, cosign sign)");
    wait_load_failure(&stage, "NotVerified", &unsigned).await?;
    let (code, _, complaint) = run(&["push", &module, &reference, "--plain-http", "--sign", &theirs])?;
    let fingerprint = complaint.rsplit(' ').next().unwrap_or_default().to_owned();
    ensure!(code == Some(0) && fingerprint.starts_with("sha256:"), "{complaint}");
    let message = message_of(stage.provider_objects(), "greeter", "Loaded", "False", "NotVerified");
    ensure!(message.await?.contains(&manifest));
    let (code, _, complaint) = run(&["pull", &reference, "--plain-http", "--key", &our_public])?;
    let other = format!("{reference}: none of the last 1 signatures of manifest {manifest} is by the key sha256:");
    ensure!(code == Some(1) && complaint.contains(&other), "{code:?}: {complaint}");
    ensure!(stage.api::<ConfigMap>("default").get_opt("a").await?.is_none(), "it serves");

    // A pin is no signature, also where another Provider has the module at hand.
    let digest = run(&["pull", &reference, "--plain-http", "-o", "pinned.wasm"])?.1;
    let mut pinned = source(&[&our_public])?;
    pinned["digest"] = digest.clone().into();
    let other = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "careless"},
        "spec": {
            "module": {"oci": {"reference": reference, "plainHttp": true}, "digest": digest},
            "serviceAccountName": "provider-hello", "grants": {"children": [{"group": "", "kinds": ["ConfigMap"]}]},
            "namespaces": ["elsewhere"],
        },
    });
    apply_text(&stage, &other.to_string()).await?;
    message_of(stage.provider_objects(), "careless", "Loaded", "True", "Loaded").await?;
    apply_provider(&stage, &pinned).await?;
    message_of(stage.provider_objects(), "greeter", "Loaded", "False", "NotVerified").await?;
    stage.kubectl(&["delete", "provider", "careless", "--timeout=60s"], "").await?;

    // Ours beside theirs: both count.
    let (code, _, complaint) = run(&["push", &module, &reference, "--plain-http", "--sign", &ours])?;
    ensure!(code == Some(0), "{complaint}");
    wait_text(&stage, "Hello, world!").await?;
    for key in [&our_public, &their_public] {
        let (code, _, complaint) = run(&["pull", &reference, "--plain-http", "--key", key])?;
        ensure!(code == Some(0), "{complaint}");
    }

    // A tag that moves to a module without a signature, and keys that are none: what serves serves on.
    let (code, _, complaint) = run(&["push", &version(&stage, "Salut, ")?, &reference, "--plain-http"])?;
    ensure!(code == Some(0), "{complaint}");
    apply_provider(&stage, &source(&[&their_public])?).await?;
    message_of(stage.provider_objects(), "greeter", "Loaded", "False", "NotVerified").await?;
    let nonsense = json!({"oci": {"reference": reference, "plainHttp": true, "verify": {"keys": ["nonsense"]}}});
    apply_provider(&stage, &nonsense).await?;
    let expected = "spec.module.oci.verify.keys[0]: it is no public key of ECDSA on P-256 in PEM, as `cosign public-key` prints it";
    wait_object(stage.provider_objects(), "greeter", expected, SOON, |object: &DynamicObject| {
        condition(object, "Loaded").is_some_and(|it| it["message"].as_str().is_some_and(|text| text.contains(expected)))
    })
    .await?;
    apply_text(&stage, &greeting("a", "all")).await?;
    wait_text(&stage, "Hello, all!").await?;
    let (code, _, complaint) = run(&["push", &module, &reference, "--plain-http", "--sign", &our_public])?;
    let expected = format!("error: --sign {our_public}: it is no private key of ECDSA on P-256 in PEM");
    ensure!(code == Some(2) && complaint.starts_with(&expected), "{code:?}: {complaint}");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn what_was_saved_is_loaded_elsewhere_with_its_digests_and_signatures() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let registry = Registry::start(RegistryOptions::default()).await?;
    let docker = docker_folder(&stage, "docker", &json!({}))?;
    let run = |arguments: &[&str]| bartizan(&stage, &docker, arguments);
    let (private, public) = pair_of_keys(&docker, "ours")?;
    let (hello, salut) =
        (format!("{}/providers/hello:1", registry.address()), format!("{}/other/salut:2", registry.address()));
    let (code, pushed, complaint) =
        run(&["push", &version(&stage, "Hello, ")?, &hello, "--plain-http", "--sign", &private])?;
    ensure!(code == Some(0), "{complaint}");
    let manifest = pushed.split_once('@').context("no digest")?.1.to_owned();
    ensure!(run(&["push", &version(&stage, "Salut, ")?, &salut, "--plain-http"])?.0 == Some(0));

    // Whole or not at all.
    let none = format!("{}/providers/none:1", registry.address());
    let (code, _, complaint) = run(&["save", "all.tar", &hello, &none, "--plain-http"])?;
    ensure!(code == Some(2) && complaint.contains("does not exist in the registry"), "{code:?}: {complaint}");
    ensure!(
        !std::fs::read_dir(&docker)?.any(|entry| entry.is_ok_and(|it| it.path().to_string_lossy().contains("tar")))
    );
    let (code, saved, complaint) = run(&["save", "all.tar", &hello, &salut, "--plain-http"])?;
    ensure!(code == Some(0) && saved.lines().count() == 2 && saved.contains(&manifest), "{saved} {complaint}");
    drop(registry);

    let mirror = Registry::start(RegistryOptions::default()).await?;
    let (code, loaded, complaint) = run(&["load", "all.tar", "--registry", mirror.address(), "--plain-http"])?;
    ensure!(code == Some(0) && loaded.lines().count() == 3, "two modules and a signature: {loaded} {complaint}");
    let reference = format!("{}/providers/hello@{manifest}", mirror.address());
    ensure!(loaded.contains(&reference), "{loaded}");
    let host = stage.host().await?;
    let verify = json!({"keys": [std::fs::read_to_string(&public)?]});
    apply_provider(&stage, &json!({"oci": {"reference": reference, "plainHttp": true, "verify": verify}})).await?;
    apply_text(&stage, &greeting("a", "world")).await?;
    wait_text(&stage, "Hello, world!").await?;
    let salut = format!("{}/other/salut:2", mirror.address());
    ensure!(run(&["pull", &salut, "--plain-http", "-o", "salut.wasm"])?.0 == Some(0));
    let (code, _, complaint) = run(&["pull", &salut, "--plain-http", "--key", &public])?;
    ensure!(code == Some(1) && complaint.contains("has no signatures"), "{code:?}: {complaint}");

    // A damaged file is noticed before its manifest is pushed.
    let file = docker.join("all.tar");
    let mut bytes = std::fs::read(&file)?;
    let at = bytes.windows(4).position(|four| four == b"\0asm").context("no module")?;
    bytes[at + 100] ^= 1;
    std::fs::write(&file, bytes)?;
    let empty = Registry::start(RegistryOptions::default()).await?;
    let (code, _, complaint) = run(&["load", "all.tar", "--registry", empty.address(), "--plain-http"])?;
    ensure!(code == Some(2) && complaint.contains("is damaged"), "{code:?}: {complaint}");
    let (code, _, complaint) = run(&["load", "config.json", "--registry", empty.address()])?;
    ensure!(code == Some(2) && complaint.starts_with("error: config.json: "), "{code:?}: {complaint}");
    host.stop().await?;
    stage.stop().await
}
