//! What the process takes, under the names that Prometheus' client libraries give it. Linux only: there is no /proc elsewhere.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads /proc at each scrape.
#[derive(Debug)]
pub(super) struct Process;

/// What is read.
struct Taken {
    cpu_seconds: f64,
    start_time_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_files: u64,
    /// `None`: unlimited.
    most_files: Option<u64>,
}

#[cfg(target_os = "linux")]
fn taken() -> Option<Taken> {
    use procfs::{CurrentSI as _, WithCurrentSystemInfo as _};

    let process = procfs::process::Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let limits = process.limits().ok()?;
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    let booted = procfs::KernelStats::current().ok()?.btime;
    let most_files = match limits.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(files) => Some(files),
        procfs::process::LimitValue::Unlimited => None,
    };
    Some(Taken {
        cpu_seconds: seconds(stat.utime + stat.stime),
        start_time_seconds: booted as f64 + seconds(stat.starttime),
        resident_bytes: stat.rss_bytes().get(),
        virtual_bytes: stat.vsize,
        open_files: u64::try_from(process.fd_count().ok()?).unwrap_or(u64::MAX),
        most_files,
    })
}

#[cfg(not(target_os = "linux"))]
fn taken() -> Option<Taken> {
    None
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(taken) = taken() else { return Ok(()) };
        let cpu = ConstCounter::new(taken.cpu_seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds",
            None,
            cpu.metric_type(),
        )?)?;
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            taken.start_time_seconds,
        )?;
        gauge("process_resident_memory_bytes", "Resident memory size in bytes", taken.resident_bytes as f64)?;
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes", taken.virtual_bytes as f64)?;
        gauge("process_open_fds", "Number of open file descriptors", taken.open_files as f64)?;
        let most = taken.most_files.map_or(f64::INFINITY, |files| files as f64);
        gauge("process_max_fds", "Maximum number of open file descriptors", most)
    }
}
