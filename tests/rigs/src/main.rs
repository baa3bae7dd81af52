//! `bartizan-rig`: what `cargo xtask rig` runs.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_rigs::{chaos, crash, memory};
use clap::{Parser, ValueEnum};

/// Disturbs the host on a real control plane and prints what differs.
#[derive(Debug, Parser)]
struct Args {
    /// Which rig.
    rig: Rig,
    /// crash: start no run that would end later; default: all points. chaos: how long requests fail; default: 60. memory:
    /// how long parents are created, 50 each second; default: 200.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// crash: the point to start with; default: by the date. chaos: the seed of actions and faults; default: by the
    /// clock.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rig {
    /// Kill the host at every single write of a scenario in turn.
    Crash,
    /// Make requests fail at random.
    Chaos,
    /// Run the host within a container's memory, beside everything that takes some.
    Memory,
}

/// How long requests fail by default.
const CHAOS: Duration = Duration::from_secs(60);
/// How long parents are created by default: 10,000 of them.
const MEMORY: Duration = Duration::from_secs(200);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let time = args.seconds.map(Duration::from_secs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let result = match args.rig {
        Rig::Crash => {
            let today = now.as_secs() / (24 * 3600);
            // A minute is enough for some 30 points: the next day starts where that one ends.
            crash::run(crash::Options { time, seed: args.seed.unwrap_or(today * 30) }).await
        }
        Rig::Chaos => {
            let seed = args.seed.unwrap_or(now.as_secs());
            chaos::run(chaos::Options { time: time.unwrap_or(CHAOS), seed }).await
        }
        Rig::Memory => memory::run(memory::Options { time: time.unwrap_or(MEMORY) }).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
