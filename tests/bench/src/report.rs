//! The figures, for people and for programs.

use anyhow::Result;
use serde::Serialize;

/// One provider call.
#[derive(Serialize)]
pub(crate) struct Hop {
    pub(crate) children: usize,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// One provider call with a fixed request.
#[derive(Serialize)]
pub(crate) struct Call {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// All figures; its JSON is read by programs.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) hop: Vec<Hop>,
    pub(crate) cassandra: Call,
    pub(crate) load_cold_ms: f64,
    pub(crate) load_cached_ms: f64,
    pub(crate) module_bytes: usize,
}

impl Report {
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("One call of minio.wasm, a fresh instance each, in the quietest of twenty rounds:");
        println!("  {:>8}  {:>10}  {:>10}", "children", "p50", "p99");
        for Hop { children, p50_us, p99_us } in &self.hop {
            println!("  {children:>8}  {p50_us:>7.1} us  {p99_us:>7.1} us");
        }
        let Call { p50_us, p99_us } = &self.cassandra;
        println!("One call of cassandra.wasm, 20 children and 12 descendants: {p50_us:.1} us, p99 {p99_us:.1} us");
        println!(
            "Loading minio.wasm: {:.1} ms compiled, {:.2} ms from the cache",
            self.load_cold_ms, self.load_cached_ms
        );
        println!("Its size: {} bytes", self.module_bytes);
        if cfg!(debug_assertions) {
            println!("This is a debug build: the figures mean nothing. Use --release.");
        }
        Ok(())
    }
}
