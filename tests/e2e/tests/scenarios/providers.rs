//! The kind Provider: what the API server accepts and rejects, what the host's account may do with it, and what the
//! host does with it.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{ACCOUNT, Host, Provider, SOON, Stage, account_of, apply_text, condition, greeting, message_of};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// A Provider with every field of the spec.
fn provider() -> Value {
    json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "minio"},
        "spec": {
            "module": {"file": "minio.wasm", "digest": format!("sha256:{}", "0a".repeat(32))},
            "serviceAccountName": "provider-minio",
            "parents": [{
                "group": "minio.rook.io", "kind": "ObjectStore",
                "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]},
            }],
            "namespaces": ["default"],
            "settings": {"anything": [1, {"goes": true}]},
            "grants": {
                "children": [
                    {"group": "", "kinds": ["Secret"], "namespaces": "Parent"},
                    {"group": "apps", "kinds": ["StatefulSet"], "namespaces": ["default"]},
                ],
                "descendants": [{"group": "", "kinds": ["Pod"]}],
                "related": [{"group": "", "kinds": ["Secret"], "namespaces": "All", "access": "Plaintext"}],
                "pods": {"level": "Restricted", "serviceAccountNames": ["default"]},
            },
            "limits": {
                "timeout": "1m", "memory": "1.5Gi", "requestBytes": "8Mi", "responseBytes": "64Ki", "children": 10000,
                "concurrency": 1,
            },
            "upgrade": {"policy": "Manual", "holdOn": ["Delete", "Recreate"]},
            "onRemoval": "Release",
            "suspend": true,
        },
    })
}

#[tokio::test]
async fn the_api_server_accepts_and_prints_a_provider_and_names_invalid_fields() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/providers.bartizan.dev"], "").await?;
    let output = stage.kubectl(&["apply", "-f", "-"], &provider().to_string()).await?;
    ensure!(output == "provider.bartizan.dev/minio created\n", "{output}");
    let spec = stage.kubectl(&["get", "provider", "minio", "-o", "jsonpath={.spec}"], "").await?;
    ensure!(serde_json::from_str::<Value>(&spec)? == provider()["spec"], "not what was applied: {spec}");

    let conditions = [("Ready", "True"), ("UpgradeHeld", "False"), ("Serving", "True")].map(|(type_, status)| {
        json!({
            "type": type_, "status": status, "reason": "R", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    });
    let status = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "minio"},
        "status": {
            "observedGeneration": 1,
            "active": {"version": "0.1.0", "digest": "sha256:0a"},
            "parents": 7,
            "kinds": ["Secret", "StatefulSet.apps"],
            "conditions": conditions,
        },
    });
    // As the host writes it, with the host's rights.
    let apply = ["apply", "--server-side", "--subresource=status", "-f", "-", "--as", ACCOUNT];
    stage.kubectl(&apply, &status.to_string()).await?;
    let shown = stage.kubectl(&["get", "bartizan", "--no-headers", "-o", "wide"], "").await?;
    let columns: Vec<&str> = shown.split_whitespace().collect();
    let expected = matches!(columns.as_slice(), ["minio", "True", "0.1.0", "7", "False", _, "True", "sha256:0a"]);
    ensure!(expected, "{shown}");

    invalid_fields_are_named(&stage).await?;
    stage.stop().await
}

