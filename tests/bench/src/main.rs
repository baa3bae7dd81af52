//! The figures of the README.
fn main() {}
