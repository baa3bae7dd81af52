//! What the host logs, and how it exits, when something is wrong at its start.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, greeting, message_of};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::wait_for;
use serde_json::Value;

const WAITING: &str = "[ ]provider/hello does not serve: waiting for CustomResourceDefinition \
                       greetings.hello.bartizan.dev\nreadyz check passed\n";
const ALL_BAD: &str = "[-]providers: no module in the folder can serve; the log has the reasons\nreadyz check failed\n";

/// Runs a command to its end: the exit code and all output.
async fn run(stage: &Stage, command: Command) -> Result<(Option<i32>, Vec<String>)> {
    let mut process = stage.spawn(command)?;
    let status = process.wait_exit(SOON).await?;
    Ok((status.code(), process.lines()))
}

/// A log line without its time.
fn without_time(line: &str) -> &str {
    line.split_once("Z ").map_or(line, |(_, rest)| rest.trim_start())
}

/// `bartizan run` without `--trust-manifests`, with these arguments.
fn with(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = stage.plain_command();
    command.args(arguments);
    command
}

#[tokio::test]
async fn unusable_arguments_end_the_host_with_code_2_and_one_sentence() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.add_module(Provider::Hello).await?;
    let providers = stage.providers();
    let providers = providers.to_str().context("a path that is not UTF-8")?;
    let file = stage.path("file");
    std::fs::write(&file, "")?;
    let file = file.to_str().context("a path that is not UTF-8")?;
    let missing = stage.path("missing");
    let missing = missing.to_str().context("a path that is not UTF-8")?;

    let ended = run(&stage, with(&stage, &["--trust-manifests", "--providers", file])).await?;
    let expected = format!("error: --providers {file}: is not a folder; name the folder that holds the modules");
    ensure!(ended == (Some(2), vec![expected]), "{ended:?}");

    // Even where there is nothing to serve yet.
    let mut command = Command::new(stage.command().get_program());
    command.args(["run", "--trust-manifests", "--listen", "127.0.0.1:0", "--providers", missing]);
    command.args(["--kubeconfig", missing]);
    let ended = run(&stage, command).await?;
    let expected = format!(
        "error: --kubeconfig {missing}: failed to read kubeconfig from '\"{missing}\"': No such file or directory (os error 2)"
    );
    ensure!(ended == (Some(2), vec![expected]), "{ended:?}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let _holder = std::net::TcpListener::bind(taken)?;
    let mut command = Command::new(stage.command().get_program());
    command.args(["run", "--trust-manifests", "--providers", providers, "--listen", &taken.to_string()]);
    command.arg("--kubeconfig").arg(stage.kubeconfig());
    let ended = run(&stage, command).await?;
    let expected = format!("error: --listen {taken}: Address already in use (os error 98)");
    ensure!(ended == (Some(2), vec![expected]), "{ended:?}");

    for (arguments, expected) in [
        (&["--bogus"][..], "error: unexpected argument '--bogus' found"),
        (&["--log-format", "xml"], "error: invalid value 'xml' for '--log-format <LOG_FORMAT>'"),
        (&["--providers"], "error: a value is required for '--providers <DIR>' but none was supplied"),
        (&[], "error: the following required arguments were not provided:"),
    ] {
        let (code, lines) = run(&stage, with(&stage, arguments)).await?;
        ensure!(
            code == Some(2) && lines.first().is_some_and(|line| line == expected),
            "{arguments:?}: {code:?} {lines:?}"
        );
    }
    stage.stop().await
}

