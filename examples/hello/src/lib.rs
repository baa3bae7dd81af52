//! A Greeting becomes a ConfigMap.

use bartizan_sdk::k8s_openapi::api::core::v1::ConfigMap;
use bartizan_sdk::{ChildKind, Failure, ParentKind, Provider, Request, Response, object};
use schemars::JsonSchema;
use serde::Deserialize;

/// Whom to greet. The CRD is made from this type.
#[derive(Deserialize, JsonSchema)]
pub struct GreetingSpec {
    /// The name to greet.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// The provider: a spec type, a few facts, one function.
pub struct Hello;

impl Provider for Hello {
    type Spec = GreetingSpec;

    const NAME: &'static str = "hello";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const PARENT: ParentKind = ParentKind::namespaced("hello.bartizan.dev", "v1alpha1", "Greeting", "greetings");
    const CHILDREN: &'static [ChildKind] = &[ChildKind::of::<ConfigMap>()];

    fn reconcile(request: &Request<'_, GreetingSpec>) -> Result<Response, Failure> {
        Ok(Response::new().child_json(object!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": request.name(), "namespace": request.namespace()},
            "data": {"greeting": format!("Hello, {}!", request.spec.name)},
        })))
    }
}

bartizan_sdk::export!(Hello);