async fn invalid_fields_are_named(stage: &Stage) -> Result<()> {
    let parents = json!([{"group": "a.b", "kind": "C"}, {"group": "a.b", "kind": "C"}]);
    for (pointer, value, expected) in [
        ("/metadata/name", json!("a.b"), "metadata.name"),
        ("/spec/module", json!({}), "spec.module: Invalid value: exactly one of file, oci and configMap must be set"),
        (
            "/spec/module",
            json!({"file": "a.wasm", "oci": {"reference": "b"}}),
            "spec.module: Invalid value: exactly one of file, oci and configMap must be set",
        ),
        ("/spec/module/file", json!("../a.wasm"), "spec.module.file"),
        ("/spec/module/digest", json!("sha256:0"), "spec.module.digest"),
        ("/spec/parents", parents, "spec.parents[1]: Duplicate value"),
        (
            "/spec/parents/0/selector/matchExpressions/0/values",
            json!([]),
            "spec.parents[0].selector.matchExpressions[0]: Invalid value: In and NotIn need at least one value, Exists \
             and DoesNotExist take none",
        ),
        ("/spec/grants/children/0/group", json!("*"), "spec.grants.children[0].group"),
        ("/spec/grants/children/0/kinds", json!([]), "spec.grants.children[0].kinds"),
        ("/spec/grants/children/0/kinds", json!(["*"]), "spec.grants.children[0].kinds[0]"),
        ("/spec/grants/children/0/namespaces", json!("All"), "spec.grants.children[0].namespaces"),
        ("/spec/grants/children/1/namespaces", json!([]), "spec.grants.children[1].namespaces"),
        ("/spec/grants/related/0/namespaces", json!(["A"]), "spec.grants.related[0].namespaces[0]"),
        ("/spec/grants/pods/level", json!("Open"), "spec.grants.pods.level: Unsupported value: \"Open\""),
        ("/spec/limits/timeout", json!("1h"), "spec.limits.timeout"),
        (
            "/spec/limits/timeout",
            json!("1m1s"),
            "spec.limits.timeout: Invalid value: \"1m1s\": must be from 10ms to 1m",
        ),
        ("/spec/limits/memory", json!("5Gi"), "spec.limits.memory: Invalid value: \"5Gi\": must be from 1Mi to 4Gi"),
        ("/spec/limits/memory", json!("64MB"), "spec.limits.memory"),
        (
            "/spec/limits/requestBytes",
            json!("65Mi"),
            "spec.limits.requestBytes: Invalid value: \"65Mi\": must be from 64Ki to 64Mi",
        ),
        ("/spec/limits/children", json!(10_001), "spec.limits.children"),
        ("/spec/limits/concurrency", json!(0), "spec.limits.concurrency"),
        ("/spec/onRemoval", json!("Keep"), "spec.onRemoval: Unsupported value: \"Keep\""),
        ("/spec/grants/pods", json!({"levels": "Baseline"}), "unknown field \"spec.grants.pods.levels\""),
    ] {
        let mut wrong = provider();
        if let Some(field) = wrong.pointer_mut(pointer) {
            *field = value.clone();
        }
        let arguments = ["create", "--dry-run=server", "-f", "-"];
        let output = stage.kubectl_refused(&arguments, &wrong.to_string()).await?;
        ensure!(output.contains(expected), "{pointer} {value}: {output}");
    }
    Ok(())
}

#[tokio::test]
async fn the_host_may_create_providers_and_write_their_status_and_no_more() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/providers.bartizan.dev"], "").await?;
    let providers = "providers.bartizan.dev";
    let crds = "customresourcedefinitions.apiextensions.k8s.io";
    for (resource, part, may, may_not) in [
        (
            providers,
            "",
            &["get", "list", "watch", "create", "patch"][..],
            &["update", "delete", "deletecollection"][..],
        ),
        (providers, "status", &["patch"], &["get", "update"]),
        (crds, "", &["get", "list", "watch"], &["create", "update", "patch", "delete"]),
        ("ipaddresses.networking.k8s.io", "", &["get"], &["list", "watch", "update", "delete"]),
        ("events.events.k8s.io", "", &["create", "patch"], &["get", "list", "watch", "update", "delete"]),
        ("configmaps", "", &[], &["get", "list", "watch", "create", "update", "patch", "delete"]),
        ("secrets", "", &[], &["get", "list", "watch", "create", "update", "patch", "delete"]),
    ] {
        for (verb, expected) in may.iter().map(|verb| (verb, true)).chain(may_not.iter().map(|verb| (verb, false))) {
            let arguments =
                ["auth", "can-i", verb, resource, "--subresource", part, "--all-namespaces", "--as", ACCOUNT];
            let output = stage.cluster.kubectl_output(&arguments, None).await?;
            ensure!(
                output.stdout.trim() == if expected { "yes" } else { "no" },
                "{verb} {resource} {part}: {output:?}"
            );
        }
    }
    stage.stop().await
}

