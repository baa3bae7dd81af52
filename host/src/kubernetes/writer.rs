//! Writes and live reads of one provider. Every request has a deadline, and every error is classified by who can act on it.

use std::net::IpAddr;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_engine::object::Projection;
use bartizan_engine::patch::MergePatch;
use bartizan_engine::snapshot::ProviderContext;
use bartizan_engine::takeover::Earlier;
use bartizan_engine::{ApiError, Delete, Fence, ObjectKey, Observed, managed_fields};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use kube::api::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy, Request,
};
use kube::core::{DynamicObject, ObjectList, PartialObjectMeta, Status};
use kube::{Api, Client, Resource as _};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use crate::kubernetes::deadline::DEADLINE;
use crate::kubernetes::error::classify;
use crate::kubernetes::object::put_fence;
use crate::kubernetes::served::{Resource, Resources};
use crate::kubernetes::stored::Stored;
use crate::telemetry::metrics::ProviderMetrics;

/// Objects that are read in one request: each may have more than a megabyte.
const PAGE_OF_OBJECTS: u32 = 50;

/// A request that was built, or why it could not be.
type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Writes and live reads of one provider.
#[derive(Clone)]
pub(crate) struct Writer {
    /// Acts as the provider's account.
    client: Client,
    /// Acts as the host itself.
    host_client: Client,
    projection: Arc<Projection>,
    resources: Resources,
    metrics: ProviderMetrics,
}

impl Writer {
    /// A writer with the field manager of `projection`, for the given kinds. It counts every write.
    pub(crate) fn new(
        client: Client,
        host_client: Client,
        projection: Arc<Projection>,
        resources: Resources,
        metrics: ProviderMetrics,
    ) -> Self {
        Self { client, host_client, projection, resources, metrics }
    }

    /// How objects are projected for the provider.
    pub(crate) fn projection(&self) -> &Arc<Projection> {
        &self.projection
    }

    fn manager(&self) -> &str {
        &self.projection.manager
    }

    /// Server-side apply of a child, forced, with its fence.
    pub(crate) async fn apply(
        &self,
        kind: &Kind,
        key: &ObjectKey,
        mut object: Value,
        fence: &Fence,
    ) -> Result<Observed, ApiError> {
        put_fence(&mut object, fence);
        self.metrics.wrote("apply");
        let request = self.request(kind, key)?.patch(&key.name, &self.apply_params(), &Patch::Apply(&object));
        self.observe(kind, key, request).await
    }

    /// Whether an object that exists could be created like this: a dry-run create. It is answered AlreadyExists once validation,
    /// admission and quota have passed.
    pub(crate) async fn try_create(&self, kind: &Kind, key: &ObjectKey, object: &Value) -> Result<(), ApiError> {
        let body = serde_json::to_vec(object)
            .map_err(|error| ApiError::transient(format!("the object could not be written as JSON: {error}")))?;
        let params = PostParams { dry_run: true, field_manager: Some(self.manager().to_owned()) };
        let request = self.request(kind, key)?.create(&params, body);
        match self.response::<Value>(request).await? {
            Ok(_) => Err(ApiError::NotFound(format!("{key} does not exist any more"))),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(classify(&error, key)),
        }
    }

