//! Executes a plan: the one place that writes children.

use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_engine::takeover::{self, Takeover};
use bartizan_engine::{Apply, ApplyReason, Delete, Fence, ObjectKey, Observed, Plan};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::api::{ApiError, Writer};
use crate::values;

/// Writes to children of one parent that are under way at the same time.
const SIDE_BY_SIDE: usize = 8;

/// What became of the writes of a plan.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    /// Children as the API server answered them, with the hash of the intent that was written.
    pub(crate) written: Vec<(String, Observed)>,
    /// Children whose labels were put back: they must be observed before anything else is decided.
    pub(crate) restored: Vec<Observed>,
    /// Children that are deleted, or were gone already.
    pub(crate) deleted: Vec<Delete>,
    /// Names that hold something that is not this parent's, and whose it is.
    pub(crate) taken: Vec<(ObjectKey, String)>,
    /// Children whose state moved on since the snapshot: run again.
    pub(crate) stale: Vec<ObjectKey>,
    /// Writes that failed.
    pub(crate) failed: Vec<(ObjectKey, ApiError)>,
}

impl Executed {
    /// Whether every write was accepted.
    pub(crate) fn is_complete(&self) -> bool {
        self.restored.is_empty() && self.taken.is_empty() && self.stale.is_empty() && self.failed.is_empty()
    }
}

enum Applied {
    Written(String, Observed),
    Restored(Observed),
    Taken(ObjectKey, String),
    Stale(ObjectKey),
    Failed(ObjectKey, ApiError),
}

/// Applies side by side, then, only if every apply was accepted and no name is taken, prunes.
pub(crate) async fn execute(
    writer: &Writer,
    provider: &str,
    parent_uid: &str,
    children: &[std::sync::Arc<Observed>],
    plan: &Plan,
) -> Executed {
    let mut executed = Executed::default();
    let applies: Vec<_> = plan
        .applies
        .iter()
        .map(|step| {
            let existing = children.iter().find(|child| child.key == step.intent.key);
            apply(writer, provider, parent_uid, step, existing.map(AsRef::as_ref))
        })
        .collect();
    let results: Vec<Applied> = stream::iter(applies).buffered(SIDE_BY_SIDE).collect().await;
    for result in results {
        match result {
            Applied::Written(intent, observed) => executed.written.push((intent, observed)),
            Applied::Restored(observed) => executed.restored.push(observed),
            Applied::Taken(key, holder) => executed.taken.push((key, holder)),
            Applied::Stale(key) => executed.stale.push(key),
            Applied::Failed(key, error) => executed.failed.push((key, error)),
        }
    }
    if executed.is_complete() && plan.taken.is_empty() {
        for delete in &plan.deletes {
            match writer.delete(&delete.kind, &delete.key, &delete.uid, &delete.resource_version).await {
                Ok(()) | Err(ApiError::NotFound(_)) => executed.deleted.push(delete.clone()),
                Err(ApiError::Conflict(_)) => executed.stale.push(delete.key.clone()),
                Err(error) => executed.failed.push((delete.key.clone(), error)),
            }
        }
    }
    executed
}

async fn apply(
    writer: &Writer,
    provider: &str,
    parent_uid: &str,
    step: &Apply,
    existing: Option<&Observed>,
) -> Applied {
    let key = step.intent.key.clone();
    let object = match values::fill(&step.intent, existing) {
        Ok(object) => object,
        Err(error) => {
            let message = format!("no random numbers for generated values: {error}");
            return Applied::Failed(key, ApiError::Transient { message, retry_after: None });
        }
    };
    let mut result = writer.apply(&step.intent.kind, &key, object.clone(), &step.fence).await;
    if let (Err(ApiError::Invalid(_)), ApplyReason::Drifted, Some(seen)) = (&result, step.reason, existing) {
        result = apply_over_an_edit(writer, step, object, seen, result).await;
    }
    match result {
        Ok(observed) => Applied::Written(step.intent.hash.clone(), observed),
        Err(ApiError::Conflict(_)) if step.fence == Fence::CreateOnly => {
            take_over(writer, provider, parent_uid, step).await
        }
        Err(ApiError::Conflict(_)) => Applied::Stale(key),
        Err(error) => Applied::Failed(key, error),
    }
}

/// What was accepted once is refused now: because of what somebody else wrote since, as a second port of the same name. An
/// apply does not remove that unless it is ours.
async fn apply_over_an_edit(
    writer: &Writer,
    step: &Apply,
    object: Value,
    seen: &Observed,
    refused: Result<Observed, ApiError>,
) -> Result<Observed, ApiError> {
    let kind = &step.intent.kind;
    match writer.claim(kind, seen, &object).await? {
        Some(claimed) => {
            let fence = Fence::Exact { uid: claimed.uid, resource_version: claimed.resource_version };
            writer.apply(kind, &step.intent.key, object, &fence).await
        }
        None => refused,
    }
}

/// A name believed absent is not: a live read says whose it is.
async fn take_over(writer: &Writer, provider: &str, parent_uid: &str, step: &Apply) -> Applied {
    let key = step.intent.key.clone();
    let live = match writer.get(&step.intent.kind, &key).await {
        Ok(live) => live,
        Err(ApiError::NotFound(_)) => return Applied::Stale(key),
        Err(error) => return Applied::Failed(key, error),
    };
    match takeover::decide(&live, parent_uid, provider) {
        Takeover::Wait => Applied::Stale(key),
        Takeover::NameTaken { holder } => Applied::Taken(key, holder),
        Takeover::RestoreLabels => {
            let labels = json!({PROVIDER_LABEL: provider, OWNER_UID_LABEL: parent_uid});
            match writer.restore_labels(&step.intent.kind, &live, labels).await {
                Ok(observed) => Applied::Restored(observed),
                Err(ApiError::Conflict(_)) => Applied::Stale(key),
                Err(error) => Applied::Failed(key, error),
            }
        }
    }
}
