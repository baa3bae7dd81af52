//! Who is shown what by the host over HTTP: those who prove who they are, what they may get.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, bartizan, code_and_output, message_of, script};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::wait_for;
use serde_json::json;

const NS: &str = "default";
const PATHS: [&str; 3] = [
    "/debug/explain?kind=script&namespace=default&name=one",
    "/debug/upgrade?provider=scripted",
    "/debug/handover?provider=scripted&kind=script&namespace=default&name=one",
];

async fn served() -> Result<(Stage, Host)> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child"}});
    apply_text(&stage, &script("one", &json!({"answers": [{"answer": {"children": [{"object": child}]}}]}))).await?;
    message_of(stage.scripts(NS), "one", "Synced", "True", "Applied").await?;
    Ok((stage, host))
}

/// A token of the ServiceAccount "viewer".
async fn token(stage: &Stage, more: &[&str]) -> Result<String> {
    let token = stage.kubectl(&[&["create", "token", "viewer"], more].concat(), "").await?;
    Ok(format!("Bearer {}", token.trim()))
}

async fn refused(host: &Host, credential: &str, code: u16, with: &str) -> Result<()> {
    for path in PATHS {
        let answer = host.get_as(path, credential).await?;
        ensure!(answer.0 == code && answer.1.contains(with), "{path}: {answer:?} instead of {code} with {with:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_shows_what_its_owner_may_get_and_nothing_else() -> Result<()> {
    let (stage, host) = served().await?;
    stage.kubectl(&["create", "serviceaccount", "viewer"], "").await?;
    let ours = token(&stage, &["--audience=bartizan"]).await?;
    refused(&host, &ours, 503, "apply deploy/optional/reviews").await?;
    let rights = workspace_root().join("deploy/optional/reviews/rbac.yaml");
    stage.kubectl(&["apply", "-f", &rights.to_string_lossy()], "").await?;
    // The API server honours a right some time after it was given.
    wait_for("the right to review tokens", SOON, async || {
        Ok((host.get_as(PATHS[0], &ours).await?.0 != 503).then_some(()))
    })
    .await?;

    for path in PATHS {
        let (code, text) = host.get(path).await?;
        ensure!(code == 401 && text.contains("prove who you are"), "{path}: {code}: {text}");
    }
    // A credential of the API server is none here, whatever its owner may.
    let of_the_server = token(&stage, &[]).await?;
    stage
        .kubectl(
            &[
                "create",
                "clusterrolebinding",
                "viewer",
                "--clusterrole=cluster-admin",
                "--serviceaccount=default:viewer",
            ],
            "",
        )
        .await?;
    refused(&host, &of_the_server, 401, "for the audience bartizan").await?;
    refused(&host, "Bearer nonsense", 401, "for the audience bartizan").await?;
    refused(&host, "Basic dTpw", 401, "prove who you are").await?;
    refused(&host, &format!("Bearer {}", "x".repeat(20_000)), 401, "prove who you are").await?;
    for path in PATHS {
        let (code, text) = host.get_as(path, &ours).await?;
        ensure!(code == 200, "{path}: {code}: {text}");
    }

    // Only this parent, by its name; then nothing. Whether there is another one is not told.
    stage.kubectl(&["delete", "clusterrolebinding", "viewer"], "").await?;
    let role = ["create", "role", "one", "--verb=get", "--resource=scripts.test.bartizan.dev", "--resource-name=one"];
    stage.kubectl(&role, "").await?;
    stage.kubectl(&["create", "rolebinding", "one", "--role=one", "--serviceaccount=default:viewer"], "").await?;
    wait_for("the rights to be taken", SOON, async || Ok((host.get_as(PATHS[1], &ours).await?.0 == 403).then_some(())))
        .await?;
    wait_for("the right to get one parent", SOON, async || {
        Ok((host.get_as(PATHS[0], &ours).await?.0 == 200).then_some(()))
    })
    .await?;
    apply_text(&stage, &script("two", &json!({"answers": []}))).await?;
    let server = format!("http://{}", host.address);
    let known = wait_for("the second parent to be known", SOON, async || {
        let known = bartizan(&stage, &["explain", "script/two", "--server", &server])?;
        Ok((known.status.code() == Some(0)).then_some(()))
    });
    known.await?;
    let mut answers = Vec::new();
    for name in ["two", "none"] {
        let (code, text) = host.get_as(&PATHS[0].replace("=one", &format!("={name}")), &ours).await?;
        answers.push((code, text.replace(name, "")));
    }
    ensure!(answers[0].0 == 403 && answers[0] == answers[1], "{answers:?}");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn the_command_asks_with_a_one_time_key_or_as_a_service_account() -> Result<()> {
    let (stage, host) = served().await?;
    let server = format!("http://{}", host.address);
    let kubeconfig = stage.cluster.admin_kubeconfig().to_string_lossy().into_owned();
    let ask = |more: &[&str]| {
        let asked = bartizan(&stage, &[&["explain", "script/one", "--server", &server], more].concat())?;
        anyhow::Ok(code_and_output(&asked))
    };
    // With the file of the host's machine.
    let (code, text, errors) = ask(&[])?;
    ensure!(code == Some(0) && text.contains("outcome:    Applied"), "{code:?} {text} {errors}");
    let file = stage.debug_key_file();
    let (code, _, errors) = ask(&["--debug-key-file", &file.with_extension("none").to_string_lossy()])?;
    ensure!(code == Some(2) && errors.contains("--debug-key-file"), "{code:?} {errors}");
    // A key counts once.
    let made = bartizan(&stage, &["debug-key"])?;
    let (code, key, errors) = code_and_output(&made);
    ensure!(code == Some(0), "{errors}");
    let credential = format!("Bartizan-Key {key}");
    ensure!(host.get_as(PATHS[0], &credential).await?.0 == 200);
    refused(&host, &credential, 401, "was used before").await?;
    ensure!(!host.process.lines().iter().any(|line| line.contains(&key)), "the key is in the log");

    // As a ServiceAccount, with a token that the command asks for.
    stage.kubectl(&["create", "serviceaccount", "viewer"], "").await?;
    let rights = workspace_root().join("deploy/optional/reviews/rbac.yaml");
    stage.kubectl(&["apply", "-f", &rights.to_string_lossy()], "").await?;
    let as_viewer = ["--service-account", "default/viewer", "--kubeconfig", &kubeconfig];
    wait_for("the right to review", SOON, async || {
        let (code, _, errors) = ask(&as_viewer)?;
        ensure!(code == Some(2), "{errors}");
        Ok(errors.contains("403 Forbidden: this host serves no").then_some(()))
    })
    .await?;
    let rights = ["--verb=get", "--resource=scripts.test.bartizan.dev,providers.bartizan.dev"];
    stage.kubectl(&[&["create", "clusterrole", "viewer"][..], &rights].concat(), "").await?;
    let binding = ["create", "clusterrolebinding", "viewer", "--clusterrole=viewer", "--serviceaccount=default:viewer"];
    stage.kubectl(&binding, "").await?;
    wait_for("the right to get", SOON, async || Ok((ask(&as_viewer)?.0 == Some(0)).then_some(()))).await?;
    let (code, _, errors) = ask(&["--service-account", "default/nobody", "--kubeconfig", &kubeconfig])?;
    let expected = "error: --service-account default/nobody: serviceaccounts \"nobody\" not found";
    ensure!(code == Some(2) && errors == expected, "{code:?} {errors}");
    host.stop().await?;
    stage.stop().await.context("the stage")
}
