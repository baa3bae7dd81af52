//! What people see of the host's work: why a decision was made, metrics, and the decision itself, replayed elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, bartizan, code_and_output, message_of, script};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

const NS: &str = "default";
/// Values that must never be visible outside of Secrets and the field that holds them.
const PLANTED: [&str; 2] = ["planted-in-a-field", "planted-in-a-secret"];

#[tokio::test]
async fn explain_shows_why_the_provider_was_called_and_the_outcome() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let server = format!("http://{}", host.address);
    let ask = |parent: &str, more: &[&str]| {
        bartizan(&stage, &[&["explain", parent, "--server", &server], more].concat())
            .map(|output| code_and_output(&output))
    };
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
    // It asks to see a child that it makes itself, if somebody else has not.
    let own = json!({"apiVersion": "v1", "kind": "ConfigMap", "names": ["one"]});
    let fine = json!({"related": [own], "children": [{"object": config}], "resyncAfterSeconds": 3600});
    apply_text(&stage, &script("fine", &json!({"answers": [{"answer": fine}]}))).await?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}});
    apply_text(&stage, &script("refused", &json!({"answers": [{"answer": {"children": [{"object": node}]}}]}))).await?;
    let related = json!({"apiVersion": "v1", "kind": "ConfigMap", "names": ["later"]});
    apply_text(&stage, &script("held", &json!({"answers": [{"answer": {"related": [related], "hold": true}}]})))
        .await?;
    message_of(stage.scripts(NS), "fine", "Synced", "True", "Applied").await?;
    let refusal = message_of(stage.scripts(NS), "refused", "Synced", "False", "Refused").await?;
    message_of(stage.scripts(NS), "held", "Synced", "False", "Held").await?;

    // Once the child is written, the provider is called again with the child in the request, and answers the same.
    let settled = async || {
        let (code, text, _) = ask("script/fine", &["-o", "json"])?;
        ensure!(code == Some(0), "{text}");
        let found: Value = serde_json::from_str(&text)?;
        if found[0]["plan"] == "nothing to do" { Ok(Some(found)) } else { anyhow::bail!("{found}") }
    };
    let found = wait_for("a decision that there is nothing to do", SOON, settled).await?;
    ensure!(found[0]["call"] == "called: the request changed, or a resync was due", "{found}");
    ensure!(found[0]["outcome"] == "Applied" && found[0]["provider"] == "scripted", "{found}");
    ensure!(found[0]["request"].as_str().is_some_and(|digest| digest.len() == 32), "{found}");
    ensure!(found[0]["next"].is_string(), "{found}");
    ensure!(found[0].get("waitsFor").is_none(), "it waits for its own child: {found}");
    let (code, text, _) = ask("Script.test.bartizan.dev/fine", &["-n", NS])?;
    let begins = "Script.test.bartizan.dev default/fine (provider scripted)\n  decided:    20";
    ensure!(code == Some(0) && text.starts_with(begins), "{text}");

    let (code, text, _) = ask("scripts/refused", &[])?;
    let refusal = refusal.strip_prefix("The answer of provider scripted was refused: ").context(refusal.clone())?;
    ensure!(code == Some(0) && text.contains("\n  outcome:    Refused\n"), "{text}");
    ensure!(text.contains(&format!("\n  refused:    {refusal}\n")), "{text}");
    ensure!(text.contains("\n  failures:   "), "{text}");
    let (_, text, _) = ask("scripts/held", &["-o", "yaml"])?;
    ensure!(text.contains("- ConfigMap default/later, which the provider requests, to exist\n"), "{text}");

    explain_names_the_reason_when_it_has_no_answer(&stage, &server)?;
    explain_reaches_a_pod_through_a_port_forward(&stage).await?;
    metrics_count_reconciles_calls_and_writes(&host).await?;
    host.stop().await?;
    stage.stop().await
}

