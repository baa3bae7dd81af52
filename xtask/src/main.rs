//! The project's own tasks: demo, test, bench, cluster.
fn main() {}
