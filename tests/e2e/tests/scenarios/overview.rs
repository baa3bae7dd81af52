//! What an administrator sees at a glance: `bartizan status`, `bartizan tree`, and `bartizan explain` of what no host knows.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{NAMESPACE, Provider, SOON, Stage, apply_text, bartizan, code_and_output, message_of, script};
use bartizan_harness::wait::wait_for;
use serde_json::{Value, json};

const NS: &str = "default";

/// Runs a command as an administrator.
fn run(stage: &Stage, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let kubeconfig = stage.cluster.admin_kubeconfig().to_str().context("a path that is not UTF-8")?;
    Ok(code_and_output(&bartizan(stage, &[arguments, &["--kubeconfig", kubeconfig]].concat())?))
}

fn with_child(name: &str) -> Result<String> {
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    Ok(script(name, &json!({"answers": [{"answer": {"children": [{"object": config}]}}]})))
}

#[tokio::test]
async fn status_shows_who_works_what_is_served_and_what_needs_attention() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    // The API server may need a moment until it serves Providers.
    wait_for("a status that nobody works", SOON, async || {
        let (code, text, _) = run(&stage, &["status"])?;
        let says = |part: &str| text.contains(part);
        let expected = says("lease: nobody holds") && says("no host works: parents are not served until one does");
        Ok((code == Some(1) && expected).then_some(()))
    })
    .await?;

    let host = stage.host().await?;
    let server = format!("http://{}", host.address);
    apply_text(&stage, &with_child("fine")?).await?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}});
    apply_text(&stage, &script("refused", &json!({"answers": [{"answer": {"children": [{"object": node}]}}]}))).await?;
    message_of(stage.scripts(NS), "fine", "Synced", "True", "Applied").await?;
    let refusal = message_of(stage.scripts(NS), "refused", "Synced", "False", "Refused").await?;
    let (code, text, errors) = run(&stage, &["status", "--server", &server])?;
    ensure!(code == Some(1) && errors.is_empty(), "{text}{errors}");
    ensure!(text.starts_with("lease: held by "), "{text}");
    let row = text.lines().find(|line| line.starts_with("scripted ")).context(text.clone())?;
    ensure!(row.contains(" True ") && row.ends_with("1 Applied, 1 Refused") && !row.contains("<none>"), "{row}");
    let line = format!("  Script.test.bartizan.dev {NS}/refused: Synced=False Refused: {refusal}");
    ensure!(text.ends_with(&format!("Needs attention (1):\n{line}")), "{text}");
    let (_, text, _) = run(&stage, &["status", "--server", &server, "-o", "json"])?;
    let found: Value = serde_json::from_str(&text)?;
    ensure!(found["attention"][0]["message"] == refusal && found["providers"][0]["queue"].is_u64(), "{found}");

    stage.kubectl(&["delete", "script", "refused"], "").await?;
    wait_for("nothing to need attention", SOON, async || {
        let (code, text, _) = run(&stage, &["status", "--server", &server])?;
        Ok((code == Some(0) && text.ends_with("Nothing needs attention.")).then_some(()))
    })
    .await?;
    // Without the host, what the API server knows is shown all the same.
    let (code, text, _) = run(&stage, &["status"])?;
    ensure!(code == Some(0) && text.contains("queues and watches are not known: no running pod"), "{text}");
    tree_shows_what_belongs_to_a_parent(&stage).await?;
    explain_tells_apart_why_there_is_nothing_to_explain(&stage, &server).await?;
    diff_tells_a_provider_that_does_not_exist_from_one_without_a_new_version(&stage, &server)?;
    host.stop().await?;
    let (code, text, _) = run(&stage, &["status"])?;
    ensure!(code == Some(1) && text.contains("nobody holds"), "{text}");
    stage.stop().await
}

async fn tree_shows_what_belongs_to_a_parent(stage: &Stage) -> Result<()> {
    let expected = "Script/fine                                  Synced=True\n└─ ConfigMap/fine";
    let (code, text, errors) = run(stage, &["tree", "script/fine", "-n", NS])?;
    ensure!(code == Some(0) && text == expected, "{text}{errors}");
    // Somebody who may not see Providers sees as much.
    for arguments in [
        &["create", "serviceaccount", "tenant", "-n", NS][..],
        &[
            "create",
            "role",
            "tenant",
            "-n",
            NS,
            "--verb=get,list",
            "--resource=configmaps,pods,scripts.test.bartizan.dev",
        ],
        &["create", "rolebinding", "tenant", "-n", NS, "--role=tenant", "--serviceaccount=default:tenant"],
    ] {
        stage.kubectl(arguments, "").await?;
    }
    let tenant = stage.cluster.kubeconfig_for_service_account(NS, "tenant").await?;
    let tenant = tenant.to_str().context("a path that is not UTF-8")?;
    let output = bartizan(stage, &["tree", "scripts.test.bartizan.dev/fine", "-n", NS, "--kubeconfig", tenant])?;
    let (code, text, errors) = code_and_output(&output);
    ensure!(code == Some(0) && text == expected, "{text}{errors}");

    let (code, _, errors) = run(stage, &["tree", "script/nobody", "-n", NS])?;
    ensure!(code == Some(1) && errors == "there is no script nobody in namespace default", "{errors}");
    let (code, _, errors) = run(stage, &["tree", "nothing/x"])?;
    ensure!(
        code == Some(2) && errors.ends_with("the API server serves no kind that is called \"nothing\""),
        "{errors}"
    );
    Ok(())
}

fn diff_tells_a_provider_that_does_not_exist_from_one_without_a_new_version(stage: &Stage, server: &str) -> Result<()> {
    let (code, _, errors) = run(stage, &["diff", "provider/scripted", "--server", server])?;
    ensure!(code == Some(0) && errors == "provider/scripted: no version waits", "{errors}");
    let (code, _, errors) = run(stage, &["diff", "provider/nobody", "--server", server])?;
    let expected = "error: provider/nobody: providers.bartizan.dev \"nobody\" not found";
    ensure!(code == Some(2) && errors == expected, "{errors}");
    Ok(())
}

async fn explain_tells_apart_why_there_is_nothing_to_explain(stage: &Stage, server: &str) -> Result<()> {
    let ask = |parent: &str, namespace: &str| run(stage, &["explain", parent, "-n", namespace, "--server", server]);
    let (code, text, errors) = ask("scripts/fine", NS)?;
    ensure!(code == Some(0) && text.starts_with("Script.test.bartizan.dev default/fine"), "{text}{errors}");
    let (code, _, errors) = ask("stor/fine", NS)?;
    ensure!(code == Some(2) && errors.contains("serves no kind that is called \"stor\""), "{errors}");
    let (code, _, errors) = ask("script/fine", NAMESPACE)?;
    let expected =
        "there is no Script.test.bartizan.dev fine in namespace bartizan-system; there is one in namespace default";
    ensure!(code == Some(1) && errors == expected, "{errors}");
    // A short name, of a kind that no Provider claims.
    let (code, _, errors) = ask("cm/fine", NS)?;
    let expected = "no Provider claims ConfigMap fine in namespace default: see kubectl get providers";
    ensure!(code == Some(1) && errors == expected, "{errors}");
    Ok(())
}
