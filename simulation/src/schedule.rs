//! The order in which effects are carried out, and the faults that are injected.

use crate::ApiServer;

/// A fault of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is lost: it returns a transient error.
    Lost,
    /// The request is carried out, and its response is lost: it returns a transient error.
    Unanswered,
    /// The host crashes before it sends the request.
    CrashBefore,
    /// The host crashes after the request was carried out.
    CrashAfter,
    /// The API server is too busy, and refuses it (429).
    Busy,
    /// It meets another state than the one that was observed (409), wrongly or rightly.
    Conflict,
    /// A quota, a policy or missing rights forbid it (403).
    Forbidden,
    /// It is invalid (422).
    Invalid,
}

/// Orders effects and injects faults.
pub trait Schedule {
    /// Index of the next of `count` pending effects; taken modulo `count`.
    fn pick(&mut self, count: usize) -> usize;

    /// The fault of the picked effect, if any.
    fn fault(&mut self) -> Option<Fault>;

    /// What happens before the next effect is carried out, as by somebody else.
    fn before(&mut self, _server: &mut ApiServer) {}
}

/// In the order in which the effects were returned, without faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct InOrder;

impl Schedule for InOrder {
    fn pick(&mut self, _count: usize) -> usize {
        0
    }

    fn fault(&mut self) -> Option<Fault> {
        None
    }
}

/// Predetermined choices, one byte each; in order and without faults once they are used up.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    bytes: std::collections::VecDeque<u8>,
}

impl Choices {
    /// A schedule of these choices.
    #[must_use]
    pub fn new(bytes: impl IntoIterator<Item = u8>) -> Self {
        Self { bytes: bytes.into_iter().collect() }
    }
}

impl Schedule for Choices {
    fn pick(&mut self, _count: usize) -> usize {
        self.bytes.pop_front().unwrap_or_default().into()
    }

    fn fault(&mut self) -> Option<Fault> {
        match self.bytes.pop_front()? {
            0..8 => Some(Fault::Lost),
            8..16 => Some(Fault::Unanswered),
            16..24 => Some(Fault::CrashBefore),
            24..32 => Some(Fault::CrashAfter),
            _ => None,
        }
    }
}
