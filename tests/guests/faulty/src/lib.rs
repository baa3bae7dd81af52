//! A provider that misbehaves as its parent asks.