fn explain_names_the_reason_when_it_has_no_answer(stage: &Stage, server: &str) -> Result<()> {
    let kubeconfig = stage.cluster.admin_kubeconfig().to_str().context("a path")?.to_owned();
    for (arguments, code, expected) in [
        (vec!["script/none", "--server", server], 1, "no provider of this host serves script default/none".to_owned()),
        (vec!["ObjectStore/x", "--server", server, "-n", "n"], 1, "no provider of this host serves ObjectStore n/x".to_owned()),
        (
            vec!["script", "--server", server],
            2,
            "error: invalid value 'script' for '<KIND/NAME>': write it as KIND/NAME, as in objectstore/my-store\n\n\
             For more information, try '--help'."
                .to_owned(),
        ),
        (
            vec!["script/x", "--server", "https://127.0.0.1:1"],
            2,
            "error: invalid value 'https://127.0.0.1:1' for '--server <URL>': write it as http://127.0.0.1:8080, which is \
             how the host serves it\n\nFor more information, try '--help'."
                .to_owned(),
        ),
        (
            vec!["script/x", "--server", "http://127.0.0.1:1"],
            2,
            "error: --server http://127.0.0.1:1: Connection refused (os error 111)".to_owned(),
        ),
        (
            vec!["script/x", "--kubeconfig", &kubeconfig],
            2,
            "error: no running pod has the label app.kubernetes.io/name=bartizan in namespace bartizan-system; name another \
             with --system-namespace, or the host's address with --server"
                .to_owned(),
        ),
    ] {
        let output = code_and_output(&bartizan(stage, &[vec!["explain"], arguments].concat())?);
        ensure!(output == (Some(code), String::new(), expected.clone()), "{output:?}\nexpected {expected}");
    }
    Ok(())
}

/// The nodes of this control plane have no kubelet, so that the port-forward ends there.
async fn explain_reaches_a_pod_through_a_port_forward(stage: &Stage) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "host", "namespace": NS, "labels": {"app.kubernetes.io/name": "bartizan"}},
        "spec": {"containers": [{"name": "bartizan", "image": "bartizan:test"}]},
    });
    apply_text(stage, &pod.to_string()).await?;
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    wait_object(stage.api::<Pod>(NS), "host", "Running", SOON, phase).await?;
    let kubeconfig = stage.cluster.admin_kubeconfig().to_str().context("a path")?;
    let (code, text, complaint) = code_and_output(&bartizan(
        stage,
        &["explain", "script/x", "--system-namespace", NS, "--kubeconfig", kubeconfig],
    )?);
    ensure!(code == Some(2) && text.is_empty(), "{text}");
    ensure!(complaint.starts_with("error: port-forward to pod default/host: error dialing backend: "), "{complaint}");

    // Without the file of the host's machine, a key comes from its container: there is no kubelet for that, either.
    let mut command = std::process::Command::new(stage.plain_command().get_program());
    command.args(["explain", "script/x", "--system-namespace", NS, "--kubeconfig", kubeconfig]);
    let (code, text, complaint) = code_and_output(&command.env_remove("BARTIZAN_DEBUG_KEY_FILE").output()?);
    ensure!(code == Some(2) && text.is_empty(), "{text}");
    let expected = "error: pod default/host: no one-time key from its container: this takes get and create on pods/exec there, or \
                    --service-account: ";
    ensure!(complaint.starts_with(expected) && complaint.contains("/exec/default/host/"), "{complaint}");
    Ok(())
}

