//! Tests of the documentation, for readers and for the code that sends them there: see [`links`].

#[cfg(test)]
mod links;
