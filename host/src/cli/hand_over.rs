//! `bartizan diff provider/NAME --parent KIND/NAME`: what a provider would change of a parent that another one serves.

use std::process::ExitCode;

use anyhow::bail;
use bartizan_engine::preview::Action;
use bartizan_engine::provider::upgrade_plan::ParentPreview;
use kube::Client;

use crate::cli::changes;
use crate::cli::host_client::{Host, Output};
use crate::cli::parent::{Parent, Subject};
use crate::telemetry::hand_over::HandOver;

/// Prints it. Exit code 0: nothing would change; 1: something would, or the provider has no acceptable answer.
///
/// # Errors
/// If the host does not answer, or does not know.
pub(crate) async fn diff(
    host: &Host<'_>,
    cluster: Option<&Client>,
    provider: &str,
    parent: &Subject,
    namespace: Option<&str>,
    output: Option<Output>,
) -> anyhow::Result<ExitCode> {
    let namespace = namespace.unwrap_or_else(|| host.default_namespace());
    let Subject { kind, name } = parent;
    let kind = match cluster {
        // With the cluster's short names.
        Some(client) => Parent::find(client, parent, namespace).await?.kind().to_string(),
        None => kind.clone(),
    };
    let query = format!("provider={provider}&kind={kind}&namespace={namespace}&name={name}");
    let preview = match host.get("/debug/handover", &query).await? {
        HandOver::Preview(preview) => preview,
        HandOver::Unknown(why) => bail!("{why}"),
    };
    match output {
        Some(output) => output.print(&preview)?,
        None => print!("{}", describe(provider, &preview)),
    }
    let is_unchanged = preview.changes.is_empty() && preview.failure.is_none();
    Ok(if is_unchanged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(provider: &str, preview: &ParentPreview) -> String {
    let count = |action| preview.changes.iter().filter(|change| change.action == action).count();
    let mut text = String::new();
    changes::describe(&mut text, preview);
    let summary = match preview.failure {
        Some(_) => format!(
            "If it were handed over to provider/{provider}, its children would stay as they are until there is one\n"
        ),
        None => format!(
            "If it were handed over to provider/{provider}: {} to create, {} to update, {} to release, {} to refuse\n",
            count(Action::Create),
            count(Action::Update),
            count(Action::Release),
            count(Action::Refuse)
        ),
    };
    text.push('\n');
    text + &summary
}

#[cfg(test)]
mod tests {
    use bartizan_engine::preview::Change;

    use super::*;

    #[test]
    fn changes_of_a_hand_over_are_counted_and_named() {
        let change =
            |action, child: &str| Change { action, child: child.to_owned(), because_of: None, fields: Vec::new() };
        let mut preview = ParentPreview { parent: "Thing.x n/s".to_owned(), ..ParentPreview::default() };
        preview.changes = vec![change(Action::Create, "ConfigMap n/a"), change(Action::Release, "Service n/b")];
        let expected = "Thing.x n/s\n\
                        \x20 create ConfigMap n/a\n\
                        \x20 release Service n/b\n\
                        \n\
                        If it were handed over to provider/two: 1 to create, 0 to update, 1 to release, 0 to refuse\n";
        assert_eq!(describe("two", &preview), expected);
        preview.changes.clear();
        preview.failure = Some("it trapped".to_owned());
        let expected = "Thing.x n/s\n\
                        \x20 ! no acceptable answer: it trapped\n\
                        \n\
                        If it were handed over to provider/two, its children would stay as they are until there is one\n";
        assert_eq!(describe("two", &preview), expected);
    }
}
