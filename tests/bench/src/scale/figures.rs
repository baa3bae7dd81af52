//! The figures, for people and for programs.

use anyhow::Result;
use serde::Serialize;

/// The figures of one controller.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// From the first create until the last parent has converged.
    pub(crate) converge_s: f64,
    /// From the response to a change until the status shows it.
    pub(crate) update_p50_ms: f64,
    pub(crate) update_p99_ms: f64,
    pub(crate) requests_per_parent: f64,
    pub(crate) requests_per_update: f64,
    pub(crate) requests_per_drift: f64,
    pub(crate) requests_at_rest: usize,
    pub(crate) rss_mib: f64,
    pub(crate) cpu_at_rest_percent: f64,
    pub(crate) restart_writes: usize,
    pub(crate) restart_ready_s: f64,
    /// CPU time until the parents have converged and requests have stopped.
    pub(crate) cpu_s: f64,
}

/// All figures; its JSON is read by programs.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) parents: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bartizan: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) native: Option<Figures>,
}

/// A row of the table: what it shows, its unit, and the figure.
type Row = (&'static str, &'static str, fn(&Figures) -> f64);

const ROWS: [Row; 12] = [
    ("converge", "s", |figures| figures.converge_s),
    ("  processor time of it", "s", |figures| figures.cpu_s),
    ("  requests per parent", "", |figures| figures.requests_per_parent),
    ("update, p50", "ms", |figures| figures.update_p50_ms),
    ("update, p99", "ms", |figures| figures.update_p99_ms),
    ("  requests per update", "", |figures| figures.requests_per_update),
    ("requests per deleted child", "", |figures| figures.requests_per_drift),
    ("requests at rest", "", |figures| figures.requests_at_rest as f64),
    ("processor at rest", "%", |figures| figures.cpu_at_rest_percent),
    ("resident memory", "MiB", |figures| figures.rss_mib),
    ("restart: ready", "s", |figures| figures.restart_ready_s),
    ("restart: writes", "", |figures| figures.restart_writes as f64),
];

impl Report {
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{} parents with 3 ConfigMaps each and a status:", self.parents);
        println!("  {:<28}  {:>12}  {:>12}  {:>8}", "", "bartizan", "native", "ratio");
        for (what, unit, figure) in ROWS {
            let [bartizan, native] = [&self.bartizan, &self.native].map(|figures| figures.as_ref().map(figure));
            let text = |figure: Option<f64>| figure.map_or_else(String::new, |figure| format!("{figure} {unit}"));
            let ratio = match (bartizan, native) {
                (Some(bartizan), Some(native)) if native > 0.0 => format!("{:.2}", bartizan / native),
                _ => String::new(),
            };
            println!("  {what:<28}  {:>12}  {:>12}  {ratio:>8}", text(bartizan).trim_end(), text(native).trim_end());
        }
        if cfg!(debug_assertions) {
            println!("This is a debug build: the times mean nothing.");
        }
        Ok(())
    }
}
