//! The headless Service of the servers and the Service for clients.

use bartizan_sdk::json::{WriteJson, lazy};
use bartizan_sdk::kubernetes::{ServicePort, ServiceRole, service, service_ports};

use super::metadata::{meta, selector};
use crate::layout::client_service;
use crate::plan::{PORT_NAME, Plan};

/// Gives every server its DNS name.
pub(super) fn headless(plan: &Plan<'_>) -> impl WriteJson {
    of_role(plan, ServiceRole::Headless, plan.layout.name.clone())
}

/// Balances clients over the ready servers.
pub(super) fn client(plan: &Plan<'_>) -> impl WriteJson {
    of_role(plan, ServiceRole::Client, client_service(&plan.layout.name))
}

fn of_role(plan: &Plan<'_>, role: ServiceRole, name: String) -> impl WriteJson {
    lazy(move |writer| {
        let ports = [ServicePort { name: PORT_NAME, port: plan.layout.port }];
        let annotations = (role == ServiceRole::Client).then_some(&plan.spec.service_annotations);
        let meta = meta(&plan.layout, &name);
        service(meta, annotations, role, selector(&plan.layout), service_ports(&ports)).write_json(writer);
    })
}
