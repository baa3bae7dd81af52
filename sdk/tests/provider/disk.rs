//! A provider with a field of every kind; most exist only for the schema.
#![allow(dead_code)]

use std::collections::BTreeMap;

use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{ConfigMap, Pod};
use bartizan_sdk::observed::{ObjectView, PodView, StatefulSetView};
use bartizan_sdk::storage::{Credentials, Placement, ResourceSpec, StorageScope};
use bartizan_sdk::{
    ChildKind, Column, Failure, NameRule, OnDelete, OnImmutableChange, ParentKind, Provider, Request, Response,
    Treatment, condition, failure, object, schema,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A disk.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiskSpec {
    /// How large it is.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) size: u32,
    /// Who made it.
    #[serde(default)]
    #[schemars(length(min = 1), regex(pattern = "^[a-z]+$"))]
    maker: Option<String>,
    /// How it turns.
    #[serde(default)]
    kind: Option<DiskKind>,
    /// How it turned before.
    former: DiskKind,
    /// Words about it.
    #[serde(default = "some_words")]
    words: Vec<String>,
    /// Weight of each part.
    #[serde(default)]
    weights: BTreeMap<String, f64>,
    /// What nobody knows.
    #[serde(default)]
    anything: Value,
    /// A choice of shapes.
    #[serde(default)]
    shape: Option<Shape>,
    /// A pair.
    #[serde(default)]
    pair: Option<(u8, String)>,
    #[serde(default)]
    scope: Option<StorageScope>,
    #[serde(default)]
    placement: Placement,
    #[serde(default)]
    resources: ResourceSpec,
    #[serde(default)]
    credentials: Credentials,
}

fn some_words() -> Vec<String> {
    vec!["none".to_owned()]
}

/// How a disk turns.
#[derive(Debug, Deserialize, JsonSchema)]
enum DiskKind {
    /// Not at all.
    Solid,
    Spinning,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Shape {
    Named(String),
    Measured { width: u32 },
}

#[derive(Serialize, JsonSchema)]
struct DiskStatus {
    /// Whether it spins.
    spins: bool,
}

/// The response depends on the size in the spec.
pub(crate) struct DiskProvider;

impl Provider for DiskProvider {
    type Spec = DiskSpec;

    const NAME: &'static str = "disks";
    const VERSION: &'static str = "1.2.3";
    const PARENT: ParentKind = ParentKind::namespaced("example.dev", "v1", "Disk", "disks")
        .short_names(&["dk"])
        .names(NameRule { max_length: 20, pattern: "^[a-z]+$" })
        .columns(&[Column::integer("Size", ".spec.size"), Column::text("Maker", ".spec.maker").wide(), Column::AGE]);
    const CHILDREN: &'static [ChildKind] = &[ChildKind::of::<ConfigMap>(), ChildKind::of::<StatefulSet>()];
    const DESCENDANTS: &'static [ChildKind] = &[ChildKind::of::<Pod>()];
    const RELATED: &'static [ChildKind] = &[ChildKind::of::<ConfigMap>()];

    fn status_schema() -> Option<Value> {
        Some(schema::of::<DiskStatus>())
    }

    fn reconcile(request: &Request<'_, DiskSpec>) -> Result<Response, Failure> {
        let typed = ConfigMap {
            metadata: bartizan_sdk::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some(request.name().to_owned()),
                ..Default::default()
            },
            ..ConfigMap::default()
        };
        let found = request.child::<StatefulSetView>(request.name())?;
        let key = |set: &StatefulSetView| format!("{}/{}", set.metadata.namespace(), set.metadata.name);
        let all = request.children::<StatefulSetView>()?.iter().map(key).collect::<Vec<_>>().join(",");
        match request.spec.size {
            1 => Ok(Response::new().child(typed).status(DiskStatus { spins: found.is_some() })),
            2 => Ok(Response::hold().condition(condition::valid()).condition(condition::not_ready("Waiting", all))),
            3 => Ok(Response::new().resync_after(0).generate("keys", "key", 12)),
            4 => Ok(Response::new().status("a text")),
            5 => Ok(Response::new().child(BTreeMap::from([((1, 2), 3)]))),
            6 => Err(failure::retry("the disk is busy", 7)),
            9 => {
                let typed = request.spec.weights.get("typed");
                Ok(Response::new().status(object!({"typed": typed, "untyped": request.spec.anything})))
            }
            8 => {
                let treatment = Treatment { on_delete: OnDelete::Retain, ..Treatment::wave(2) };
                let immutable = OnImmutableChange::RecreateOrphan;
                let orphans = Treatment { on_immutable_change: immutable, ..Treatment::default() };
                let pods = request.descendants::<PodView>()?;
                let seen = request.related::<ObjectView<ConfigMap>>("beside")?;
                let message = format!("{} pods, {} beside", pods.len(), usize::from(seen.is_some()));
                Ok(Response::new()
                    .child_with(treatment, object!({"kind": "A"}))
                    .child_with(orphans, object!({"kind": "B"}))
                    .keep(ChildKind::of::<StatefulSet>(), "kept")
                    .related(ChildKind::of::<ConfigMap>(), &["beside"])
                    .event("Looked", message))
            }
            _ => Ok(Response::new().status(json!({}))),
        }
    }
}
