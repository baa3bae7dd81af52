//! `bartizan explain`: the last decision of a host on a parent.

use std::fmt::Write as _;
use std::process::ExitCode;

use kube::ResourceExt;
use kube::api::ListParams;

use crate::cli::host_client::HostArgs;
use crate::cli::parent::{Parent, ParentArgs, Subject};
use crate::cli::status::report::{self, Attention};
use crate::kubernetes::resources::NotFound;
use crate::telemetry::explain::Explained;

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) of: ParentArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// Asks the host, and prints its answer.
///
/// # Errors
/// If the host does not answer.
pub(crate) async fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let host = args.host.find().await?;
    let ParentArgs { parent: subject, namespace, output } = &args.of;
    let Subject { kind, name } = subject;
    let namespace = namespace.as_deref().unwrap_or_else(|| host.default_namespace());
    let cluster = args.host.cluster_of(&host).await?;
    let parent = match &cluster {
        // Of several kinds that may be meant, the host may serve only one.
        Some(client) => match Parent::find(client, subject, namespace).await {
            Err(error) if matches!(error.downcast_ref(), Some(NotFound::Ambiguous { .. })) => None,
            found => Some(found?),
        },
        None => None,
    };
    let kind = parent.as_ref().map_or_else(|| kind.clone(), |parent| parent.kind().to_string());
    let query = format!("kind={kind}&namespace={namespace}&name={name}");
    let found: Vec<Explained> = host.get("/debug/explain", &query).await?;
    if found.is_empty() {
        let mut why = format!("no provider of this host serves {kind} {namespace}/{name}");
        // With fewer rights, less is known.
        if let Some(parent) = &parent
            && let Ok(known) = why_unknown(parent).await
        {
            why = known;
        }
        eprintln!("{why}");
        return Ok(ExitCode::FAILURE);
    }
    match output {
        Some(output) => output.print(&found)?,
        None => {
            let attention = match &parent {
                Some(parent) => attention(parent).await,
                None => None,
            };
            let described: Vec<String> = found.iter().map(|one| describe(one, attention.as_ref())).collect();
            print!("{}", described.join("\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What its conditions say that people should look at, if whoever asks may read it: the host tells what it did, and not what the provider said.
async fn attention(parent: &Parent<'_>) -> Option<Attention> {
    let value = serde_json::to_value(parent.get().await.ok()??).ok()?;
    report::Parent { object: parent.to_string(), value: &value }.attention()
}

/// Why the host knows nothing of a parent.
async fn why_unknown(parent: &Parent<'_>) -> anyhow::Result<String> {
    let Some(found) = parent.get().await? else {
        let elsewhere = elsewhere(parent).await;
        let elsewhere = match elsewhere.as_slice() {
            [] => String::new(),
            namespaces => format!("; there is one in namespace {}", namespaces.join(", ")),
        };
        return Ok(format!("there is no {parent}{elsewhere}"));
    };
    Ok(match parent.provider(&found).await? {
        Some(provider) => format!(
            "provider {} serves {parent}, and the host has not decided on it yet: see bartizan status",
            provider.metadata.name
        ),
        None => format!("no Provider claims {parent}: see kubectl get providers"),
    })
}

/// Other namespaces with one of this name, as far as whoever asks may see them.
async fn elsewhere(parent: &Parent<'_>) -> Vec<String> {
    let params = ListParams::default().fields(&format!("metadata.name={}", parent.name));
    let found = parent.named.api(parent.client, None).list(&params).await;
    found.map(|found| found.items.iter().filter_map(ResourceExt::namespace).collect()).unwrap_or_default()
}

/// The text for people.
fn describe(explained: &Explained, attention: Option<&Attention>) -> String {
    let Explained { provider, parent, time, request, call, outcome, message, plan, .. } = explained;
    let mut text = format!("{parent} (provider {provider})\n");
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<12}{value}", format!("{name}:"));
        }
    };
    line("decided", time);
    line("request", request.as_deref().unwrap_or("none was made"));
    line("provider", call);
    line("outcome", outcome);
    match &explained.refused {
        Some(refused) => line("refused", refused),
        None => line("message", message),
    }
    if let Some(Attention { condition, reason, message, .. }) = attention {
        line("attention", &format!("{condition} {reason}: {message}"));
    }
    line("plan", plan);
    for wait in &explained.waits_for {
        line("waits for", wait);
    }
    line("next timer", explained.next.as_deref().unwrap_or("none; it is due when something changes"));
    if explained.failures > 0 {
        line("failures", &format!("{} in a row", explained.failures));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_fact_has_a_line() {
        let explained = Explained {
            provider: "minio".to_owned(),
            parent: "ObjectStore.minio.rook.io rook-minio/my-store".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            request: Some("00ff".to_owned()),
            call: "called: the request changed, or a resync was due".to_owned(),
            outcome: "Refused".to_owned(),
            message: "The answer of provider minio was refused: response.children[0]: no".to_owned(),
            plan: "nothing to do".to_owned(),
            refused: Some("response.children[0]: no".to_owned()),
            waits_for: vec!["ConfigMap n/x to be deleted".to_owned()],
            next: None,
            failures: 2,
        };
        let expected = "ObjectStore.minio.rook.io rook-minio/my-store (provider minio)\n\
                        \x20 decided:    2026-01-01T00:00:00Z\n\
                        \x20 request:    00ff\n\
                        \x20 provider:   called: the request changed, or a resync was due\n\
                        \x20 outcome:    Refused\n\
                        \x20 refused:    response.children[0]: no\n\
                        \x20 attention:  Ready=False NotReady: none of 4 members is\n\
                        \x20 plan:       nothing to do\n\
                        \x20 waits for:  ConfigMap n/x to be deleted\n\
                        \x20 next timer: none; it is due when something changes\n\
                        \x20 failures:   2 in a row\n";
        let attention =
            Attention { condition: "Ready=False".to_owned(), ..Attention::new("", "NotReady", "none of 4 members is") };
        assert_eq!(describe(&explained, Some(&attention)), expected);
    }
}
