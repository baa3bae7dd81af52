//! `bartizan explain`: asks a host what it last decided on a parent, through a port-forward or at a given address.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use http::header::HOST;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::explain::Explained;
use crate::run::connect_with;

/// Label of the host's pods.
const POD_LABEL: &str = "app.kubernetes.io/name=bartizan";
/// Name of the host's port in its pod, and what it is where the pod names none.
const PORT: (&str, u16) = ("http", 8080);
/// Longest time that a host may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The parent, as objectstore/my-store or objectstore.minio.rook.io/my-store.
    #[arg(value_name = "KIND/NAME")]
    pub(crate) parent: Subject,
    /// Namespace of the parent; default: that of the kubeconfig's context, or "default" with --server.
    #[arg(short, long, value_name = "NAMESPACE", value_parser = word)]
    pub(crate) namespace: Option<String>,
    /// Address of the host, as http://127.0.0.1:8080; default: a port-forward to its pod.
    #[arg(long, value_name = "URL", value_parser = server)]
    pub(crate) server: Option<Uri>,
    /// Print all of it as JSON or YAML.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    /// Kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of the host itself, where its pod is looked for.
    #[arg(long, value_name = "NAMESPACE", default_value = "bartizan-system", env = "BARTIZAN_SYSTEM_NAMESPACE")]
    pub(crate) system_namespace: String,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A parent as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    kind: String,
    name: String,
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').filter(|(kind, name)| word(kind).is_ok() && word(name).is_ok());
        let (kind, name) = parts.ok_or("write it as KIND/NAME, as in objectstore/my-store")?;
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// What names in Kubernetes are made of; nothing of it has a meaning in a URL.
fn word(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("is no name of Kubernetes'".to_owned())
    }
}

fn server(text: &str) -> Result<Uri, String> {
    let advice = "write it as http://127.0.0.1:8080, which is how the host serves it";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {advice}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(_)) => Ok(uri),
        _ => Err(advice.to_owned()),
    }
}

/// Asks and prints.
///
/// # Errors
/// If the host could not be asked.
pub(crate) async fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let asked = tokio::time::timeout(DEADLINE, ask(args)).await;
    let (namespace, found) = asked.map_err(|_| anyhow::anyhow!("no answer within {} s", DEADLINE.as_secs()))??;
    if found.is_empty() {
        let Subject { kind, name } = &args.parent;
        eprintln!("no provider of this host serves {kind} {namespace}/{name}");
        return Ok(ExitCode::FAILURE);
    }
    match args.output {
        Some(Output::Json) => println!("{}", serde_json::to_string_pretty(&found)?),
        Some(Output::Yaml) => print!("{}", serde_yaml_ng::to_string(&found)?),
        None => print!("{}", found.iter().map(describe).collect::<Vec<_>>().join("\n")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The namespace that was asked about, and what the host says.
async fn ask(args: &ExplainArgs) -> anyhow::Result<(String, Vec<Explained>)> {
    let Some(server) = &args.server else { return ask_pod(args).await };
    let address = format!("{}:{}", server.host().unwrap_or_default(), server.port_u16().unwrap_or(80));
    let namespace = args.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let context = || format!("--server {}", server.to_string().trim_end_matches('/'));
    let stream = TcpStream::connect(&address).await.with_context(context)?;
    let base = server.path().trim_end_matches('/');
    let found = exchange(stream, &address, &query(base, args, &namespace)).await.with_context(context)?;
    Ok((namespace, found))
}

async fn ask_pod(args: &ExplainArgs) -> anyhow::Result<(String, Vec<Explained>)> {
    let client = connect_with(args.kubeconfig.as_ref(), args.context.as_ref()).await?;
    let namespace = args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let pods: Api<Pod> = Api::namespaced(client, &args.system_namespace);
    let listed = pods.list(&ListParams::default().labels(POD_LABEL)).await.map_err(said);
    let all = listed.with_context(|| format!("pods in namespace {} could not be listed", args.system_namespace))?;
    let Some(pod) = all.items.into_iter().find(is_running) else {
        bail!(
            "no running pod has the label {POD_LABEL} in namespace {}; name another with --system-namespace, or the \
             host's address with --server",
            args.system_namespace
        );
    };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let context = || format!("port-forward to pod {}/{name}", args.system_namespace);
    let port = port(&pod);
    let mut forward = pods.portforward(&name, &[port]).await.map_err(said).with_context(context)?;
    let stream = forward.take_stream(port).context("has no stream").with_context(context)?;
    let found = exchange(stream, &name, &query("", args, &namespace)).await.with_context(context)?;
    Ok((namespace, found))
}

/// What the API server says, without how it says it.
fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::Error::msg(status.message.clone()),
        other => other.into(),
    }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(PORT.0));
    named.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(PORT.1)
}

fn query(base: &str, args: &ExplainArgs, namespace: &str) -> String {
    let Subject { kind, name } = &args.parent;
    format!("{base}/debug/explain?kind={kind}&namespace={namespace}&name={name}")
}

