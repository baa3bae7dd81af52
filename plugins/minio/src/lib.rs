//! The MinIO provider: an ObjectStore becomes a headless Service, a client Service, a Secret with credentials, a
//! StatefulSet and a PodDisruptionBudget.
//!
//! An invalid ObjectStore changes nothing: `Valid=False` names the fields at fault, existing servers keep running, and
//! reconciliation continues once the spec is fixed.

mod children;
mod keys;
mod layout;
mod permanent;
mod plan;
mod spec;
mod status;
mod validation;

use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{Secret, Service};
use bartizan_sdk::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use bartizan_sdk::kubernetes::{LONGEST_STATEFUL_SET, SERVICE_NAME_PATTERN};
use bartizan_sdk::observed::StatefulSetView;
use bartizan_sdk::{
    ChildKind, Column, Failure, NameRule, ParentKind, Provider, Request, Response, RetiredField, condition, schema,
};
use serde_json::Value;

pub use layout::Layout;
pub use spec::{Mode, ObjectStoreSpec};
pub use status::ObjectStoreStatus;

/// The provider of ObjectStores.
pub struct MinIo;

impl Provider for MinIo {
    type Spec = ObjectStoreSpec;

    const NAME: &'static str = "minio";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const PARENT: ParentKind = ParentKind::namespaced("minio.rook.io", "v1alpha1", "ObjectStore", "objectstores")
        .short_names(&["objstore"])
        .names(NameRule { max_length: LONGEST_STATEFUL_SET, pattern: SERVICE_NAME_PATTERN })
        .columns(&[
            Column::READY,
            Column::SYNCED,
            Column::text("Servers", ".status.ready"),
            Column::text("Status", ".status.conditions[?(@.type==\"Ready\")].reason"),
            Column::AGE,
            Column::text("Valid", ".status.conditions[?(@.type==\"Valid\")].status").wide(),
            Column::text("Endpoint", ".status.endpoint").wide(),
            Column::text("Message", ".status.conditions[?(@.type==\"Ready\")].message").wide(),
        ]);
    const CHILDREN: &'static [ChildKind] = &[
        ChildKind::of::<Service>(),
        ChildKind::of::<Secret>(),
        ChildKind::of::<StatefulSet>(),
        ChildKind::of::<PodDisruptionBudget>(),
    ];
    const OPTIONAL_RELATED: &'static [ChildKind] = &[keys::SECRET];
    const RETIRED: &'static [RetiredField] = &[
        RetiredField { path: "spec.port", instead: "has become spec.network.ports, as in [{name: api, port: 9000}]" },
        RetiredField {
            path: "spec.storageAmount",
            instead: "has become spec.scope.volumeClaimTemplates[0].spec.resources.requests.storage",
        },
        RetiredField { path: "spec.scope.placement", instead: "has become spec.placement" },
        RetiredField { path: "spec.scope.nodes", instead: "has become spec.scope.nodeCount and spec.placement" },
        RetiredField { path: "spec.scope.useAllNodes", instead: "has become spec.scope.nodeCount" },
        RetiredField { path: "spec.scope.devices", instead: "has become spec.scope.volumeClaimTemplates" },
        RetiredField { path: "spec.scope.useAllDevices", instead: "has become spec.scope.volumeClaimTemplates" },
        RetiredField { path: "spec.scope.deviceFilter", instead: "has become spec.scope.volumeClaimTemplates" },
        RetiredField { path: "spec.scope.devicePathFilter", instead: "has become spec.scope.volumeClaimTemplates" },
        RetiredField { path: "spec.scope.directories", instead: "has become spec.scope.volumeClaimTemplates" },
        RetiredField { path: "spec.tls", instead: "is not supported yet: leave it out" },
    ];
    const SENSITIVE: &'static [&'static str] = &["/spec/credentials/accessKey", "/spec/credentials/secretKey"];

    fn status_schema() -> Option<Value> {
        Some(schema::of::<ObjectStoreStatus>())
    }

    fn reconcile(request: &Request<'_, ObjectStoreSpec>) -> Result<Response, Failure> {
        let observed = request.child::<StatefulSetView>(request.name())?;
        let (plan, faults) = validation::plan(request, Self::RETIRED);
        let (response, valid, wanted) = match plan {
            None => (Response::hold(), condition::invalid("InvalidSpec", &faults), None),
            Some(plan) => match permanent::faults(&plan, observed.as_ref()) {
                faults if faults.is_empty() => {
                    let keys = keys::of(&plan, request, observed.as_ref())?;
                    let response =
                        children::desired(&plan, &keys, request.serves(keys::SECRET)?).condition(keys.condition());
                    (response, condition::valid(), Some((plan.layout, keys)))
                }
                faults => (Response::hold(), condition::invalid("PermanentField", &faults), None),
            },
        };
        let wanted = wanted.as_ref().map(|(layout, keys)| (layout, keys));
        let response = status::report(response, request, wanted, observed.as_ref()).condition(valid);
        Ok(match status::durability(&request.spec, observed.as_ref()) {
            Some(condition) => response.condition(condition),
            None => response,
        })
    }
}

bartizan_sdk::export!(MinIo, manifest: include_bytes!("../manifest.json"));
