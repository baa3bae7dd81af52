//! What the API server refuses: one child by a policy or a quota, everything for lack of rights. It is reported word
//! for word, causes no hot loop, and is applied once allowed.

use std::time::Duration;

use anyhow::{Result, ensure};
use bartizan_e2e::{
    Host, Provider, SOON, Stage, account_of, apply_text, bartizan, code_and_output, condition, message_of, script,
};
use bartizan_harness::AuditRequest;
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";
/// How long the requests of a refused host are counted.
const WATCHED: Duration = Duration::from_secs(10);
/// Requests within that time: some seven attempts from the start of a backoff (0.25 s, doubled), each with a write
/// and a status.
const MOST: usize = 16;
/// What is told within that time: a status and an event of the Provider for each right that turns out to be missing (the child's, the
/// parent's status, the related object's), and an event of each of the two parents.
const MOST_TOLD: usize = 8;

fn config(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}})
}

fn script_with(name: &str, children: &Value) -> String {
    script(name, &json!({"answers": [{"answer": {"children": children}}]}))
}

async fn is_there(stage: &Stage, namespace: &str, name: &str) -> Result<bool> {
    Ok(stage.api::<ConfigMap>(namespace).get_opt(name).await?.is_some())
}

/// Requests of the host about parents and children except watches, within that time. What it says of them on the Provider is a status and
/// an event for each change.
async fn requests(stage: &Stage) -> Result<usize> {
    let mark = stage.mark()?;
    tokio::time::sleep(WATCHED).await;
    let requests = stage.requests_since(mark)?;
    let of_provider = |request: &&AuditRequest| ["providers", "events"].contains(&request.resource.as_str());
    let (told, others): (Vec<_>, Vec<_>) = requests.iter().filter(|request| !request.is_watch()).partition(of_provider);
    let shown = |requests: &[&AuditRequest]| {
        let lines: Vec<String> =
            requests.iter().map(|it| format!("{} {} {} {:?}", it.time, it.verb, it.uri, it.code)).collect();
        lines.join("\n")
    };
    ensure!(told.len() <= MOST_TOLD, "{} requests in {WATCHED:?}:\n{}", told.len(), shown(&told));
    ensure!(others.len() <= MOST, "{} requests in {WATCHED:?}:\n{}", others.len(), shown(&others));
    Ok(others.len())
}

#[tokio::test]
async fn a_refused_child_stops_later_waves_but_not_its_siblings() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    a_policy_that_rejects_one_child(&stage).await?;
    a_quota_that_rejects_one_child(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

/// A policy in the API server refuses as a webhook does.
async fn a_policy_that_rejects_one_child(stage: &Stage) -> Result<()> {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no-evil"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]},
            ]},
            "validations": [{"expression": "!has(object.data) || !('text' in object.data) || object.data.text != 'evil'",
                "message": "no evil here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-evil"},
        "spec": {"policyName": "no-evil", "validationActions": ["Deny"]},
    });
    apply_text(stage, &policy.to_string()).await?;
    apply_text(stage, &binding.to_string()).await?;
    let evil = config("evil-probe", "evil").to_string();
    wait_for("the policy to be in force", SOON, async || {
        let output = stage.cluster.kubectl_output(&["apply", "--dry-run=server", "-f", "-"], Some(&evil)).await?;
        Ok((output.code != Some(0)).then_some(()))
    })
    .await?;

    let children = json!([
        {"object": config("policy-first", "good")}, {"object": config("policy-evil", "evil")},
        {"object": config("policy-third", "good")}, {"object": config("policy-later", "good"), "wave": 1},
    ]);
    apply_text(stage, &script_with("policy", &children)).await?;
    let message = message_of(stage.scripts(NS), "policy", "Synced", "False", "ApplyRefused").await?;
    let expected = "ConfigMap default/policy-evil could not be written: configmaps \"policy-evil\" is forbidden: \
                    ValidatingAdmissionPolicy 'no-evil' with binding 'no-evil' denied request: no evil here";
    ensure!(message == expected, "{message}");
    message_of(stage.scripts(NS), "policy", "Reconciling", "True", "ApplyRefused").await?;
    for sibling in ["policy-first", "policy-third"] {
        ensure!(is_there(stage, NS, sibling).await?, "{sibling} had to wait for its sibling");
    }
    ensure!(!is_there(stage, NS, "policy-later").await?, "the next wave was written");
    let count = requests(stage).await?;
    eprintln!("refused by a policy: {count} requests in {WATCHED:?}");

    stage.kubectl(&["delete", "validatingadmissionpolicybinding", "no-evil"], "").await?;
    stage.kubectl(&["delete", "validatingadmissionpolicy", "no-evil"], "").await?;
    message_of(stage.scripts(NS), "policy", "Synced", "True", "Applied").await?;
    ensure!(is_there(stage, NS, "policy-evil").await? && is_there(stage, NS, "policy-later").await?);
    stage.kubectl(&["delete", "script", "policy"], "").await?;
    Ok(())
}

