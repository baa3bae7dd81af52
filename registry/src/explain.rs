//! From errors of the OCI client to ours, in terms of what to fix. No I/O.

use std::error::Error;
use std::io;

use oci_client::Reference;
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use crate::credentials::{CredentialSource, Login};
use crate::error::RegistryError;

/// Longest part of a registry's own message that is kept, in characters.
const LONGEST: usize = 200;

/// What an error of the OCI client means.
pub(crate) fn explain(error: OciDistributionError, reference: &Reference, login: &Login) -> RegistryError {
    use OciDistributionError as E;
    let registry = reference.registry();
    match error {
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => refused(registry, login),
        E::ImageManifestNotFoundError(_) => missing(reference),
        // The body may be anything, so it is not repeated.
        E::ServerError { code, .. } => answered(code, reference, login),
        E::RegistryError { envelope, .. } => {
            use OciErrorCode as C;
            let has = |codes: &[C]| envelope.errors.iter().any(|error| codes.contains(&error.code));
            if has(&[C::Unauthorized]) {
                refused(registry, login)
            } else if has(&[C::Denied]) {
                denied(reference, login)
            } else if has(&[C::ManifestUnknown, C::NameUnknown, C::NotFound, C::BlobUnknown]) {
                missing(reference)
            } else if has(&[C::Toomanyrequests]) {
                answered(429, reference, login)
            } else {
                let words: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
                RegistryError::Unavailable(format!("registry {registry} refused: {}", short(&words.join("; "))))
            }
        }
        // A redirect's address may hold a signature, so addresses are left out.
        E::RequestError(error) => match error.status() {
            Some(status) => answered(status.as_u16(), reference, login),
            None => unreachable(registry, &error.without_url()),
        },
        // The error that an I/O error wraps is not among its sources.
        E::IoError(error) => match error.get_ref().and_then(|error| error.downcast_ref::<DigestError>()) {
            Some(error) => damaged(registry, error),
            None => RegistryError::Unavailable(format!("registry {registry}: the download was interrupted")),
        },
        E::DigestError(error) => damaged(registry, &error),
        error => RegistryError::Invalid(format!(
            "registry {registry} does not behave like an OCI registry: {}",
            short(&error.to_string())
        )),
    }
}

/// The registry answered with a status code and no message to repeat.
fn answered(code: u16, reference: &Reference, login: &Login) -> RegistryError {
    let registry = reference.registry();
    match code {
        401 => refused(registry, login),
        403 => denied(reference, login),
        404 => missing(reference),
        429 | 503 => RegistryError::busy(registry, code, None),
        code => RegistryError::Unavailable(format!("registry {registry} answered {code}")),
    }
}

