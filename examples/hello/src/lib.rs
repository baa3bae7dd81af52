//! The hello provider of the README.
