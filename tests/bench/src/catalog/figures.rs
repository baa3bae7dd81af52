//! The figures, for people and for programs.

use anyhow::Result;
use serde::Serialize;

use super::args::Args;

/// From the start of the process until it is ready, with both shipped providers: the median of several.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Start {
    /// Without a compile cache.
    pub(crate) ready_cold_ms: f64,
    /// With one.
    pub(crate) ready_warm_ms: f64,
}

/// The cost of a preview.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// From the first previewed parent to the last.
    pub(crate) shadow_plan_10k_s: f64,
    /// How much longer an edit takes meanwhile.
    pub(crate) live_p99_ratio_during_plan: f64,
    /// All metrics, with that many parents: the 99th percentile of many scrapes.
    pub(crate) scrape_p99_ms: f64,
}

/// The time until a new version serves.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reload {
    /// From the file's change until it serves.
    pub(crate) reload_p99_ms: f64,
    pub(crate) failed_reconciles: u64,
}

/// The memory of idle providers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_20_mib: f64,
    /// Of a host that stands by meanwhile.
    pub(crate) rss_20_standby_mib: f64,
    pub(crate) rss_20_native_mib: f64,
}

/// All figures; its JSON is read by programs.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) start: Start,
    pub(crate) load_20_ms: f64,
    #[serde(flatten)]
    pub(crate) plan: Plan,
    #[serde(flatten)]
    pub(crate) reload: Reload,
    #[serde(flatten)]
    pub(crate) memory: Memory,
    pub(crate) isolation_p99_ratio: f64,
    pub(crate) poison_p99_ratio: f64,
}

impl Report {
    pub(crate) fn print(&self, args: &Args) -> Result<()> {
        if args.json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let row = |what: &str, figure: String, goal: &str| println!("  {what:<62}  {figure:>10}  {goal}");
        println!("Twenty providers in one host, and versions that come and go:");
        row("", String::new(), "goal");
        row("ready after a start, with MinIO and Cassandra", format!("{} ms", self.start.ready_cold_ms), "");
        row("  from the compile cache", format!("{} ms", self.start.ready_warm_ms), "");
        row("20 providers from the compile cache", format!("{} ms", self.load_20_ms), "300 ms");
        let plan = format!("a new version is asked about {} parents", args.parents);
        row(&plan, format!("{} s", self.plan.shadow_plan_10k_s), "10 s (10,000)");
        row("  an edit meanwhile, p99, to one before", format!("{}", self.plan.live_p99_ratio_during_plan), "1.2");
        let scrape = format!("  all metrics of {} parents, p99 of a scrape", args.parents);
        row(&scrape, format!("{} ms", self.plan.scrape_p99_ms), "5 ms (10,000)");
        let reload = format!("a changed file serves, p99 of {}, {} parents", args.reloads, args.reload_parents);
        row(&reload, format!("{} ms", self.reload.reload_p99_ms), "1000 ms");
        row("  failed reconciles meanwhile", format!("{}", self.reload.failed_reconciles), "0");
        row("resident memory of 20 idle providers", format!("{} MiB", self.memory.rss_20_mib), "100 MiB");
        let standby = self.memory.rss_20_standby_mib;
        row("  of a host that stands by", format!("{standby} MiB"), "within 20 %");
        row("  of 20 native controllers", format!("{} MiB", self.memory.rss_20_native_mib), "");
        row(
            "an edit beside six that misbehave, p99, to one beside none",
            format!("{}", self.isolation_p99_ratio),
            "1.5",
        );
        row("an edit beside 1,000 parents that crash, p99, to one alone", format!("{}", self.poison_p99_ratio), "2");
        if cfg!(debug_assertions) {
            println!("This is a debug build: the times mean nothing.");
        }
        Ok(())
    }
}
