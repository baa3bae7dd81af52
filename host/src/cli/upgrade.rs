//! `bartizan diff` shows what the next version of a provider would change; `bartizan approve` approves it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bartizan_contract::names::{APPROVE_ANNOTATION, CLI_FIELD_MANAGER};
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::upgrade_hold::counted_of;
use bartizan_engine::provider::upgrade_plan::UpgradePlan;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;

use crate::cli::host_client::{HostArgs, Output};
use crate::cli::names::object_name;
use crate::cli::parent::Subject;
use crate::cli::{changes, hand_over};
use crate::kubernetes::connect::ClusterArgs;
use crate::kubernetes::error::api_message;
use crate::providers::object;

#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The provider, as provider/minio or minio.
    #[arg(value_name = "provider/NAME", value_parser = provider_name)]
    pub(crate) provider: String,
    /// Show instead what this provider would change of a parent that another one serves, if it were handed over.
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) parent: Option<Subject>,
    /// Namespace of that parent; default: that of the kubeconfig's context, or "default" if the host is named by its address.
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name, requires = "parent")]
    pub(crate) namespace: Option<String>,
    /// Print all of it as JSON or YAML.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {
    /// The provider, as provider/minio or minio.
    #[arg(value_name = "provider/NAME", value_parser = provider_name)]
    pub(crate) provider: String,
    /// Approve only this version, as `bartizan diff` names it (status.candidate.approval). Default: the one that waits now.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) digest: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

fn provider_name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some(("provider" | "providers" | "provider.bartizan.dev" | "providers.bartizan.dev", name)) => name,
        Some(_) => return Err("write it as provider/NAME, as in provider/minio".to_owned()),
        None => text,
    };
    object_name(name)
}

