//! The headless Service of the servers and the Service for clients.

use bartizan_sdk::json::{WriteJson, lazy};
use bartizan_sdk::kubernetes::{ServicePort, ServiceRole, service, service_ports};
use bartizan_sdk::storage::Annotations;

use super::metadata::{meta, selector};
use crate::keys::{FINGERPRINT, Keys};
use crate::layout::client_service;
use crate::plan::{PORT_NAME, Plan};

/// Gives every server its DNS name. It has the fingerprint of the keys, too: whoever deletes the StatefulSet does not delete that.
pub(super) fn headless(plan: &Plan<'_>, keys: &Keys<'_>) -> impl WriteJson {
    let fingerprint = keys.fingerprint.clone().map(|fingerprint| (FINGERPRINT.to_owned(), fingerprint));
    of_role(plan, ServiceRole::Headless, plan.layout.name.clone(), fingerprint.into_iter().collect())
}

/// Balances clients over the ready servers.
pub(super) fn client(plan: &Plan<'_>) -> impl WriteJson {
    of_role(plan, ServiceRole::Client, client_service(&plan.layout.name), plan.spec.service_annotations.clone())
}

fn of_role(plan: &Plan<'_>, role: ServiceRole, name: String, annotations: Annotations) -> impl WriteJson {
    lazy(move |writer| {
        let ports = [ServicePort { name: PORT_NAME, port: plan.layout.port }];
        let meta = meta(&plan.layout, &name);
        service(meta, Some(&annotations), role, selector(&plan.layout), service_ports(&ports)).write_json(writer);
    })
}