/// The rights of an account by its roles, as lines of `kubectl auth can-i --list`.
async fn rights(stage: &Stage, user: &str, namespace: &str) -> Result<Vec<String>> {
    let list = ["auth", "can-i", "--list", "--no-headers", "-n", namespace, "--as", user];
    let output = stage.kubectl(&list, "").await?;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    // Rights that everybody has: discovery, and questions about one's own rights.
    let own = |line: &String| {
        !line.starts_with('[') && !line.contains(".authorization.k8s.io ") && !line.contains(".authentication.k8s.io ")
    };
    let mut rights: Vec<String> = output.lines().map(words).filter(own).collect();
    rights.sort();
    Ok(rights)
}

#[tokio::test]
async fn the_accounts_of_host_and_provider_have_exactly_the_rights_they_need() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio, Provider::Hello]).await?;
    let everywhere = [
        "customresourcedefinitions.apiextensions.k8s.io [] [] [get list watch]",
        "events.events.k8s.io [] [] [create patch]",
        "ipaddresses.networking.k8s.io [] [] [get]",
        "providers.bartizan.dev [] [] [get list watch create patch]",
        "providers.bartizan.dev/status [] [] [patch]",
    ];
    for (namespace, more) in [
        ("default", &[][..]),
        ("kube-system", &[]),
        (
            "bartizan-system",
            &[
                "configmaps [] [] [get list watch]",
                "leases.coordination.k8s.io [] [] [create]",
                "leases.coordination.k8s.io [] [bartizan] [get update]",
                "secrets [] [] [create]",
                "secrets [] [bartizan-token-key] [get]",
            ],
        ),
        ("bartizan-providers", &["serviceaccounts [] [] [impersonate]"]),
    ] {
        let mut expected = [&everywhere[..], more].concat();
        expected.sort_unstable();
        let found = rights(&stage, ACCOUNT, namespace).await?;
        ensure!(found == expected, "in {namespace}: {found:#?}");
    }
    let found = rights(&stage, &account_of("hello"), "default").await?;
    let expected = [
        "configmaps [] [] [get list watch create patch delete]",
        "greetings.hello.bartizan.dev [] [] [get list watch]",
        "greetings.hello.bartizan.dev/finalizers [] [] [update]",
        "greetings.hello.bartizan.dev/status [] [] [patch]",
    ];
    ensure!(found == expected, "{found:#?}");

    // Missing rights are reported before a write fails, and it serves once they are granted.
    let host = stage.host().await?;
    let without = json!({"rules": [{"apiGroups": ["hello.bartizan.dev"], "resources": ["greetings"], "verbs": ["list", "watch"]}]});
    let role = stage.kubectl(&["get", "clusterrole", "bartizan-provider-hello", "-o", "json"], "").await?;
    let role: Value = serde_json::from_str(&role)?;
    let set = async |rules: &Value| {
        let patch = json!({"rules": rules}).to_string();
        stage.kubectl(&["patch", "clusterrole", "bartizan-provider-hello", "--type=merge", "-p", &patch], "").await
    };
    host.stop().await?;
    set(&without["rules"]).await?;
    wait_for("the API server to know it", SOON, async || {
        let found = rights(&stage, &account_of("hello"), "default").await?;
        Ok((found == ["greetings.hello.bartizan.dev [] [] [list watch]"]).then_some(()))
    })
    .await?;
    let mut host = stage.listening(stage.command()).await?;
    let expected = format!(
        "{} may not patch greetings.hello.bartizan.dev/status, get configmaps, list configmaps, watch configmaps, create \
         configmaps and 2 more; grant it (`bartizan rbac` prints what a module needs)",
        account_of("hello")
    );
    let says_so = |provider: &DynamicObject| {
        let serving = condition(provider, "Serving");
        serving.is_some_and(|serving| serving["status"] == "False" && serving["message"] == expected)
    };
    wait_object(providers(&stage), "hello", &expected, SOON, says_so).await?;
    set(&role["rules"]).await?;
    host.ready().await?;
    message_of(providers(&stage), "hello", "Serving", "True", "Serving").await?;
    host.stop().await?;
    stage.stop().await
}

fn providers(stage: &Stage) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bartizan.dev", "v1alpha1", "Provider");
    Api::all_with(stage.cluster.client(), &ApiResource::from_gvk_with_plural(&kind, "providers"))
}

