//! Tells what the CustomResourceDefinitions of the cluster lack of those that a module has: what people write there is not checked,
//! or is dropped by the API server without a word.

use std::convert::Infallible;
use std::future::pending;

use bartizan_engine::provider::event::ControllerEvent;
use kube::Client;
use tokio::sync::watch;
use tracing::warn;

use super::reporter::Reporter;
use crate::catalog::Runnable;
use crate::kubernetes::discovery::{Changes, QUIET};
use crate::kubernetes::error::text;
use crate::kubernetes::{backoff, crds};

/// Reports what the CRDs of the cluster lack of the version's own, now and whenever one of them changes. Never ends.
pub(super) async fn report(
    client: Client,
    reporter: Reporter,
    mut versions: watch::Receiver<Runnable>,
    mut changes: Changes,
) -> Infallible {
    let mut told = None;
    loop {
        changes.mark_unchanged();
        let module = versions.borrow_and_update().version.module.clone();
        match crds::lacking_in_cluster(&client, &module.manifest.crds).await {
            Ok(fields) => {
                if told.as_ref() != Some(&fields) {
                    reporter.report(ControllerEvent::CrdsLack { fields: fields.clone() });
                    told = Some(fields);
                }
            }
            Err(error) => {
                warn!(
                    provider = module.manifest.name,
                    "CustomResourceDefinitions cannot be compared: {}",
                    text(&error)
                );
                tokio::time::sleep(backoff::after(backoff::PROVIDER_START, &error)).await;
                continue;
            }
        }
        tokio::select! {
            Ok(()) = changes.changed() => {}
            Ok(()) = versions.changed() => {}
            // The host stops.
            else => pending().await,
        }
        // One is written several times until it is Established.
        tokio::time::sleep(QUIET).await;
    }
}
