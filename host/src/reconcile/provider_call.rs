//! What a provider is asked and what of its answer may be acted on: for the reconcile of a parent, and for the preview of what
//! another version would do.

use std::time::{Duration, Instant};

use bartizan_contract::ReconcileResponse;
use bartizan_engine::gate::{self, GateInput};
use bartizan_engine::related::{MAX_ROUNDS, References};
use bartizan_engine::request::{self, RequestInput};
use bartizan_engine::secrets::Revealed;
use bartizan_engine::{Observed, Refusal};
use bartizan_runtime::{Answer, CallError, Fault};

use crate::reconcile::snapshot::{Job, Origin, Shared, Supplied};

/// What an answer says, or why it is none.
pub(crate) type Read = Result<ReconcileResponse, Refusal>;

/// How a call ended.
pub(crate) struct Answered {
    /// The answer as bytes and as what they say, or why there is none.
    pub(crate) result: Result<(Answer, Read), CallError>,
    /// How long it took, without the wait for room.
    pub(crate) duration: Duration,
    /// The request, given back.
    pub(crate) request: Vec<u8>,
}

/// The request about one parent.
pub(crate) fn request(shared: &Shared, job: &Job, finalizing: bool, namespace_terminating: bool) -> Vec<u8> {
    let children: Vec<&Observed> = job.children.iter().map(AsRef::as_ref).collect();
    let descendants: Vec<&Observed> = job.descendants.iter().map(AsRef::as_ref).collect();
    let related: Vec<&Observed> = job.supplied.objects.iter().map(AsRef::as_ref).collect();
    request::build(&RequestInput {
        provider: &shared.provider,
        provider_version: &shared.version,
        settings: &shared.settings,
        cluster_version: &shared.cluster_version,
        optional_kinds: &job.optional_kinds,
        parent: &job.parent,
        child_kinds: &shared.child_kinds,
        children: &children,
        descendant_kinds: &shared.descendant_kinds,
        descendants: &descendants,
        related_kinds: &shared.related_kinds,
        related: &related,
        finalizing,
        namespace_terminating,
    })
}

/// Calls the provider, once there is room.
///
/// # Errors
/// If it could not even be called.
pub(crate) async fn call(shared: &Shared, request: Vec<u8>) -> Result<Answered, CallError> {
    let (module, limits) = (shared.module.clone(), shared.limits);
    let called = shared.calls.run(&shared.provider, limits.memory_bytes, move || {
        let started = Instant::now();
        let result = module.reconcile(&request, &limits);
        let duration = started.elapsed();
        // A long answer is long to read, too: not on a thread that others wait for.
        let result = result.map(|answer| {
            let read = gate::read(&answer.response);
            (answer, read)
        });
        Answered { result, duration, request }
    });
    called.await.map_err(|cause| CallError { fault: Fault::Host { cause }, logs: Vec::new() })
}

/// What stands behind the tokens of a request.
pub(crate) fn issued(job: &Job) -> Revealed {
    let mut issued = Revealed::default();
    for object in std::iter::once(&job.parent).chain(&job.children).chain(&job.descendants).chain(&job.supplied.objects)
    {
        issued.extend(&object.revealed);
    }
    issued
}

/// Within which bounds the answer may be acted on.
pub(crate) fn gate_input<'a>(
    shared: &'a Shared,
    job: &'a Job,
    issued: &'a Revealed,
    finalizing: bool,
) -> GateInput<'a> {
    GateInput {
        provider: &shared.provider,
        grants: &shared.grants,
        parent: &job.parent,
        children: &job.children,
        max_children: shared.max_children,
        finalizes: shared.finalizes,
        finalizing,
        issued,
    }
}

/// What must be supplied before the answer may be acted on; `None` if everything was. A decision starts with what the last one
/// saw, and if that is not exactly what it asks for, from nothing: the same state of the cluster is always the same request.
///
/// # Errors
/// If it asks for what it may not see, or for more after the last round.
pub(crate) fn wants_more(
    response: &ReconcileResponse,
    input: &GateInput<'_>,
    supplied: &Supplied,
) -> Result<Option<Supplied>, Refusal> {
    let asked = gate::references(response, input)?;
    let again =
        |references, round| Ok(Some(Supplied { references, objects: Vec::new(), round, origin: Origin::Rounds }));
    if supplied.origin == Origin::Memory && !supplied.references.is_empty() {
        return if asked == supplied.references { Ok(None) } else { again(References::new(), 0) };
    }
    if asked.is_subset(&supplied.references) {
        return Ok(None);
    }
    if supplied.round >= MAX_ROUNDS {
        let missing = asked.difference(&supplied.references).next();
        let missing = missing.map(|reference| reference.kind.to_string()).unwrap_or_default();
        return Err(Refusal {
            path: "response.related".to_owned(),
            message: format!("asks for more ({missing}) after {MAX_ROUNDS} rounds: ask for what can be known earlier"),
        });
    }
    again(supplied.references.union(&asked).cloned().collect(), supplied.round + 1)
}
