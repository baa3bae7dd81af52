//! Errors of the Kubernetes API, by who can act on them.

use std::time::Duration;

use bartizan_engine::{ApiError, ObjectKey};

/// Classifies an error of kube. The API server may quote the values of a Secret, so that only the code of such an error is kept.
pub(crate) fn classify(error: &kube::Error, key: &ObjectKey) -> ApiError {
    let kube::Error::Api(status) = error else {
        return ApiError::transient(chain(error));
    };
    let message = if &*key.kind == "Secret" && key.group.is_empty() {
        format!("the API server refused the Secret ({} {})", status.code, status.reason)
    } else {
        status.message.clone()
    };
    match status.code {
        409 => ApiError::Conflict(message),
        // Another object has this name by now.
        422 if concerns(status, "metadata.uid") => ApiError::Conflict(message),
        404 | 410 => ApiError::NotFound(message),
        401 => ApiError::Forbidden("the API server does not accept the host's credentials".to_owned()),
        // The form of RBAC's own denials; quotas and terminating namespaces are 403, too.
        403 if message.contains("cannot") && message.contains("User ") => {
            ApiError::Forbidden(format!("{message}; grant it to that account"))
        }
        403 => ApiError::Forbidden(message),
        422 if is_immutable(status) => ApiError::Immutable(message),
        422 => ApiError::Invalid(message),
        400 | 406 | 413 | 415 => ApiError::Rejected(message),
        _ => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
            ApiError::Transient { message, retry_after }
        }
    }
}

/// Whether the API server names this field as a cause.
fn concerns(status: &kube::core::Status, field: &str) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.field == field)
}

/// Whether the API server reports an immutable field. There is no code for that: validation reports a forbidden field, or uses one of
/// these phrases.
fn is_immutable(status: &kube::core::Status) -> bool {
    // A cause without a field comes from a policy or webhook in words of its own, and nothing is deleted because of words.
    let causes = status.details.iter().flat_map(|details| &details.causes).filter(|cause| !cause.field.is_empty());
    let mut texts = causes.map(|cause| (cause.reason.as_str(), cause.message.as_str()));
    let is_phrase = |text: &str| {
        // The last two are for a binding's roleRef, and for pods.
        ["immutable", "may not change once set", "may not be changed", "updates to statefulset spec"]
            .iter()
            .chain(&["cannot change roleRef", "pod updates may not change fields other than"])
            .any(|words| text.contains(words))
    };
    texts.any(|(reason, message)| {
        is_phrase(message) || reason == "FieldValueForbidden" && message.contains("updates to")
    })
}

/// An error with its causes, each once: the last one is what people need ("connection refused").
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::Kind;
    use kube::core::Status;

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
        assert_eq!(classify(&status(422, "m"), &key), ApiError::Invalid(message));
        assert!(matches!(classify(&status(503, "m"), &key), ApiError::Transient { retry_after: None, .. }));
    }

    #[test]
    fn an_immutable_field_is_distinguished_from_the_words_of_a_policy() {
        let cause = |field: &str, message: &str| serde_json::json!({"reason": "FieldValueInvalid", "message": message, "field": field});
        let refused = |cause: serde_json::Value| {
            let status = serde_json::json!({
                "status": "Failure", "message": "m", "reason": "Invalid", "code": 422, "details": {"causes": [cause]}
            });
            let status: Status = serde_json::from_value(status).unwrap();
            classify(
                &kube::Error::Api(status.boxed()),
                &ObjectKey::new(&Kind::new("", "v1", "Service"), Some("n"), "s"),
            )
        };
        for (field, words) in [
            ("spec.clusterIP", "field is immutable"),
            ("roleRef", "Invalid value: \"x\": cannot change roleRef"),
            ("spec", "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
        ] {
            assert_eq!(refused(cause(field, words)), ApiError::Immutable("m".to_owned()), "{words}");
        }
        assert_eq!(refused(cause("spec.replicas", "must be positive")), ApiError::Invalid("m".to_owned()));
        // Nothing is recreated because of the words of a policy.
        assert_eq!(refused(cause("", "images must use an immutable digest")), ApiError::Invalid("m".to_owned()));
    }
}
