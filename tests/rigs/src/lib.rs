//! Rigs that disturb the host on the real control plane and compare the result with the intended one.
//!
//! [`crash`] kills the host at each single write of a scenario in turn and compares the end with an undisturbed run.
//! [`chaos`] makes requests fail at random, by a seed, and checks that everything converges once they no longer do.
//! [`memory`] runs the host within a container's memory limit, beside everything that takes memory or attention.
//! The first two put a [`proxy::Proxy`] between the host and the API server; [`faults`] decides what it does.

pub mod chaos;
pub mod crash;
pub mod faults;
pub mod hold;
pub mod memory;
pub mod proxy;
pub mod request;

mod differences;
mod secrets;