async fn a_quota_that_rejects_one_child(stage: &Stage) -> Result<()> {
    stage.kubectl(&["create", "namespace", "limited"], "").await?;
    // One exists already: every namespace has the cluster's CA certificate.
    let quota = |most: &str| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "limited"},
            "spec": {"hard": {"count/configmaps": most}},
        })
        .to_string()
    };
    apply_text(stage, &quota("2")).await?;
    let counted = |quota: &ResourceQuota| {
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        used.and_then(|used| used.get("count/configmaps")).is_some_and(|used| used.0 == "1")
    };
    wait_object(stage.api::<ResourceQuota>("limited"), "few", "1 of 2 used", SOON, counted).await?;
    let children = json!([{"object": config("first", "")}, {"object": config("second", ""), "wave": 1}]);
    apply_text(stage, &script_with("limited/quota", &children)).await?;
    let message = message_of(stage.scripts("limited"), "quota", "Synced", "False", "Forbidden").await?;
    let expected = "ConfigMap limited/second could not be written: configmaps \"second\" is forbidden: exceeded quota: few, \
                    requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2";
    ensure!(message == expected, "{message}");
    ensure!(is_there(stage, "limited", "first").await?, "the first one had room");
    let count = requests(stage).await?;
    eprintln!("refused by a quota: {count} requests in {WATCHED:?}");

    apply_text(stage, &quota("3")).await?;
    message_of(stage.scripts("limited"), "quota", "Synced", "True", "Applied").await?;
    ensure!(is_there(stage, "limited", "second").await?);
    stage.kubectl(&["delete", "namespace", "limited"], "").await?;
    Ok(())
}

#[tokio::test]
async fn revoked_rights_are_reported_without_noise_and_used_once_restored() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut host = stage.host().await?;
    let child = |text: &str| json!([{"object": config("ruled", text)}]);
    apply_text(&stage, &script_with("ruled", &child("one"))).await?;
    message_of(stage.scripts(NS), "ruled", "Synced", "True", "Applied").await?;
    a_forbidden_write_is_reported(&stage, &child("two")).await?;
    a_related_object_that_cannot_be_read_is_reported(&stage).await?;
    without_any_rights_nothing_is_reported_and_nothing_lost(&stage, &mut host, &child("three")).await?;
    host.stop().await?;
    stage.stop().await
}

