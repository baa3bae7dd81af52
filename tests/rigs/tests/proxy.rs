//! The fault proxy between a client and a server that counts requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_rigs::faults::{Fault, Rules, Seeded};
use bartizan_rigs::hold::{Point, Side};
use bartizan_rigs::proxy::Proxy;
use bartizan_rigs::request::Class;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(20);

/// A server that answers each request with its number, from 1.
struct Counter {
    url: String,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Counter {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                connections.spawn(async move {
                    let service = service_fn(|_request| {
                        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                        async move { Ok::<_, std::convert::Infallible>(Response::new(text(number))) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { url, asked, _tasks: tasks })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn text(number: usize) -> Full<Bytes> {
    Full::new(Bytes::from(number.to_string()))
}

fn client(url: &str) -> Result<Client> {
    let mut config = Config::new(url.parse()?);
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn ask(client: &Client, method: Method, path: &str) -> Result<(u16, String)> {
    let request = Request::builder().method(method).uri(path).body(Body::from(Vec::new()))?;
    let (head, body) = client.send(request).await?.into_parts();
    Ok((head.status.as_u16(), String::from_utf8(body.collect().await?.to_bytes().to_vec())?))
}

#[tokio::test]
async fn a_held_write_reaches_the_server_or_not_and_is_never_answered() -> Result<()> {
    for (side, reaches) in [(Side::Before, 1), (Side::After, 2)] {
        let server = Counter::start().await?;
        let proxy = Proxy::to(client(&server.url)?, Rules::Pass).await?;
        let host = client(&format!("http://{}", proxy.address()))?;
        let held = proxy.hold(Point { namespace: "a".to_owned(), number: 2, side });
        let path = "/api/v1/namespaces/a/services/s";
        ensure!(ask(&host, Method::PATCH, path).await? == (200, "1".to_owned()));
        let second = tokio::spawn(async move { ask(&host, Method::DELETE, path).await });
        let write = tokio::time::timeout(SOON, held).await??;
        ensure!(write.to_string() == "DELETE services s", "{write}");
        ensure!(server.asked() == reaches, "{side}: the server has seen {} requests", server.asked());
        proxy.release();
        ensure!(second.await?.is_err(), "{side}: the client heard an answer");
        proxy.closed(SOON).await?;
        let log = proxy.log();
        ensure!(log.len() == 2 && log[1].code.is_some() == (side == Side::After), "{log:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_disconnected_client_leaves_no_request_in_flight() -> Result<()> {
    let server = Counter::start().await?;
    let proxy = Proxy::to(client(&server.url)?, Rules::Pass).await?;
    let held = proxy.hold(Point { namespace: "a".to_owned(), number: 1, side: Side::Before });
    let host = client(&format!("http://{}", proxy.address()))?;
    let killed = tokio::spawn(async move { ask(&host, Method::PATCH, "/api/v1/namespaces/a/services/s").await });
    tokio::time::timeout(SOON, held).await??;
    killed.abort();
    proxy.closed(SOON).await?;
    ensure!(server.asked() == 0);
    Ok(())
}

#[tokio::test]
async fn each_fault_does_what_its_name_says() -> Result<()> {
    let server = Counter::start().await?;
    let proxy = Proxy::to(client(&server.url)?, Rules::Seeded(Seeded::new(3))).await?;
    let host = client(&format!("http://{}", proxy.address()))?;
    let mut last_list = None;
    for round in 0..60 {
        let (method, path) = match round % 3 {
            0 => (Method::PATCH, "/api/v1/namespaces/a/services/s"),
            1 => (Method::GET, "/api/v1/namespaces/a/services/s"),
            _ => (Method::GET, "/api/v1/services"),
        };
        let before = server.asked();
        let answer = ask(&host, method, path).await;
        let reached = server.asked() - before;
        let log = proxy.log();
        let entry = log.last().context("nothing was logged")?;
        let number = server.asked().to_string();
        let fits = match (entry.fault, &answer, reached) {
            (Fault::Pass | Fault::Delay(_), Ok((200, body)), 1) | (Fault::Duplicate, Ok((200, body)), 2) => {
                *body == number
            }
            (Fault::Stale, Ok((200, body)), 0) => last_list.as_ref() == Some(body),
            (Fault::Stale, Ok((200, body)), 1) => last_list.is_none() && *body == number,
            (Fault::Unavailable, Ok((503, _)), 0) | (Fault::TooManyRequests, Ok((429, _)), 0) => true,
            (Fault::Close, Err(_), 0) | (Fault::DropAnswer, Err(_), 1) => true,
            _ => false,
        };
        ensure!(fits, "{:?}: {answer:?}, and the server saw {reached} requests", entry.fault);
        if let (Class::List, Ok((200, body))) = (entry.request.class, answer) {
            last_list = Some(body);
        }
    }
    proxy.heal();
    for _ in 0..20 {
        ensure!(ask(&host, Method::GET, "/api/v1/services").await?.0 == 200);
    }
    Ok(())
}
