//! Converts objects of the API to those of the engine.

use bartizan_contract::Kind;
use bartizan_engine::Fence;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, ObjectMeta, TypeMeta};
use kube::{Api, Client, Resource};
use serde_json::Value;

/// Gives an item of a list its type, which the API server leaves out there.
pub(crate) fn stamp(object: &mut DynamicObject, kind: &Kind) {
    object.types = Some(TypeMeta { api_version: kind.api_version(), kind: kind.kind.clone() });
}

/// Requests about the objects of a kind, in a namespace or in all; cluster-scoped ones are in none.
pub(crate) fn objects(client: &Client, namespace: Option<&str>, resource: &ApiResource) -> Api<DynamicObject> {
    objects_as(client, namespace, resource)
}

/// The same, for objects that are parsed as `K`.
pub(crate) fn objects_as<K>(client: &Client, namespace: Option<&str>, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// The precondition that an object is still in this state; or, if there is none, that it does not exist.
pub(crate) fn fence_of(existing: Option<&ObjectMeta>) -> Fence {
    existing.map_or(Fence::CreateOnly, |ObjectMeta { uid, resource_version, .. }| Fence::Exact {
        uid: uid.clone().unwrap_or_default(),
        resource_version: resource_version.clone().unwrap_or_default(),
    })
}

/// Gives an object that is to be applied its precondition.
pub(crate) fn put_fence(object: &mut Value, fence: &Fence) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match fence {
        // With any resource version, the API server creates an object that does not exist, and answers 409 if it does.
        Fence::CreateOnly => {
            metadata.insert("resourceVersion".to_owned(), "1".into());
        }
        Fence::Exact { uid, resource_version } => {
            metadata.insert("uid".to_owned(), uid.clone().into());
            metadata.insert("resourceVersion".to_owned(), resource_version.clone().into());
        }
    }
}
