//! The Kubernetes API as the host uses it: every call has a deadline and ends in an error that says whose turn it is.

use std::time::Duration;

use bartizan_contract::Kind;
use bartizan_engine::{Fence, ObjectKey, Observed, owned};
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, Preconditions, Request};
use kube::core::DynamicObject;
use kube::{Client, Resource as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::kinds::{Resource, Resources};

/// Longest time that one request may take. The API server itself gives up after 60 s; a reconcile should not wait so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a request did not do what it should.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// The object is not in the state that the fence names.
    #[error("{0}")]
    Conflict(String),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// The host's account may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The API server does not accept the object as it is (422): a field of it breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The API server does not accept the request, or a webhook refuses it.
    #[error("{0}")]
    Rejected(String),
    /// It may go well later.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// When the API server asked to be tried again.
        retry_after: Option<Duration>,
    },
    /// The kind is not among those that were resolved when the provider started.
    #[error("kind {0} is not served by this cluster")]
    NotServed(Kind),
}

/// Writes and live reads of one provider.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    manager: String,
    resources: Resources,
}

impl Writer {
    /// Writes as `manager`, to the given kinds.
    pub(crate) fn new(client: Client, manager: String, resources: Resources) -> Self {
        Self { client, manager, resources }
    }

    /// Field manager of every write.
    pub(crate) fn manager(&self) -> &str {
        &self.manager
    }

    /// Server-side apply of a child, forced, under its fence.
    pub(crate) async fn apply(
        &self,
        kind: &Kind,
        key: &ObjectKey,
        mut object: Value,
        fence: &Fence,
    ) -> Result<Observed, ApiError> {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            match fence {
                // Create-only: the API server creates what is absent and answers 409 to what exists.
                Fence::CreateOnly => {
                    metadata.insert("resourceVersion".to_owned(), "1".into());
                }
                Fence::Uid(uid) => {
                    metadata.insert("uid".to_owned(), uid.clone().into());
                }
                Fence::Exact { uid, resource_version } => {
                    metadata.insert("uid".to_owned(), uid.clone().into());
                    metadata.insert("resourceVersion".to_owned(), resource_version.clone().into());
                }
            }
        }
        let request = self.request(kind, key)?.patch(&key.name, &self.apply_params(), &Patch::Apply(&object));
        self.observe(key, request).await
    }

    /// Server-side apply of the status of an object that must still have this UID.
    pub(crate) async fn apply_status(
        &self,
        kind: &Kind,
        parent: &Observed,
        status: Value,
    ) -> Result<Observed, ApiError> {
        let key = &parent.key;
        let object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "metadata": {"name": &*key.name, "uid": parent.uid},
            "status": status,
        });
        let patch = Patch::Apply(&object);
        let request = self.request(kind, key)?.patch_subresource("status", &key.name, &self.apply_params(), &patch);
        self.observe(key, request).await
    }

    /// Puts labels on an object that is still in the observed state, and touches nothing else of it.
    pub(crate) async fn restore_labels(
        &self,
        kind: &Kind,
        live: &Observed,
        labels: Value,
    ) -> Result<Observed, ApiError> {
        let patch = json!({"metadata": {"uid": live.uid, "resourceVersion": live.resource_version, "labels": labels}});
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let request = self.request(kind, &live.key)?.patch(&live.key.name, &params, &Patch::Merge(&patch));
        self.observe(&live.key, request).await
    }

    /// Takes over the list items that others added by hand to an object that is still in the observed state, so that the next
    /// apply of `intent` removes them. `None` if there are none.
    pub(crate) async fn claim(
        &self,
        kind: &Kind,
        seen: &Observed,
        intent: &Value,
    ) -> Result<Option<Observed>, ApiError> {
        let key = &seen.key;
        let request = self.request(kind, key)?.get(&key.name, &GetParams::default());
        let live: DynamicObject = self.send(key, request).await?;
        let managed_fields = serde_json::to_value(&live.metadata.managed_fields)
            .map_err(|error| transient(format!("managed fields could not be read: {error}")))?;
        let Some(managed_fields) = owned::claim(&managed_fields, &self.manager, intent) else { return Ok(None) };
        let patch = json!({"metadata": {
            "uid": seen.uid, "resourceVersion": seen.resource_version, "managedFields": managed_fields,
        }});
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let request = self.request(kind, key)?.patch(&key.name, &params, &Patch::Merge(&patch));
        self.observe(key, request).await.map(Some)
    }

    /// The object as it is now.
    pub(crate) async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Observed, ApiError> {
        let request = self.request(kind, key)?.get(&key.name, &GetParams::default());
        self.observe(key, request).await
    }

    /// Deletes an object that is still in this state, in the background: what it owns goes after it.
    pub(crate) async fn delete(
        &self,
        kind: &Kind,
        key: &ObjectKey,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), ApiError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: Some(resource_version.to_owned()),
            }),
            ..DeleteParams::background()
        };
        let request = self.request(kind, key)?.delete(&key.name, &params);
        self.send::<Value>(key, request).await.map(|_| ())
    }

    fn apply_params(&self) -> PatchParams {
        PatchParams::apply(&self.manager).force()
    }

    fn request(&self, kind: &Kind, key: &ObjectKey) -> Result<Request, ApiError> {
        let Resource { api, .. } = self.resources.get(kind).ok_or_else(|| ApiError::NotServed(kind.clone()))?;
        Ok(Request::new(DynamicObject::url_path(api, key.namespace.as_deref())))
    }

    async fn observe(
        &self,
        key: &ObjectKey,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Observed, ApiError> {
        project(self.send(key, request).await?, &self.manager).map_err(transient)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        key: &ObjectKey,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, ApiError> {
        let request = request.map_err(|error| transient(format!("request could not be made: {error}")))?;
        match tokio::time::timeout(DEADLINE, self.client.request::<T>(request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(&error, key)),
            Err(_) => Err(transient(format!("the API server did not answer within {} s", DEADLINE.as_secs()))),
        }
    }
}

/// An object as the engine sees it. Watches and writes take the same way, or an object would look different by the way it
/// came, and that difference would look like drift.
///
/// # Errors
/// If it is no stored object.
pub(crate) fn project(object: DynamicObject, manager: &str) -> Result<Observed, String> {
    let value = serde_json::to_value(&object).map_err(|error| error.to_string())?;
    Observed::project(value, manager).map_err(|error| error.to_string())
}

fn transient(message: String) -> ApiError {
    ApiError::Transient { message, retry_after: None }
}

/// Whose turn it is after an error of kube's. What the API server says about a Secret may quote its values, so of that only
/// the code is kept.
pub(crate) fn classify(error: &kube::Error, key: &ObjectKey) -> ApiError {
    let kube::Error::Api(status) = error else {
        return transient(chain(error));
    };
    let message = if &*key.kind == "Secret" && key.group.is_empty() {
        format!("the API server refused the Secret ({} {})", status.code, status.reason)
    } else {
        status.message.clone()
    };
    match status.code {
        409 => ApiError::Conflict(message),
        // The object under this name is another one by now.
        422 if concerns(status, "metadata.uid") => ApiError::Conflict(message),
        404 | 410 => ApiError::NotFound(message),
        401 => ApiError::Forbidden("the API server does not accept the host's credentials".to_owned()),
        // The form of RBAC's own refusals; quotas and terminating namespaces are 403, too.
        403 if message.contains("cannot") && message.contains("User ") => {
            ApiError::Forbidden(format!("{message}; grant it to the host's account"))
        }
        403 => ApiError::Forbidden(message),
        422 => ApiError::Invalid(message),
        400 | 406 | 413 | 415 => ApiError::Rejected(message),
        _ => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
            ApiError::Transient { message, retry_after }
        }
    }
}

