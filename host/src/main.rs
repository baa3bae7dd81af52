//! The operator host.
fn main() {}
