//! Stops the host at one exact write, so that it can be killed there.

use std::fmt;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::request::{Class, Summary};

/// When a write is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the API server has it.
    Before,
    /// After the API server has committed it, before the answer arrives.
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
    /// The how many-th, from 1.
    pub number: usize,
    /// On which side of the API server.
    pub side: Side,
}

/// What becomes of a request while a point is armed.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It goes its way.
    Go,
    /// It stops for good: no later write may overtake the one that is held.
    Stop(CancellationToken),
    /// The API server gets it, and then it stops.
    StopAfter(CancellationToken),
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
    /// Arms a point; the receiver is told the write that is held.
    pub(crate) fn arm(point: Point) -> (Self, oneshot::Receiver<Summary>) {
        let (reached, told) = oneshot::channel();
        (Self { point, seen: 0, reached: Some(reached), released: CancellationToken::new() }, told)
    }

    /// Whose turn it is now.
    pub(crate) fn turn(&mut self, request: &Summary) -> Turn {
        if request.class != Class::Write || request.namespace.as_deref() != Some(&self.point.namespace) {
            return Turn::Go;
        }
        self.seen += 1;
        match (self.seen.cmp(&self.point.number), self.point.side) {
            (std::cmp::Ordering::Less, _) => Turn::Go,
            (std::cmp::Ordering::Equal, Side::After) => Turn::StopAfter(self.released.clone()),
            (std::cmp::Ordering::Equal, Side::Before) => {
                self.tell(request);
                Turn::Stop(self.released.clone())
            }
            (std::cmp::Ordering::Greater, _) => Turn::Stop(self.released.clone()),
        }
    }

    /// The write is where it should be.
    pub(crate) fn tell(&mut self, request: &Summary) {
        if let Some(reached) = self.reached.take() {
            // Nobody may be waiting any more: the scenario can end first.
            let _ = reached.send(request.clone());
        }
    }

    /// Ends the connections of all that was held.
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
        let (mut hold, mut told) = Hold::arm(point(2, Side::Before));
        assert!(matches!(hold.turn(&write("/api/v1/namespaces/a/services/one")), Turn::Go));
        assert!(matches!(hold.turn(&write("/api/v1/namespaces/b/services/one")), Turn::Go));
        let read = Summary::new(&Method::GET, &Uri::from_static("/api/v1/namespaces/a/services/one"));
        assert!(matches!(hold.turn(&read), Turn::Go));
        assert!(told.try_recv().is_err());
        assert!(matches!(hold.turn(&write("/api/v1/namespaces/a/services/two")), Turn::Stop(_)));
        assert_eq!(told.try_recv().unwrap().name, "two");
        assert!(matches!(hold.turn(&write("/api/v1/namespaces/a/services/three")), Turn::Stop(_)));
    }

    #[test]
    fn a_write_held_after_the_server_is_reported_once_it_was_answered() {
        let (mut hold, mut told) = Hold::arm(point(1, Side::After));
        let one = write("/api/v1/namespaces/a/services/one");
        let Turn::StopAfter(released) = hold.turn(&one) else { panic!("it went on") };
        assert!(told.try_recv().is_err());
        hold.tell(&one);
        assert_eq!(told.try_recv().unwrap().name, "one");
        hold.release();
        assert!(released.is_cancelled());
    }
}
