//! Errors of the Kubernetes API, by who can act on them.

use std::error::Error;
use std::time::Duration;

use bartizan_engine::{ApiError, InvalidField, ObjectKey};
use kube::core::Status;
use kube::core::response::StatusCause;
use kube::runtime::{wait, watcher};

/// Longest delay that is honoured: who asks for more is asked once an hour.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// Classifies an error of kube. The API server may quote the values of a Secret, so that only the code of such an error is kept.
pub(crate) fn classify(error: &kube::Error, key: &ObjectKey) -> ApiError {
    let kube::Error::Api(status) = error else {
        return ApiError::transient(chain(error));
    };
    // A list sends no values that the message could repeat.
    let is_list = key.name.is_empty();
    let is_denied = status.code == 403 && is_of_rbac(&status.message);
    let message = if !is_denied && &*key.kind == "Secret" && key.group.is_empty() && !is_list {
        format!("the API server refused the Secret ({} {})", status.code, status.reason)
    } else {
        answer(status)
    };
    match status.code {
        409 => ApiError::Conflict(message),
        // Another object has this name by now.
        422 if fields(status).iter().any(|field| field.path == "metadata.uid") => ApiError::Conflict(message),
        404 | 410 => ApiError::NotFound(message),
        401 => ApiError::Denied("the API server does not accept the host's credentials".to_owned()),
        403 if is_denied => ApiError::Denied(format!("{message}; grant it to that account")),
        403 => ApiError::Forbidden(message),
        // A webhook may name fields, too: what it protects is not to be deleted. Its words serve to refuse only.
        422 if message.starts_with("admission webhook ") => ApiError::Invalid { message, fields: Vec::new() },
        422 => ApiError::Invalid { message, fields: fields(status) },
        400 | 406 | 413 | 415 => ApiError::Rejected(message),
        _ => {
            let is_busy = matches!(status.code, 408 | 429 | 502 | 503 | 504);
            ApiError::Transient { message, retry_after: delay(status), is_busy }
        }
    }
}

/// Whether a refusal has the form of those of RBAC: `secrets "s" is forbidden: User "u" cannot get resource "secrets" ...`. Quotas, policies,
/// webhooks and terminating namespaces are 403, too. No value of a Secret is in it.
fn is_of_rbac(message: &str) -> bool {
    !message.starts_with("admission webhook ")
        && message.split_once(" is forbidden: ").is_some_and(|(_, why)| why.starts_with("User \""))
}

/// The fields that the API server names as causes.
fn fields(status: &Status) -> Vec<InvalidField> {
    let causes = status.details.iter().flat_map(|details| &details.causes).filter(|cause| !cause.field.is_empty());
    let field = |cause: &StatusCause| InvalidField {
        path: cause.field.clone(),
        is_forbidden: cause.reason == "FieldValueForbidden",
    };
    causes.map(field).collect()
}

/// An error with its causes, for people. Every message of the host about a request is made here.
pub(crate) fn text(error: &anyhow::Error) -> String {
    chain(error.as_ref())
}

/// An error with its causes, each once: the last one is what people need ("connection refused"). The client library's names of its own
/// layers are left out, and of an answer the API server's message is kept.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(status) = status_of(error) {
            parts.push(answer(status));
            break;
        }
        let part = words(error);
        if !part.is_empty() && !parts.iter().any(|known| known.contains(&part)) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}

/// An error with the message of the API server alone, if it sent one.
pub(crate) fn api_message(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::Error::msg(status.message.clone()),
        other => other.into(),
    }
}

/// Whether the API server refused a request with 403: for lack of a right, a policy, a quota.
pub(crate) fn is_forbidden(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 403)
}

/// The delay that the API server asks for in the answer that is the cause of an error.
pub(crate) fn retry_after(error: &(dyn Error + 'static)) -> Option<Duration> {
    answer_behind(error).and_then(delay)
}

/// Whether an error comes from an answer that denies a right.
pub(crate) fn is_denied(error: &(dyn Error + 'static)) -> bool {
    answer_behind(error).is_some_and(|status| status.code == 403 && is_of_rbac(&status.message))
}

/// The API server's answer that is the cause of an error.
fn answer_behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(status) = status_of(error) {
            return Some(status);
        }
        next = error.source();
    }
    None
}

fn delay(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST_DELAY))
}

/// The API server's answer, if this is one.
fn status_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return Some(status);
    }
    match error.downcast_ref() {
        Some(watcher::Error::WatchError(status)) => Some(status),
        _ => None,
    }
}

/// What the API server answered.
fn answer(status: &Status) -> String {
    let message = match &*status.message {
        "" => format!("the API server answered {} {}", status.code, status.reason).trim_end().to_owned(),
        message => message.to_owned(),
    };
    match delay(status) {
        Some(delay) => format!("{message}; the API server asks to wait up to {} s", rounded(delay)),
        None => message,
    }
}

