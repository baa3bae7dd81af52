//! The Cassandra provider: a Cluster becomes a StatefulSet per rack, a Service per member, and the objects with which members
//! discover and leave the ring. It grows, shrinks and changes by one member at a time; every step follows from the observed state.
//!
//! An invalid Cluster changes nothing: `Valid=False` names the fields at fault, existing members keep running, and reconciliation
//! continues once the spec is fixed.

mod children;
mod decision;
mod labels;
mod racks;
mod rollout;
mod spec;
mod status;
mod step;
mod validation;
mod version;

use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use bartizan_sdk::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use bartizan_sdk::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use bartizan_sdk::kubernetes::SERVICE_NAME_PATTERN;
use bartizan_sdk::{
    ChildKind, Column, Failure, NameRule, ParentKind, Progress, Provider, Request, Response, condition, schema,
};
use serde_json::Value;

use spec::ClusterRequest;
pub use spec::{ClusterSpec, ClusterStatus};

/// The maximum length of a Cluster's name. The name of a StatefulSet is longer by two dashes, a datacenter and a rack of at least
/// one character each.
const LONGEST_NAME: usize = 48;

/// The provider of Clusters.
pub struct Cassandra;

impl Provider for Cassandra {
    type Spec = ClusterSpec;

    const NAME: &'static str = "cassandra";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const PARENT: ParentKind = ParentKind::namespaced("cassandra.rook.io", "v1alpha1", "Cluster", "clusters")
        .names(NameRule { max_length: LONGEST_NAME, pattern: SERVICE_NAME_PATTERN })
        .columns(&[
            Column::READY,
            Column::SYNCED,
            Column::text("Members", ".status.ready"),
            Column::text("Version", ".spec.version"),
            Column::text("Progress", ".status.conditions[?(@.type==\"Progressing\")].reason"),
            Column::AGE,
            Column::text("Valid", ".status.conditions[?(@.type==\"Valid\")].status").wide(),
            Column::text("Message", ".status.conditions[?(@.type==\"Progressing\")].message").wide(),
        ]);
    const CHILDREN: &'static [ChildKind] = &[
        ChildKind::of::<Service>(),
        ChildKind::of::<ServiceAccount>(),
        ChildKind::of::<ConfigMap>(),
        ChildKind::of::<Role>(),
        ChildKind::of::<RoleBinding>(),
        ChildKind::of::<StatefulSet>(),
        ChildKind::of::<PodDisruptionBudget>(),
    ];
    const DESCENDANTS: &'static [ChildKind] = &[ChildKind::of::<Pod>(), ChildKind::of::<PersistentVolumeClaim>()];
    const RELATED: &'static [ChildKind] = &[
        ChildKind::of::<ConfigMap>(),
        ChildKind::of::<ServiceAccount>(),
        ChildKind::of::<Role>(),
        ChildKind::of::<RoleBinding>(),
    ];

    fn status_schema() -> Option<Value> {
        Some(schema::of::<ClusterStatus>())
    }

    fn reconcile(request: &Request<'_, ClusterSpec>) -> Result<Response, Failure> {
        let racks = racks::observe(request)?;
        let (reason, faults) = match validation::faults(request) {
            faults if faults.is_empty() => ("PermanentField", validation::permanent_faults(&request.spec, &racks.all)),
            faults => ("InvalidSpec", faults),
        };
        if !faults.is_empty() {
            let progress = Progress::waiting(reason, "nothing changes until the spec is fixed");
            let response = status::report(Response::hold(), request, &racks.all, progress);
            return Ok(response.condition(condition::invalid(reason, &faults)));
        }
        let (response, progress) = act(request, &racks)?;
        Ok(status::report(response, request, &racks.all, progress).condition(condition::valid()))
    }
}

/// The response to a valid spec, without its status.
fn act(request: &ClusterRequest<'_>, racks: &racks::Racks<'_>) -> Result<(Response, Option<Progress>), Failure> {
    let templates = match children::templates(request, &racks.all)? {
        Ok(templates) => templates,
        Err(missing) => {
            let progress = Progress::waiting("ConfigMapMissing", format!("waiting for ConfigMap {missing}"));
            return Ok((children::request_related(Response::hold(), request, &racks.all), progress));
        }
    };
    let fingerprints = templates.iter().map(|template| template.fingerprint.as_str());
    let (steps, progress) = decision::decide(&racks.all, fingerprints, &request.spec);
    Ok((children::desired(request, racks, &steps, &templates)?, progress))
}

bartizan_sdk::export!(Cassandra, manifest: include_bytes!("../manifest.json"));
