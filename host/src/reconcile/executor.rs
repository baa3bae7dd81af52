//! Executes a plan: the one place that writes children.

use std::sync::Arc;

use bartizan_contract::{Kind, OnImmutableChange};
use bartizan_engine::ownership::is_ours_to_end;
use bartizan_engine::secrets::Revealed;
use bartizan_engine::takeover::{self, Takeover};
use bartizan_engine::{Apply, ApplyReason, Delete, Fence, FinalizerStep, ObjectKey, Observed, Plan, Release};
use futures::{StreamExt as _, stream};
use kube::api::PropagationPolicy;
use serde_json::Value;

use crate::kubernetes::error::ApiError;
use crate::kubernetes::writer::Writer;
use crate::reconcile::generated_values;

/// Writes to children of one parent that are under way at the same time.
const SIDE_BY_SIDE: usize = 8;
/// How often a child is released that others keep changing, before the parent has to be decided on again.
const RELEASE_TRIES: usize = 4;

/// What became of the writes of a plan.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    /// The parent, if its finalizer was written.
    pub(crate) parent: Option<Observed>,
    /// Whether the parent's finalizer was taken off.
    pub(crate) let_go: bool,
    /// Children as the API server answered them, with the hash of the intent that was written.
    pub(crate) written: Vec<(String, Observed)>,
    /// Children whose labels were put back: they must be observed before anything else is decided.
    pub(crate) restored: Vec<Observed>,
    /// Children that are deleted, or were gone already.
    pub(crate) deleted: Vec<Delete>,
    /// Children that are deleted to be made again, and which field could not change.
    pub(crate) recreating: Vec<(ObjectKey, String)>,
    /// Names that hold something that is on its way out, and of whose end nothing will be heard.
    pub(crate) leaving: Vec<ObjectKey>,
    /// Names that hold something that is not this parent's, and whose it is.
    pub(crate) taken: Vec<(ObjectKey, String)>,
    /// Children whose state moved on since the snapshot: run again.
    pub(crate) stale: Vec<ObjectKey>,
    /// Writes that failed.
    pub(crate) failed: Vec<(ObjectKey, ApiError)>,
    /// Kinds of the provider's children.
    pub(crate) kinds: Vec<Kind>,
}

impl Executed {
    /// Whether every write was accepted.
    pub(crate) fn is_complete(&self) -> bool {
        self.restored.is_empty()
            && self.recreating.is_empty()
            && self.leaving.is_empty()
            && self.taken.is_empty()
            && self.stale.is_empty()
            && self.failed.is_empty()
    }

    /// Takes the answer to a write that leaves nothing to remember.
    fn take(&mut self, key: &ObjectKey, result: Result<(), ApiError>) {
        match result {
            Ok(()) | Err(ApiError::NotFound(_)) => {}
            Err(ApiError::Conflict(_)) => self.stale.push(key.clone()),
            Err(error) => self.failed.push((key.clone(), error)),
        }
    }
}

enum Applied {
    Written(String, Box<Observed>),
    Restored(Box<Observed>),
    Recreating(ObjectKey, String),
    Leaving(ObjectKey),
    Taken(ObjectKey, String),
    Stale(ObjectKey),
    Failed(ObjectKey, ApiError),
}

/// Whose plan is executed, with the snapshot that it was made from.
pub(crate) struct Target<'a> {
    /// Where to write.
    pub(crate) writer: &'a Writer,
    /// Name of the provider.
    pub(crate) provider: &'a str,
    /// The parent.
    pub(crate) parent: &'a Observed,
    /// Its kind.
    pub(crate) kind: &'a Kind,
    /// Name of the host's finalizer on it.
    pub(crate) finalizer: &'a str,
    /// Its children.
    pub(crate) children: &'a [Arc<Observed>],
    /// What stands behind the tokens of the answer.
    pub(crate) revealed: &'a Revealed,
}

