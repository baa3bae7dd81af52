//! Whether a host works, by its Lease, with the rights of whoever asks.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};

use crate::kubernetes::error::api_message;
use crate::kubernetes::lease;

/// Time within which a lease that somebody holds is renewed.
const RENEWED: Duration = Duration::from_secs(4);

/// The lease, for people.
pub(crate) struct Held {
    /// Who holds it.
    pub(crate) text: String,
    /// Whether that host works.
    pub(crate) is_current: bool,
}

/// Who holds the lease in this namespace.
///
/// # Errors
/// If it cannot be read.
pub(crate) async fn of(client: &Client, namespace: &str) -> anyhow::Result<Held> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(lease::NAME).await.map_err(api_message)?;
    let spec = found.and_then(|lease| lease.spec).unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, spec.renew_time.clone()) else {
        return Ok(Held { text: format!("nobody holds {namespace}/{}", lease::NAME), is_current: false });
    };
    let age = Timestamp::now().duration_since(renewed.0).as_secs();
    if (0..i64::from(spec.lease_duration_seconds.unwrap_or_default())).contains(&age) {
        return Ok(Held { text: format!("held by {holder}, renewed {age} s ago"), is_current: true });
    }
    // The clock of this machine may differ from that of the host, which renews it every 2 s.
    tokio::time::sleep(RENEWED).await;
    let again = api.get_opt(lease::NAME).await.map_err(api_message)?;
    let is_current = again.and_then(|lease| lease.spec).and_then(|spec| spec.renew_time) != Some(renewed);
    let state = if is_current { "and renewed" } else { "and not renewed: it has expired" };
    Ok(Held { text: format!("held by {holder}, {state}"), is_current })
}
