//! How long tests wait.

use std::time::Duration;

/// For what should take a moment: other tests and builds may share the machine.
pub const SOON: Duration = Duration::from_secs(60);
