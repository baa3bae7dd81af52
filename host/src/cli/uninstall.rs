//! `bartizan uninstall`: takes the host and everything of it out of a cluster, with the rights of whoever runs it, also where no host
//! works any more. Children stay: they lose the host's labels and owner references before anything is deleted.

pub(crate) mod args;
mod plan;
mod remove;
mod survey;

use std::process::ExitCode;

use args::UninstallArgs;
use remove::Removal;

/// Exit code 0: what was to go is gone, or would be; 1: something waits for another controller.
///
/// # Errors
/// If something cannot be read, or a step fails: the next attempt goes on from there.
pub(crate) async fn uninstall(args: &UninstallArgs) -> anyhow::Result<ExitCode> {
    let client = args.cluster.connect().await?;
    let survey = survey::look(&client, args).await?;
    if !args.yes {
        match args.output {
            Some(output) => output.print(&survey.plan)?,
            None => print!("{}", survey.plan.text()),
        }
        return Ok(if survey.plan.hangs().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let removal = Removal::new(client, args);
    removal.stop_hosts(&survey).await?;
    // With what a host did until it ended.
    let survey = removal.release(survey::look(removal.client(), args).await?).await?;
    let left = removal.run(&survey).await?;
    survey.plan.stays.iter().for_each(|stays| println!("stays: {stays}"));
    left.iter().for_each(|left| println!("left: {left}"));
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
