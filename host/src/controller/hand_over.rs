//! Answers what this provider would change of a parent that another one serves, so that a hand-over can be looked at before it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bartizan_contract::names::field_manager;
use bartizan_contract::{Kind, Reason};
use bartizan_engine::descendants::Listing;
use bartizan_engine::handover::{Applied, as_adopted, changes, is_handed_over};
use bartizan_engine::preview::{NoPrediction, Prediction};
use bartizan_engine::provider::claims::{Claim, serves};
use bartizan_engine::provider::upgrade_plan::ParentPreview;
use bartizan_engine::snapshot::{Snapshot, Supplied};
use bartizan_engine::takeover::{self, Takeover};
use bartizan_engine::{ApiError, ObjectKey, Observed, phase};
use tokio::sync::{mpsc, watch};

use super::Controller;
use super::watches::{read_descendants, read_references};
use crate::catalog::Runnable;
use crate::kubernetes::served::{Served, ServedParent};
use crate::reconcile::dry_run::{Look, look};
use crate::reconcile::shared::Shared;
use crate::telemetry::hand_over::{Asked, HandOver};
use crate::telemetry::subject::Subject;

/// The time for one answer; the client waits a little longer.
const DEADLINE: Duration = Duration::from_secs(12);

/// What is needed for an answer. It reads what it needs live: the index knows nothing of other providers' parents.
pub(crate) struct Foresight {
    shared: Shared,
    served: Served,
    claims: Arc<[Claim]>,
}

impl Controller {
    /// What answers beside this controller.
    pub(crate) fn foresight(&self) -> Foresight {
        Foresight { shared: (*self.shared).clone(), served: self.served.clone(), claims: self.claims.clone() }
    }
}

impl Foresight {
    /// Answers questions one after the other with the version that serves. Never ends.
    pub(crate) async fn answer(
        self,
        versions: watch::Receiver<Runnable>,
        mut questions: mpsc::Receiver<Asked>,
    ) -> Infallible {
        while let Some(Asked { parent, mut reply }) = questions.recv().await {
            let shared = self.shared.with(&versions.borrow());
            let looked = tokio::select! {
                // Nobody waits for it any more.
                () = reply.closed() => continue,
                looked = tokio::time::timeout(DEADLINE, self.look(&shared, &parent)) => looked,
            };
            let answer = looked.unwrap_or_else(|_| Err(format!("there was no answer in {} s", DEADLINE.as_secs())));
            // Whoever asked may have gone.
            let _ = reply.send(answer.map_or_else(HandOver::Unknown, HandOver::Preview));
        }
        pending().await
    }

    async fn look(&self, shared: &Shared, subject: &Subject) -> Result<ParentPreview, String> {
        let provider = shared.provider();
        let mut kinds = self.served.parents.iter().filter(|(kind, _)| subject.is_of(&kind.kind, &kind.group));
        let (kind, served) =
            kinds.next().ok_or_else(|| format!("provider {provider} serves no kind {}", subject.kind))?;
        let parent = parent(shared, kind, served, subject).await?;
        let title = parent.key.title();
        if serves(&self.claims, &parent) == Some(provider) {
            return Err(format!("provider {provider} serves {title} already"));
        }
        let context = &shared.context;
        let question = phase::question(&parent, provider, context.finalizes)
            .filter(|question| !question.finalizing())
            .ok_or_else(|| format!("{title} is being deleted: it stays with the provider that serves it"))?;
        let mut seen = Seen::default();
        seen.read_children(shared, &parent).await?;
        let descendants = descendants(shared, &seen.children).await.map_err(|error| error.to_string())?;
        let mut snapshot = Snapshot {
            parent,
            kind: kind.clone(),
            status: served.status.clone(),
            children: seen.children.clone(),
            descendants,
            supplied: Supplied::default(),
            optional_kinds: self.served.optional.clone(),
            left: None,
            unread: None,
        };
        // The rounds are bounded by the engine, the time by the caller.
        let predicted = loop {
            match look(shared, &snapshot, question).await {
                Look::Prediction(predicted) => break predicted,
                Look::More(mut supplied) => {
                    let objects = read_references(shared, &supplied.references).await;
                    supplied.objects = objects.map_err(|error| error.to_string())?.into_iter().map(Arc::new).collect();
                    snapshot.supplied = supplied;
                }
            }
        };
        let mut preview = ParentPreview { parent: title, ..ParentPreview::default() };
        match predicted {
            Ok(predicted) => {
                seen.find_others(shared, &predicted, &snapshot.parent).await?;
                preview.changes = changes(predicted, &seen.children, &seen.applied, seen.taken);
            }
            Err(NoPrediction { reason: Reason::HostBusy | Reason::HostError, message }) => return Err(message),
            Err(NoPrediction { message, .. }) => preview.failure = Some(message),
        }
        Ok(preview)
    }
}

