//! The decisions of the host, without I/O.
