//! Documents nested as deep as JSON may be fit the stacks of the shipped providers.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Programs, Provider, first_request};
use bartizan_runtime::{Config, Fault, Limits, Runtime};
use serde_json::{Value, json};

/// Nesting levels that the parser accepts, counted within the spec.
const DEEPEST: usize = 127;

/// Objects and lists nested this deep.
fn nested(levels: usize) -> Value {
    (1..levels).rev().fold(json!({}), |inner, level| if level % 2 == 1 { json!({"in": inner}) } else { json!([inner]) })
}

/// How deep a value is nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A parent of the provider with this node affinity.
fn parent(provider: Provider, affinity: &Value) -> Value {
    let placement = json!({"nodeAffinity": affinity});
    let (api_version, kind, spec) = match provider {
        Provider::Minio => {
            let scope = json!({"nodeCount": 4});
            ("minio.rook.io/v1alpha1", "ObjectStore", json!({"scope": scope, "placement": placement}))
        }
        _ => {
            let racks = json!([{"name": "a", "members": 1, "placement": placement}]);
            let datacenter = json!({"name": "dc", "racks": racks});
            ("cassandra.rook.io/v1alpha1", "Cluster", json!({"version": "4.1.7", "datacenter": datacenter}))
        }
    };
    let metadata = json!({"name": "deep", "namespace": "default", "uid": "1", "generation": 1});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

#[tokio::test]
async fn the_deepest_spec_is_served_and_a_deeper_one_fails_without_a_trap() -> Result<()> {
    let programs = Programs::get().await?;
    let runtime = Runtime::new(Config::default())?;
    for provider in [Provider::Minio, Provider::Cassandra] {
        let module = runtime.load(&fs::read(programs.module(provider)?)?)?;
        let around = depth(&parent(provider, &json!({}))["spec"]) - 1;
        let call = |levels: usize| {
            let parent = parent(provider, &nested(levels - around));
            assert_eq!(depth(&parent["spec"]), levels);
            module.reconcile(&first_request(provider.name(), &parent, &json!({})), &Limits::default())
        };
        let answer = call(DEEPEST).map_err(|error| error.fault).context(provider.name())?;
        // The answer is nested deeper still, so that its reader must refuse it.
        let answer = String::from_utf8(answer.response)?;
        ensure!(answer.contains("nodeAffinity") && !answer.contains("\"hold\""), "{}: {answer}", provider.name());
        match call(DEEPEST + 1).map_err(|error| error.fault) {
            Err(Fault::Failure(failure)) => ensure!(failure.message.contains("recursion limit exceeded"), "{failure}"),
            other => anyhow::bail!("{}: {other:?}", provider.name()),
        }
    }
    Ok(())
}
