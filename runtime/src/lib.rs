//! Loads and calls provider modules in the sandbox.