/// A ClusterRole that reads Secrets reads the host's own. Whoever wants that says so; Roles in the namespaces that are served avoid it.
#[tokio::test]
async fn a_provider_whose_account_can_read_the_hosts_secrets_is_not_accepted_unless_that_is_said() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::Scripted).await?;
    stage.add_module(Provider::Scripted).await?;
    let document = |more: &Value| {
        let mut document = json!({
            "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "scripted"},
            "spec": {
                "module": {"file": "scripted.wasm"},
                "grants": {
                    "children": [
                        {"group": "", "kinds": ["ConfigMap", "Secret", "Service"]}, {"group": "apps", "kinds": ["StatefulSet"]},
                    ],
                    "descendants": [{"group": "", "kinds": ["Pod", "PersistentVolumeClaim"]}],
                    "related": [{"group": "", "kinds": ["ConfigMap", "Secret"]}],
                },
            },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            document["spec"][field] = value.clone();
        }
        document.to_string()
    };
    let mut command = stage.plain_command();
    command.arg("--providers").arg(stage.providers());
    let host = stage.listening(command).await?;
    apply_text(&stage, &document(&json!({}))).await?;
    let message = message_of(stage.provider_objects(), "scripted", "Accepted", "False", "CanReadHost").await?;
    let expected = format!(
        "{} may get Secrets in bartizan-system, the host's own namespace, which hold the key of all secret values: give it its rights \
         in the namespaces that it serves (spec.namespaces; bartizan rbac -f prints Roles for them), or say spec.allowHostSecrets",
        account_of("scripted")
    );
    ensure!(message == expected, "{message}");
    message_of(stage.provider_objects(), "scripted", "Serving", "False", "NotStarted").await?;
    message_of(stage.provider_objects(), "scripted", "Ready", "False", "CanReadHost").await?;
    apply_text(&stage, &script_with("one", &json!([{"object": config("one", "")}]))).await?;
    ensure!(!is_there(&stage, NS, "one").await?, "it was written");
    // One that never served can always be deleted.
    stage.kubectl(&["delete", "provider", "scripted", "--timeout=60s"], "").await?;

    // What is printed for such a Provider avoids it, and says how it does not.
    let file = stage.path("provider.yaml");
    let module = stage.module(Provider::Scripted)?;
    let printed = |more: &Value| {
        std::fs::write(&file, document(more))?;
        let arguments = ["rbac", &module.to_string_lossy(), "-f", &file.to_string_lossy()];
        anyhow::Ok(code_and_output(&bartizan(&stage, &arguments)?))
    };
    let (code, _, errors) = printed(&json!({}))?;
    ensure!(code == Some(2) && errors.contains("spec.allowHostSecrets"), "{code:?}: {errors}");
    stage.kubectl(&["delete", "clusterrolebinding", "bartizan-provider-scripted"], "").await?;
    let narrow = json!({"namespaces": [NS]});
    let (code, roles, errors) = printed(&narrow)?;
    ensure!(code == Some(0), "{code:?}: {errors}");
    apply_text(&stage, &roles).await?;
    apply_text(&stage, &document(&narrow)).await?;
    message_of(stage.provider_objects(), "scripted", "Serving", "True", "Serving").await?;
    message_of(stage.scripts(NS), "one", "Synced", "True", "Applied").await?;

    // A right that is given while it serves counts from the next start: it has been seen to be right once.
    let wide = json!({"namespaces": [NS], "allowHostSecrets": true});
    let rights = ["create", "clusterrole", "wide", "--verb=list", "--resource=secrets"];
    stage.kubectl(&rights, "").await?;
    let account = "--serviceaccount=bartizan-providers:provider-scripted";
    stage.kubectl(&["create", "clusterrolebinding", "wide", "--clusterrole=wide", account], "").await?;
    until_allowed(&stage, "list", "secrets", true).await?;
    apply_text(&stage, &document(&json!({"namespaces": [NS], "limits": {"children": 7}}))).await?;
    let message = message_of(stage.provider_objects(), "scripted", "Accepted", "False", "CanReadHost").await?;
    ensure!(message.contains("may list Secrets in bartizan-system"), "{message}");
    ensure!(is_there(&stage, NS, "one").await?, "what is there stays");
    apply_text(&stage, &document(&wide)).await?;
    message_of(stage.provider_objects(), "scripted", "Serving", "True", "Serving").await?;
    host.stop().await?;
    stage.stop().await
}

/// Waits until the API server answers so whether the provider may do this.
async fn until_allowed(stage: &Stage, verb: &str, resource: &str, allowed: bool) -> Result<()> {
    let user = format!("--as={}", account_of("scripted"));
    let expected = if allowed { "yes" } else { "no" };
    wait_for(&format!("{verb} {resource}: {expected}"), SOON, async || {
        let answer = stage.cluster.kubectl_output(&["auth", "can-i", verb, resource, "-n", NS, &user], None).await?;
        Ok((answer.stdout.trim() == expected).then_some(()))
    })
    .await
}

async fn wait_text(stage: &Stage, text: &str) -> Result<()> {
    let has = |child: &ConfigMap| child.data.as_ref().is_some_and(|data| data["text"] == text);
    wait_object(stage.api::<ConfigMap>(NS), "ruled", text, SOON, has).await?;
    message_of(stage.scripts(NS), "ruled", "Synced", "True", "Applied").await?;
    Ok(())
}

/// Takes the rules about this resource from the role of the provider, and returns all that it had.
async fn revoke(stage: &Stage, resource: &str) -> Result<Value> {
    let role = stage.kubectl(&["get", "clusterrole", "bartizan-provider-scripted", "-o", "json"], "").await?;
    let mut role: Value = serde_json::from_str(&role)?;
    let before = role["rules"].clone();
    for names in role["rules"].as_array_mut().into_iter().flatten().filter_map(|rule| rule["resources"].as_array_mut())
    {
        names.retain(|name| name != resource);
    }
    if let Some(rules) = role["rules"].as_array_mut() {
        rules.retain(|rule| rule["resources"].as_array().is_some_and(|names| !names.is_empty()));
    }
    set_rules(stage, &role["rules"]).await?;
    Ok(before)
}

async fn set_rules(stage: &Stage, rules: &Value) -> Result<()> {
    let patch = json!({"rules": rules}).to_string();
    let arguments = ["patch", "clusterrole", "bartizan-provider-scripted", "--type=merge", "-p", &patch];
    stage.kubectl(&arguments, "").await.map(drop)
}

