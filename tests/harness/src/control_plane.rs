//! A real control plane in processes of its own.

mod access;
mod components;
mod options;
mod running;
mod start;

pub use options::Options;
pub use running::ControlPlane;