/// One HTTP request over any stream.
async fn exchange<S>(stream: S, host: &str, path: &str) -> anyhow::Result<Vec<Explained>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; what is wrong with it, the answer says.
    tokio::spawn(connection);
    let request = http::Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        bail!("GET /debug/explain was answered with {status}: this is no Bartizan host, or one of another version");
    }
    serde_json::from_slice(&body)
        .context("GET /debug/explain was not answered as a Bartizan host of this version answers it")
}

/// For people.
fn describe(explained: &Explained) -> String {
    let Explained { provider, parent, time, request, call, outcome, message, plan, .. } = explained;
    let mut text = format!("{parent} (provider {provider})\n");
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<12}{value}", format!("{name}:"));
        }
    };
    line("decided", time);
    line("request", request.as_deref().unwrap_or("none was made"));
    line("provider", call);
    line("outcome", outcome);
    match &explained.refused {
        Some(refused) => line("refused", refused),
        None => line("message", message),
    }
    line("plan", plan);
    for wait in &explained.waits_for {
        line("waits for", wait);
    }
    line("next timer", explained.next.as_deref().unwrap_or("none; it is due when something changes"));
    if explained.failures > 0 {
        line("failures", &format!("{} in a row", explained.failures));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn a_parent_is_named_by_kind_and_name() {
        let parse = |text: &str| text.parse::<Subject>();
        let subject = Subject { kind: "objectstore.minio.rook.io".to_owned(), name: "my-store".to_owned() };
        assert_eq!(parse("objectstore.minio.rook.io/my-store"), Ok(subject));
        for bad in ["", "objectstore", "objectstore/", "/x", "a/b/c", "a/b c", "a/b&kind=c"] {
            assert_eq!(parse(bad).unwrap_err(), "write it as KIND/NAME, as in objectstore/my-store", "{bad}");
        }
    }

    #[test]
    fn a_server_is_an_http_url() {
        assert!(server("http://127.0.0.1:8080").is_ok() && server("http://localhost/bartizan").is_ok());
        let advice = "write it as http://127.0.0.1:8080, which is how the host serves it";
        for bad in ["127.0.0.1:8080", "https://127.0.0.1", "/debug"] {
            assert_eq!(server(bad).unwrap_err(), advice, "{bad}");
        }
        assert!(server("http:// ").unwrap_err().ends_with(advice));
    }

    /// A port-forward is such a stream.
    #[tokio::test]
    async fn a_host_is_asked_over_any_stream_and_another_server_is_told_apart() {
        let answer = |text: &'static str| async move {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let server = tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = theirs.read(&mut request).await.unwrap();
                theirs.write_all(text.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let found = exchange(ours, "pod", "/debug/explain?kind=k&namespace=n&name=x").await;
            (found.map_err(|error| error.to_string()), server.await.unwrap())
        };
        let (found, request) = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        assert_eq!(found, Ok(Vec::new()));
        assert_eq!(request, "GET /debug/explain?kind=k&namespace=n&name=x HTTP/1.1\r\nhost: pod\r\n\r\n");
        let (found, _) = answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        let expected =
            "GET /debug/explain was answered with 404 Not Found: this is no Bartizan host, or one of another version";
        assert_eq!(found, Err(expected.to_owned()));
        let (found, _) = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        let expected = "GET /debug/explain was not answered as a Bartizan host of this version answers it";
        assert_eq!(found, Err(expected.to_owned()));
    }

    #[test]
    fn the_port_is_the_one_that_the_pod_names() {
        let pod = |ports: serde_json::Value| {
            let containers = serde_json::json!([{"name": "sidecar"}, {"name": "bartizan", "ports": ports}]);
            serde_json::from_value::<Pod>(serde_json::json!({"spec": {"containers": containers}})).unwrap()
        };
        let ports = serde_json::json!([{"name": "other", "containerPort": 1}, {"name": "http", "containerPort": 9000}]);
        assert_eq!((port(&pod(ports)), port(&pod(serde_json::json!([])))), (9000, 8080));
    }

    #[test]
    fn people_get_a_line_for_each_thing_that_is_known() {
        let explained = Explained {
            provider: "minio".to_owned(),
            parent: "ObjectStore.minio.rook.io rook-minio/my-store".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            request: Some("00ff".to_owned()),
            call: "called: the request changed, or a timer was due".to_owned(),
            outcome: "Refused".to_owned(),
            message: "The answer of provider minio was refused: response.children[0]: no".to_owned(),
            plan: "nothing to do".to_owned(),
            refused: Some("response.children[0]: no".to_owned()),
            waits_for: vec!["ConfigMap n/x to be gone".to_owned()],
            next: None,
            failures: 2,
        };
        let expected = "ObjectStore.minio.rook.io rook-minio/my-store (provider minio)\n\
                        \x20 decided:    2026-01-01T00:00:00Z\n\
                        \x20 request:    00ff\n\
                        \x20 provider:   called: the request changed, or a timer was due\n\
                        \x20 outcome:    Refused\n\
                        \x20 refused:    response.children[0]: no\n\
                        \x20 plan:       nothing to do\n\
                        \x20 waits for:  ConfigMap n/x to be gone\n\
                        \x20 next timer: none; it is due when something changes\n\
                        \x20 failures:   2 in a row\n";
        assert_eq!(describe(&explained), expected);
    }
}