async fn metrics_count_reconciles_calls_and_writes(host: &Host) -> Result<()> {
    let (code, text) = host.get("/metrics").await?;
    ensure!(code == 200, "{text}");
    let value = |sample: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.with_context(|| format!("no {sample} in\n{text}"))?.parse().context("no number")
    };
    for (sample, least) in [
        ("bartizan_reconciles_total{provider=\"scripted\",result=\"applied\"}", 1.0),
        ("bartizan_reconciles_total{provider=\"scripted\",result=\"held\"}", 1.0),
        ("bartizan_reconciles_total{provider=\"scripted\",result=\"failed\"}", 1.0),
        ("bartizan_provider_calls_total{provider=\"scripted\"}", 3.0),
        ("bartizan_provider_call_duration_seconds_count{provider=\"scripted\"}", 3.0),
        ("bartizan_reconcile_duration_seconds_count{provider=\"scripted\"}", 3.0),
        ("bartizan_queue_wait_seconds_count{provider=\"scripted\"}", 3.0),
        ("bartizan_api_requests_total{verb=\"apply\",code=\"201\"}", 1.0),
        ("process_resident_memory_bytes", 1e6),
        ("bartizan_writes_total{provider=\"scripted\",verb=\"apply\"}", 1.0),
        ("bartizan_writes_total{provider=\"scripted\",verb=\"status\"}", 3.0),
        ("bartizan_gate_refusals_total{provider=\"scripted\"}", 1.0),
        ("bartizan_watch_last_event_timestamp_seconds{provider=\"scripted\",kind=\"ConfigMap.v1\"}", 1.7e9),
    ] {
        ensure!(value(sample)? >= least, "{sample} is less than {least} in\n{text}");
    }
    for (sample, exactly) in [
        ("bartizan_parents{provider=\"scripted\",kind=\"Script.test.bartizan.dev\",synced=\"True\"}", 1.0),
        ("bartizan_parents{provider=\"scripted\",kind=\"Script.test.bartizan.dev\",synced=\"False\"}", 2.0),
        ("bartizan_parents{provider=\"scripted\",kind=\"Script.test.bartizan.dev\",synced=\"Unknown\"}", 0.0),
        ("bartizan_provider_condition{provider=\"scripted\",type=\"Ready\",status=\"True\"}", 1.0),
        ("bartizan_queue_depth{provider=\"scripted\"}", 0.0),
        ("bartizan_watch_up{provider=\"scripted\",kind=\"ConfigMap.v1\"}", 1.0),
    ] {
        ensure!((value(sample)? - exactly).abs() < f64::EPSILON, "{sample} is not {exactly} in\n{text}");
    }
    Ok(())
}

/// The recordings of a parent, oldest first.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_recording_holds_no_secret_and_replays_byte_for_byte() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let folder = stage.path("recordings");
    let mut command = stage.command();
    command.arg("--record").arg(&folder).args(["--record-last", "3"]);
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    let [field, password] = PLANTED;
    let source = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}, "stringData": {"password": password}});
    apply_text(&stage, &source.to_string()).await?;
    let data = json!({"copy": "$(secret:default/source:password)", "field": "$(parent.secret)"});
    let copy = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "copy"}, "data": data});
    let related = json!([{"apiVersion": "v1", "kind": "Secret", "names": ["source"]}]);
    let answer = json!({"related": related, "children": [{"object": copy}]});
    let copier = script("copier", &json!({"secret": field, "answers": [{"answer": answer}]}));
    stage.kubectl(&["apply", "--server-side", "-f", "-"], &copier).await?;
    message_of(stage.scripts(NS), "copier", "Synced", "True", "Applied").await?;
    let fail = json!({"code": "internal", "message": "the secret is $(parent.secret)"});
    let talker = script("talker", &json!({"secret": field, "answers": [{"fail": fail}]}));
    stage.kubectl(&["apply", "--server-side", "-f", "-"], &talker).await?;
    message_of(stage.scripts(NS), "talker", "Synced", "False", "ProviderFailed").await?;

    let of = |name: &str| folder.join("scripted/Script").join(format!("{NS}_{name}"));
    let kept = async |name: &str| {
        let probe = async || match recordings(&of(name)) {
            files if files.is_empty() => anyhow::bail!("none in {}", of(name).display()),
            files => Ok(Some(files)),
        };
        wait_for("recordings", SOON, probe).await
    };
    let (answered, failed) = (kept("copier").await?, kept("talker").await?);
    host.stop().await?;
    ensure!(recordings(&of("copier")).len() <= 3, "more were kept than asked for: {answered:?}");
    let last = recordings(&of("copier")).pop().context("no recording")?;
    for file in recordings(&of("copier")).iter().chain(&recordings(&of("talker"))) {
        let text = std::fs::read_to_string(file)?;
        ensure!(text.contains("bz:"), "{} holds no token", file.display());
        for planted in PLANTED {
            let encoded = serde_json::to_string(&k8s_openapi::ByteString(planted.as_bytes().to_vec()))?;
            let encoded = encoded.trim_matches('"');
            ensure!(!text.contains(planted) && !text.contains(encoded), "{planted} stands in {}", file.display());
        }
    }
    let failed = failed.first().context("no recording")?;
    replays_match_or_print_the_difference(&stage, &last, failed)?;
    stage.stop().await
}

