//! Client of a running host, through a port-forward to its pod or at a given address. It never sends it a credential of the API server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bartizan_contract::names::SYSTEM_NAMESPACE;
use clap::ValueEnum;
use http::header::{AUTHORIZATION, HOST};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::cli::proof::{self, Proof, ProofArgs};
use crate::kubernetes::connect::ClusterArgs;
use crate::kubernetes::error::api_message;

/// Label of the host's pods.
const POD_LABEL: &str = "app.kubernetes.io/name=bartizan";
/// Name of the host's port in its pod.
const PORT_NAME: &str = "http";
/// The host's port if the pod names none.
const DEFAULT_PORT: u16 = 8080;
/// Longest time for an answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// The host to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct HostArgs {
    /// Address of the host, as http://127.0.0.1:8080; default: a port-forward to its pod.
    #[arg(long, value_name = "URL", value_parser = server)]
    pub(crate) server: Option<Uri>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Namespace of the host's pod.
    #[arg(long, value_name = "NAMESPACE", default_value = SYSTEM_NAMESPACE, env = "BARTIZAN_SYSTEM_NAMESPACE")]
    pub(crate) system_namespace: String,
    #[command(flatten)]
    proof: ProofArgs,
}

/// How to print an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Output {
    /// Prints to standard output.
    ///
    /// # Errors
    /// If the value cannot be serialized.
    pub(crate) fn print(self, value: &impl Serialize) -> anyhow::Result<()> {
        match self {
            Self::Json => println!("{}", serde_json::to_string_pretty(value)?),
            Self::Yaml => print!("{}", serde_yaml_ng::to_string(value)?),
        }
        Ok(())
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

/// The host stands by, or cannot ask the API server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unavailable(String);

/// Where a host is.
enum At<'a> {
    /// At an address.
    Address(&'a Uri),
    /// In a pod, in this namespace.
    Pod(Client, &'a str),
}

/// How to reach a host, and who asks it.
pub(crate) struct Host<'a> {
    at: At<'a>,
    args: &'a HostArgs,
}

impl HostArgs {
    /// How to reach the host. Sends no request to it yet.
    ///
    /// # Errors
    /// If the cluster cannot be connected to.
    pub(crate) async fn find(&self) -> anyhow::Result<Host<'_>> {
        let at = match &self.server {
            Some(server) => At::Address(server),
            None => At::Pod(self.cluster.connect().await?, &self.system_namespace),
        };
        Ok(Host { at, args: self })
    }

    /// The cluster of a host. An address alone says nothing about it.
    ///
    /// # Errors
    /// If it cannot be connected to.
    pub(crate) async fn cluster_of(&self, host: &Host<'_>) -> anyhow::Result<Option<Client>> {
        Ok(match &host.at {
            At::Pod(client, _) => Some(client.clone()),
            At::Address(_) if self.cluster.is_named() => Some(self.cluster.connect().await?),
            At::Address(_) => None,
        })
    }
}

impl Host<'_> {
    /// The default namespace of parents.
    pub(crate) fn default_namespace(&self) -> &str {
        match &self.at {
            At::Address(_) => "default",
            At::Pod(client, _) => client.default_namespace(),
        }
    }

    /// Sends a GET request, and proves who asks.
    ///
    /// # Errors
    /// If there is no answer in time, or not that of a host of this version.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> anyhow::Result<T> {
        self.ask(path, query, true).await
    }

    /// Sends a GET request for what anybody may see.
    ///
    /// # Errors
    /// If there is no answer in time, or not that of a host of this version.
    pub(crate) async fn get_public<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(path, "", false).await
    }

    async fn proof(&self) -> anyhow::Result<Proof> {
        let (at, args) = (&self.at, self.args);
        let client = async || match at {
            At::Pod(client, _) => Ok(client.clone()),
            At::Address(_) => args.cluster.connect().await,
        };
        args.proof.prove(client).await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, query: &str, proves: bool) -> anyhow::Result<T> {
        let asked = tokio::time::timeout(DEADLINE, async {
            let proof = if proves { self.proof().await? } else { Proof::None };
            match &self.at {
                At::Address(server) => {
                    let address = format!("{}:{}", server.host().unwrap_or_default(), server.port_u16().unwrap_or(80));
                    let context = || format!("--server {}", server.to_string().trim_end_matches('/'));
                    let stream = TcpStream::connect(&address).await.with_context(context)?;
                    let asked = Asked { host: &address, base: server.path().trim_end_matches('/'), path, query };
                    exchange(stream, asked, proof.header()).await.with_context(context)
                }
                At::Pod(client, namespace) => ask_pod(client, namespace, proof, path, query).await,
            }
        });
        asked.await.map_err(|_| anyhow::anyhow!("no answer within {} s", DEADLINE.as_secs()))?
    }
}

async fn ask_pod<T: DeserializeOwned>(
    client: &Client,
    namespace: &str,
    proof: Proof,
    path: &str,
    query: &str,
) -> anyhow::Result<T> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let listed = pods.list(&ListParams::default().labels(POD_LABEL)).await.map_err(api_message);
    let all = listed.with_context(|| format!("pods in namespace {namespace} could not be listed"))?;
    let mut failure = anyhow::anyhow!(
        "no running pod has the label {POD_LABEL} in namespace {namespace}; name another with --system-namespace, or the host's \
         address with --server"
    );
    let mut has_said = false;
    // One of them leads; those that stand by say so.
    for pod in all.items.iter().filter(|pod| is_running(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let asked = async {
            let header = match &proof {
                Proof::KeyOfPod => {
                    let container = serving(pod).map(|(container, _)| container.name.clone());
                    let key = proof::key_from(&pods, &name, container).await;
                    Some(key.with_context(|| format!("pod {namespace}/{name}"))?)
                }
                other => other.header(),
            };
            let answer = ask(&pods, port(pod), header, Asked { host: &name, base: "", path, query }).await;
            answer.with_context(|| format!("port-forward to pod {namespace}/{name}"))
        };
        match asked.await {
            Ok(answer) => return Ok(answer),
            // Who stands by says less than who leads.
            Err(error) if has_said && error.is::<Unavailable>() => {}
            Err(error) => (has_said, failure) = (!error.is::<Unavailable>(), error),
        }
    }
    Err(failure)
}