    /// Who has this address of a Service, if anybody. It is read as the host, from the objects in which the API server keeps the
    /// addresses that it allocated (KEP-1880).
    pub(crate) async fn address_holder(&self, address: IpAddr) -> Result<Option<String>, ApiError> {
        let key = ObjectKey::new(&Kind::new("networking.k8s.io", "v1", "IPAddress"), None, &address.to_string());
        let addresses: Api<IPAddress> = Api::all(self.host_client.clone());
        let error = match tokio::time::timeout(DEADLINE, addresses.get(&key.name)).await {
            Ok(Ok(address)) => {
                let ParentReference { resource, namespace, name, .. } = address.spec.parent_ref;
                return Ok(Some(format!("{resource} {}/{name}", namespace.unwrap_or_default())));
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(too_late()),
        };
        // Where addresses are not served (before Kubernetes 1.33), the answer is 404, too, and names none.
        let is_free = |status: &Status| {
            status.is_not_found() && status.details.as_ref().is_some_and(|found| found.name == *key.name)
        };
        match &error {
            kube::Error::Api(status) if is_free(status) => Ok(None),
            error => {
                Err(classify(error, &key).context(&format!("whether the address {address} is in use cannot be read")))
            }
        }
    }

    /// Server-side apply of the status of an object that is still in this state, as a subresource or to the object itself.
    pub(crate) async fn apply_status(
        &self,
        kind: &Kind,
        parent: &Observed,
        resource_version: &str,
        status: Value,
        is_subresource: bool,
    ) -> Result<Observed, ApiError> {
        let key = &parent.key;
        let object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "metadata": {"name": &*key.name, "uid": parent.uid, "resourceVersion": resource_version},
            "status": status,
        });
        self.metrics.wrote("status");
        let patch = Patch::Apply(&object);
        let request = match is_subresource {
            true => self.request(kind, key)?.patch_subresource("status", &key.name, &self.apply_params(), &patch),
            false => self.request(kind, key)?.patch(&key.name, &self.apply_params(), &patch),
        };
        self.observe(kind, key, request).await
    }

    /// Takes over the list items that others added by hand to an object that is still in the observed state, so that the next
    /// apply of `intent` removes them. `None` if there are none.
    pub(crate) async fn claim(
        &self,
        kind: &Kind,
        seen: &Observed,
        intent: &Value,
    ) -> Result<Option<Observed>, ApiError> {
        let managed_fields = self.managed_fields(kind, &seen.key).await?;
        let Some(managed_fields) = managed_fields::claim(&managed_fields, self.manager(), intent) else {
            return Ok(None);
        };
        self.merge(&MergePatch::claim(seen, managed_fields)).await.map(Some)
    }

    /// Adopts an object that is still in the observed state, with the fields that another provider applied.
    pub(crate) async fn adopt(&self, seen: &Observed, provider: &str, parent_uid: &str) -> Result<Observed, ApiError> {
        let managed_fields = self.managed_fields(&seen.kind(), &seen.key).await?;
        self.merge(&match managed_fields::inherit(&managed_fields, self.manager()) {
            None => MergePatch::disown(seen, provider),
            inherited => MergePatch::adopt(seen, provider, parent_uid, inherited),
        })
        .await
    }

    async fn managed_fields(&self, kind: &Kind, key: &ObjectKey) -> Result<Value, ApiError> {
        let request = self.request(kind, key)?.get(&key.name, &GetParams::default());
        let live: DynamicObject = self.send(key, request).await?;
        serde_json::to_value(&live.metadata.managed_fields)
            .map_err(|error| ApiError::transient(format!("managed fields could not be read: {error}")))
    }

    /// The current state of an object.
    pub(crate) async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Observed, ApiError> {
        let request = self.request(kind, key)?.get(&key.name, &GetParams::default());
        self.observe(kind, key, request).await
    }

    /// The current state of an object, with its managed fields.
    pub(crate) async fn get_with_managers(&self, kind: &Kind, key: &ObjectKey) -> Result<(Observed, Value), ApiError> {
        let request = self.request(kind, key)?.get(&key.name, &GetParams::default());
        let stored: Stored = self.send(key, request).await?;
        let observed = stored.project(kind, &self.projection).map_err(ApiError::transient)?;
        Ok((observed, stored.managed_fields()))
    }

    /// Deletes an object that is still in this state. In the background, what it owns goes after it; orphaned, that stays.
    pub(crate) async fn delete(&self, delete: &Delete, propagation: PropagationPolicy) -> Result<(), ApiError> {
        let Delete { kind, key, uid, resource_version, .. } = delete;
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.clone()),
                resource_version: Some(resource_version.clone()),
            }),
            propagation_policy: Some(propagation),
            ..DeleteParams::default()
        };
        self.metrics.wrote("delete");
        let request = self.request(kind, key)?.delete(&key.name, &params);
        self.send::<IgnoredAny>(key, request).await.map(|_| ())
    }

    /// Patches an object.
    pub(crate) async fn merge(&self, patch: &MergePatch) -> Result<Observed, ApiError> {
        let MergePatch { kind, key, body, is_of_status } = patch;
        let params = PatchParams { field_manager: Some(self.manager().to_owned()), ..PatchParams::default() };
        self.metrics.wrote("patch");
        let (request, patch) = (self.request(kind, key)?, Patch::Merge(body));
        let request = match is_of_status {
            true => request.patch_subresource("status", &key.name, &params, &patch),
            false => request.patch(&key.name, &params, &patch),
        };
        self.observe(kind, key, request).await
    }

    /// The parent of a child, of this kind, if it exists: read at its recorded place, or sought among all of the kind.
    pub(crate) async fn find_parent(&self, kind: &Kind, earlier: &Earlier) -> Result<Option<Box<Observed>>, ApiError> {
        let Earlier { uid, key } = earlier;
        // A list, since accounts may list their parents, and need no other right to read them.
        let found = match key {
            Some(key) => {
                // With its content, by which a caller knows whether it was edited.
                self.named(kind, key.namespace.as_deref(), &key.name).await?
            }
            None => self.list_metadata(kind, None, ListParams::default()).await?,
        };
        Ok(found.into_iter().find(|parent| parent.uid == *uid).map(Box::new))
    }

    /// The object of this name, if it exists.
    pub(crate) async fn named(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Vec<Observed>, ApiError> {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let observe = |object: Stored| object.project(kind, &self.projection);
        self.pages(kind, namespace, params, |request, params| request.list(params), observe).await
    }

    /// The metadata of the objects with the labels of a parent's children, of every kind that this provider writes, read from the API
    /// server. What they contain is not read: anybody may set these labels.
    pub(crate) async fn list_children(
        &self,
        context: &ProviderContext,
        parent: &Observed,
    ) -> Result<Vec<Arc<Observed>>, ApiError> {
        let labels = format!("{PROVIDER_LABEL}={},{OWNER_UID_LABEL}={}", context.name, parent.uid);
        self.list_written(context, parent, &labels).await
    }

    /// The same of those that other providers have for the parent.
    pub(crate) async fn list_children_of_others(
        &self,
        context: &ProviderContext,
        parent: &Observed,
    ) -> Result<Vec<Arc<Observed>>, ApiError> {
        let labels = format!("{PROVIDER_LABEL}!={},{OWNER_UID_LABEL}={}", context.name, parent.uid);
        self.list_written(context, parent, &labels).await
    }

    async fn list_written(
        &self,
        context: &ProviderContext,
        parent: &Observed,
        labels: &str,
    ) -> Result<Vec<Arc<Observed>>, ApiError> {
        let params = ListParams::default().labels(labels);
        let mut children = Vec::new();
        for kind in &context.written_kinds {
            let listed = match self.list_metadata(kind, None, params.clone()).await {
                // An account that is limited to some namespaces.
                Err(ApiError::Denied(message)) => {
                    let mut namespaces = context.grants.named(kind);
                    namespaces.extend(parent.key.namespace.as_deref());
                    let mut found = if namespaces.is_empty() { Err(ApiError::Denied(message)) } else { Ok(Vec::new()) };
                    for namespace in namespaces {
                        let more = self.list_metadata(kind, Some(namespace), params.clone()).await;
                        found = found.and_then(|mut found| {
                            found.extend(more?);
                            Ok(found)
                        });
                    }
                    found
                }
                listed => listed,
            };
            match listed {
                Ok(listed) => children.extend(listed.into_iter().map(Arc::new)),
                // The kind is not served any more: nothing of it exists.
                Err(ApiError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }

    /// The objects of a kind with these labels, in all namespaces or in one.
    pub(crate) async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Observed>, ApiError> {
        let params = ListParams::default().labels(selector).limit(PAGE_OF_OBJECTS);
        let observe = |object: Stored| object.project(kind, &self.projection);
        self.pages(kind, namespace, params, |request, params| request.list(params), observe).await
    }

    /// The metadata of the objects of a kind that match.
    async fn list_metadata(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Result<Vec<Observed>, ApiError> {
        let observe = |object: Stored| object.project_metadata(kind, &self.projection);
        self.pages(
            kind,
            namespace,
            params.limit(PAGE_OF_OBJECTS),
            |request, params| request.list_metadata(params),
            observe,
        )
        .await
    }

    /// A list, page by page.
    async fn pages<T: Clone + DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        mut params: ListParams,
        request: impl Fn(&Request, &ListParams) -> Built,
        observe: impl Fn(T) -> Result<Observed, String>,
    ) -> Result<Vec<Observed>, ApiError> {
        let any = ObjectKey::new(kind, namespace, "");
        let requests = self.request(kind, &any)?;
        let mut found = Vec::new();
        loop {
            let page: ObjectList<T> = self.send(&any, request(&requests, &params)).await?;
            for item in page.items {
                found.push(observe(item).map_err(ApiError::transient)?);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// The resource version of the store now, by a consistent list of this kind.
    pub(crate) async fn version(&self, kind: &Kind, namespace: Option<&str>) -> Result<String, ApiError> {
        let any = ObjectKey::new(kind, namespace, "");
        let request = self.request(kind, &any)?.list_metadata(&ListParams::default().limit(1));
        let list: ObjectList<PartialObjectMeta<DynamicObject>> = self.send(&any, request).await?;
        Ok(list.metadata.resource_version.unwrap_or_default())
    }

    /// Whether a namespace is being deleted or does not exist any more.
    pub(crate) async fn is_terminating(&self, namespace: &str) -> Result<bool, ApiError> {
        let key = ObjectKey::new(&Kind::new("", "v1", "Namespace"), None, namespace);
        let request = Request::new("/api/v1/namespaces").get(namespace, &GetParams::default());
        match self.send::<Namespace>(&key, request).await {
            Ok(namespace) => Ok(namespace.metadata.deletion_timestamp.is_some()),
            Err(ApiError::NotFound(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn apply_params(&self) -> PatchParams {
        PatchParams::apply(self.manager()).force()
    }

    fn request(&self, kind: &Kind, key: &ObjectKey) -> Result<Request, ApiError> {
        let Resource { api, .. } = self.resources.get(kind).ok_or_else(|| ApiError::NotServed(kind.clone()))?;
        Ok(Request::new(DynamicObject::url_path(api, key.namespace.as_deref())))
    }

    async fn observe(&self, kind: &Kind, key: &ObjectKey, request: Built) -> Result<Observed, ApiError> {
        let stored: Stored = self.send(key, request).await?;
        stored.project(kind, &self.projection).map_err(ApiError::transient)
    }

    async fn send<T: DeserializeOwned>(&self, key: &ObjectKey, request: Built) -> Result<T, ApiError> {
        self.response(request).await?.map_err(|error| classify(&error, key))
    }

    async fn response<T: DeserializeOwned>(&self, request: Built) -> Result<Result<T, kube::Error>, ApiError> {
        // The same object makes no other request later.
        let request = request.map_err(|error| ApiError::Rejected(format!("no request can be made of it: {error}")))?;
        tokio::time::timeout(DEADLINE, self.client.request::<T>(request)).await.map_err(|_| too_late())
    }
}

fn too_late() -> ApiError {
    ApiError::transient(format!("the API server did not answer within {} s", DEADLINE.as_secs()))
}
