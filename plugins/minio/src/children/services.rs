//! The two Services: one by which servers find each other, one for clients.

use bartizan_sdk::json::{WriteJson, lazy};
use bartizan_sdk::kubernetes::{ServicePort, ServiceRole, service, service_ports};

use super::{meta, selector};
use crate::layout::client_service;
use crate::validation::{PORT_NAME, Plan};

/// Gives every server its name in DNS.
pub(super) fn headless(plan: &Plan<'_>) -> impl WriteJson {
    of_role(plan, ServiceRole::Headless, plan.layout.name.clone())
}

/// Spreads clients over the servers that are ready.
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
