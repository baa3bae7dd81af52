//! Measures the figures of the README with a release build; prints a table or JSON.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use bartizan_harness::build::{self, Profile};

use crate::{image, progress};

/// `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Debug, clap::Subcommand)]
enum Figure {
    /// One provider call: a MinIO store with 1, 10, 100 and 1,000 children, a Cassandra ring; load time; module size
    Hop {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Many parents on a real control plane, compared with a native kube-rs controller that does the same work
    Scale {
        /// Number of parents, each with three ConfigMaps and a status
        #[arg(long, default_value_t = 1000)]
        parents: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Measure only one of the two: bartizan or native
        #[arg(long, value_name = "WHICH")]
        only: Option<String>,
        /// Measure the static program of the image, instead of one for this machine's libc
        #[arg(long = "static", conflicts_with = "dev")]
        is_static: bool,
        /// Use dev builds, to try the bench: their times mean nothing
        #[arg(long)]
        dev: bool,
    },
    /// Many providers in one host, whose modules are replaced while they work, on real control planes
    Catalog {
        /// Number of parents for which a new version is previewed
        #[arg(long, default_value_t = 10_000)]
        parents: u32,
        /// How often a module is replaced
        #[arg(long, default_value_t = 50)]
        reloads: u16,
        /// Number of edits whose latency is measured
        #[arg(long, default_value_t = 700)]
        edits: u32,
        /// Measure only one part
        #[arg(long, value_name = "WHICH")]
        only: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Measure the static program of the image, instead of one for this machine's libc
        #[arg(long = "static", conflicts_with = "dev")]
        is_static: bool,
        /// Use dev builds, to try the bench: their times mean nothing
        #[arg(long)]
        dev: bool,
    },
}

/// Builds what is measured, and runs the bench.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.figure {
        Figure::Hop { json } => hop(*json),
        Figure::Scale { parents, json, only, is_static, dev } => {
            let mut arguments = vec!["--parents".to_owned(), parents.to_string()];
            if *json {
                arguments.push("--json".to_owned());
            }
            if let Some(only) = only {
                arguments.extend(["--only".to_owned(), only.clone()]);
            }
            on_a_control_plane("scale", &[("--module", "triple")], &arguments, host(*is_static, *dev))
        }
        Figure::Catalog { parents, reloads, edits, only, json, is_static, dev } => {
            let mut arguments: Vec<String> = Vec::new();
            let numbers = [("--parents", *parents), ("--reloads", (*reloads).into()), ("--edits", *edits)];
            arguments.extend(numbers.iter().flat_map(|(option, number)| [(*option).to_owned(), number.to_string()]));
            if *json {
                arguments.push("--json".to_owned());
            }
            if let Some(only) = only {
                arguments.extend(["--only".to_owned(), only.clone()]);
            }
            let modules =
                [("--triple", "triple"), ("--faulty", "faulty"), ("--minio", "minio"), ("--cassandra", "cassandra")];
            on_a_control_plane("catalog", &modules, &arguments, host(*is_static, *dev))
        }
    }
}

fn hop(json: bool) -> Result<ExitCode> {
    let modules =
        progress::step("providers (minio, cassandra)", |observer| build::guests(&["minio", "cassandra"], observer))?;
    let folder = modules.first().and_then(|module| module.parent()).context("no module was built")?;
    let programs =
        progress::step("bench", |observer| build::programs(&["bartizan-bench"], Profile::Release, observer))?;
    let mut bench = Command::new(programs.first().context("no bench was built")?);
    bench.args(["hop", "--guests"]).arg(folder);
    if json {
        bench.arg("--json");
    }
    finish(bench)
}

/// Which build of the host is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measured {
    Dev,
    Release,
    Static,
}

fn host(is_static: bool, dev: bool) -> Measured {
    match (is_static, dev) {
        (true, _) => Measured::Static,
        (false, true) => Measured::Dev,
        (false, false) => Measured::Release,
    }
}

/// Builds and runs a bench that starts control planes. `modules` are pairs of an option and the module whose path it takes.
fn on_a_control_plane(
    figure: &str,
    modules: &[(&str, &str)],
    arguments: &[String],
    measured: Measured,
) -> Result<ExitCode> {
    progress::step("control plane", build::control_plane)?;
    let guests: Vec<&str> = modules.iter().map(|(_, guest)| *guest).collect();
    let title = format!("providers ({})", guests.join(", "));
    let built = progress::step(&title, |observer| build::guests(&guests, observer))?;
    let names = ["bartizan", "bartizan-baseline", "bartizan-bench"];
    let profile = if measured == Measured::Dev { Profile::Dev } else { Profile::Release };
    let programs = progress::step("host, baseline and bench", |observer| build::programs(&names, profile, observer))?;
    let [host, baseline, bench] = &programs[..] else { bail!("not everything was built") };
    let host = match measured {
        Measured::Static => progress::step("static host", |_| image::program())?,
        Measured::Dev | Measured::Release => host.clone(),
    };
    let mut bench = Command::new(bench);
    bench.arg(figure).arg("--host").arg(host).arg("--baseline").arg(baseline);
    for ((option, _), module) in modules.iter().zip(&built) {
        bench.arg(option).arg(module);
    }
    bench.args(arguments);
    finish(bench)
}

fn finish(mut bench: Command) -> Result<ExitCode> {
    if !bench.status().context("the bench cannot be run")?.success() {
        bail!("the bench failed");
    }
    Ok(ExitCode::SUCCESS)
}