/// A Provider of the hello module with these grants.
fn hello(name: &str, grants: &Value) -> Value {
    json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": name},
        "spec": {"module": {"file": "hello.wasm"}, "serviceAccountName": "provider-hello", "grants": grants},
    })
}

fn config_maps() -> Value {
    json!({"children": [{"group": "", "kinds": ["ConfigMap"]}]})
}

/// A host without `--trust-manifests`.
async fn host_without_trust(stage: &Stage) -> Result<Host> {
    let mut command = stage.plain_command();
    command.arg("--providers").arg(stage.providers());
    stage.listening(command).await
}

#[tokio::test]
async fn a_module_may_do_only_what_the_document_beside_it_grants() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let mut host = host_without_trust(&stage).await?;
    let line = host.process.wait_for_line("ERROR", SOON).await?;
    let expected = "ERROR module hello.wasm: no hello.yaml beside it declares what it may do: write one, or pass \
                    --trust-manifests, which grants every provider what its manifest asks for";
    ensure!(line.ends_with(expected), "{line}");
    host.unready("[-]providers: no module in the folder can serve; the log has the reasons\nreadyz check failed\n")
        .await?;
    host.stop().await?;

    apply_text(&stage, &greeting("hello", "world")).await?;
    let document = stage.providers().join("hello.yaml");
    std::fs::write(&document, hello("greeter", &json!({})).to_string())?;
    let host = host_without_trust(&stage).await?;
    let message = message_of(providers(&stage), "greeter", "Accepted", "False", "NotGranted").await?;
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "hello {version} asks for more than it is granted: ConfigMap is not in spec.grants.children; grant it, or use a \
         module that does not ask for it"
    );
    ensure!(message == expected, "{message}");
    message_of(providers(&stage), "greeter", "Loaded", "True", "Loaded").await?;
    message_of(providers(&stage), "greeter", "Serving", "False", "NotStarted").await?;
    host.stop().await?;

    std::fs::write(&document, hello("greeter", &config_maps()).to_string())?;
    let mut host = host_without_trust(&stage).await?;
    host.ready().await?;
    message_of(stage.greetings(), "hello", "Synced", "True", "Applied").await?;
    message_of(providers(&stage), "greeter", "Serving", "True", "Serving").await?;
    let object = providers(&stage).get("greeter").await?;
    ensure!(object.annotations()["bartizan.dev/file"] == "hello.yaml", "{object:?}");
    ensure!(object.data["status"]["kinds"] == json!(["ConfigMap"]), "{object:?}");
    ensure!(object.data["status"]["active"]["version"] == version, "{object:?}");
    let child = stage.api::<ConfigMap>("default").get("hello").await?;
    ensure!(child.labels()["bartizan.dev/provider"] == "greeter", "{child:?}");

    a_suspended_provider_is_not_called(&stage).await?;
    a_foreign_provider_object_wins_over_the_file(&stage, &host).await?;
    host.stop().await?;
    stage.stop().await
}

/// Its parents do not block it.
async fn release(stage: &Stage, name: &str) -> Result<()> {
    let release = r#"{"spec":{"onRemoval":"Release"}}"#;
    stage.kubectl(&["patch", "provider", name, "--type=merge", "-p", release], "").await?;
    Ok(())
}

async fn a_suspended_provider_is_not_called(stage: &Stage) -> Result<()> {
    let suspend = |on: bool| format!("{{\"spec\":{{\"suspend\":{on}}}}}");
    stage.kubectl(&["patch", "provider", "greeter", "--type=merge", "-p", &suspend(true)], "").await?;
    message_of(providers(stage), "greeter", "Serving", "False", "Suspended").await?;
    stage.kubectl(&["delete", "configmap", "hello"], "").await?;
    stage.kubectl(&["patch", "provider", "greeter", "--type=merge", "-p", &suspend(false)], "").await?;
    message_of(providers(stage), "greeter", "Serving", "True", "Serving").await?;
    wait_object(stage.api::<ConfigMap>("default"), "hello", "there again", SOON, |_| true).await?;
    Ok(())
}