/// Prints what the next version would change. Exit code 0: no version waits, or nothing would change; 1: something would.
///
/// # Errors
/// If the host does not answer, or there is no such Provider.
pub(crate) async fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let host = args.host.find().await?;
    if let Some(parent) = &args.parent {
        let (cluster, namespace) = (args.host.cluster_of(&host).await?, args.namespace.as_deref());
        return hand_over::diff(&host, cluster.as_ref(), &args.provider, parent, namespace, args.output).await;
    }
    let plan: Option<UpgradePlan> = host.get("/debug/upgrade", &format!("provider={}", args.provider)).await?;
    let Some(plan) = plan else {
        if let Some(client) = args.host.cluster_of(&host).await? {
            let api: Api<DynamicObject> = Api::all_with(client, &object::resource());
            api.get_metadata(&args.provider)
                .await
                .map_err(api_message)
                .with_context(|| format!("provider/{}", args.provider))?;
        }
        eprintln!("provider/{}: no version waits", args.provider);
        return Ok(ExitCode::SUCCESS);
    };
    match args.output {
        Some(output) => output.print(&plan)?,
        None => print!("{}", describe(&args.provider, &plan)),
    }
    let preview = &plan.preview;
    let is_known = preview.changes.fail == 0 && preview.changes.unknown == 0;
    let differs = preview.parents.iter().any(|parent| !parent.as_before)
        || preview.left_out > 0
        || !is_known
        || !plan.crds.is_empty()
        || !plan.rights.is_empty();
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Approves the version that waits.
///
/// # Errors
/// If there is none, or the API server does not accept the annotation.
pub(crate) async fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let name = &args.provider;
    let client = args.cluster.connect().await?;
    let api: Api<DynamicObject> = Api::all_with(client, &object::resource());
    let found = api.get(name).await.map_err(api_message).with_context(|| format!("provider/{name}"))?;
    let version = found.metadata.resource_version.clone();
    let found: Provider = serde_json::to_value(found)
        .and_then(serde_json::from_value)
        .with_context(|| format!("provider/{name} is not as this version of bartizan knows it"))?;
    let Some(candidate) = found.status.candidate else { bail!("provider/{name}: no version waits for an approval") };
    if let Some(wanted) = &args.digest
        && *wanted != candidate.approval
    {
        bail!(
            "provider/{name}: version {} waits ({}), not {wanted}; see bartizan diff provider/{name}",
            candidate.version,
            candidate.approval
        );
    }
    // With the resource version, so that the approved version is the one that was read.
    let patch = json!({"metadata": {
        "resourceVersion": version,
        "annotations": {APPROVE_ANNOTATION: candidate.approval},
    }});
    let params = PatchParams { field_manager: Some(CLI_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch_metadata(name, &params, &Patch::Merge(&patch)).await.map_err(api_message);
    patched.with_context(|| format!("provider/{name} could not be approved"))?;
    println!("provider/{name} approved: version {} takes over", candidate.version);
    Ok(ExitCode::SUCCESS)
}

/// The text for people: parent by parent, child by child, field by field.
fn describe(provider: &str, plan: &UpgradePlan) -> String {
    let UpgradePlan { active, candidate, approval, crds, rights, preview } = plan;
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = match active {
        Some(active) if active.digest == candidate.digest => {
            writeln!(text, "provider/{provider} {}: other settings", candidate.version)
        }
        Some(active) => writeln!(text, "provider/{provider} {} -> {}", active.version, candidate.version),
        None => writeln!(text, "provider/{provider} {}", candidate.version),
    };
    for crd in crds {
        let _ = writeln!(text, "\n! CustomResourceDefinition: {crd}");
    }
    for right in rights {
        let _ = writeln!(text, "\n! More rights than before: {right}");
    }
    for parent in &preview.parents {
        text.push('\n');
        changes::describe(&mut text, parent);
    }
    if preview.left_out > 0 {
        let _ = writeln!(text, "\n{} more not shown", counted_of(preview.left_out, "parent", "parents"));
    }
    let changes = &preview.changes;
    let _ = writeln!(
        text,
        "\nPlan over {} at {}: {} to create, {} to update, {} to recreate, {} to delete, {} to release, {} to refuse; \
         {} would fail",
        counted_of(preview.looked_at, "parent", "parents"),
        preview.time,
        changes.create,
        changes.update,
        changes.recreate,
        changes.delete,
        changes.release,
        changes.refuse,
        counted_of(changes.fail, "parent", "parents")
    );
    if changes.unknown > 0 {
        let _ = writeln!(text, "{} could not be asked about", counted_of(changes.unknown, "parent", "parents"));
    }
    let _ = writeln!(text, "Approve it with: bartizan approve provider/{provider} --digest {approval}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::provider::{ActiveModule, CandidateChanges};
    use bartizan_engine::preview::{Action, Change, FieldChange};
    use bartizan_engine::provider::upgrade_plan::{ParentPreview, Preview};
    use serde_json::Value;

    #[test]
    fn a_provider_is_named_with_or_without_its_kind() {
        for text in ["minio", "provider/minio", "providers.bartizan.dev/minio"] {
            assert_eq!(provider_name(text).as_deref(), Ok("minio"), "{text}");
        }
        assert_eq!(provider_name("pod/minio").unwrap_err(), "write it as provider/NAME, as in provider/minio");
        assert_eq!(provider_name("provider/a b").unwrap_err(), "is not the name of a Kubernetes object");
    }

    #[test]
    fn changes_are_listed_object_by_object() {
        let module = |version: &str| ActiveModule {
            version: version.to_owned(),
            digest: format!("sha256:{version}"),
            settings: serde_json::Map::new(),
            owns: Vec::new(),
            since: None,
            approved_by: None,
        };
        let field = |path: &str, before: Option<Value>, after: Option<Value>| FieldChange {
            path: path.to_owned(),
            before,
            after,
        };
        let update = Change {
            action: Action::Recreate,
            child: "StatefulSet n/s".to_owned(),
            because_of: Some("/spec/serviceName".to_owned()),
            fields: vec![
                field("/metadata/labels/a", None, Some(json!("b"))),
                field("/spec/serviceName", Some(json!("x")), Some(json!("y"))),
                field("/spec/text", Some(json!("z".repeat(200))), None),
            ],
        };
        let delete =
            Change { action: Action::Delete, child: "Service n/s".to_owned(), because_of: None, fields: Vec::new() };
        let mut preview = Preview {
            time: "2026-01-01T00:00:00Z".to_owned(),
            looked_at: 3,
            changes: CandidateChanges { parents: 1, recreate: 1, delete: 1, fail: 1, ..CandidateChanges::default() },
            ..Preview::default()
        };
        preview.parents = vec![
            ParentPreview {
                parent: "Thing.x n/s".to_owned(),
                changes: vec![update, delete],
                ..ParentPreview::default()
            },
            ParentPreview {
                parent: "Thing.x n/t".to_owned(),
                failure: Some("it trapped".to_owned()),
                ..ParentPreview::default()
            },
            ParentPreview {
                parent: "Thing.x n/u".to_owned(),
                failure: Some("it would hold".to_owned()),
                as_before: true,
                ..ParentPreview::default()
            },
        ];
        let crds = vec!["v1 spec.size: was removed".to_owned()];
        let rights = vec!["to write Secret".to_owned()];
        let approval = "sha256:2".to_owned();
        let plan = UpgradePlan { active: Some(module("1")), candidate: module("2"), approval, crds, rights, preview };
        let expected = format!(
            "provider/minio 1 -> 2\n\
             \n\
             ! CustomResourceDefinition: v1 spec.size: was removed\n\
             \n\
             ! More rights than before: to write Secret\n\
             \n\
             Thing.x n/s\n\
             \x20 recreate StatefulSet n/s (/spec/serviceName never changes)\n\
             \x20   + /metadata/labels/a: \"b\"\n\
             \x20   - /spec/serviceName: \"x\"\n\
             \x20   + /spec/serviceName: \"y\"\n\
             \x20   - /spec/text: \"{}... (202 bytes)\n\
             \x20 delete Service n/s\n\
             \n\
             Thing.x n/t\n\
             \x20 ! no acceptable answer: it trapped\n\
             \n\
             Thing.x n/u\n\
             \x20 = no acceptable answer, as before: it would hold\n\
             \n\
             Plan over 3 parents at 2026-01-01T00:00:00Z: 0 to create, 0 to update, 1 to recreate, 1 to delete, \
             0 to release, 0 to refuse; 1 parent would fail\n\
             Approve it with: bartizan approve provider/minio --digest sha256:2\n",
            "z".repeat(119)
        );
        assert_eq!(describe("minio", &plan), expected);
    }
}
