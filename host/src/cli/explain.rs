//! `bartizan explain`: the last decision of a host on a parent.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use bartizan_contract::GroupKind;
use bartizan_engine::provider::claims::arbitrate;
use kube::api::ListParams;
use kube::{Client, ResourceExt};

use crate::cli::host_client::{HostArgs, Output, api_message, object_name};
use crate::cli::status::{claims, providers};
use crate::kubernetes::resources::{self, Named, NotFound};
use crate::telemetry::explain::Explained;

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The parent, as objectstore/my-store or objectstore.minio.rook.io/my-store.
    #[arg(value_name = "KIND/NAME")]
    pub(crate) parent: Subject,
    /// Namespace of the parent; default: that of the kubeconfig's context, or "default" with --server.
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Print all of it as JSON or YAML.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

/// A parent as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The word for its kind.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').filter(|(kind, name)| object_name(kind).is_ok() && object_name(name).is_ok());
        let (kind, name) = parts.ok_or("write it as KIND/NAME, as in objectstore/my-store")?;
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// Asks the host, and prints its answer.
///
/// # Errors
/// If the host does not answer.
pub(crate) async fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let host = args.host.find().await?;
    let namespace = args.namespace.clone().unwrap_or_else(|| host.default_namespace().to_owned());
    let Subject { kind, name } = &args.parent;
    let cluster = args.host.cluster_of(&host).await?;
    let parent = match &cluster {
        Some(client) => Parent::find(client, &args.parent, &namespace).await?,
        None => None,
    };
    let kind = parent.as_ref().map_or_else(|| kind.clone(), |parent| GroupKind::from(&parent.named.kind).to_string());
    let query = format!("kind={kind}&namespace={namespace}&name={name}");
    let found: Vec<Explained> = host.get("/debug/explain", &query).await?;
    if found.is_empty() {
        let why = match &parent {
            // With fewer rights, less is known.
            Some(parent) => parent.why_unknown().await.ok(),
            None => None,
        };
        eprintln!("{}", why.unwrap_or_else(|| format!("no provider of this host serves {kind} {namespace}/{name}")));
        return Ok(ExitCode::FAILURE);
    }
    match args.output {
        Some(output) => output.print(&found)?,
        None => print!("{}", found.iter().map(describe).collect::<Vec<_>>().join("\n")),
    }
    Ok(ExitCode::SUCCESS)
}

/// A parent that a host may not know, and its cluster.
struct Parent<'a> {
    client: &'a Client,
    named: Named,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Parent<'a> {
    /// By what people call it; `None` if that is not clear: of several kinds, the host may serve only one.
    async fn find(client: &'a Client, subject: &'a Subject, namespace: &'a str) -> anyhow::Result<Option<Self>> {
        let served = resources::served(client).await.map_err(api_message).context("the kinds of the cluster")?;
        let named = match resources::find(&served, &subject.kind) {
            Ok(named) => named.clone(),
            Err(NotFound::Ambiguous { .. }) => return Ok(None),
            Err(unknown) => return Err(unknown.into()),
        };
        let namespace = named.resource.namespaced.then_some(namespace);
        Ok(Some(Self { client, named, namespace, name: &subject.name }))
    }

    /// Why the host knows nothing of it.
    async fn why_unknown(&self) -> anyhow::Result<String> {
        let Self { client, named, namespace, name } = self;
        let kind = GroupKind::from(&named.kind);
        let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        let Some(parent) = named.api(client, *namespace).get_opt(name).await.map_err(api_message)? else {
            let elsewhere = self.elsewhere().await;
            let elsewhere = if elsewhere.is_empty() {
                String::new()
            } else {
                format!("; there is one in namespace {}", elsewhere.join(", "))
            };
            return Ok(format!("there is no {kind} {name}{place}{elsewhere}"));
        };
        let claims = claims(&providers(client).await?);
        Ok(match arbitrate(&claims, &kind, parent.namespace().as_deref(), parent.labels()).serves {
            Some(provider) => format!(
                "provider {provider} serves {kind} {name}{place}, and the host has not decided on it yet: see bartizan status"
            ),
            None => format!("no Provider claims {kind} {name}{place}: see kubectl get providers"),
        })
    }

    /// Other namespaces with one of this name, as far as whoever asks may see them.
    async fn elsewhere(&self) -> Vec<String> {
        let params = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let found = self.named.api(self.client, None).list(&params).await;
        found.map(|found| found.items.iter().filter_map(ResourceExt::namespace).collect()).unwrap_or_default()
    }
}

/// The text for people.
fn describe(explained: &Explained) -> String {
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
    fn a_parent_is_named_by_kind_and_name() {
        let parse = |text: &str| text.parse::<Subject>();
        let subject = Subject { kind: "objectstore.minio.rook.io".to_owned(), name: "my-store".to_owned() };
        assert_eq!(parse("objectstore.minio.rook.io/my-store"), Ok(subject));
        for bad in ["", "objectstore", "objectstore/", "/x", "a/b/c", "a/b c", "a/b&kind=c"] {
            assert_eq!(parse(bad).unwrap_err(), "write it as KIND/NAME, as in objectstore/my-store", "{bad}");
        }
    }

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
                        \x20 plan:       nothing to do\n\
                        \x20 waits for:  ConfigMap n/x to be deleted\n\
                        \x20 next timer: none; it is due when something changes\n\
                        \x20 failures:   2 in a row\n";
        assert_eq!(describe(&explained), expected);
    }
}