fn replays_match_or_print_the_difference(stage: &Stage, answered: &Path, failed: &Path) -> Result<()> {
    let module = |provider| Ok::<_, anyhow::Error>(stage.module(provider)?.to_str().context("a path")?.to_owned());
    let (scripted, hello) = (module(Provider::Scripted)?, module(Provider::Hello)?);
    let replay = |recording: &Path, module: &str| {
        let recording = recording.to_str().context("a path")?;
        bartizan(stage, &["replay", recording, "--provider", module]).map(|output| code_and_output(&output))
    };
    let recording: Value = serde_json::from_str(&std::fs::read_to_string(answered)?)?;
    let (code, text, complaint) = replay(answered, &scripted)?;
    ensure!(code == Some(0) && text.starts_with("the same answer, ") && complaint.is_empty(), "{text}{complaint}");
    let (code, text, _) = replay(failed, &scripted)?;
    ensure!(code == Some(0) && text.starts_with("the same failure: ProviderFailed: the secret is bz:"), "{text}");

    let (code, text, _) = replay(answered, &hello)?;
    let digest = recording["module"].as_str().context("no module")?;
    ensure!(text.starts_with(&format!("another module: recorded was {digest}, this is sha256:")), "{text}");
    ensure!(code == Some(1) && text.contains("\n- "), "{text}");

    // A request that was edited is a different one, and the difference is printed path by path.
    let changed = stage.path("changed.json");
    let text = std::fs::read_to_string(answered)?;
    let rename = |line: &str| match line.trim_start().starts_with("\"request\"") {
        true => line.replace("\"name\":\"copy\"", "\"name\":\"other\""),
        false => line.to_owned(),
    };
    std::fs::write(&changed, text.lines().map(rename).collect::<Vec<_>>().join("\n"))?;
    let (code, text, _) = replay(&changed, &scripted)?;
    let expected = "another request: the file was changed since it was recorded\n\
                    another answer (- recorded, + now)\n\
                    - response.children[0].object.metadata.name: \"copy\"\n\
                    + response.children[0].object.metadata.name: \"other\"";
    ensure!((code, text.as_str()) == (Some(1), expected), "{text}");

    let none = stage.path("none.json");
    std::fs::write(&none, "{}")?;
    let (code, _, complaint) = replay(&none, &scripted)?;
    let expected =
        format!("error: {} is not a recording: missing field `apiVersion` at line 1 column 2", none.display());
    ensure!((code, complaint.as_str()) == (Some(2), expected.as_str()), "{complaint}");
    let (code, _, complaint) = replay(answered, none.to_str().context("a path")?)?;
    let expected = format!(
        "error: module {}: not a WebAssembly module: it begins with \"{{}}\", not with \"\\0asm\"; use the .wasm file that the build produced",
        none.display()
    );
    ensure!((code, complaint.as_str()) == (Some(2), expected.as_str()), "{complaint}");
    Ok(())
}