/// The right to write children is revoked; the status can still be written.
async fn a_forbidden_write_is_reported(stage: &Stage, child: &Value) -> Result<()> {
    let rules = revoke(stage, "configmaps").await?;
    until_allowed(stage, "patch", "configmaps", false).await?;
    apply_text(stage, &script_with("ruled", child)).await?;
    let message = message_of(stage.scripts(NS), "ruled", "Synced", "False", "Forbidden").await?;
    let expected = format!(
        "ConfigMap default/ruled could not be written: configmaps \"ruled\" is forbidden: User \"{}\" cannot patch \
         resource \"configmaps\" in API group \"\" in the namespace \"default\"; grant it to that account",
        account_of("scripted")
    );
    ensure!(message == expected, "{message}");
    let message = message_of(stage.provider_objects(), "scripted", "Serving", "False", "Forbidden").await?;
    let expected = "the account of the provider lacks a right that 1 parent needs; Script default/ruled: configmaps \"ruled\" is \
                    forbidden: User ";
    ensure!(message.starts_with(expected) && message.contains("cannot patch resource"), "{message}");
    let count = requests(stage).await?;
    eprintln!("without the right to write a child: {count} requests in {WATCHED:?}");
    set_rules(stage, &rules).await?;
    wait_text(stage, "two").await?;
    message_of(stage.provider_objects(), "scripted", "Serving", "True", "Serving").await.map(drop)
}

/// The right to read a kind is revoked while a watch of it is open: that says nothing.
async fn a_related_object_that_cannot_be_read_is_reported(stage: &Stage) -> Result<()> {
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}).to_string();
    let reader = |name: &str| {
        let related = json!([{"apiVersion": "v1", "kind": "Secret", "names": [name]}]);
        let answer = json!({"related": related, "children": [{"object": config("reader", name)}]});
        script("reader", &json!({"answers": [{"answer": answer}]}))
    };
    apply_text(stage, &secret("first")).await?;
    apply_text(stage, &reader("first")).await?;
    message_of(stage.scripts(NS), "reader", "Synced", "True", "Applied").await?;
    let rules = revoke(stage, "secrets").await?;
    until_allowed(stage, "list", "secrets", false).await?;
    apply_text(stage, &reader("second")).await?;
    let message = message_of(stage.scripts(NS), "reader", "Synced", "False", "ReadFailed").await?;
    let expected = format!(
        "related objects cannot be read: secrets \"second\" is forbidden: User \"{}\" cannot list resource \"secrets\" in API group \
         \"\" in the namespace \"{NS}\"; grant it to that account",
        account_of("scripted")
    );
    ensure!(message == expected, "{message}");
    let count = requests(stage).await?;
    eprintln!("without the right to read a related object: {count} requests in {WATCHED:?}");
    ensure!(count > 0, "nothing is tried again");
    // Whoever removes the reference is served at once.
    apply_text(stage, &script_with("reader", &json!([{"object": config("reader", "none")}]))).await?;
    message_of(stage.scripts(NS), "reader", "Synced", "True", "Applied").await?;
    apply_text(stage, &reader("second")).await?;
    message_of(stage.scripts(NS), "reader", "Synced", "False", "ReadFailed").await?;
    set_rules(stage, &rules).await?;
    message_of(stage.scripts(NS), "reader", "Synced", "True", "Applied").await?;
    Ok(())
}

/// All rights of the provider are revoked, the one to write its status included.
async fn without_any_rights_nothing_is_reported_and_nothing_lost(
    stage: &Stage,
    host: &mut Host,
    child: &Value,
) -> Result<()> {
    let binding = ["get", "clusterrolebinding", "bartizan-provider-scripted", "-o", "json"];
    let mut binding: Value = serde_json::from_str(&stage.kubectl(&binding, "").await?)?;
    binding["metadata"] = json!({"name": "bartizan-provider-scripted"});
    stage.kubectl(&["delete", "clusterrolebinding", "bartizan-provider-scripted"], "").await?;
    until_allowed(stage, "patch", "scripts.test.bartizan.dev", false).await?;
    apply_text(stage, &script_with("ruled", child)).await?;
    let count = requests(stage).await?;
    eprintln!("without any right: {count} requests in {WATCHED:?}");
    ensure!(count > 0, "nothing is tried again");
    let parent = stage.scripts(NS).get("ruled").await?;
    ensure!(synced(&parent).is_none(), "who wrote this status? {:?}", parent.data);
    let log = host.process.lines();
    let expected = "ConfigMap default/ruled could not be written: configmaps \"ruled\" is forbidden: User ";
    ensure!(log.iter().any(|line| line.contains(expected)), "the log does not say what is missing");

    apply_text(stage, &binding.to_string()).await?;
    until_allowed(stage, "patch", "scripts.test.bartizan.dev", true).await?;
    wait_text(stage, "three").await?;
    host.ready().await?;
    Ok(())
}

/// The message of the condition about the newest generation.
fn synced(parent: &DynamicObject) -> Option<&Value> {
    condition(parent, "Synced")
}