impl Target<'_> {
    /// The finalizer first; then wave by wave, each only once every apply of the one before was accepted; then, only if
    /// everything was and no name is taken, what is to go; the finalizer's end last.
    pub(crate) async fn execute(&self, plan: &Plan) -> Executed {
        let mut executed = Executed::default();
        if plan.finalizer == FinalizerStep::Add {
            self.set_finalizer(true, &mut executed).await;
        }
        for wave in plan.waves() {
            if !executed.is_complete() {
                return executed;
            }
            let applies: Vec<_> = wave.iter().map(|step| self.apply(step)).collect();
            let results: Vec<Applied> = stream::iter(applies).buffered(SIDE_BY_SIDE).collect().await;
            for result in results {
                match result {
                    Applied::Written(intent, observed) => executed.written.push((intent, *observed)),
                    Applied::Restored(observed) => executed.restored.push(*observed),
                    Applied::Recreating(key, field) => executed.recreating.push((key, field)),
                    Applied::Leaving(key) => executed.leaving.push(key),
                    Applied::Taken(key, holder) => executed.taken.push((key, holder)),
                    Applied::Stale(key) => executed.stale.push(key),
                    Applied::Failed(key, error) => executed.failed.push((key, error)),
                }
            }
        }
        if !executed.is_complete() || !plan.taken.is_empty() {
            return executed;
        }
        for release in &plan.releases {
            let result = self.release(release).await;
            executed.take(&release.child.key, result);
        }
        for delete in &plan.deletes {
            self.delete(delete, &mut executed).await;
        }
        if plan.finalizer == FinalizerStep::Remove && executed.is_complete() {
            self.set_finalizer(false, &mut executed).await;
        }
        executed
    }

    async fn set_finalizer(&self, on: bool, executed: &mut Executed) {
        let others = self.parent.finalizers.iter().filter(|name| *name != self.finalizer).cloned();
        let finalizers: Vec<String> = others.chain(on.then(|| self.finalizer.to_owned())).collect();
        match self.writer.set_finalizers(self.kind, self.parent, &finalizers).await {
            Ok(parent) => {
                executed.let_go = !on && self.parent.deleting;
                executed.parent = Some(parent);
            }
            Err(error) => executed.take(&self.parent.key, Err(error)),
        }
    }

    /// A child that changed meanwhile is read again at once: where a parent is orphaned, the garbage collector takes its owner
    /// references off at the same time, and then the parent is gone before there could be another decision.
    async fn release(&self, release: &Release) -> Result<(), ApiError> {
        let mut release = release.clone();
        for _ in 1..RELEASE_TRIES {
            match self.writer.release(&release).await {
                Err(ApiError::Conflict(_)) => {}
                result => return result,
            }
            let child = &release.child;
            let kind = Kind::from_api_version(&child.api_version, &child.key.kind);
            let live = self.writer.get(&kind, &child.key).await?;
            if live.uid != child.uid || live.deleting || !is_ours_to_end(&live, self.parent, self.provider) {
                // Whatever it is now, it is not held any more.
                return Ok(());
            }
            release.child = Arc::new(live);
        }
        self.writer.release(&release).await
    }

    async fn delete(&self, delete: &Delete, executed: &mut Executed) {
        let Delete { kind, key, uid, resource_version, .. } = delete;
        match self.writer.delete(kind, key, uid, resource_version, PropagationPolicy::Background).await {
            Ok(()) | Err(ApiError::NotFound(_)) => executed.deleted.push(delete.clone()),
            Err(error) => executed.take(key, Err(error)),
        }
    }

    async fn apply(&self, step: &Apply) -> Applied {
        let key = step.intent.key.clone();
        let existing = self.children.iter().find(|child| child.key == key).map(AsRef::as_ref);
        let object = match generated_values::fill(&step.intent, existing, self.revealed) {
            Ok(object) => object,
            Err(error) => {
                let message = format!("no random numbers for generated values: {error}");
                return Applied::Failed(key, ApiError::Transient { message, retry_after: None });
            }
        };
        let mut result = self.writer.apply(&step.intent.kind, &key, object.clone(), &step.fence).await;
        let refused = matches!(result, Err(ApiError::Invalid(_) | ApiError::Immutable(_)));
        if let (true, ApplyReason::Drifted, Some(seen)) = (refused, step.reason, existing) {
            result = self.apply_over_an_edit(step, object, seen, result).await;
        }
        match result {
            Ok(observed) => Applied::Written(step.intent.hash.clone(), Box::new(observed)),
            Err(ApiError::Conflict(_)) if step.fence == Fence::CreateOnly => self.take_over(step).await,
            Err(ApiError::Conflict(_)) => Applied::Stale(key),
            Err(ApiError::Immutable(field)) => match existing {
                Some(seen) => self.recreate(step, seen, field).await,
                None => Applied::Failed(key, ApiError::Invalid(field)),
            },
            Err(error) => Applied::Failed(key, error),
        }
    }

    /// What was accepted once is refused now: because of what somebody else wrote since, as a second port of the same name.
    /// An apply does not remove that unless it is ours.
    async fn apply_over_an_edit(
        &self,
        step: &Apply,
        object: Value,
        seen: &Observed,
        refused: Result<Observed, ApiError>,
    ) -> Result<Observed, ApiError> {
        let kind = &step.intent.kind;
        match self.writer.claim(kind, seen, &object).await? {
            Some(claimed) => {
                let fence = Fence::Exact { uid: claimed.uid, resource_version: claimed.resource_version };
                self.writer.apply(kind, &step.intent.key, object, &fence).await
            }
            None => refused,
        }
    }

    /// A field never changes: the child is made again if the provider says so. It is made once it is seen to be gone, so that
    /// a host that ends in between does no harm.
    async fn recreate(&self, step: &Apply, seen: &Observed, field: String) -> Applied {
        let key = step.intent.key.clone();
        let propagation = match step.intent.on_immutable_change {
            OnImmutableChange::Refuse => return Applied::Failed(key, ApiError::Immutable(field)),
            OnImmutableChange::RecreateOrphan => PropagationPolicy::Orphan,
            OnImmutableChange::Recreate => PropagationPolicy::Background,
        };
        let kind = &step.intent.kind;
        match self.writer.delete(kind, &key, &seen.uid, &seen.resource_version, propagation).await {
            Ok(()) | Err(ApiError::NotFound(_)) => Applied::Recreating(key, field),
            Err(ApiError::Conflict(_)) => Applied::Stale(key),
            Err(error) => Applied::Failed(key, error),
        }
    }

    /// A name believed absent is not: a live read says whose it is.
    async fn take_over(&self, step: &Apply) -> Applied {
        let (kind, key) = (&step.intent.kind, step.intent.key.clone());
        let live = match self.writer.get(kind, &key).await {
            Ok(live) => live,
            Err(ApiError::NotFound(_)) => return Applied::Stale(key),
            Err(error) => return Applied::Failed(key, error),
        };
        let written = match takeover::decide(&live, self.parent, self.provider) {
            // Without its labels no watch tells of its end.
            Takeover::Wait if live.deleting && !live.is_child_of(&self.parent.uid, self.provider) => {
                return Applied::Leaving(key);
            }
            // It is newer than what is known: the next decision is made on it.
            Takeover::Wait => return Applied::Restored(Box::new(live)),
            Takeover::NameTaken { holder } => return Applied::Taken(key, holder),
            Takeover::RestoreLabels => self.writer.restore_labels(kind, &live, self.provider, &self.parent.uid).await,
            Takeover::Adopt => self.writer.adopt(kind, &live, self.provider, &self.parent.uid).await,
        };
        match written {
            Ok(observed) => Applied::Restored(Box::new(observed)),
            Err(ApiError::Conflict(_)) => Applied::Stale(key),
            Err(error) => Applied::Failed(key, error),
        }
    }
}
