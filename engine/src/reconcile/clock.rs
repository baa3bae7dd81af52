//! The clock that the driver of a reconcile provides.

use std::time::Instant;

/// Source of the current time.
pub trait Clock {
    /// Monotonic time, for delays.
    fn instant(&self) -> Instant;
    /// RFC 3339 in UTC, to the second, for conditions that change now.
    fn timestamp(&self) -> String;
}
