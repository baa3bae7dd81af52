//! Handles one request as decided.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::sleep;

use super::answer::{Body, Error, Recorded, passed_on, refusal};
use super::shared::{Counted, Entry, Shared, lock};
use super::stream::disturb;
use crate::faults::Fault;
use crate::hold::Fate;
use crate::request::{Class, Summary};

/// One request with everything needed to send it, more than once if necessary.
struct Sent {
    shared: Arc<Shared>,
    head: Parts,
    body: Bytes,
    summary: Summary,
    /// Position in the log.
    number: usize,
}

/// Answers a request, or closes the connection with an error.
pub(super) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    let summary = Summary::new(&head.method, &head.uri);
    let body = body.collect().await?.to_bytes();
    let fate = lock(&shared.hold).as_mut().map_or(Fate::Pass, |hold| hold.decide(&summary));
    let fault = lock(&shared.rules).decide(&summary);
    let number = {
        let mut log = lock(&shared.log);
        log.push(Entry { request: summary.clone(), fault, code: None });
        log.len() - 1
    };
    let sent = Sent { shared: Arc::clone(&shared), head, body, summary, number };
    match fate {
        Fate::Pass => sent.disturbed(fault).await,
        Fate::Hold(released) => {
            released.cancelled().await;
            Err("held by the rig".into())
        }
        Fate::HoldResponse(released) => {
            sent.whole().await?;
            if let Some(hold) = lock(&shared.hold).as_mut() {
                hold.report(&sent.summary);
            }
            released.cancelled().await;
            Err("held by the rig".into())
        }
    }
}

impl Sent {
    async fn disturbed(&self, fault: Fault) -> Result<Response<Body>, Error> {
        match fault {
            Fault::Pass => self.pass(fault).await,
            Fault::Unavailable => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")),
            Fault::TooManyRequests => Ok(refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")),
            Fault::Expired => Ok(refusal(StatusCode::GONE, "Expired")),
            Fault::Close => Err("closed by the rig".into()),
            Fault::DropAnswer => {
                self.whole().await?;
                Err("answer dropped by the rig".into())
            }
            Fault::Delay(time) => {
                sleep(time).await;
                self.pass(fault).await
            }
            Fault::Duplicate => {
                self.whole().await?;
                Ok(self.whole().await?.into_response())
            }
            Fault::Stale => {
                let recorded = lock(&self.shared.lists).get(&self.url()).cloned();
                match recorded {
                    Some(recorded) => Ok(recorded.into_response()),
                    None => self.pass(fault).await,
                }
            }
            Fault::Cut { .. } | Fault::Freeze { .. } | Fault::Lose { .. } => self.pass(fault).await,
        }
    }

    /// Sends it; lists are recorded, and watches are streamed.
    async fn pass(&self, fault: Fault) -> Result<Response<Body>, Error> {
        if self.summary.class == Class::Watch {
            let (head, body) = self.send()?.await?.into_parts();
            let mut response = Response::new(disturb(body, fault, self.shared.healed.subscribe()));
            *response.status_mut() = head.status;
            *response.headers_mut() = passed_on(&head.headers);
            return Ok(response);
        }
        let whole = self.whole().await?;
        // A page of a list is not the list.
        if self.summary.class == Class::List && whole.is_success() && !self.summary.query.contains("continue=") {
            lock(&self.shared.lists).insert(self.url(), whole.clone());
        }
        Ok(whole.into_response())
    }

    /// Sends it and reads the complete response. A write is completed even if its client dies meanwhile: it was in
    /// flight, and the audit log must show its outcome.
    async fn whole(&self) -> Result<Recorded, Error> {
        let answer = self.send()?;
        if self.summary.class != Class::Write {
            return Recorded::read(answer.await?).await;
        }
        let under_way = Counted::new(&self.shared);
        let written = tokio::spawn(async move {
            let whole = Recorded::read(answer.await?).await;
            drop(under_way);
            whole
        });
        written.await?
    }

    fn send(&self) -> Result<impl Future<Output = Result<Response<kube::client::Body>, Error>> + use<>, Error> {
        let mut request = Request::new(kube::client::Body::from(self.body.clone()));
        *request.method_mut() = self.head.method.clone();
        // The client puts the address of the API server in front of it.
        *request.uri_mut() = self.url().parse()?;
        *request.headers_mut() = passed_on(&self.head.headers);
        request.headers_mut().remove(header::HOST);
        let (shared, number) = (Arc::clone(&self.shared), self.number);
        Ok(async move {
            let answer = shared.upstream.send(request).await?;
            if let Some(entry) = lock(&shared.log).get_mut(number) {
                entry.code = Some(answer.status().as_u16());
            }
            Ok(answer)
        })
    }

    /// Path and query.
    fn url(&self) -> String {
        let Summary { path, query, .. } = &self.summary;
        if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
    }
}
