//! What decides in which order effects are carried out, and what goes wrong with them.

/// What goes wrong with one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is lost, and is answered with a transient error.
    Lost,
    /// The request is carried out, and its answer is lost.
    Unanswered,
    /// The host ends before the request is sent.
    CrashBefore,
    /// The host ends after the request was carried out.
    CrashAfter,
}

/// Orders effects and injects faults.
pub trait Schedule {
    /// Which of `count` effects that may be carried out now comes first; the rest is taken modulo `count`.
    fn pick(&mut self, count: usize) -> usize;

    /// What goes wrong with the effect that was picked.
    fn fault(&mut self) -> Option<Fault>;
}

/// In the order in which they were handed out, and nothing goes wrong.
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

/// Choices that were made before, one byte each; in order and without faults once they are used up.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    bytes: std::collections::VecDeque<u8>,
}

impl Choices {
    /// Makes these choices.
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
