//! The control plane itself, without anything of ours running on it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use bartizan_harness::{
    ControlPlane, HostProcess, build,
    wait::{wait_for, wait_gone, wait_object},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::Job,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};

/// Generous, since other builds and tests may share the machine.
const SOON: Duration = Duration::from_secs(60);

const STORE: &str = "
apiVersion: v1
kind: Service
metadata: { name: store }
spec: { clusterIP: None, selector: { app: store }, ports: [{ port: 9000 }] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: store }
spec:
  serviceName: store
  replicas: 4
  podManagementPolicy: Parallel
  selector: { matchLabels: { app: store } }
  template:
    metadata: { labels: { app: store } }
    spec:
      initContainers: [{ name: prepare, image: example.invalid/prepare }]
      containers:
        - name: server
          image: example.invalid/server
          volumeMounts: [{ name: data, mountPath: /data }]
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
";

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: { name: once }
spec:
  template:
    spec: { restartPolicy: Never, containers: [{ name: main, image: example.invalid/main }] }
";

/// Pods with annotations that make them fail.
const TROUBLE: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: late, annotations: { test.bartizan.dev/start-delay: 1500ms } }
spec: { containers: [{ name: main, image: example.invalid/main }] }
---
apiVersion: v1
kind: Pod
metadata: { name: held, annotations: { test.bartizan.dev/hold-ready: "true" } }
spec: { containers: [{ name: main, image: example.invalid/main }] }
---
apiVersion: batch/v1
kind: Job
metadata: { name: fails }
spec:
  backoffLimit: 0
  template:
    metadata: { annotations: { test.bartizan.dev/fail: "true" } }
    spec: { restartPolicy: Never, containers: [{ name: main, image: example.invalid/main }] }
"#;

#[tokio::test]
async fn the_control_plane_behaves_like_a_cluster_and_leaves_nothing_behind() -> Result<()> {
    let start = Instant::now();
    let mut cluster = ControlPlane::options().keep_folder(false).start().await?;
    eprintln!("started in {:?}", start.elapsed());
    ensure!(cluster.failure().is_none(), "a component ended: {:?}", cluster.failure());

    a_stateful_set_with_claims_becomes_ready(&cluster).await?;
    a_job_completes(&cluster).await?;
    annotations_cause_pod_failures(&cluster).await?;
    rights_are_checked_and_requests_are_counted(&cluster).await?;
    a_service_account_acts_as_itself(&cluster).await?;
    kubectl_applies_both_ways(&cluster).await?;
    deleted_objects_disappear(&cluster).await?;

    let folder = cluster.folder().to_path_buf();
    let processes = cluster.processes();
    ensure!(processes.len() == 5, "components: {processes:?}");
    let start = Instant::now();
    cluster.stop().await?;
    eprintln!("stopped in {:?}", start.elapsed());
    ensure!(!folder.exists(), "{} is still there", folder.display());
    for (name, id) in processes {
        ensure!(!is_running(id), "{name} still runs as process {id}");
    }
    Ok(())
}

async fn a_stateful_set_with_claims_becomes_ready(cluster: &ControlPlane) -> Result<()> {
    let start = Instant::now();
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(STORE)).await?;
    let sets: Api<StatefulSet> = Api::default_namespaced(cluster.client());
    wait_object(sets, "store", "four ready pods", SOON, |set| {
        set.status.as_ref().and_then(|status| status.ready_replicas) == Some(4)
    })
    .await?;
    eprintln!("four pods ready {:?} after kubectl was started", start.elapsed());

    let pods = Api::<Pod>::default_namespaced(cluster.client()).list(&ListParams::default()).await?;
    for pod in &pods {
        let status = pod.status.as_ref().context("a pod without a status")?;
        let conditions = status.conditions.as_deref().unwrap_or_default();
        ensure!(
            conditions.iter().any(|condition| condition.type_ == "PodScheduled"),
            "what the scheduler wrote is gone: {conditions:?}"
        );
        ensure!(status.pod_ip.is_some() && status.host_ip.is_some(), "a pod without addresses: {status:?}");
        let prepared = status
            .init_container_statuses
            .iter()
            .flatten()
            .all(|container| container.state.as_ref().is_some_and(|state| state.terminated.is_some()));
        ensure!(prepared, "an init container that has not ended: {status:?}");
    }
    let claims =
        Api::<PersistentVolumeClaim>::default_namespaced(cluster.client()).list(&ListParams::default()).await?;
    let phases: Vec<_> =
        claims.iter().map(|claim| claim.status.as_ref().and_then(|status| status.phase.as_deref())).collect();
    ensure!(phases == [Some("Bound"); 4], "claims: {phases:?}");
    Ok(())
}

async fn a_job_completes(cluster: &ControlPlane) -> Result<()> {
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(JOB)).await?;
    let jobs: Api<Job> = Api::default_namespaced(cluster.client());
    wait_object(jobs, "once", "completion", SOON, |job| {
        job.status.as_ref().is_some_and(|status| status.completion_time.is_some())
    })
    .await?;
    Ok(())
}