#[tokio::test]
async fn bad_modules_are_named_while_good_ones_serve_and_an_empty_folder_warns() -> Result<()> {
    let stage = Stage::bare().await?;
    let providers = stage.providers();
    for (folder, problem) in [
        (stage.path("missing"), "no such folder; nothing is loaded from it until it is there"),
        (providers.clone(), "no modules (*.wasm) in it; they are loaded as they come"),
    ] {
        let mut command = stage.plain_command();
        command.arg("--trust-manifests").arg("--providers").arg(&folder);
        let mut host = stage.listening(command).await?;
        let line = host.process.wait_for_line("--providers", SOON).await?;
        ensure!(without_time(&line) == format!("WARN --providers {}: {problem}", folder.display()), "{line}");
        ensure!(host.ready().await? == "readyz check passed\n");
        ensure!(host.get("/livez").await? == (200, "livez check passed\n".to_owned()));
        host.stop().await?;
    }

    let expected = bad_modules(&stage)?;
    let mut host = stage.listening(stage.command()).await?;
    host.unready(ALL_BAD).await?;
    ensure!(host.get("/livez").await?.0 == 200, "not alive");
    let lines = host.process.lines();
    let mut errors: Vec<&str> =
        lines.iter().map(|line| without_time(line)).filter(|line| line.starts_with("ERROR")).collect();
    // Which one is known first depends on what takes how long.
    errors.sort_unstable();
    ensure!(errors == expected, "{errors:#?}\ninstead of\n{expected:#?}");
    ensure!(host.process.exited()?.is_none(), "it ended");
    host.stop().await?;

    // A good one among them serves.
    stage.deploy(Provider::Hello).await?;
    stage.add_module(Provider::Hello).await?;
    let mut host = stage.host().await?;
    ensure!(host.ready().await? == "[+]provider/hello ok\nreadyz check passed\n");
    apply_text(&stage, &greeting("hello", "world")).await?;
    message_of(stage.greetings(), "hello", "Synced", "True", "Applied").await?;
    host.stop().await?;
    stage.stop().await
}

/// Puts modules that cannot serve into the folder, and returns the expected log lines, in order.
fn bad_modules(stage: &Stage) -> Result<Vec<String>> {
    let folder = stage.providers();
    let good = std::fs::read(stage.module(Provider::Hello)?)?;
    let foreign = r#"(module (import "env" "steal" (func)))"#;
    let preview1 =
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#;
    let cut = good.get(..1000).context("a module of less than 1000 bytes")?;
    let advice =
        "the only allowed import is bartizan:provider/log@0.1.0 (and WASI 0.2 in components from other languages)";
    let modules = [
        ("empty", Vec::new(), "the file is empty, perhaps because it is still being copied; build or copy the module again".to_owned()),
        ("foreign", wat::parse_str(foreign)?, format!("imports \"env/steal\", which is not allowed: {advice}")),
        (
            "preview1",
            wat::parse_str(preview1)?,
            "imports \"wasi_snapshot_preview1/fd_write\", which is not allowed: build it for wasm32-unknown-unknown, or \
             make it a component with the WASI adapter"
                .to_owned(),
        ),
        (
            "stranger",
            wat::parse_str("(module)")?,
            "the core module was not built as a provider: it has no custom section \"component-type\"; build it with \
             bartizan-sdk, or with wit-bindgen for the world bartizan:provider/plugin@0.1.0"
                .to_owned(),
        ),
        (
            "text",
            b"This is a text.".to_vec(),
            "not a WebAssembly module: it begins with \"This is a te\", not with \"\\0asm\"; use the .wasm file that the \
             build produced"
                .to_owned(),
        ),
        ("truncated", cut.to_vec(), truncated_at(cut)?),
    ];
    let mut expected = Vec::new();
    for (name, bytes, reason) in modules {
        std::fs::write(folder.join(format!("{name}.wasm")), bytes)?;
        expected.push(format!("ERROR module {name}.wasm: {reason}"));
    }
    // Files that are no modules by their names are ignored.
    std::fs::write(folder.join("README.md"), "notes")?;
    Ok(expected)
}

