//! What people see while it runs.

/// Progress; not on stdout, which is for the figures.
pub(super) fn say(phase: &str, what: &impl std::fmt::Debug) {
    eprintln!("{phase}: {what:?}");
}