async fn annotations_cause_pod_failures(cluster: &ControlPlane) -> Result<()> {
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(TROUBLE)).await?;
    let pods = || Api::<Pod>::default_namespaced(cluster.client());
    let wait = async |ready: bool, restarts: i32| {
        let what = format!("ready: {ready}, restarts: {restarts}");
        wait_object(pods(), "held", &what, SOON, |pod| is_ready(pod) == Some(ready) && restarts_of(pod) == restarts)
            .await
    };
    let annotate = async |annotation: &str| {
        cluster.kubectl_ok(&["annotate", "--overwrite", "pod", "held", annotation], None).await
    };
    wait(false, 0).await?;
    annotate("test.bartizan.dev/hold-ready=false").await?;
    wait(true, 0).await?;
    annotate("test.bartizan.dev/hold-ready=true").await?;
    wait(false, 0).await?;
    annotate("test.bartizan.dev/hold-ready=false").await?;
    wait(true, 0).await?;
    annotate("test.bartizan.dev/crash=true").await?;
    wait(false, 1).await?;
    annotate("test.bartizan.dev/crash=false").await?;
    wait(true, 1).await?;

    let late = wait_object(pods(), "late", "ready", SOON, |pod| is_ready(pod) == Some(true)).await?;
    let started = late.status.and_then(|status| status.start_time).context("a ready pod that never started")?;
    let made = late.metadata.creation_timestamp.context("a pod that was never made")?;
    ensure!(started.0 > made.0, "made at {made:?}, started at {started:?}");
    wait_object(Api::<Job>::default_namespaced(cluster.client()), "fails", "failure", SOON, |job| {
        job.status.as_ref().is_some_and(|status| status.failed == Some(1))
    })
    .await?;
    Ok(())
}

/// The Ready condition of a pod, if it has one.
fn is_ready(pod: &Pod) -> Option<bool> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.status == "True")
}

fn restarts_of(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

async fn rights_are_checked_and_requests_are_counted(cluster: &ControlPlane) -> Result<()> {
    let kubeconfig = cluster.kubeconfig_for_user("alice", &["staff", "guests"])?;
    let alice = cluster.client_for(&kubeconfig).await?;
    ensure!(cluster.audit_requests("alice")?.is_empty(), "alice has not asked for anything yet");

    let secrets: Api<Secret> = Api::namespaced(alice, "kube-system");
    let error = secrets.list(&ListParams::default()).await.err().context("alice may list secrets")?;
    ensure!(matches!(&error, kube::Error::Api(status) if status.code == 403), "not forbidden: {error}");

    let mark = cluster.audit_mark()?;
    let error = secrets.get("nothing").await.err().context("alice may get secrets")?;
    ensure!(error.to_string().contains("alice"), "the server knows another user: {error}");

    let requests = wait_for("both requests in the audit log", SOON, async || {
        Ok(Some(cluster.audit_requests("alice")?).filter(|requests| requests.len() == 2))
    })
    .await?;
    ensure!(requests[0].verb == "list" && requests[0].namespace == "kube-system", "{requests:?}");
    ensure!(requests.iter().all(|request| request.code == Some(403)), "{requests:?}");
    let later = cluster.audit_requests_since("alice", mark)?;
    ensure!(later.len() == 1 && later[0].name == "nothing", "{later:?}");

    let mut whoami = cluster.kubectl_as(&kubeconfig);
    let output = whoami.args(["auth", "whoami"]).output().context("cannot run kubectl")?;
    let output = String::from_utf8_lossy(&output.stdout);
    ensure!(output.contains("staff") && output.contains("guests"), "alice is {output}");
    Ok(())
}

async fn a_service_account_acts_as_itself(cluster: &ControlPlane) -> Result<()> {
    let kubeconfig = cluster.kubeconfig_for_service_account("default", "default").await?;
    let client = cluster.client_for(&kubeconfig).await?;
    let error = Api::<Pod>::default_namespaced(client)
        .list(&ListParams::default())
        .await
        .err()
        .context("the default account may list pods")?;
    ensure!(error.to_string().contains("system:serviceaccount:default:default"), "not the account: {error}");
    Ok(())
}

async fn kubectl_applies_both_ways(cluster: &ControlPlane) -> Result<()> {
    let version = cluster.kubectl_ok(&["version"], None).await?;
    ensure!(version.contains("Server Version: v1.36.3") && version.contains("Client Version: v1.36.3"), "{version}");

    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: map }\ndata: { a: b }\n";
    for arguments in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
        let output = cluster.kubectl_ok(arguments, Some(map)).await?;
        ensure!(output.contains("configmap/map"), "{output}");
    }
    let kustomize = cluster.folder().join("kustomize");
    fs::create_dir(&kustomize)?;
    fs::write(kustomize.join("map.yaml"), map)?;
    fs::write(kustomize.join("kustomization.yaml"), "namePrefix: pre-\nresources: [map.yaml]\n")?;
    let output = cluster.kubectl_ok(&["apply", "-k", &kustomize.to_string_lossy()], None).await?;
    ensure!(output.contains("configmap/pre-map created"), "{output}");

    let failed = cluster.kubectl_output(&["get", "configmap", "none"], None).await?;
    ensure!(failed.code == Some(1) && failed.stderr.contains("NotFound"), "{failed:?}");
    let error = failed.success().err().context("a failure passed for a success")?.to_string();
    ensure!(error.contains("get configmap none") && error.contains("NotFound"), "{error}");
    Ok(())
}

