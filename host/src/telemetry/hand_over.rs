//! What a provider would change of a parent that another one serves: asked by `bartizan diff`, answered by whoever runs that provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_engine::provider::upgrade_plan::ParentPreview;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::telemetry::subject::Subject;

/// Most questions to one provider that wait. They are answered one after the other.
const WAITING: usize = 4;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum HandOver {
    /// What would change.
    Preview(ParentPreview),
    /// Why that is not known.
    Unknown(String),
}

/// A question.
pub(crate) struct Asked {
    /// The parent.
    pub(crate) parent: Subject,
    /// Takes the answer.
    pub(crate) reply: oneshot::Sender<HandOver>,
}

/// Whom to ask, by provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandOvers {
    providers: Arc<Mutex<BTreeMap<String, mpsc::Sender<Asked>>>>,
}

impl HandOvers {
    /// The questions to a provider from now on, until they are not received any more.
    pub(crate) fn of(&self, provider: &str) -> mpsc::Receiver<Asked> {
        let (to, questions) = mpsc::channel(WAITING);
        self.providers.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.to_owned(), to);
        questions
    }

    /// Asks a provider.
    pub(crate) async fn ask(&self, provider: &str, parent: Subject) -> HandOver {
        let asked = self.providers.lock().unwrap_or_else(PoisonError::into_inner).get(provider).cloned();
        let not_serving = || {
            let why = format!("provider {provider} does not serve in this host: see kubectl get provider {provider}");
            HandOver::Unknown(why)
        };
        let Some(asked) = asked else { return not_serving() };
        let (reply, answer) = oneshot::channel();
        match asked.try_send(Asked { parent, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| not_serving()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                HandOver::Unknown(format!("provider {provider} is being asked by others: try again later"))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => not_serving(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject { kind: "objectstores".to_owned(), namespace: Some("n".to_owned()), name: "s".to_owned() }
    }

    fn is_not_serving(answer: &HandOver) -> bool {
        matches!(answer, HandOver::Unknown(why) if why.starts_with("provider minio does not serve in this host"))
    }

    #[tokio::test]
    async fn whoever_serves_is_asked() {
        let hand_overs = HandOvers::default();
        assert!(is_not_serving(&hand_overs.ask("minio", subject()).await));
        let mut questions = hand_overs.of("minio");
        let answers = tokio::spawn(async move {
            let asked = questions.recv().await.unwrap();
            assert!(asked.parent.is_of("ObjectStore", "minio.rook.io"));
            asked.reply.send(HandOver::Preview(ParentPreview::default())).unwrap();
            // The second one gets no answer.
            drop(questions.recv().await);
        });
        assert_eq!(hand_overs.ask("minio", subject()).await, HandOver::Preview(ParentPreview::default()));
        assert!(is_not_serving(&hand_overs.ask("minio", subject()).await));
        answers.await.unwrap();
        assert!(is_not_serving(&hand_overs.ask("minio", subject()).await), "nobody listens any more");
    }

    #[tokio::test]
    async fn no_more_questions_wait_than_there_is_room_for() {
        let hand_overs = HandOvers::default();
        let questions = hand_overs.of("minio");
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let hand_overs = hand_overs.clone();
                tokio::spawn(async move { hand_overs.ask("minio", subject()).await })
            })
            .collect();
        while questions.len() < WAITING {
            tokio::task::yield_now().await;
        }
        let refused = hand_overs.ask("minio", subject()).await;
        assert!(matches!(&refused, HandOver::Unknown(why) if why.ends_with("try again later")), "{refused:?}");
        drop(questions);
        for asked in waiting {
            assert!(is_not_serving(&asked.await.unwrap()));
        }
    }
}