/// The offset of the truncated section changes with each build of the module.
fn truncated_at(bytes: &[u8]) -> Result<String> {
    let mut position = 8;
    loop {
        // A section is its id, its size as LEB128, and that many bytes.
        let (mut size, mut shift, mut at) = (0_usize, 0, position + 1);
        loop {
            let byte = *bytes.get(at).context("the cut is not within a section")?;
            size |= usize::from(byte & 0x7f) << shift;
            (shift, at) = (shift + 7, at + 1);
            if byte < 0x80 {
                break;
            }
        }
        if at + size > bytes.len() {
            return Ok(format!(
                "the module is damaged or truncated at byte {at} (unexpected end-of-file): build or copy it again"
            ));
        }
        position = at + size;
    }
}

#[tokio::test]
async fn the_host_waits_for_crds_and_installs_them_only_if_asked_and_allowed() -> Result<()> {
    let stage = Stage::bare().await?;
    stage.add_module(Provider::Hello).await?;
    // Two hosts look at one cluster here, which need not wait for one another.
    let mut command = stage.command();
    command.arg("--leader-elect=false");
    let mut host = stage.listening(command).await?;
    host.readyz(200, WAITING).await?;

    // Asked to install, but without the right to: it reports what is missing, and keeps trying.
    let mut command = stage.command();
    command.args(["--install-crds", "--leader-elect=false"]);
    let mut installer = stage.listening(command).await?;
    let denied = "CustomResourceDefinition providers.bartizan.dev could not be installed: \
                  customresourcedefinitions.apiextensions.k8s.io \"providers.bartizan.dev\" is forbidden: User \
                  \"system:serviceaccount:bartizan-system:bartizan\" cannot patch resource \"customresourcedefinitions\" in \
                  API group \"apiextensions.k8s.io\" at the cluster scope";
    let line = installer.process.wait_for_line("cannot be served yet", SOON).await?;
    ensure!(without_time(&line).starts_with(&format!("ERROR Providers cannot be served yet: {denied}")), "{line}");
    // Its module may still be compiled.
    wait_for("/readyz to say so", SOON, async || {
        let (code, text) = installer.get("/readyz").await?;
        Ok((code == 503 && text.contains(denied)).then_some(()))
    })
    .await?;

    // The rights of the optional component, and those of the provider, but not its CRD.
    for rights in ["deploy/optional/install-crds/rbac.yaml", "examples/hello/deploy/rbac.yaml"] {
        let file = workspace_root().join(rights);
        stage.kubectl(&["apply", "-f", file.to_str().context("a path that is not UTF-8")?], "").await?;
    }
    installer.ready().await?;
    // The first one needed only the CRD.
    host.ready().await?;
    host.stop().await?;
    apply_text(&stage, &greeting("hello", "world")).await?;
    message_of(stage.greetings(), "hello", "Synced", "True", "Applied").await?;

    // Without the CRD the provider serves nothing, and the host says so. Serving others, it stays in its Deployment.
    stage.kubectl(&["delete", "crd", Provider::Hello.crd()], "").await?;
    installer.readyz(200, WAITING).await?;
    stage.deploy(Provider::Hello).await?;
    installer.ready().await?;
    apply_text(&stage, &greeting("hello", "again")).await?;
    message_of(stage.greetings(), "hello", "Synced", "True", "Applied").await?;
    installer.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn json_logs_have_one_object_per_line() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    std::fs::write(stage.providers().join("text.wasm"), "text")?;
    let mut command = stage.command();
    command.args(["--log-format", "json"]);
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    apply_text(&stage, &greeting("hello", "world")).await?;
    host.process.wait_for_line("apply ConfigMap default/hello", SOON).await?;
    host.process.sigterm()?;
    ensure!(host.process.wait_exit(Duration::from_secs(30)).await?.success());
    let lines = host.process.lines();
    for line in &lines {
        let line: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        for field in ["timestamp", "level", "message"] {
            ensure!(line[field].is_string(), "no {field} in {line}");
        }
    }
    ensure!(lines.iter().any(|line| line.contains("\"provider\":\"hello\"")), "{lines:?}");
    stage.stop().await
}