async fn deleted_objects_disappear(cluster: &ControlPlane) -> Result<()> {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let sets: Api<StatefulSet> = Api::default_namespaced(cluster.client());
    sets.delete("store", &DeleteParams::foreground()).await?;
    wait_gone(sets, "store", SOON).await?;
    let left = pods.list(&ListParams::default().labels("app=store")).await?;
    ensure!(left.items.is_empty(), "the garbage collector left pods");

    // Claims outlive a deleted StatefulSet; the volume of a deleted claim is deleted, too.
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(cluster.client());
    let volume = claims
        .get("data-store-0")
        .await?
        .spec
        .and_then(|spec| spec.volume_name)
        .context("a bound claim without a volume")?;
    claims.delete("data-store-0", &DeleteParams::default()).await?;
    wait_gone(claims, "data-store-0", SOON).await?;
    wait_gone(Api::<PersistentVolume>::all(cluster.client()), &volume, SOON).await
}

#[tokio::test]
async fn a_component_that_fails_is_named_with_the_end_of_its_log() -> Result<()> {
    let root = tempfile::tempdir()?;
    let real = tokio::task::spawn_blocking(|| build::control_plane(&build::silent)).await??;
    let program = root.path().join("program");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = etcd ] && exec '{}' \"$@\"\necho \"--frobnicate is no flag of $1\" >&2\nexit 3\n",
        real.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let started = ControlPlane::options().program(&program).root_dir(root.path()).start().await;
    let error = started.err().context("a broken API server started")?.to_string();
    ensure!(
        error.contains("kube-apiserver ended with exit code 3")
            && error.contains("--frobnicate is no flag of kube-apiserver")
            && error.contains("logs/kube-apiserver.log"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_missing_program_is_named() -> Result<()> {
    let root = tempfile::tempdir()?;
    let program = root.path().join("none");
    let started = ControlPlane::options().program(&program).root_dir(root.path()).start().await;
    let error = format!("{:#}", started.err().context("nothing started")?);
    ensure!(error.contains("cannot start etcd with") && error.contains("none"), "{error}");
    Ok(())
}

/// Where the child process of the next test writes the processes that it started.
const REPORT: &str = "BARTIZAN_TEST_REPORT";

/// The test in a process of its own, which is killed.
async fn hold_a_control_plane(report: &str) -> Result<()> {
    let cluster = ControlPlane::options().nodes(0).keep_folder(false).start().await?;
    let host = HostProcess::spawn(Command::new("yes"), cluster.folder().join("yes.log"))?;
    let mut ids: Vec<String> = cluster.processes().iter().map(|(_, id)| id.to_string()).collect();
    ids.push(host.id().to_string());
    let text = format!("{}\n{}\n", cluster.folder().display(), ids.join(" "));
    fs::write(format!("{report}.new"), text)?;
    fs::rename(format!("{report}.new"), report)?;
    std::future::pending().await
}

#[tokio::test]
async fn nothing_outlives_a_test_that_is_killed() -> Result<()> {
    if let Ok(report) = std::env::var(REPORT) {
        return hold_a_control_plane(&report).await;
    }
    let root = tempfile::tempdir()?;
    let report = root.path().join("report");
    let mut test = Command::new(std::env::current_exe()?);
    test.args(["--exact", "--nocapture", "nothing_outlives_a_test_that_is_killed"]).env(REPORT, &report);
    let mut test = HostProcess::spawn(test, root.path().join("log"))?;
    let report = wait_for("the child's report", Duration::from_secs(120), async || {
        if test.exited()?.is_some() {
            return Ok(Some(Err(anyhow!("it ended: {:?}", test.lines()))));
        }
        Ok(fs::read_to_string(&report).ok().map(Ok))
    })
    .await??;
    test.sigkill()?;
    test.wait_exit(SOON).await?;

    let (folder, ids) = report.split_once('\n').context("not a report")?;
    let folder = PathBuf::from(folder);
    for id in ids.split_whitespace() {
        let id: u32 = id.parse()?;
        wait_for(&format!("the end of process {id}"), SOON, async || Ok((!is_running(id)).then_some(()))).await?;
    }
    wait_for("the removal of its folder", SOON, async || Ok((!folder.exists()).then_some(()))).await
}

/// Whether a process exists and is no zombie, which an orphan in a container can be for as long as nobody waits for
/// it.
fn is_running(id: u32) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
