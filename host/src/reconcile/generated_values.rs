//! Random values that a provider asks the host to generate (`generate`): generated once, when the Secret has none, and sent
//! unchanged with every later apply, since server-side apply removes omitted fields.

use bartizan_contract::{Generate, GenerateAlphabet};
use bartizan_engine::secrets::{self, Revealed};
use bartizan_engine::{Intent, Observed};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

/// The object to send for an intent: with the values behind its tokens, and with the generated values of `existing`, or new
/// ones.
///
/// # Errors
/// If the operating system gives no random numbers.
pub(crate) fn fill(
    intent: &Intent,
    existing: Option<&Observed>,
    revealed: &Revealed,
) -> Result<Value, getrandom::Error> {
    let mut object = secrets::substitute(&intent.kind, intent.object.clone(), revealed);
    if intent.generate.is_empty() {
        return Ok(object);
    }
    let existing = existing.map(revealed_value).unwrap_or_default();
    let Some(top) = object.as_object_mut() else { return Ok(object) };
    let mut data = top.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    for spec in &intent.generate {
        let known =
            existing.get("data").and_then(|data| data.get(&spec.key)).filter(|value| value.as_str() != Some(""));
        let value = match known {
            Some(value) => value.clone(),
            None => BASE64_STANDARD.encode(random_string(spec)?).into(),
        };
        data.insert(spec.key.clone(), value);
    }
    top.insert("data".to_owned(), Value::Object(Map::from_iter(data)));
    Ok(object)
}

/// The observed child, with the values behind its tokens.
fn revealed_value(existing: &Observed) -> Value {
    secrets::substitute(&existing.kind(), existing.value(), &existing.revealed)
}

/// Uniformly distributed characters: rejects bytes above the largest multiple of the alphabet's size.
fn random_string(spec: &Generate) -> Result<String, getrandom::Error> {
    let alphabet: &[u8] = match spec.alphabet {
        GenerateAlphabet::Alphanumeric => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        GenerateAlphabet::Hex => b"0123456789abcdef",
    };
    let limit = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(spec.length.into());
    let mut bytes = [0_u8; 64];
    while text.len() < usize::from(spec.length) {
        getrandom::fill(&mut bytes)?;
        let characters = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        let missing = usize::from(spec.length) - text.len();
        text.extend(
            characters.filter_map(|byte| alphabet.get(byte % alphabet.len())).take(missing).map(|c| char::from(*c)),
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::Kind;
    use bartizan_contract::{OnDelete, OnImmutableChange};
    use bartizan_engine::ObjectKey;
    use serde_json::json;

    fn secret(generate: Vec<Generate>) -> Intent {
        let kind = Kind::new("", "v1", "Secret");
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"user": "eA=="}});
        Intent {
            key: ObjectKey::new(&kind, Some("n"), "s"),
            kind,
            object,
            hash: String::new(),
            generate,
            wave: 0,
            on_delete: OnDelete::Delete,
            on_immutable_change: OnImmutableChange::Refuse,
            uses: std::collections::BTreeSet::new(),
        }
    }

    fn generate(alphabet: GenerateAlphabet) -> Generate {
        Generate { secret: "s".to_owned(), key: "password".to_owned(), length: 200, alphabet }
    }

    #[test]
    fn a_generated_value_has_its_alphabet_and_length() {
        for (alphabet, allowed) in [
            (GenerateAlphabet::Alphanumeric, char::is_alphanumeric as fn(char) -> bool),
            (GenerateAlphabet::Hex, |c: char| c.is_ascii_hexdigit() && !c.is_uppercase()),
        ] {
            let text = random_string(&generate(alphabet)).unwrap();
            assert_eq!(text.len(), 200);
            assert!(text.chars().all(allowed), "{text}");
            assert_ne!(text, random_string(&generate(alphabet)).unwrap());
        }
    }

    #[test]
    fn an_existing_value_is_kept_and_a_missing_one_is_generated() {
        let intent = secret(vec![generate(GenerateAlphabet::Hex)]);
        let mut filled = fill(&intent, None, &Revealed::default()).unwrap();
        assert_eq!(filled["data"]["user"], "eA==");
        filled["metadata"] = json!({"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "1"});
        let existing = Observed::project(filled.clone(), "m").unwrap();
        assert_eq!(fill(&intent, Some(&existing), &Revealed::default()).unwrap()["data"], filled["data"]);
    }
}
