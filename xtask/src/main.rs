//! `cargo xtask`: prepares the machine for a task of the project, then hands over to the program `bartizan-tasks`.
//!
//! This program depends on almost nothing, so that it can print something within seconds on a fresh machine. It checks the
//! prerequisites of the task before anything else is compiled, adds the WebAssembly target, and builds what the task runs:
//! Go and Rust side by side, and `bartizan-tasks` and the host with one cargo, so that nothing is compiled twice.

mod task;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;
use std::thread;

use anyhow::{Context as _, Result, bail};
use bartizan_build::{self as build, Profile, Progress};

use crate::task::{Build, TASKS, Task};

/// The program that holds the tasks themselves.
const PROGRAM: &str = "bartizan-tasks";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let name = arguments.first().map_or("help", String::as_str);
    if matches!(name, "help" | "-h" | "--help") {
        println!("{}", task::overview());
        return Ok(ExitCode::SUCCESS);
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("error: there is no task `{name}`\n\n{}", task::overview());
        return Ok(ExitCode::from(2));
    };
    if arguments.get(1).is_some_and(|argument| matches!(argument.as_str(), "-h" | "--help")) {
        print!("{}", task.help);
        return Ok(ExitCode::SUCCESS);
    }
    let program = prepare(task, &arguments[1..])?;
    let mut tasks = Command::new(&program);
    build::forget_package(&mut tasks);
    let error = tasks.args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// Checks and builds what a task needs, and returns the path of [`PROGRAM`].
fn prepare(task: &Task, arguments: &[String]) -> Result<PathBuf> {
    let progress = Progress::default();
    build::check_prerequisites((task.needs_go)(arguments), &|line| progress.say(line))?;
    let builds = (task.builds)(arguments);
    let mut program = None;
    thread::scope(|scope| {
        let (sender, results) = channel();
        for step in &builds {
            let (sender, progress) = (sender.clone(), &progress);
            scope.spawn(move || sender.send(perform(step, progress)));
        }
        drop(sender);
        for result in results {
            match result {
                Ok(built) => program = program.take().or(built),
                // Without waiting for the other builds, which may take minutes more: their tools end with the pipe that they
                // report to.
                Err(error) => {
                    eprintln!("error: {error:#}");
                    std::process::exit(1);
                }
            }
        }
    });
    match program {
        Some(program) => Ok(program),
        None => bail!("no build made {PROGRAM}"),
    }
}

/// Runs one build; returns the path of [`PROGRAM`] if it is what was built.
fn perform(step: &Build, progress: &Progress) -> Result<Option<PathBuf>> {
    match step {
        Build::ControlPlane => {
            progress.step("control plane (Go)", build::control_plane)?;
            Ok(None)
        }
        Build::Module(name) => {
            progress.step(&format!("{name}.wasm"), |observer| build::guests(&[name], observer))?;
            Ok(None)
        }
        Build::Programs(others) => {
            let names: Vec<&str> = std::iter::once(PROGRAM).chain(others.iter().copied()).collect();
            let what = if others.is_empty() { "tasks".to_owned() } else { format!("tasks, {}", others.join(", ")) };
            let built = progress.step(&what, |observer| build::programs(&names, Profile::Dev, observer))?;
            Ok(built.into_iter().next())
        }
    }
}
