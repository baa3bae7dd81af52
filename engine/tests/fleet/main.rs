//! The life of Providers: each transition in a table, and what must hold whatever happens in whatever order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so at once")]

mod folder;
mod properties;
mod served;
mod told;
mod transitions;
mod world;
