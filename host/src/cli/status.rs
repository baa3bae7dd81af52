//! `bartizan status`: Providers, parents by state, what needs attention, and who works, with the rights of whoever asks.

pub(crate) mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bartizan_contract::GroupKind;
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::claims::{Claim, arbitrate};
use futures::TryStreamExt as _;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use crate::cli::host_client::{HostArgs, Output};
use crate::cli::lease;
use crate::cli::parent::{claims, providers};
use crate::kubernetes::discovery::preferred;
use crate::kubernetes::error::api_message;
use crate::kubernetes::served::Resource;
use crate::telemetry::metrics::Load;
use report::{Attention, Parent, ProviderLine, Report, Watches};

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Shortest time between two looks with `--watch`.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Print it again whenever it changes, until interrupted.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Print all of it as JSON or YAML.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// Prints the status. Exit code 0: nothing needs attention; 1: something does.
///
/// # Errors
/// If Providers cannot be listed.
pub(crate) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let client = args.host.cluster.connect().await?;
    let mut before = None;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let started = Instant::now();
        let report = tokio::select! {
            report = look(&client, args) => report?,
            interrupted = &mut interrupted => {
                interrupted?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        // The lease is renewed all the time.
        let shown = Report { lease: String::new(), ..report.clone() };
        if before.as_ref() != Some(&shown) {
            if args.watch && args.output.is_none() && std::io::stdout().is_terminal() {
                // Clears the screen.
                print!("\x1b[2J\x1b[H");
            }
            match args.output {
                Some(output) => {
                    if before.is_some() && output == Output::Yaml {
                        println!("---");
                    }
                    output.print(&report)?;
                }
                None => print!("{}", report.text()),
            }
            before = Some(shown);
        }
        if !args.watch {
            let is_fine = report.attention.is_empty();
            return Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        // A look at many parents is not for free.
        let pause = LOOK.max(started.elapsed() * 5);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            interrupted = &mut interrupted => {
                interrupted?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Reads everything.
async fn look(client: &Client, args: &StatusArgs) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let works = match lease::of(client, &args.host.system_namespace).await {
        Ok(held) => {
            report.lease = held.text;
            held.is_current
        }
        Err(error) => {
            report.lease = format!("cannot be read: {error:#}");
            true
        }
    };
    if !works {
        let message = "no host works: parents are not served until one does";
        report.attention.push(Attention::new("Lease.coordination.k8s.io bartizan", "NotHeld", message));
    }
    let providers = providers(client).await?;
    let mut lines: BTreeMap<String, ProviderLine> = BTreeMap::new();
    for provider in &providers {
        let (line, attention) = report::of_provider(provider);
        lines.insert(line.name.clone(), line);
        report.attention.extend(attention);
    }
    parents(client, &providers, &mut lines, &mut report.attention).await;
    match loads(args).await {
        Ok(loads) => {
            for (name, Load { queue, watches }) in loads {
                if let Some(line) = lines.get_mut(&name) {
                    line.queue = u64::try_from(queue).ok();
                    let up = watches.values().filter(|up| **up).count();
                    line.watches = Some(Watches { all: watches.len(), up });
                }
            }
        }
        Err(error) => report.unknown = Some(format!("{error:#}")),
    }
    report.providers = lines.into_values().collect();
    Ok(report)
}

/// Counts the parents of every claimed kind, and finds those that need attention. What cannot be listed needs attention, too.
async fn parents(
    client: &Client,
    providers: &[Provider],
    lines: &mut BTreeMap<String, ProviderLine>,
    attention: &mut Vec<Attention>,
) {
    let claims = claims(providers);
    let kinds: BTreeSet<GroupKind> = claims.iter().flat_map(Claim::kinds).collect();
    for kind in kinds {
        let counted = count(client, &claims, &kind, lines, attention).await;
        if let Err(error) = counted {
            attention.push(Attention::new(&kind.to_string(), "NotListed", format!("{error:#}")));
        }
    }
}

async fn count(
    client: &Client,
    claims: &[Claim],
    kind: &GroupKind,
    lines: &mut BTreeMap<String, ProviderLine>,
    attention: &mut Vec<Attention>,
) -> anyhow::Result<()> {
    let Some((_, Resource { api, .. })) = preferred(client, kind).await.map_err(api_message)? else {
        anyhow::bail!("the API server does not serve it: apply its CustomResourceDefinition")
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &api);
    let mut pages = std::pin::pin!(pages(api));
    while let Some(object) = pages.try_next().await? {
        let (namespace, name, labels) = (object.namespace(), object.name_any(), object.labels().clone());
        let place = namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let title = format!("{kind} {place}{name}");
        let value: Value = serde_json::to_value(object)?;
        let parent = Parent { object: title, value: &value };
        match arbitrate(claims, kind, namespace.as_deref(), &labels).serves {
            Some(provider) => {
                if let Some(line) = lines.get_mut(provider) {
                    *line.parents.entry(parent.state()).or_default() += 1;
                }
                attention.extend(parent.attention());
            }
            None => attention.push(Attention::new(&parent.object, "Unclaimed", "no Provider claims it")),
        }
    }
    Ok(())
}

/// All objects, page by page.
fn pages(api: Api<DynamicObject>) -> impl futures::Stream<Item = anyhow::Result<DynamicObject>> {
    let first = Some(ListParams::default().limit(PAGE));
    let pages = futures::stream::try_unfold((api, first), |(api, params)| async move {
        let Some(params) = params else { return Ok(None) };
        let page = api.list(&params).await.map_err(api_message)?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        let next = next.map(|token| ListParams::default().limit(PAGE).continue_token(&token));
        anyhow::Ok(Some((futures::stream::iter(page.items.into_iter().map(anyhow::Ok)), (api, next))))
    });
    pages.try_flatten()
}

async fn loads(args: &StatusArgs) -> anyhow::Result<BTreeMap<String, Load>> {
    args.host.find().await?.get_public("/debug/status").await
}
