//! A provider that misbehaves as its parent asks in `spec.how`, for tests of the host. It uses the WIT of the
//! contract and nothing else of this project, which shows that the contract is self-contained.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p faulty`. For other targets it is
//! empty: a native linker rejects the export names of a component.
#![cfg(target_arch = "wasm32")]

use serde_json::{Value, json};

mod bindings {
    //! What wit-bindgen makes of the contract.
    #![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
    wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });
    use super::Faulty;
    export!(Faulty);
}

use bindings::bartizan::provider::log::{Level, write};
use bindings::exports::bartizan::provider::provider::{Failure, Guest};

const GROUP: &str = "test.bartizan.dev";
const MIB: usize = 1024 * 1024;

struct Faulty;

impl Guest for Faulty {
    fn describe() -> Vec<u8> {
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let mut spec = any.clone();
        spec["properties"] = json!({"how": {"type": "string"}});
        let mut status = any.clone();
        status["properties"] = json!({"conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
                "x-kubernetes-preserve-unknown-fields": true,
            },
        }});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("faults.{GROUP}")},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"kind": "Fault", "listKind": "FaultList", "plural": "faults", "singular": "fault"},
                "versions": [{
                    "name": "v1alpha1",
                    "served": true,
                    "storage": true,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": spec, "status": status},
                    }},
                }],
            },
        });
        let manifest = json!({
            "apiVersion": "provider.bartizan.dev/v1alpha1",
            "kind": "ProviderManifest",
            "name": "faulty",
            "version": env!("CARGO_PKG_VERSION"),
            "crds": [crd],
            "children": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        });
        manifest.to_string().into_bytes()
    }

    fn reconcile(request: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let request: Value =
            serde_json::from_slice(&request).map_err(|error| failure("internal", &error.to_string()))?;
        let parent = &request["parent"];
        let how = parent["spec"]["how"].as_str().unwrap_or("None");
        let response = match how {
            "None" => answer(parent, how),
            "Trap" => {
                // The host sees a panic as a bare `unreachable`, so that the message must be logged first.
                write(Level::Error, "the parent asked for a trap");
                #[allow(clippy::panic, reason = "it is what was asked for")]
                {
                    panic!()
                }
            }
            "Loop" => loop {
                std::hint::spin_loop();
            },
            // 4 GiB, in pieces since no single allocation can be that large.
            "Allocate" => {
                let pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; MIB]).collect();
                json!({"pieces": std::hint::black_box(pieces).len()})
            }
            // More than the default memory limit, so that it ends like Allocate.
            "Huge" => return Ok(vec![b' '; 100 * MIB]),
            // Within the default memory limit, and above the cap of a response.
            "Large" => return Ok(vec![b' '; 16 * MIB]),
            // More children than any Provider may have.
            "Many" => {
                let mut response = answer(parent, how);
                let child = response["children"][0].clone();
                let children = (0..5000).map(|number| {
                    let mut child = child.clone();
                    child["object"]["metadata"]["name"] = json!(format!("{}-{number}", name_of(parent)));
                    child
                });
                response["children"] = children.collect();
                response
            }
            // The desired state never matches the observed one, so that each write causes the next.
            "Flip" => {
                let (name, namespace) = (name_of(parent), parent["metadata"]["namespace"].as_str().unwrap_or_default());
                let child = &request["children"]["ConfigMap.v1"][format!("{namespace}/{name}-ok")];
                let other = if child["data"]["how"] == "Flip" { "Flop" } else { "Flip" };
                answer(parent, other)
            }
            "Garbage" => return Ok(b"this is not JSON".to_vec()),
            "UnknownField" => {
                let mut response = answer(parent, how);
                response["childern"] = json!([]);
                response
            }
            "WrongKind" => {
                let mut response = answer(parent, how);
                response["children"][0]["object"]["kind"] = json!("Secret");
                response["children"][0]["object"]["data"] = json!({});
                response
            }
            "Unasked" => {
                let mut response = answer(parent, how);
                response["finalized"] = json!(true);
                response
            }
            "Hold" => {
                let mut response = answer(parent, how);
                response["children"] = json!([]);
                response["hold"] = json!(true);
                response["status"] = status("False", "Held", "the parent asked to be held");
                response
            }
            "Flood" => {
                (0..100_000).for_each(|line| write(Level::Info, &format!("line {line} of a flood")));
                answer(parent, how)
            }
            "Failure" => {
                let failure = failure("invalid", "asks for a failure");
                return Err(Failure { field: Some("spec.how".to_owned()), ..failure });
            }
            "Retry" => {
                let failure = failure("retry", "asks to be tried again");
                return Err(Failure { retry_after_seconds: Some(1), ..failure });
            }
            other => {
                let failure = failure("invalid", &format!("\"{other}\" is no way to fail that this provider knows"));
                return Err(Failure { field: Some("spec.how".to_owned()), ..failure });
            }
        };
        Ok(response.to_string().into_bytes())
    }
}

fn name_of(parent: &Value) -> &str {
    parent["metadata"]["name"].as_str().unwrap_or_default()
}

/// A valid answer: one ConfigMap, and Ready.
fn answer(parent: &Value, how: &str) -> Value {
    let name = name_of(parent);
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": format!("{name}-ok"), "namespace": parent["metadata"]["namespace"]},
        "data": {"how": how},
    });
    let mut status = status("True", "AsAsked", "");
    // By which a parent shows that an edit was answered.
    if let Some(value) = parent["spec"].get("value") {
        status["value"] = value.clone();
    }
    json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1",
        "kind": "ReconcileResponse",
        "children": [{"object": config_map}],
        "status": status,
    })
}

fn status(ready: &str, reason: &str, message: &str) -> Value {
    json!({"conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": message}]})
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.to_owned(), message: message.to_owned(), field: None, retry_after_seconds: None }
}
