//! The key of the tokens that replace secret values: a Secret in the host's namespace that is created once and never changed, so that
//! a token only changes with its value.

use anyhow::Context as _;
use bartizan_engine::secrets::KEY_BYTES;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};

use crate::kubernetes::deadline::in_time;

/// Name of the Secret.
pub(crate) const NAME: &str = "bartizan-token-key";
/// Its one entry.
const ENTRY: &str = "key";

/// Reads the key, and creates it if it does not exist.
///
/// # Errors
/// If it can be neither read nor created, or is not valid: no provider starts then, since another key would change every token.
pub(crate) async fn load(client: &Client, namespace: &str) -> anyhow::Result<[u8; KEY_BYTES]> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let title = format!("Secret {namespace}/{NAME}");
    for _ in 0..2 {
        if let Some(secret) = in_time(secrets.get_opt(NAME))
            .await
            .with_context(|| format!("{title}, the key of tokens, could not be read"))?
        {
            return key_of(&secret).with_context(|| {
                format!(
                    "{title} holds no key of {KEY_BYTES} bytes under \"{ENTRY}\": restore it, or delete it and a new one is \
                     created (every Secret that a provider copied is then written once more)"
                )
            });
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).context("no random numbers for the key of tokens")?;
        let secret = Secret {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            data: Some([(ENTRY.to_owned(), ByteString(key.to_vec()))].into()),
            ..Secret::default()
        };
        match in_time(secrets.create(&PostParams::default(), &secret)).await {
            Ok(_) => return Ok(key),
            // Another provider of this host, or another host, has created it meanwhile: it is read.
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error.context(format!("{title}, the key of tokens, could not be created"))),
        }
    }
    anyhow::bail!("{title}, the key of tokens, is created and deleted repeatedly")
}

fn is_conflict(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 409)
}

fn key_of(secret: &Secret) -> Option<[u8; KEY_BYTES]> {
    secret.data.as_ref()?.get(ENTRY)?.0.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_is_not_valid() {
        let secret = |bytes: usize| Secret {
            data: Some([(ENTRY.to_owned(), ByteString(vec![1; bytes]))].into()),
            ..Secret::default()
        };
        assert_eq!(key_of(&secret(KEY_BYTES)), Some([1; KEY_BYTES]));
        assert_eq!(key_of(&secret(KEY_BYTES - 1)), None);
        assert_eq!(key_of(&Secret::default()), None);
    }
}
