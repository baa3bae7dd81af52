//! Stops the host at one exact write, so that it can be killed there.

use std::fmt;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::request::{Class, Summary};

/// On which side of the API server a write is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the API server gets it.
    Before,
    /// After the API server has committed it, before the response arrives.
    After,
}

impl fmt::Display for Side {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// Which write is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Only writes to this namespace count.
    pub namespace: String,
    /// Its number among them, from 1.
    pub number: usize,
    /// On which side of the API server.
    pub side: Side,
}

/// The fate of a request while a point is armed.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It passes.
    Pass,
    /// It is held for good: no later write may overtake the held one.
    Hold(CancellationToken),
    /// It is sent to the API server, and its response is held.
    HoldResponse(CancellationToken),
}

/// An armed point.
#[derive(Debug)]
pub(crate) struct Hold {
    point: Point,
    seen: usize,
    reached: Option<oneshot::Sender<Summary>>,
    released: CancellationToken,
}

impl Hold {
    /// Arms a point; the receiver gets the held write.
    pub(crate) fn arm(point: Point) -> (Self, oneshot::Receiver<Summary>) {
        let (reached, held) = oneshot::channel();
        (Self { point, seen: 0, reached: Some(reached), released: CancellationToken::new() }, held)
    }

    /// Decides the fate of the next request.
    pub(crate) fn decide(&mut self, request: &Summary) -> Fate {
        if request.class != Class::Write || request.namespace.as_deref() != Some(&self.point.namespace) {
            return Fate::Pass;
        }
        self.seen += 1;
        match (self.seen.cmp(&self.point.number), self.point.side) {
            (std::cmp::Ordering::Less, _) => Fate::Pass,
            (std::cmp::Ordering::Equal, Side::After) => Fate::HoldResponse(self.released.clone()),
            (std::cmp::Ordering::Equal, Side::Before) => {
                self.report(request);
                Fate::Hold(self.released.clone())
            }
            (std::cmp::Ordering::Greater, _) => Fate::Hold(self.released.clone()),
        }
    }

    /// Reports that the write is held.
    pub(crate) fn report(&mut self, request: &Summary) {
        if let Some(reached) = self.reached.take() {
            // The receiver may be gone: the scenario can end first.
            let _ = reached.send(request.clone());
        }
    }

    /// Closes the connections of all held requests.
    pub(crate) fn release(self) {
        self.released.cancel();
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::*;

    fn write(path: &'static str) -> Summary {
        Summary::new(&Method::PATCH, &Uri::from_static(path))
    }

    fn point(number: usize, side: Side) -> Point {
        Point { namespace: "a".to_owned(), number, side }
    }

    #[test]
    fn the_nth_write_in_the_namespace_stops_and_all_after_it() {
        let (mut hold, mut held) = Hold::arm(point(2, Side::Before));
        assert!(matches!(hold.decide(&write("/api/v1/namespaces/a/services/one")), Fate::Pass));
        assert!(matches!(hold.decide(&write("/api/v1/namespaces/b/services/one")), Fate::Pass));
        let read = Summary::new(&Method::GET, &Uri::from_static("/api/v1/namespaces/a/services/one"));
        assert!(matches!(hold.decide(&read), Fate::Pass));
        assert!(held.try_recv().is_err());
        assert!(matches!(hold.decide(&write("/api/v1/namespaces/a/services/two")), Fate::Hold(_)));
        assert_eq!(held.try_recv().unwrap().name, "two");
        assert!(matches!(hold.decide(&write("/api/v1/namespaces/a/services/three")), Fate::Hold(_)));
    }

    #[test]
    fn a_write_held_after_the_server_is_reported_once_it_was_answered() {
        let (mut hold, mut held) = Hold::arm(point(1, Side::After));
        let one = write("/api/v1/namespaces/a/services/one");
        let Fate::HoldResponse(released) = hold.decide(&one) else { panic!("it went on") };
        assert!(held.try_recv().is_err());
        hold.report(&one);
        assert_eq!(held.try_recv().unwrap().name, "one");
        hold.release();
        assert!(released.is_cancelled());
    }
}