/// Whether the API server names this field as a cause.
fn concerns(status: &kube::core::Status, field: &str) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.field == field)
}

/// An error with its causes, each said once: the last one is what people need ("connection refused").
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn status(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[test]
    fn an_error_about_a_secret_never_quotes_it() {
        let key = ObjectKey::new(&Kind::new("", "v1", "Secret"), Some("n"), "s");
        let error = classify(&status(422, "data[k]: Invalid value: hunter2"), &key);
        assert_eq!(error.to_string(), "the API server refused the Secret (422 Reason)");
    }

    #[test]
    fn a_code_says_whose_turn_it_is() {
        let key = ObjectKey::new(&Kind::new("", "v1", "Service"), Some("n"), "s");
        let message = "m".to_owned();
        assert_eq!(classify(&status(409, "m"), &key), ApiError::Conflict(message.clone()));
        assert_eq!(classify(&status(404, "m"), &key), ApiError::NotFound(message.clone()));
        let rbac = "services is forbidden: User \"u\" cannot patch resource";
        let granted = format!("{rbac}; grant it to the host's account");
        assert_eq!(classify(&status(403, rbac), &key).to_string(), granted);
        assert_eq!(classify(&status(403, "exceeded quota"), &key).to_string(), "exceeded quota");
        assert_eq!(classify(&status(422, "m"), &key), ApiError::Invalid(message));
        assert!(matches!(classify(&status(503, "m"), &key), ApiError::Transient { retry_after: None, .. }));
    }
}