/// Seconds, rounded up so far that a condition does not change with each answer.
fn rounded(delay: Duration) -> u64 {
    let steps = [1, 5, 15, 60, 300, 900];
    let seconds = delay.as_secs();
    steps.into_iter().find(|step| *step >= seconds).unwrap_or(LONGEST_DELAY.as_secs())
}

/// An error without its causes; nothing where it only names a layer of the client.
fn words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(kube::Error::SerdeError(_)) => return "the answer is not what was asked for".to_owned(),
        Some(error) if error.source().is_some() => return "the request failed".to_owned(),
        _ => {}
    }
    match error.downcast_ref() {
        Some(watcher::Error::InitialListFailed(_)) => "it cannot be listed".to_owned(),
        Some(watcher::Error::WatchStartFailed(_) | watcher::Error::WatchFailed(_)) => "it cannot be watched".to_owned(),
        _ if error.is::<wait::Error>() => String::new(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use bartizan_contract::Kind;

    fn status(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[test]
    fn an_error_about_a_secret_never_quotes_it() {
        let key = ObjectKey::new(&Kind::new("", "v1", "Secret"), Some("n"), "s");
        let error = classify(&status(422, "data[k]: Invalid value: hunter2"), &key);
        assert_eq!(error.to_string(), "the API server refused the Secret (422 Reason)");
    }

    #[test]
    fn a_code_decides_the_class_of_an_error() {
        let key = ObjectKey::new(&Kind::new("", "v1", "Service"), Some("n"), "s");
        let message = "m".to_owned();
        assert_eq!(classify(&status(409, "m"), &key), ApiError::Conflict(message.clone()));
        assert_eq!(classify(&status(404, "m"), &key), ApiError::NotFound(message.clone()));
        let rbac = "services is forbidden: User \"u\" cannot patch resource";
        let granted = format!("{rbac}; grant it to that account");
        assert_eq!(classify(&status(403, rbac), &key).to_string(), granted);
        assert_eq!(classify(&status(403, "exceeded quota"), &key).to_string(), "exceeded quota");
        assert_eq!(classify(&status(422, "m"), &key), ApiError::Invalid { message, fields: Vec::new() });
        assert!(matches!(classify(&status(503, "m"), &key), ApiError::Transient { retry_after: None, .. }));
    }

    #[test]
    fn an_invalid_object_is_described_by_the_fields_that_are_named_as_causes() {
        let cause = |field: &str| serde_json::json!({"reason": "FieldValueForbidden", "message": "m", "field": field});
        let status = serde_json::json!({
            "status": "Failure", "message": "m", "reason": "Invalid", "code": 422,
            "details": {"causes": [cause("spec.clusterIPs[0]"), cause("")]}
        });
        let mut status: Status = serde_json::from_value(status).unwrap();
        let key = ObjectKey::new(&Kind::new("", "v1", "Service"), Some("n"), "s");
        let fields = vec![InvalidField { path: "spec.clusterIPs[0]".to_owned(), is_forbidden: true }];
        let error = classify(&kube::Error::Api(status.clone().boxed()), &key);
        assert_eq!(error, ApiError::Invalid { message: "m".to_owned(), fields });
        // Whatever a webhook names, nothing is recreated because of it.
        status.message = "admission webhook \"x\" denied the request: m".to_owned();
        let error = classify(&kube::Error::Api(status.boxed()), &key);
        assert!(matches!(error, ApiError::Invalid { fields, .. } if fields.is_empty()));
    }

    #[test]
    fn errors_are_told_in_one_voice_without_the_words_of_the_library() {
        let refused = || {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            kube::Error::Service(Box::new(refused))
        };
        assert_eq!(chain(&refused()), "the request failed: connection refused");
        let listing = watcher::Error::InitialListFailed(status(403, "cannot list"));
        assert_eq!(chain(&listing), "it cannot be listed: cannot list");
        let error = Err::<(), _>(wait::Error::ProbeFailed(listing)).context("CRD c could not be watched").unwrap_err();
        assert_eq!(text(&error), "CRD c could not be watched: it cannot be listed: cannot list");
        let mut busy = Status::failure("busy", "TooManyRequests").with_code(429);
        busy.details = serde_json::from_value(serde_json::json!({"retryAfterSeconds": 86_400})).unwrap();
        let error = anyhow::Error::from(kube::Error::Api(busy.boxed())).context("Provider p could not be read");
        assert_eq!(text(&error), "Provider p could not be read: busy; the API server asks to wait up to 3600 s");
        assert_eq!(retry_after(error.as_ref()), Some(LONGEST_DELAY));
        assert_eq!(text(&status(500, "").into()), "the API server answered 500 Reason");
    }
}