/// The connection to the registry failed.
fn unreachable(registry: &str, error: &(dyn Error + 'static)) -> RegistryError {
    let cause = innermost(error);
    RegistryError::Unavailable(if is_no_tls(cause) {
        format!("registry {registry} does not speak TLS; if that is intended, set plainHttp (--plain-http)")
    } else {
        format!("registry {registry} could not be reached: {}", short(&cause.to_string()))
    })
}

/// Whether the peer does not speak TLS: it answered the handshake with something else.
fn is_no_tls(error: &(dyn Error + 'static)) -> bool {
    use rustls::InvalidMessage::InvalidContentType;
    // An I/O error may wrap one.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => is_no_tls(wrapped),
        None => error.downcast_ref() == Some(&rustls::Error::InvalidMessage(InvalidContentType)),
    }
}

fn refused(registry: &str, login: &Login) -> RegistryError {
    RegistryError::Unavailable(if login.is_anonymous() {
        let why = match (&login.source, &login.unusable) {
            (CredentialSource::None, _) => "spec.module.oci.pullSecretName is not set".to_owned(),
            (source, Some(unusable)) => format!("{source} has no usable ones: {unusable}"),
            (source, None) => format!("{source} has none for it"),
        };
        format!("registry {registry} requires credentials (401), but {why}")
    } else {
        format!("registry {registry} rejected the credentials of {} (401)", login.source)
    })
}

fn denied(reference: &Reference, login: &Login) -> RegistryError {
    let (registry, repository) = (reference.registry(), reference.repository());
    let whom = if login.is_anonymous() { "anybody".to_owned() } else { format!("the user of {}", login.source) };
    RegistryError::Unavailable(format!("registry {registry} does not let {whom} use {repository} (403)"))
}

fn missing(reference: &Reference) -> RegistryError {
    RegistryError::Missing(format!("{reference} does not exist in the registry"))
}

fn damaged(registry: &str, error: &DigestError) -> RegistryError {
    RegistryError::Invalid(match error {
        DigestError::VerificationError { expected, actual } => {
            format!(
                "registry {registry} sent {actual} for {expected}: its copy is damaged; delete it there and push it again"
            )
        }
        error => format!("registry {registry} sent an invalid digest: {error}"),
    })
}

/// The innermost cause: the outer errors only say that a request failed.
fn innermost<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use oci_client::errors::OciEnvelope;
    use oci_client::secrets::RegistryAuth;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn server(code: u16) -> OciDistributionError {
        OciDistributionError::ServerError { code, url: "https://hush".to_owned(), message: "hush".to_owned() }
    }

    fn envelope(code: &str) -> OciDistributionError {
        let envelope: OciEnvelope =
            serde_json::from_value(json!({"errors": [{"code": code, "message": "words"}]})).unwrap();
        OciDistributionError::RegistryError { envelope, url: String::new() }
    }

    fn anonymous() -> Login {
        Login::anonymous(CredentialSource::None)
    }

    fn named() -> Login {
        let auth = RegistryAuth::Basic("user".to_owned(), "hush".to_owned());
        Login { auth, source: CredentialSource::Secret("pull".to_owned()), unusable: None }
    }

    #[rstest]
    #[case(server(404), anonymous(), RegistryError::Missing("example.com/a/b:1 does not exist in the registry".to_owned()))]
    #[case(envelope("MANIFEST_UNKNOWN"), named(), RegistryError::Missing("example.com/a/b:1 does not exist in the registry".to_owned()))]
    #[case(
        server(401), anonymous(),
        RegistryError::Unavailable(
            "registry example.com requires credentials (401), but spec.module.oci.pullSecretName is not set".to_owned()
        )
    )]
    #[case(
        envelope("UNAUTHORIZED"), named(),
        RegistryError::Unavailable("registry example.com rejected the credentials of Secret pull (401)".to_owned())
    )]
    #[case(
        envelope("DENIED"), named(),
        RegistryError::Unavailable("registry example.com does not let the user of Secret pull use a/b (403)".to_owned())
    )]
    #[case(server(503), named(), RegistryError::Busy { message: "registry example.com answered 503".to_owned(), retry_after: None })]
    #[case(server(500), named(), RegistryError::Unavailable("registry example.com answered 500".to_owned()))]
    #[case(
        envelope("TOOMANYREQUESTS"), named(),
        RegistryError::Busy { message: "registry example.com answered 429 (too many requests)".to_owned(), retry_after: None }
    )]
    #[case(envelope("UNSUPPORTED"), named(), RegistryError::Unavailable("registry example.com refused: words".to_owned()))]
    #[case(
        OciDistributionError::IoError(std::io::Error::other(DigestError::VerificationError {
            expected: "sha256:a".to_owned(), actual: "sha256:b".to_owned(),
        })),
        named(),
        RegistryError::Invalid(
            "registry example.com sent sha256:b for sha256:a: its copy is damaged; delete it there and push it again"
                .to_owned()
        )
    )]
    #[case(
        OciDistributionError::IoError(std::io::Error::other("https://hush")), named(),
        RegistryError::Unavailable("registry example.com: the download was interrupted".to_owned())
    )]
    fn each_error_says_what_to_fix_without_secrets(
        #[case] error: OciDistributionError,
        #[case] login: Login,
        #[case] expected: RegistryError,
    ) {
        assert_eq!(explain(error, &"example.com/a/b:1".parse().unwrap(), &login), expected);
    }

    #[test]
    fn a_peer_without_tls_is_recognised_however_deep_the_error_is_wrapped() {
        let corrupt = || rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let expected = "registry a does not speak TLS; if that is intended, set plainHttp (--plain-http)".to_owned();
        for error in [io::Error::other(corrupt()), io::Error::other(io::Error::other(corrupt()))] {
            assert_eq!(unreachable("a", &error), RegistryError::Unavailable(expected.clone()));
        }
        let other = io::Error::other(rustls::Error::DecryptError);
        let expected = "registry a could not be reached: cannot decrypt peer's message".to_owned();
        assert_eq!(unreachable("a", &other), RegistryError::Unavailable(expected));
    }

    #[test]
    fn missing_credentials_are_reported_with_the_reason() {
        let file = CredentialSource::File("~/.docker/config.json".to_owned());
        let mut login = Login::anonymous(file);
        let message = |login: &Login| explain(server(401), &"example.com/a".parse().unwrap(), login).to_string();
        assert_eq!(
            message(&login),
            "registry example.com requires credentials (401), but ~/.docker/config.json has none for it"
        );
        login.unusable = Some("a helper has them".to_owned());
        assert_eq!(
            message(&login),
            "registry example.com requires credentials (401), but ~/.docker/config.json has no usable ones: a helper has them"
        );
    }
}
