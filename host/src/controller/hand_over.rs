//! Answers what this provider would change of a parent that another one serves, so that a hand-over can be looked at before it is made.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bartizan_contract::{Kind, Reason};
use bartizan_engine::descendants::Listing;
use bartizan_engine::handover::{as_adopted, changes, is_handed_over};
use bartizan_engine::preview::{NoPrediction, Prediction};
use bartizan_engine::provider::claims::{Claim, serves};
use bartizan_engine::provider::upgrade_plan::ParentPreview;
use bartizan_engine::snapshot::{Snapshot, Supplied};
use bartizan_engine::takeover::{self, Takeover};
use bartizan_engine::{ApiError, ObjectKey, Observed, phase};
use tokio::sync::{mpsc, watch};

use super::Controller;
use super::watches::{read_descendants, read_each, read_references};
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
        let children = children(shared, &parent).await?;
        let descendants = descendants(shared, &children).await.map_err(|error| error.to_string())?;
        let mut snapshot = Snapshot {
            parent,
            kind: kind.clone(),
            status: served.status.clone(),
            children,
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
                let mut children = snapshot.children.clone();
                let parent = &snapshot.parent;
                let taken = find_others(shared, &predicted, parent, &mut children).await;
                preview.changes = changes(&predicted, &children, &taken.map_err(|error| error.to_string())?);
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

/// The children as this provider would have them. Their metadata decides which are read: anybody may set labels.
async fn children(shared: &Shared, parent: &Observed) -> Result<Vec<Arc<Observed>>, String> {
    let context = &shared.context;
    let mut listed = shared.writer.list_children_of_others(context, parent).await.map_err(|error| error.to_string())?;
    listed.retain(|child| is_handed_over(child, parent, &context.name, &context.grants));
    if listed.len() > context.max_children {
        let (found, most) = (listed.len(), context.max_children);
        return Err(format!("{found} objects look like its children, and limits.children is {most}"));
    }
    let children = read_each(shared, listed).await.map_err(|error| error.to_string())?;
    Ok(children.into_iter().map(|child| as_adopted(child, parent, &context.name)).collect())
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

/// Looks at the desired children that are not among these, but exist: adds those that are free to be adopted, and returns the names that
/// are taken.
async fn find_others(
    shared: &Shared,
    predicted: &Prediction,
    parent: &Observed,
    children: &mut Vec<Arc<Observed>>,
) -> Result<Vec<ObjectKey>, ApiError> {
    let mut taken = Vec::new();
    for intent in &predicted.intents {
        if children.iter().any(|child| child.key == intent.key) {
            continue;
        }
        match shared.writer.get(&intent.kind, &intent.key).await {
            Ok(live) => match takeover::decide(&live, parent, shared.provider()) {
                Takeover::NameTaken { .. } => taken.push(intent.key.clone()),
                _ => children.push(as_adopted(live, parent, shared.provider())),
            },
            Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
