//! Metadata of objects: lists of it, and whether a provider has left something on a parent.

use bartizan_contract::names::{field_manager, finalizer};
use kube::api::ListParams;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, ResourceExt as _};

use super::deadline::in_time;

/// Objects whose metadata is read in one request.
const PAGE: u32 = 500;

/// Gives the metadata of all objects that match to `each`, a page at a time.
///
/// # Errors
/// If a page cannot be read, or not in time.
pub(crate) async fn each_metadata(
    api: &Api<DynamicObject>,
    params: ListParams,
    each: impl FnMut(PartialObjectMeta<DynamicObject>) + Send,
) -> anyhow::Result<()> {
    let (mut params, mut each) = (params.limit(PAGE), each);
    loop {
        let page = in_time(api.list_metadata(&params)).await?;
        page.items.into_iter().for_each(&mut each);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Whether a parent has the finalizer or the status of a provider.
pub(crate) fn has_marks_of(parent: &PartialObjectMeta<DynamicObject>, provider: &str) -> bool {
    parent.finalizers().contains(&finalizer(provider)) || has_status_of(parent, provider)
}

/// Whether a provider owns something in the status of a parent.
pub(crate) fn has_status_of(parent: &PartialObjectMeta<DynamicObject>, provider: &str) -> bool {
    let manager = field_manager(provider);
    let mut entries = parent.managed_fields().iter().filter(|entry| entry.manager.as_deref() == Some(&manager));
    entries.any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        // Where the status is no subresource, it is written with the object.
        let has_fields = || fields.is_some_and(|fields| fields.get("f:status").is_some());
        entry.subresource.as_deref() == Some("status") || has_fields()
    })
}
