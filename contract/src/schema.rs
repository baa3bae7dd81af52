//! JSON schemas of the three documents, for `wit/`. Regenerate them with `cargo xtask generate`.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::manifest::ProviderManifest;
use crate::request::ReconcileRequest;
use crate::response::ReconcileResponse;

/// The schema of every document, with the name of its file in `wit/`.
#[must_use]
pub fn all() -> [(&'static str, Value); 3] {
    [
        ("provider-manifest.schema.json", schema::<ProviderManifest>()),
        ("reconcile-request.schema.json", schema::<ReconcileRequest<'static>>()),
        ("reconcile-response.schema.json", schema::<ReconcileResponse>()),
    ]
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}