/// What is asked of which host.
struct Asked<'a> {
    host: &'a str,
    base: &'a str,
    path: &'a str,
    query: &'a str,
}

async fn ask<T: DeserializeOwned>(
    pods: &Api<Pod>,
    port: u16,
    header: Option<String>,
    asked: Asked<'_>,
) -> anyhow::Result<T> {
    let mut forward = pods.portforward(asked.host, &[port]).await.map_err(api_message)?;
    let stream = forward.take_stream(port).context("has no stream")?;
    exchange(stream, asked, header).await
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// The container with the host's port, and that.
fn serving(pod: &Pod) -> Option<(&Container, i32)> {
    pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|container| {
        let port = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(PORT_NAME))?;
        Some((container, port.container_port))
    })
}

fn port(pod: &Pod) -> u16 {
    serving(pod).and_then(|(_, port)| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT)
}

/// One HTTP request over any stream.
async fn exchange<S, T>(stream: S, asked: Asked<'_>, credential: Option<String>) -> anyhow::Result<T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: DeserializeOwned,
{
    let Asked { host, base, path, query } = asked;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; an error of the connection is one of the request, too.
    tokio::spawn(connection);
    let mut request = http::Request::get(format!("{base}{path}?{query}")).header(HOST, host);
    if let Some(credential) = credential {
        request = request.header(AUTHORIZATION, credential);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status == StatusCode::UNAUTHORIZED {
        bail!(
            "GET {path} was answered with {status}: {}; on the host's own machine, name its --debug-key-file, elsewhere a \
             --service-account, or leave out --server to ask through its pod",
            String::from_utf8_lossy(&body).trim()
        );
    }
    let said = || format!("GET {path} was answered with {status}: {}", String::from_utf8_lossy(&body).trim());
    if status == StatusCode::FORBIDDEN {
        bail!("{}", said());
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return Err(Unavailable(said()).into());
    }
    if status != StatusCode::OK {
        bail!("GET {path} was answered with {status}: this is not a Bartizan host, or one of another version");
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("GET {path} was not answered as a Bartizan host of this version answers it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
    async fn a_host_answers_over_any_stream_and_another_server_is_recognized() {
        let answer = |text: &'static str| async move {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let server = tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = theirs.read(&mut request).await.unwrap();
                theirs.write_all(text.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let asked = Asked { host: "pod", base: "", path: "/debug/explain", query: "kind=k&namespace=n&name=x" };
            let found = exchange::<_, Vec<String>>(ours, asked, Some("Bearer t".to_owned())).await;
            (found.map_err(|error| error.to_string()), server.await.unwrap())
        };
        let (found, request) = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        assert_eq!(found, Ok(Vec::new()));
        assert_eq!(
            request,
            "GET /debug/explain?kind=k&namespace=n&name=x HTTP/1.1\r\nhost: pod\r\nauthorization: Bearer t\r\n\r\n"
        );
        let (found, _) = answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        let expected = "GET /debug/explain was answered with 404 Not Found: this is not a Bartizan host, or one of another version";
        assert_eq!(found, Err(expected.to_owned()));
        let (found, _) = answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nu may not\n").await;
        assert_eq!(found, Err("GET /debug/explain was answered with 403 Forbidden: u may not".to_owned()));
        let (found, _) = answer("HTTP/1.1 401 Unauthorized\r\ncontent-length: 8\r\n\r\nwho asks").await;
        let expected = "GET /debug/explain was answered with 401 Unauthorized: who asks; on the host's own machine, name its \
                        --debug-key-file, elsewhere a --service-account, or leave out --server to ask through its pod";
        assert_eq!(found, Err(expected.to_owned()));
        let (found, _) =
            answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 23\r\n\r\nit stands by: a leads\r\n").await;
        let expected = "GET /debug/explain was answered with 503 Service Unavailable: it stands by: a leads";
        assert_eq!(found, Err(expected.to_owned()));
        let (found, _) = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        let expected = "GET /debug/explain was not answered as a Bartizan host of this version answers it";
        assert_eq!(found, Err(expected.to_owned()));
    }

    #[test]
    fn the_port_is_the_named_one_of_the_pod() {
        let pod = |ports: serde_json::Value| {
            let containers = serde_json::json!([{"name": "sidecar"}, {"name": "bartizan", "ports": ports}]);
            serde_json::from_value::<Pod>(serde_json::json!({"spec": {"containers": containers}})).unwrap()
        };
        let ports = serde_json::json!([{"name": "other", "containerPort": 1}, {"name": "http", "containerPort": 9000}]);
        let (named, none) = (pod(ports), pod(serde_json::json!([])));
        assert_eq!((port(&named), port(&none)), (9000, 8080));
        let container = |pod: &Pod| serving(pod).map(|(container, _)| container.name.clone());
        assert_eq!((container(&named).as_deref(), container(&none)), (Some("bartizan"), None));
    }
}
