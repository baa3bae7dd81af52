//! Progress for people.

/// Prints an intermediate result; to stderr, since stdout is for the figures.
pub(super) fn show(phase: &str, what: &impl std::fmt::Debug) {
    eprintln!("{phase}: {what:?}");
}
