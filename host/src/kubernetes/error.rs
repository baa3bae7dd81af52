//! Errors of the Kubernetes API, by who can act on them.

use std::time::Duration;

use bartizan_engine::{ApiError, InvalidField, ObjectKey};
use kube::core::response::StatusCause;

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
        422 if fields(status).iter().any(|field| field.path == "metadata.uid") => ApiError::Conflict(message),
        404 | 410 => ApiError::NotFound(message),
        401 => ApiError::Forbidden("the API server does not accept the host's credentials".to_owned()),
        // The form of RBAC's own denials; quotas and terminating namespaces are 403, too.
        403 if message.contains("cannot") && message.contains("User ") => {
            ApiError::Forbidden(format!("{message}; grant it to that account"))
        }
        403 => ApiError::Forbidden(message),
        // A webhook may name fields, too: what it protects is not to be deleted. Its words serve to refuse only.
        422 if message.starts_with("admission webhook ") => ApiError::Invalid { message, fields: Vec::new() },
        422 => ApiError::Invalid { message, fields: fields(status) },
        400 | 406 | 413 | 415 => ApiError::Rejected(message),
        _ => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
            let is_busy = matches!(status.code, 408 | 429 | 502 | 503 | 504);
            ApiError::Transient { message, retry_after, is_busy }
        }
    }
}

/// The fields that the API server names as causes.
fn fields(status: &kube::core::Status) -> Vec<InvalidField> {
    let causes = status.details.iter().flat_map(|details| &details.causes).filter(|cause| !cause.field.is_empty());
    let field = |cause: &StatusCause| InvalidField {
        path: cause.field.clone(),
        is_forbidden: cause.reason == "FieldValueForbidden",
    };
    causes.map(field).collect()
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
}
