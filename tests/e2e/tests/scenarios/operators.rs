//! The status schemas of twenty well-known operators, written here in miniature: each kind is served, its failure is said by a condition
//! where there is room for one, else by an event, and nothing is written over and over.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::statuses::{has_warning, is_synced, parent_with};

const NS: &str = "default";
const CRD: &str = "scripts.test.bartizan.dev";
/// How long nothing may be written once all is as desired.
const QUIET: Duration = Duration::from_secs(1);

/// Where a failure is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Condition,
    Event,
}

/// A kind of another operator.
struct Kind {
    name: &'static str,
    /// Its version, without name and spec.
    version: Value,
    said: Said,
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// A list of conditions with these fields and required ones, and whether it is a map by type.
fn conditions(fields: &[&str], required: &[&str], is_map: bool) -> Value {
    let property = |field: &&str| {
        let schema = if field.ends_with("Time") { time() } else { text() };
        ((*field).to_owned(), schema)
    };
    let fields: serde_json::Map<String, Value> = fields.iter().map(property).collect();
    let mut list = json!({"type": "array", "items": {"type": "object", "properties": fields, "required": required}});
    if is_map {
        list["x-kubernetes-list-type"] = "map".into();
        list["x-kubernetes-list-map-keys"] = json!(["type"]);
    }
    list
}

/// With the status subresource.
fn with(status: Value) -> Value {
    json!({"schema": {"status": status}, "subresources": {"status": {}}})
}

fn kinds() -> Vec<Kind> {
    let usual = ["type", "status", "reason", "message", "lastTransitionTime"];
    let integer = || json!({"type": "integer"});
    let kind = |name, said, version| Kind { name, version, said };
    let (condition, event) = (Said::Condition, Said::Event);
    let strict = {
        let mut list = conditions(&usual, &["lastTransitionTime", "message", "reason", "status", "type"], true);
        let items = &mut list["items"]["properties"];
        items["status"]["enum"] = json!(["True", "False", "Unknown"]);
        items["reason"]["pattern"] = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$".into();
        items["reason"]["minLength"] = 1.into();
        items["message"]["maxLength"] = 32768.into();
        items["observedGeneration"] = json!({"type": "integer", "format": "int64", "minimum": 0});
        list
    };
    vec![
        kind(
            "certificate",
            condition,
            with(object(json!({
                "conditions": conditions(&usual, &["status", "type"], true), "notAfter": time(), "revision": integer(),
            }))),
        ),
        kind("prometheus", event, {
            let mut status = object(json!({
                "conditions": conditions(&usual, &["lastTransitionTime", "status", "type"], true),
                "paused": {"type": "boolean"}, "replicas": integer(), "availableReplicas": integer(),
            }));
            status["required"] = json!(["paused", "replicas", "availableReplicas"]);
            let mut version = with(status);
            version["subresources"]["scale"] =
                json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
            version
        }),
        kind(
            "kafka",
            condition,
            with(object(json!({
                "conditions": conditions(&usual, &[], false), "kafkaVersion": text(), "clusterId": text(),
            }))),
        ),
        kind("postgresql", event, with(json!({"type": "object", "additionalProperties": {"type": "string"}}))),
        kind(
            "elasticsearch",
            condition,
            with(object(json!({
                "conditions": conditions(&usual, &["status", "type"], false), "health": text(), "phase": text(),
                "observedGeneration": {"type": "integer", "format": "int64"},
            }))),
        ),
        kind("redisfailover", event, json!({"schema": {}, "subresources": {"status": {}}})),
        kind(
            "rabbitmqcluster",
            condition,
            with(object(json!({
                "conditions": conditions(&usual, &["status", "type"], false), "binding": object(json!({"name": text()})),
            }))),
        ),
        kind("mongodbcommunity", event, {
            let mut status = object(json!({"phase": text(), "mongoUri": text(), "message": text()}));
            status["required"] = json!(["mongoUri", "phase"]);
            with(status)
        }),
        kind(
            "crdbcluster",
            condition,
            with(object(json!({
                "clusterStatus": text(),
                "conditions": conditions(&["type", "status", "lastTransitionTime"], &["lastTransitionTime", "status", "type"], false),
            }))),
        ),
        kind(
            "application",
            event,
            json!({"schema": {"status": object(json!({
            "conditions": conditions(&["type", "message", "lastTransitionTime"], &["message", "type"], false),
            "health": object(json!({"status": text()})),
        }))}, "subresources": {}}),
        ),
        kind(
            "service",
            condition,
            with(object(json!({
                "conditions": conditions(&["type", "status", "reason", "message", "lastTransitionTime", "severity"], &["status", "type"], false),
                "url": text(), "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            }))),
        ),
        kind(
            "composite",
            condition,
            with(object(json!({
                "conditions": conditions(&usual, &["lastTransitionTime", "reason", "status", "type"], true),
                "connectionDetails": object(json!({"lastPublishedTime": time()})),
            }))),
        ),
        kind("kustomization", condition, {
            let mut status =
                object(json!({"conditions": strict, "observedGeneration": {"type": "integer", "format": "int64"}}));
            status["default"] = json!({"observedGeneration": -1});
            with(status)
        }),
        kind("volume", condition, {
            let mut list =
                conditions(&["type", "status", "reason", "message", "lastProbeTime", "lastTransitionTime"], &[], false);
            list["nullable"] = true.into();
            list["items"]["properties"]["lastProbeTime"] = text();
            list["items"]["properties"]["lastTransitionTime"] = text();
            with(object(json!({"conditions": list, "state": text(), "robustness": text()})))
        }),
        kind("cephcluster", condition, with(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))),
        kind("taskrun", condition, json!({"open": true, "subresources": {"status": {}}})),
        kind(
            "backup",
            event,
            json!({"schema": {"status": object(json!({
            "phase": {"type": "string", "enum": ["New", "InProgress", "Completed"]}, "progress": {"type": "object", "nullable": true},
        }))}, "subresources": {}}),
        ),
        kind("virtualmachine", condition, {
            let mut list = conditions(
                &["type", "status", "reason", "message", "lastProbeTime", "lastTransitionTime"],
                &["status", "type"],
                false,
            );
            list["items"]["properties"]["lastProbeTime"]["nullable"] = true.into();
            with(object(
                json!({"conditions": list, "printableStatus": {"type": "string", "default": "Stopped"}, "created": {"type": "boolean"}}),
            ))
        }),
        kind(
            "machine",
            condition,
            with(object(json!({
                "conditions": conditions(&["type", "status", "reason", "message", "lastTransitionTime", "severity"], &["lastTransitionTime", "status", "type"], false),
                "phase": text(), "v1beta2": object(json!({"conditions": conditions(&usual, &["status", "type"], true)})),
            }))),
        ),
        kind("externalsecret", condition, {
            let mut status = object(json!({
                "conditions": conditions(&usual, &["status", "type"], false),
                "binding": {"type": "object", "default": {"name": ""}, "properties": {"name": {"type": "string", "default": ""}}},
                "refreshTime": {"type": "string", "format": "date-time", "nullable": true},
            }));
            status["x-kubernetes-validations"] = json!([{"rule": "!has(self.binding) || size(self.binding.name) < 64", "message": "its name is too long"}]);
            with(status)
        }),
    ]
}

/// Gives the kind this version, whose spec holds anything.
async fn set_version(stage: &Stage, version: &Value) -> Result<()> {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut schema = object(json!({"spec": any}));
    if let Some(status) = version["schema"].get("status") {
        schema["properties"]["status"] = status.clone();
    }
    if version["open"] == true {
        schema = any;
    }
    let patch = json!([
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema},
        {"op": "replace", "path": "/spec/versions/0/subresources", "value": version["subresources"]},
    ]);
    stage.kubectl(&["patch", "crd", CRD, "--type=json", "-p", &patch.to_string()], "").await?;
    Ok(())
}

fn parent(name: &str, fails: bool) -> String {
    let condition = json!({"type": "Ready", "status": "True", "reason": "Fine", "message": "all is well"});
    parent_with(name, fails, &json!({"phase": "Completed", "observedGeneration": 1, "conditions": [condition]}))
}

/// Waits until the failure of a parent is said as expected. An event comes with a condition, too.
async fn is_said(stage: &Stage, name: &str, expected: Said) -> Result<()> {
    wait_for(&format!("word of the failure of {name}, by {expected:?}"), SOON, async || {
        let parent = stage.scripts(NS).get(name).await?;
        let has_condition = is_synced(&parent, "False");
        let has_event = has_warning(stage, name, "ApplyRefused").await?;
        match expected {
            Said::Condition => ensure!(has_condition, "status {}", parent.data["status"]),
            Said::Event => ensure!(has_event && !has_condition, "status {}", parent.data["status"]),
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn the_kinds_of_twenty_operators_are_served() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut host = stage.host().await?;
    let kinds = kinds();
    ensure!(kinds.len() == 20, "{}", kinds.len());
    for kind in &kinds {
        let (works, fails) = (kind.name.to_owned(), format!("{}-fails", kind.name));
        set_version(&stage, &kind.version).await.context(kind.name)?;
        apply_text(&stage, &format!("{}\n---\n{}", parent(&works, false), parent(&fails, true))).await?;
        wait_object(stage.api::<ConfigMap>(NS), &works, "existence", SOON, |_| true).await?;
        is_said(&stage, &fails, kind.said).await?;
        if kind.said == Said::Condition {
            let synced = |parent: &DynamicObject| is_synced(parent, "True");
            wait_object(stage.scripts(NS), &works, "Synced", SOON, synced).await.context(kind.name)?;
        }
        // What fails is tried again, ever more rarely.
        stage.kubectl(&["delete", "script", &fails, "--timeout=60s"], "").await?;
        tokio::time::sleep(QUIET).await;
        let mark = stage.mark()?;
        tokio::time::sleep(QUIET).await;
        let mut writes = stage.writes_since(mark)?;
        // A status that the schema refuses, or the API server cannot convert, is tried again, ever more rarely.
        let is_refused = |write: &String| write.ends_with(": 422") || write.ends_with(": 500");
        writes.retain(|write| kind.said == Said::Condition || !is_refused(write));
        ensure!(writes.is_empty(), "{}: {writes:?}", kind.name);
        stage.kubectl(&["delete", "script", &works, "--timeout=60s"], "").await?;
    }
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
