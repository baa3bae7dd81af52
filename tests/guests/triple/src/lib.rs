//! A Triple becomes three ConfigMaps, and its status depends on its spec only. `tests/bench/baseline` does the same
//! work natively.

use bartizan_sdk::k8s_openapi::api::core::v1::ConfigMap;
use bartizan_sdk::{ChildKind, Failure, ParentKind, Provider, Request, Response, condition, object};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the ConfigMaps hold.
#[derive(Deserialize, JsonSchema)]
pub struct TripleSpec {
    /// The value of each ConfigMap.
    pub value: String,
}

/// How many ConfigMaps a Triple has.
const CONFIG_MAPS: usize = 3;

/// The provider.
pub struct Triple;

impl Provider for Triple {
    type Spec = TripleSpec;

    const NAME: &'static str = "triple";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const PARENT: ParentKind = ParentKind::namespaced("bench.bartizan.dev", "v1alpha1", "Triple", "triples");
    const CHILDREN: &'static [ChildKind] = &[ChildKind::of::<ConfigMap>()];

    fn reconcile(request: &Request<'_, TripleSpec>) -> Result<Response, Failure> {
        let value = &request.spec.value;
        let response = (0..CONFIG_MAPS).fold(Response::new(), |response, number| {
            response.child_json(object!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": format!("{}-{number}", request.name()), "namespace": request.namespace()},
                "data": {"value": value},
            }))
        });
        Ok(response.status(object!({"value": value})).condition(condition::ready("Applied", "")))
    }
}

bartizan_sdk::export!(Triple);
