//! A request to a module that no host serves.

use serde_json::{Value, json};

/// The first request of a provider about a parent, of which these children exist, as the contract says it.
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