/// The document in the folder still exists, but the object in the cluster differs.
async fn a_foreign_provider_object_wins_over_the_file(stage: &Stage, host: &Host) -> Result<()> {
    release(stage, "greeter").await?;
    stage.kubectl(&["delete", "provider", "greeter"], "").await?;
    let mut own = hello("greeter", &config_maps());
    own["spec"]["namespaces"] = json!(["elsewhere"]);
    apply_text(stage, &own.to_string()).await?;
    message_of(providers(stage), "greeter", "Serving", "True", "Serving").await?;
    ensure!(host.get("/readyz").await?.0 == 200);
    let mut second = host_without_trust(stage).await?;
    second.ready().await?;
    second.stop().await?;
    let object = providers(stage).get("greeter").await?;
    ensure!(object.data["spec"]["namespaces"] == json!(["elsewhere"]), "the file won: {object:?}");
    Ok(())
}

#[tokio::test]
async fn of_two_providers_of_a_kind_the_older_serves_and_selectors_split_it() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let host = stage.host().await?;
    message_of(providers(&stage), "hello", "Serving", "True", "Serving").await?;
    apply_text(&stage, &greeting("first", "world")).await?;
    message_of(stage.greetings(), "first", "Synced", "True", "Applied").await?;

    apply_text(&stage, &hello("younger", &config_maps()).to_string()).await?;
    let message = message_of(providers(&stage), "younger", "Accepted", "False", "Conflict").await?;
    let expected = "Greeting.hello.bartizan.dev is served by Provider hello, which is older; delete one of the two, or let them \
                    share by spec.parents' selectors";
    ensure!(message == expected, "{message}");
    message_of(providers(&stage), "younger", "Serving", "False", "Conflict").await?;

    // A mistake in the older Provider gives its parents to nobody: what served serves on.
    let digest = |digest: &Value| json!({"spec": {"module": {"digest": digest}}}).to_string();
    let wrong = digest(&json!(format!("sha256:{}", "0".repeat(64))));
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", &wrong], "").await?;
    let message = message_of(providers(&stage), "hello", "Loaded", "False", "DigestMismatch").await?;
    ensure!(message.ends_with("; version 0.1.0 keeps serving"), "{message}");
    message_of(providers(&stage), "hello", "Serving", "True", "Serving").await?;
    message_of(providers(&stage), "younger", "Serving", "False", "Conflict").await?;
    apply_text(&stage, &greeting("second", "world")).await?;
    message_of(stage.greetings(), "second", "Synced", "True", "Applied").await?;
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", &digest(&Value::Null)], "").await?;
    message_of(providers(&stage), "hello", "Loaded", "True", "Loaded").await?;

    // They split the parents by label.
    for (name, tier) in [("hello", "a"), ("younger", "b")] {
        let parents = json!({"spec": {"parents": [{
            "group": "hello.bartizan.dev", "kind": "Greeting", "selector": {"matchLabels": {"tier": tier}},
        }]}});
        stage.kubectl(&["patch", "provider", name, "--type=merge", "-p", &parents.to_string()], "").await?;
        message_of(providers(&stage), name, "Serving", "True", "Serving").await?;
    }
    for (name, tier, provider) in [("one", "a", "hello"), ("two", "b", "younger")] {
        let mut parent: Value = serde_json::from_str(&greeting(name, "world"))?;
        parent["metadata"]["labels"] = json!({"tier": tier});
        apply_text(&stage, &parent.to_string()).await?;
        let made = wait_object(stage.api::<ConfigMap>("default"), name, "made", SOON, |_| true).await?;
        ensure!(made.labels()["bartizan.dev/provider"] == provider, "{made:?}");
    }
    // A parent that none of them claims is let go of: its child stays, and is nobody's.
    let is_released = |child: &ConfigMap| !child.labels().contains_key("bartizan.dev/provider");
    wait_object(stage.api::<ConfigMap>("default"), "first", "released", SOON, is_released).await?;
    // With Release, a deleted Provider leaves its parents and their children as they are.
    release(&stage, "younger").await?;
    stage.kubectl(&["delete", "provider", "younger"], "").await?;
    wait_gone(providers(&stage), "younger", SOON).await?;
    stage.api::<ConfigMap>("default").get("two").await.context("its child went with it")?;
    host.stop().await?;
    stage.stop().await
}
