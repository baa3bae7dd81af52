//! A request to a module that runs without a host.

use serde_json::{Value, json};

/// The first request to a provider about a parent with these children, in the form of the contract.
#[must_use]
pub fn first_request(provider: &str, parent: &Value, children: &Value) -> Vec<u8> {
    let request = json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ReconcileRequest",
        "provider": {"name": provider, "version": "0.1.0", "settings": {}},
        "cluster": {"version": "v1.36.3", "kinds": {}}, "parent": parent, "children": children,
        "descendants": {}, "related": {}, "finalizing": false, "namespaceTerminating": false,
    });
    request.to_string().into_bytes()
}