async fn parent(
    shared: &Shared,
    kind: &Kind,
    served: &ServedParent,
    subject: &Subject,
) -> Result<Arc<Observed>, String> {
    let namespace = subject.namespace.as_deref().filter(|_| served.resource.namespaced);
    if served.resource.namespaced && namespace.is_none() {
        return Err(format!("{kind} is namespaced: name its namespace"));
    }
    let key = ObjectKey::new(kind, namespace, &subject.name);
    let found = shared.writer.named(kind, namespace, &subject.name).await.map_err(|error| error.to_string())?;
    found.into_iter().next().map(Arc::new).ok_or_else(|| format!("there is no {}", key.title()))
}

async fn descendants(shared: &Shared, children: &[Arc<Observed>]) -> Result<Vec<Arc<Observed>>, ApiError> {
    let mut descendants = Vec::new();
    for child in children {
        if let Some(selector) = &child.selector {
            let (namespace, selector) = (child.key.namespace.clone(), selector.clone());
            let listing = Listing { child: child.key.clone(), namespace, selector };
            descendants.extend(read_descendants(shared, &listing).await?.into_iter().map(Arc::new));
        }
    }
    Ok(descendants)
}

/// What there is of the parent's children.
#[derive(Default)]
struct Seen {
    /// Those that this provider would have.
    children: Vec<Arc<Observed>>,
    /// What the other provider applied of them.
    applied: BTreeMap<ObjectKey, Applied>,
    /// Desired ones that are somebody else's.
    taken: BTreeSet<ObjectKey>,
    bytes: usize,
}

impl Seen {
    /// Reads the children as this provider would have them. Their metadata decides which are read: anybody may set labels.
    async fn read_children(&mut self, shared: &Shared, parent: &Observed) -> Result<(), String> {
        let context = &shared.context;
        let listed = shared.writer.list_children_of_others(context, parent).await;
        let mut listed = listed.map_err(|error| error.to_string())?;
        // One that is being deleted is not let go of, and is gone when it could be adopted.
        listed.retain(|child| !child.deleting && is_handed_over(child, parent, &context.name, &context.grants));
        if listed.len() > context.max_children {
            let (found, most) = (listed.len(), context.max_children);
            return Err(format!("{found} objects look like its children, and limits.children is {most}"));
        }
        for child in listed {
            match shared.writer.get_with_managers(&child.kind(), &child.key).await {
                Ok((live, managed_fields)) => {
                    let manager = field_manager(child.provider.as_deref().unwrap_or_default());
                    self.add(shared, live, Some(Applied { manager, managed_fields }), parent)?;
                }
                Err(ApiError::NotFound(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Takes note of a child. All of them fit into one request, or it could not be made.
    fn add(
        &mut self,
        shared: &Shared,
        live: Observed,
        applied: Option<Applied>,
        parent: &Observed,
    ) -> Result<(), String> {
        if live.is_too_heavy {
            return Err(format!("{} has more values than may be looked at, or is nested too deeply", live.key));
        }
        let of_managers = applied.as_ref().map_or(0, |applied| applied.managed_fields.to_string().len());
        self.bytes += live.raw.len() + of_managers;
        let most = shared.limits.request_bytes;
        if self.bytes > most {
            return Err(format!("its children are larger than limits.requestBytes ({most} bytes)"));
        }
        self.applied.extend(applied.map(|applied| (live.key.clone(), applied)));
        self.children.push(as_adopted(live, parent, shared.provider()));
        Ok(())
    }

    /// Looks at the desired children that are not among these, but exist: adds those that are free to be adopted, and takes note of names
    /// that are taken.
    async fn find_others(&mut self, shared: &Shared, predicted: &Prediction, parent: &Observed) -> Result<(), String> {
        for intent in &predicted.intents {
            if self.children.iter().any(|child| child.key == intent.key) {
                continue;
            }
            let live = match shared.writer.get(&intent.kind, &intent.key).await {
                Ok(live) => live,
                Err(ApiError::NotFound(_)) => continue,
                Err(error) => return Err(error.to_string()),
            };
            let is_free = match takeover::decide(&live, parent, shared.provider()) {
                // It is gone before its name is used again.
                _ if live.deleting => continue,
                // What the other one lets go of was found by its labels.
                Takeover::NameTaken { .. } | Takeover::AwaitRelease { .. } => false,
                Takeover::AdoptFrom(earlier) => {
                    let found = shared.writer.find_parent(&parent.kind(), &earlier).await;
                    found.map_err(|error| error.to_string())?.is_none()
                }
                Takeover::Adopt | Takeover::RestoreLabels | Takeover::Wait => true,
            };
            if is_free {
                self.add(shared, live, None, parent)?;
            } else {
                self.taken.insert(intent.key.clone());
            }
        }
        Ok(())
    }
}
