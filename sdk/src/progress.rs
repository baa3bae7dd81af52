//! The progress of a parent, reported in the same way by all providers that take one step at a time.

use bartizan_contract::{Condition, ConditionStatus};

use crate::condition::{self, PROGRESSING};
use crate::response::Response;

/// The step that a provider takes for a parent, or what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The machine-readable reason: one CamelCase word.
    pub reason: &'static str,
    /// The message for people.
    pub message: String,
    /// Whether this response takes a step rather than waiting.
    pub is_step: bool,
}

impl Progress {
    /// Waiting for something outside of the provider.
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Option<Self> {
        Some(Self { reason, message: message.into(), is_step: false })
    }

    /// This response takes a step.
    pub fn step(reason: &'static str, message: impl Into<String>) -> Option<Self> {
        Some(Self { reason, message: message.into(), is_step: true })
    }
}

impl Response {
    /// Adds the conditions `Ready` and `Progressing`, and an event if a step is taken. Without progress, `done` is the message of
    /// `Ready`.
    #[must_use]
    pub fn progress(self, progress: Option<Progress>, done: impl Into<String>) -> Self {
        let Some(Progress { reason, message, is_step }) = progress else {
            let settled = Condition::new(PROGRESSING, ConditionStatus::False, "Settled", "");
            return self.condition(condition::ready("Ready", done)).condition(settled);
        };
        let response = if is_step { self.event(reason, message.clone()) } else { self };
        let progressing = Condition::new(PROGRESSING, ConditionStatus::True, reason, message.clone());
        response.condition(condition::not_ready(reason, message)).condition(progressing)
    }
}
