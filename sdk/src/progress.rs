//! What a parent is doing or waits for, told in the same way by every provider that takes one step at a time.

use bartizan_contract::{Condition, ConditionStatus};

use crate::Response;
use crate::condition::{self, PROGRESSING};

/// What a parent is doing or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// One word, for programs.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// Whether this answer takes a step, rather than wait.
    pub is_step: bool,
}

impl Progress {
    /// Nothing is done before something else has happened.
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Option<Self> {
        Some(Self { reason, message: message.into(), is_step: false })
    }

    /// This answer takes a step.
    pub fn step(reason: &'static str, message: impl Into<String>) -> Option<Self> {
        Some(Self { reason, message: message.into(), is_step: true })
    }
}

impl Response {
    /// The conditions `Ready` and `Progressing`, and an event for a step. `done` says what is there when there is nothing to
    /// do.
    #[must_use]
    pub fn progress(self, progress: Option<Progress>, done: impl Into<String>) -> Self {
        let Some(Progress { reason, message, is_step }) = progress else {
            let settled = Condition::new(PROGRESSING, ConditionStatus::False, "Settled", "");
            return self.condition(condition::ready("Ready", done)).condition(settled);
        };
        let told = if is_step { self.event(reason, message.clone()) } else { self };
        let progressing = Condition::new(PROGRESSING, ConditionStatus::True, reason, message.clone());
        told.condition(condition::not_ready(reason, message)).condition(progressing)
    }
}
