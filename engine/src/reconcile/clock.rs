//! Time, as a reconcile is told it.

use std::time::Instant;

/// What time it is, for whoever drives a reconcile to say.
pub trait Clock {
    /// For delays.
    fn instant(&self) -> Instant;
    /// RFC 3339 in UTC and seconds, for conditions that change now.
    fn timestamp(&self) -> String;
}
