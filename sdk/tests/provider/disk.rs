//! A provider with a field of every sort; most are there for the schema alone.
#![allow(dead_code)]

use std::collections::BTreeMap;

use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::ConfigMap;
use bartizan_sdk::observed::StatefulSetView;
use bartizan_sdk::storage::{Credentials, Placement, ResourceSpec, StorageScope};
use bartizan_sdk::{
    ChildKind, Column, Failure, NameRule, ParentKind, Provider, Request, Response, condition, failure, schema,
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

/// Answers by the size that is asked for.
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
        let all = request.children::<StatefulSetView>()?.into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(",");
        match request.spec.size {
            1 => Ok(Response::new().child(typed).status(DiskStatus { spins: found.is_some() })),
            2 => Ok(Response::hold().condition(condition::valid()).condition(condition::not_ready("Waiting", all))),
            3 => Ok(Response::new().resync_after(0).generate("keys", "key", 12)),
            4 => Ok(Response::new().status("a text")),
            5 => Ok(Response::new().child(BTreeMap::from([((1, 2), 3)]))),
            6 => Err(failure::retry("the disk is busy", 7)),
            _ => Ok(Response::new().status(json!({}))),
        }
    }
}
