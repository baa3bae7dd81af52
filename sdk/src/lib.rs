//! For provider authors: a spec type and one function.
