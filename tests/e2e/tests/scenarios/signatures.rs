//! Who has released a module: signatures in a registry, and artefacts that are carried from one registry to another with theirs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::digest::digest_of;
use bartizan_e2e::{Provider, SOON, Stage, apply_text, condition, greeting, message_of};
use bartizan_harness::wait::wait_object;
use bartizan_harness::{Artifact, Registry, RegistryOptions, Signer, SigningAuthority, referrers};
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

/// Pushes a module without TLS, as more says, and returns the digest of its manifest.
fn push(stage: &Stage, docker: &Path, module: &str, reference: &str, more: &[&str]) -> Result<String> {
    let (code, pushed, complaint) =
        bartizan(stage, docker, &[&["push", module, reference, "--plain-http"], more].concat())?;
    ensure!(code == Some(0), "{complaint}");
    Ok(pushed.split_once('@').context("no digest")?.1.to_owned())
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
    let manifest = push(&stage, &docker, &module, &reference, &[])?;
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
    push(&stage, &docker, &module, &reference, &["--sign", &ours])?;
    wait_text(&stage, "Hello, world!").await?;
    for key in [&our_public, &their_public] {
        let (code, _, complaint) = run(&["pull", &reference, "--plain-http", "--key", key])?;
        ensure!(code == Some(0), "{complaint}");
    }

    // A tag that moves to a module without a signature, and keys that are none: what serves serves on.
    push(&stage, &docker, &version(&stage, "Salut, ")?, &reference, &[])?;
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

/// The workflow that releases, and who vouches for it.
const WORKFLOW: Signer = Signer {
    identity: "https://forge.example.com/storage/minio/.github/workflows/release.yml@refs/tags/v1",
    issuer: "https://tokens.example.com",
    after: Duration::from_secs(30),
};

/// Uploads an artefact under a tag, or under its digest.
fn upload(registry: &Registry, repository: &str, artifact: &Artifact, tag: Option<&str>) -> Result<()> {
    for blob in &artifact.blobs {
        registry.put_blob(repository, blob)?;
    }
    let digest = digest_of(artifact.manifest.to_string().as_bytes());
    registry.put_manifest(repository, tag.unwrap_or(&digest), &artifact.manifest)
}

/// Uploads bundles for a manifest, and where they are found.
fn upload_bundles(registry: &Registry, repository: &str, digest: &str, bundles: &[Artifact]) -> Result<()> {
    for bundle in bundles {
        upload(registry, repository, bundle, None)?;
    }
    let manifests: Vec<&Value> = bundles.iter().map(|bundle| &bundle.manifest).collect();
    registry.put_manifest(repository, &digest.replace(':', "-"), &referrers(&manifests))
}

/// Waits until the Provider says that nobody who is trusted has signed its module, with this among the reasons.
async fn wait_unverified(stage: &Stage, part: &str) -> Result<()> {
    wait_object(stage.provider_objects(), "greeter", part, SOON, |object: &DynamicObject| {
        let loaded = condition(object, "Loaded").filter(|it| it["reason"] == "NotVerified");
        loaded.is_some_and(|it| it["message"].as_str().is_some_and(|text| text.contains(part)))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_module_without_a_signature_by_the_named_identity_is_refused_with_the_reason() -> Result<()> {
    let stage = Stage::bare().await?;
    let (registry, authority) = (Registry::start(RegistryOptions::default()).await?, SigningAuthority::new()?);
    let docker = docker_folder(&stage, "docker", &json!({}))?;
    let module = version(&stage, "Hello, ")?;
    let push = |name: &str| -> Result<(String, String)> {
        let reference = format!("{}/providers/{name}:1", registry.address());
        let digest = self::push(&stage, &docker, &module, &reference, &[])?;
        Ok((reference, digest))
    };
    let root = |name: &str, root: &Value| -> Result<String> {
        std::fs::write(docker.join(name), root.to_string())?;
        Ok(name.to_owned())
    };
    let ours = root("ours.json", &authority.trusted_root())?;
    let pull = |reference: &str, root: &str| {
        let who = [
            "--certificate-identity",
            WORKFLOW.identity,
            "--certificate-oidc-issuer",
            WORKFLOW.issuer,
            "--trusted-root",
            root,
        ];
        bartizan(&stage, &docker, &[&["pull", reference, "--plain-http", "-o", "pulled.wasm"], &who[..]].concat())
    };
    let refused = |reference: &str, root: &str, reason: &str| -> Result<()> {
        let (code, _, complaint) = pull(reference, root)?;
        ensure!(code == Some(1) && complaint.contains(reason), "{reason}: {code:?}: {complaint}");
        Ok(())
    };

    let (reference, digest) = push("unsigned")?;
    refused(&reference, &ours, &format!("manifest {digest} has no signatures"))?;
    // Each in its older form and as a bundle.
    let unlike = [
        (
            "identity",
            Signer { identity: "https://forge.example.com/other", ..WORKFLOW },
            "identity mismatch: expected https://forge.example.com/storage/",
        ),
        (
            "issuer",
            Signer { issuer: "https://tokens.example.org", ..WORKFLOW },
            "issuer mismatch: expected https://tokens.example.com",
        ),
        ("late", Signer { after: Duration::from_secs(3600), ..WORKFLOW }, "is in the future"),
        ("early", Signer { after: Duration::ZERO, ..WORKFLOW }, ""),
    ];
    for (name, signer, reason) in &unlike {
        let (reference, digest) = push(&format!("{name}-bundle"))?;
        upload_bundles(&registry, &format!("providers/{name}-bundle"), &digest, &[authority.bundle(signer, &digest)?])?;
        let (older, older_digest) = push(&format!("{name}-older"))?;
        let tag = format!("{}.sig", older_digest.replace(':', "-"));
        upload(&registry, &format!("providers/{name}-older"), &authority.older(signer, &older_digest)?, Some(&tag))?;
        for reference in [&reference, &older] {
            match *reason {
                // At the moment when the certificate was issued.
                "" => ensure!(pull(reference, &ours)?.0 == Some(0), "{name}"),
                reason => refused(reference, &ours, reason)?,
            }
        }
    }
    // Another authority, another log, and a log of certificates in which this one is not.
    let (reference, digest) = push("signed")?;
    let right = authority.bundle(&WORKFLOW, &digest)?;
    upload_bundles(&registry, "providers/signed", &digest, &[right])?;
    let (code, pulled, complaint) = pull(&reference, &ours)?;
    ensure!(code == Some(0) && pulled.starts_with("sha256:"), "{complaint}");
    let (mut other, theirs) = (authority.trusted_root(), SigningAuthority::new()?.trusted_root());
    other["certificateAuthorities"] = theirs["certificateAuthorities"].clone();
    refused(&reference, &root("ca.json", &other)?, "certificate chain is invalid")?;
    let mut other = authority.trusted_root();
    other["tlogs"] = theirs["tlogs"].clone();
    refused(&reference, &root("log.json", &other)?, "No log key")?;
    other["tlogs"] = json!([]);
    let (code, _, complaint) = pull(&reference, &root("no-log.json", &other)?)?;
    ensure!(code == Some(2) && complaint.contains("it names neither a log nor a time stamp authority"), "{complaint}");
    let mut other = authority.trusted_root();
    other["ctlogs"] = theirs["tlogs"].clone();
    refused(&reference, &root("certificates.json", &other)?, "signed certificate timestamp")?;

    // The signature of another manifest, one of a key, and what is damaged.
    let (reference, digest) = push("copied")?;
    let copied = authority.bundle(&WORKFLOW, &format!("sha256:{}", "0a".repeat(32)))?;
    upload_bundles(&registry, "providers/copied", &digest, &[copied])?;
    refused(&reference, &ours, "artifact hash does not match any subject")?;
    let tag = format!("{}.sig", digest.replace(':', "-"));
    upload(
        &registry,
        "providers/copied",
        &authority.older(&WORKFLOW, &format!("sha256:{}", "0a".repeat(32)))?,
        Some(&tag),
    )?;
    refused(&reference, &ours, "none of the last 2 signatures")?;
    stage.stop().await
}

#[tokio::test]
async fn a_module_is_released_by_an_identity_whose_root_is_in_a_config_map() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Hello).await?;
    let (registry, authority) = (Registry::start(RegistryOptions::default()).await?, SigningAuthority::new()?);
    let docker = docker_folder(&stage, "docker", &json!({}))?;
    let run = |arguments: &[&str]| bartizan(&stage, &docker, arguments);
    let reference = format!("{}/providers/hello:1", registry.address());
    let digest = push(&stage, &docker, &version(&stage, "Hello, ")?, &reference, &[])?;
    let other = Signer { identity: "https://forge.example.com/other", ..WORKFLOW };
    let bundles = [authority.bundle(&WORKFLOW, &digest)?, authority.bundle(&other, &digest)?];
    upload_bundles(&registry, "providers/hello", &digest, &bundles)?;
    let host = stage.host().await?;
    apply_text(&stage, &greeting("a", "world")).await?;

    let keyless = json!({
        "issuer": WORKFLOW.issuer, "identity": WORKFLOW.identity, "trustedRoot": {"configMap": {"name": "sigstore"}},
    });
    let source = |reference: &str, keyless: &Value| json!({"oci": {"reference": reference, "plainHttp": true, "verify": {"keyless": keyless}}});
    apply_provider(&stage, &source(&reference, &keyless)).await?;
    let title = "ConfigMap sigstore in namespace bartizan-system (spec.module.oci.verify.keyless.trustedRoot)";
    wait_unverified(&stage, &format!("there is no {title}")).await?;
    let config_map = |root: &str| {
        let metadata = json!({"name": "sigstore", "namespace": "bartizan-system"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"trusted_root.json": root}})
            .to_string()
    };
    apply_text(&stage, &config_map("nonsense")).await?;
    let expected = format!("{title}: trusted_root.json: it is no trusted root of Sigstore");
    wait_unverified(&stage, &expected).await?;
    apply_text(&stage, &config_map(&SigningAuthority::new()?.trusted_root().to_string())).await?;
    wait_unverified(&stage, &format!("is by {} of {}", WORKFLOW.identity, WORKFLOW.issuer)).await?;
    apply_text(&stage, &config_map(&authority.trusted_root().to_string())).await?;
    wait_text(&stage, "Hello, world!").await?;

    // To a site without a network, where registries list nothing themselves.
    let (code, saved, complaint) = run(&["save", "all.tar", &reference, "--plain-http"])?;
    ensure!(code == Some(0) && complaint.contains(": 2 signatures"), "{saved} {complaint}");
    let mirror = Registry::start(RegistryOptions::default()).await?;
    for _ in 0..2 {
        let (code, _, complaint) = run(&["load", "all.tar", "--registry", mirror.address(), "--plain-http"])?;
        ensure!(code == Some(0), "{complaint}");
    }
    drop(registry);
    let mirrored = format!("{}/providers/hello@{digest}", mirror.address());
    apply_provider(&stage, &source(&mirrored, &keyless)).await?;
    apply_text(&stage, &greeting("a", "site")).await?;
    wait_text(&stage, "Hello, site!").await?;
    message_of(stage.provider_objects(), "greeter", "Loaded", "True", "Loaded").await?;
    let stranger = json!({"issuer": WORKFLOW.issuer, "identity": "https://forge.example.com/third", "trustedRoot": keyless["trustedRoot"]});
    apply_provider(&stage, &source(&mirrored, &stranger)).await?;
    wait_unverified(&stage, "none of the last 2 signatures").await?;

    // Both at once, or neither, are refused by the API server.
    let both = json!({"oci": {"reference": mirrored, "verify": {"keyless": keyless, "keys": ["a"]}}});
    let refused = apply_provider(&stage, &both).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("exactly one of keys and keyless must be set")));
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
    let manifest = push(&stage, &docker, &version(&stage, "Hello, ")?, &hello, &["--sign", &private])?;
    push(&stage, &docker, &version(&stage, "Salut, ")?, &salut, &[])?;

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

    // The release of this version, all of it or nothing.
    let release = format!("{}/bartizan", mirror.address());
    let (code, _, complaint) = run(&["save", "release.tar", "--release", &release, "--plain-http"])?;
    ensure!(code == Some(2) && complaint.contains("/bartizan/bartizan:"), "{code:?}: {complaint}");
    let module = version(&stage, "Hello, ")?;
    for name in ["bartizan", "providers/minio", "providers/cassandra", "charts/bartizan", "charts/bartizan-crds"] {
        let reference = format!("{release}/{name}:{}", env!("CARGO_PKG_VERSION"));
        push(&stage, &docker, &module, &reference, &["--sign", &private])?;
    }
    let signed = ["save", "release.tar", "--release", &release, "--plain-http", "--key", &public];
    let (code, saved, complaint) = run(&signed)?;
    ensure!(code == Some(0) && saved.lines().count() == 5, "{saved} {complaint}");
    let (_, theirs) = pair_of_keys(&docker, "theirs")?;
    let (code, _, complaint) = run(&["save", "other.tar", "--release", &release, "--plain-http", "--key", &theirs])?;
    ensure!(code == Some(1) && complaint.contains("is by the key sha256:"), "{code:?}: {complaint}");

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
