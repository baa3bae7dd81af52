//! Opaque secrets: a provider sees tokens, and the host substitutes the values where a token is the whole value of a key in a
//! Secret's `data`. So a provider can copy secrets, rename their keys and notice rotation, but cannot leak them.

use std::collections::BTreeMap;
use std::fmt;

use bartizan_contract::Kind;
use bartizan_contract::digest::hex;
use bartizan_contract::names::TOKEN_PREFIX as PREFIX;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value};
use sha2::Sha256;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// Creates the tokens of one provider: HMAC-SHA256 of the provider's name and the value. Equal values have equal tokens within a
/// provider, two providers cannot compare theirs, and nobody without the key can guess a value from its token.
#[derive(Clone)]
pub struct Tokenizer {
    key: [u8; KEY_BYTES],
    provider: String,
    sensitive: Vec<String>,
}

/// The values of tokens, base64-encoded as in a Secret. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Revealed(BTreeMap<String, String>);

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revealed({} values)", self.0.len())
    }
}

impl Revealed {
    /// The value of a token, base64-encoded.
    #[must_use]
    pub fn get(&self, token: &str) -> Option<&str> {
        self.0.get(token).map(String::as_str)
    }

    /// Adds the values of another object.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(token, value)| (token.clone(), value.clone())));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Tokenizer {
    /// A tokenizer for `provider`; `sensitive` are JSON pointers to the secret fields of its parents.
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES], provider: &str, sensitive: Vec<String>) -> Self {
        Self { key, provider: provider.to_owned(), sensitive }
    }

    /// The token of a value.
    #[must_use]
    pub fn token(&self, value: &[u8]) -> String {
        // HMAC takes a key of any length (RFC 2104), so that this error cannot happen; if it did, all tokens would be the same.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return PREFIX.to_owned() };
        // The length distinguishes "ab" + "c" from "a" + "bc".
        mac.update(&(self.provider.len() as u64).to_be_bytes());
        mac.update(self.provider.as_bytes());
        mac.update(value);
        format!("{PREFIX}{}", hex(&mac.finalize().into_bytes()))
    }

    /// Replaces the values of a Secret, or of the sensitive fields of a parent, with tokens. Returns the values.
    pub fn mask(&self, object: &mut Value, is_parent: bool) -> Revealed {
        let mut revealed = Revealed::default();
        let is = |field: &str, text: &str| object.get(field).and_then(Value::as_str) == Some(text);
        if is("apiVersion", "v1") && is("kind", "Secret") {
            self.mask_data(object.get_mut("data").and_then(Value::as_object_mut), &mut revealed);
        }
        if is_parent {
            for pointer in &self.sensitive {
                if let Some(field) = object.pointer_mut(pointer).filter(|field| !field.is_null() && *field != "") {
                    self.mask_field(field, &mut revealed);
                }
            }
        }
        revealed
    }

    fn mask_data(&self, data: Option<&mut Map<String, Value>>, revealed: &mut Revealed) {
        for value in data.into_iter().flat_map(Map::values_mut) {
            let text = value.as_str().unwrap_or_default().to_owned();
            // That a value is empty is no secret, and providers must see it.
            if text.is_empty() {
                continue;
            }
            // The API server only stores valid base64; if it ever stored anything else, the text itself would be the secret.
            let token = self.token(&BASE64_STANDARD.decode(&text).unwrap_or_else(|_| text.clone().into_bytes()));
            *value = token.clone().into();
            revealed.0.insert(token, text);
        }
    }

    fn mask_field(&self, field: &mut Value, revealed: &mut Revealed) {
        let text = match field {
            Value::String(text) => std::mem::take(text),
            _ => field.to_string(),
        };
        let token = self.token(text.as_bytes());
        *field = token.clone().into();
        revealed.0.insert(token, BASE64_STANDARD.encode(text));
    }
}

/// A token in a Secret's `data` that the request did not contain. Carries its place, never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotIssued {
    /// Key in `data`.
    pub key: String,
}

/// Whether every token in a Secret's `data` was issued in this request.
///
/// # Errors
/// The first key whose token was not.
pub fn check(kind: &Kind, object: &Map<String, Value>, issued: &Revealed) -> Result<(), NotIssued> {
    for (key, value) in data_of(kind, object) {
        if let Some(token) = value.as_str().filter(|value| value.starts_with(PREFIX))
            && issued.get(token).is_none()
        {
            return Err(NotIssued { key: key.clone() });
        }
    }
    Ok(())
}

