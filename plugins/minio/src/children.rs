//! The Kubernetes objects of a store. They are written as JSON text: typed pod templates would double the size of the module.

mod credentials;
mod metadata;
mod servers;
mod services;

use bartizan_sdk::Response;
use bartizan_sdk::kubernetes::disruption_budget;

use crate::keys::{self, Keys, Servers};
use crate::plan::Plan;
use crate::spec::Mode;
use metadata::{meta, selector};

/// How many servers may be disrupted voluntarily at the same time. The smallest erasure set, four drives on four servers, accepts
/// writes with one drive missing but not with two; in every larger layout one server is within parity, too.
const MAX_UNAVAILABLE: i32 = 1;

/// All children of a store, in a fixed order.
pub(crate) fn desired(plan: &Plan<'_>, keys: &Keys<'_>, reads_secrets: bool) -> Response {
    let mut response = Response::new().child_json(services::headless(plan, keys)).child_json(services::client(plan));
    response = match keys.servers {
        Servers::Run => response.child_json(servers::stateful_set(plan, keys)),
        Servers::Keep => response.keep(keys::SERVERS, &plan.layout.name),
        Servers::Wait => response,
    };
    response = credentials::add(response, plan, keys);
    if reads_secrets {
        let names = keys::related(plan);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        response = response.related(keys::SECRET, &names);
    }
    // A budget for a single server would either block draining its node or have no effect.
    if plan.layout.mode == Mode::Distributed {
        let layout = &plan.layout;
        let budget = disruption_budget(meta(layout, &layout.name), MAX_UNAVAILABLE, selector(layout));
        response = response.child_json(budget);
    }
    response
}
