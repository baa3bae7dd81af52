//! Watches that end early or freeze.

use std::pin::Pin;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::answer::{Body, Error};
use crate::faults::Fault;

/// A stream and its fault.
struct Disturbed {
    body: Body,
    /// When the fault happens next; `None` if it does not any more.
    at: Option<Pin<Box<Sleep>>>,
    fault: Fault,
    healed: watch::Receiver<bool>,
}

/// Passes a stream on until its fault happens.
pub(super) fn disturb<B>(body: B, fault: Fault, healed: watch::Receiver<bool>) -> Body
where
    B: hyper::body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    let disturbed = Disturbed { body: body.map_err(Into::into).boxed_unsync(), at: at(fault), fault, healed };
    StreamBody::new(stream::unfold(disturbed, next)).boxed_unsync()
}

/// The time until the fault (again).
fn at(fault: Fault) -> Option<Pin<Box<Sleep>>> {
    match fault {
        Fault::Cut { after, .. } | Fault::Freeze { after, .. } | Fault::Lose { after, .. } => {
            Some(Box::pin(sleep(after)))
        }
        _ => None,
    }
}

/// Whichever comes first.
enum Next {
    Frame(Option<Result<Frame<Bytes>, Error>>),
    Fault,
    Healed,
}

async fn next(mut this: Disturbed) -> Option<(Result<Frame<Bytes>, Error>, Disturbed)> {
    loop {
        let next = match &mut this.at {
            None => Next::Frame(this.body.frame().await),
            Some(at) => tokio::select! {
                frame = this.body.frame() => Next::Frame(frame),
                () = at => Next::Fault,
                _ = this.healed.wait_for(|healed| *healed) => Next::Healed,
            },
        };
        if let Next::Frame(frame) = next {
            return Some((frame?, this));
        }
        this.at = None;
        match (next, this.fault) {
            (Next::Fault, Fault::Cut { clean: true, .. }) => return None,
            (Next::Fault, Fault::Cut { .. }) => return Some((Err("cut by the rig".into()), this)),
            (Next::Fault, Fault::Freeze { lasts, .. }) => {
                // Events that the API server sends meanwhile wait in the connection.
                let _ = tokio::time::timeout(lasts, this.healed.wait_for(|healed| *healed)).await;
                this.at = at(this.fault);
            }
            (Next::Fault, Fault::Lose { lasts, .. }) => {
                let _ = tokio::time::timeout(lasts, this.healed.wait_for(|healed| *healed)).await;
                return Some((Err("cut by the rig".into()), this));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt as _;

    use super::*;

    const NOW: Duration = Duration::ZERO;
    const NEVER: Duration = Duration::from_secs(3600);

    /// A watch with one event, which then stays open.
    fn events() -> Body {
        let event = stream::once(async { Ok::<_, Error>(Frame::data(Bytes::from("event"))) });
        StreamBody::new(event.chain(stream::pending())).boxed_unsync()
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened")
    }

    #[tokio::test]
    async fn a_watch_ends_as_decided() {
        let (_healed, never) = watch::channel(false);
        let after = Duration::from_millis(20);
        let mut body = disturb(events(), Fault::Cut { after, clean: true }, never.clone());
        assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "event");
        assert!(soon(body.frame()).await.is_none());
        let mut body = disturb(events(), Fault::Cut { after, clean: false }, never);
        assert!(soon(body.frame()).await.unwrap().is_ok());
        assert!(soon(body.frame()).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn events_that_a_watch_loses_never_arrive() {
        let (_healed, never) = watch::channel(false);
        let (events, received) = futures::channel::mpsc::unbounded();
        let body = StreamBody::new(received.map(|event: Bytes| Ok::<_, Error>(Frame::data(event))));
        let fault = Fault::Lose { after: NOW, lasts: Duration::from_millis(300) };
        let mut body = disturb(body, fault, never);
        let send = async {
            // Well after it froze, and before it breaks; later would do as well.
            sleep(Duration::from_millis(50)).await;
            events.unbounded_send(Bytes::from("event"))
        };
        let (frame, _) = tokio::join!(soon(body.frame()), send);
        assert!(frame.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_frozen_watch_resumes_after_its_time_or_once_healed() {
        let (healed, heals) = watch::channel(false);
        let mut body = disturb(events(), Fault::Freeze { after: NOW, lasts: Duration::from_millis(20) }, heals.clone());
        assert!(soon(body.frame()).await.unwrap().is_ok());
        let mut body = disturb(events(), Fault::Freeze { after: NOW, lasts: NEVER }, heals);
        healed.send_replace(true);
        assert!(soon(body.frame()).await.unwrap().is_ok());
    }
}