/// Substitutes the values of tokens in a Secret's `data`. Tokens elsewhere stay, as in the hash of a secret on a pod template.
#[must_use]
pub fn substitute(kind: &Kind, mut object: Value, revealed: &Revealed) -> Value {
    if is_secret(kind)
        && let Some(data) = object.get_mut("data").and_then(Value::as_object_mut)
    {
        for value in data.values_mut() {
            if let Some(real) = value.as_str().and_then(|token| revealed.get(token)) {
                *value = real.into();
            }
        }
    }
    object
}

fn data_of<'a>(kind: &Kind, object: &'a Map<String, Value>) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let data = if is_secret(kind) { object.get("data").and_then(Value::as_object) } else { None };
    data.into_iter().flatten()
}

/// Whether a kind is Secret.
pub(crate) fn is_secret(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Secret"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokenizer(provider: &str) -> Tokenizer {
        Tokenizer::new([7; KEY_BYTES], provider, vec!["/spec/key".to_owned(), "/spec/none".to_owned()])
    }

    fn secret() -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "aHVudGVyMg==", "b": "aHVudGVyMg=="}})
    }

    #[test]
    fn a_token_reveals_whether_two_values_are_equal_and_nothing_else() {
        let token = tokenizer("minio").token(b"hunter2");
        assert_eq!(token, tokenizer("minio").token(b"hunter2"));
        assert_ne!(token, tokenizer("minio").token(b"hunter3"));
        assert_ne!(token, tokenizer("cassandra").token(b"hunter2"), "two providers cannot compare");
        assert_ne!(token, Tokenizer::new([8; KEY_BYTES], "minio", Vec::new()).token(b"hunter2"));
        assert!(
            token.starts_with(PREFIX) && token.len() == PREFIX.len() + 64 && BASE64_STANDARD.decode(&token).is_err()
        );
    }

    #[test]
    fn the_values_of_a_secret_become_tokens_and_come_back() {
        let mut masked = secret();
        let revealed = tokenizer("minio").mask(&mut masked, false);
        assert!(!masked.to_string().contains("aHVudGVyMg"), "{masked}");
        assert_eq!(masked["data"]["a"], masked["data"]["b"]);
        let kind = Kind::new("", "v1", "Secret");
        assert_eq!(check(&kind, masked.as_object().unwrap(), &revealed), Ok(()));
        assert_eq!(substitute(&kind, masked, &revealed), secret());
        assert_eq!(format!("{revealed:?}"), "Revealed(1 values)");
    }

    #[test]
    fn a_sensitive_field_has_the_token_of_the_same_value_in_a_secret() {
        let mut parent = json!({"apiVersion": "x/v1", "kind": "Store", "spec": {"key": "hunter2"}});
        let mut masked = secret();
        let revealed = tokenizer("minio").mask(&mut parent, true);
        tokenizer("minio").mask(&mut masked, false);
        assert_eq!(parent["spec"]["key"], masked["data"]["a"]);
        assert_eq!(revealed.get(parent["spec"]["key"].as_str().unwrap()), Some("aHVudGVyMg=="));
    }

    #[test]
    fn a_field_that_is_no_string_is_secret_as_a_whole() {
        let mut parent = json!({"spec": {"key": {"user": "me", "pin": 1234}}});
        tokenizer("minio").mask(&mut parent, true);
        assert!(parent["spec"]["key"].as_str().unwrap().starts_with(PREFIX));
        let mut empty = json!({"spec": {"key": ""}});
        assert!(tokenizer("minio").mask(&mut empty, true).is_empty(), "that there is no value is no secret");
        let mut child = json!({"spec": {"key": "hunter2"}});
        assert!(tokenizer("minio").mask(&mut child, false).is_empty(), "only parents have sensitive fields");
    }

    #[test]
    fn tokens_are_substituted_in_data_alone_and_only_if_they_were_issued() {
        let kind = Kind::new("", "v1", "Secret");
        let object = json!({"data": {"ok": "eA==", "stolen": "bz:00"}});
        let refused = check(&kind, object.as_object().unwrap(), &Revealed::default());
        assert_eq!(refused, Err(NotIssued { key: "stolen".to_owned() }));

        let mut masked = secret();
        let revealed = tokenizer("minio").mask(&mut masked, false);
        let config =
            json!({"data": {"a": masked["data"]["a"]}, "metadata": {"annotations": {"hash": masked["data"]["a"]}}});
        let map = Kind::new("", "v1", "ConfigMap");
        assert_eq!(substitute(&map, config.clone(), &revealed), config);
        assert_eq!(substitute(&kind, config.clone(), &revealed)["metadata"], config["metadata"]);
    }
}
