//! The spec of the parent: which answer to which request.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::contract::Failure;
use crate::request::{Objects, Request};

/// The spec of a parent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Script {
    answers: Vec<Line>,
    pub(crate) echo: bool,
}

/// One entry of `spec.answers`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawLine")]
struct Line {
    when: When,
    outcome: Outcome,
}

/// The effect of an entry.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A response.
    Answer(Map<String, Value>),
    /// A failure.
    Fail(Failure),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    #[serde(default)]
    when: When,
    answer: Option<Map<String, Value>>,
    fail: Option<Failure>,
}

/// The requests that an entry matches.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct When {
    finalizing: Option<bool>,
    namespace_terminating: Option<bool>,
    edition: Option<u8>,
    children: Vec<Reference>,
    absent: Vec<Reference>,
    related: Vec<Reference>,
    descendants: Vec<Reference>,
    kinds: BTreeMap<String, bool>,
}

/// `Kind path`, like the keys of a request.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Reference {
    kind: String,
    path: String,
}

impl Script {
    /// The script in the spec of a parent.
    pub(crate) fn of(parent: &Value) -> Result<Self, Failure> {
        let Some(spec) = parent.get("spec").filter(|spec| !spec.is_null()) else { return Ok(Self::default()) };
        serde_path_to_error::deserialize(spec).map_err(|error| Failure {
            code: "invalid".to_owned(),
            field: Some(match error.path().to_string().as_str() {
                "." => "spec".to_owned(),
                path => format!("spec.{path}"),
            }),
            message: error.into_inner().to_string(),
            retry_after_seconds: None,
        })
    }

    /// The outcome of the first entry that matches the request.
    pub(crate) fn outcome(&self, request: &Request) -> Option<&Outcome> {
        self.answers.iter().find(|line| line.when.matches(request)).map(|line| &line.outcome)
    }
}

impl When {
    fn matches(&self, request: &Request) -> bool {
        let all = |wanted: &[Reference], objects| wanted.iter().all(|reference| reference.is_in(objects));
        self.edition.is_none_or(|wanted| wanted == crate::provider::edition())
            && self.finalizing.is_none_or(|wanted| wanted == request.finalizing)
            && self.namespace_terminating.is_none_or(|wanted| wanted == request.namespace_terminating)
            && all(&self.children, &request.children)
            && all(&self.related, &request.related)
            && all(&self.descendants, &request.descendants)
            && !self.absent.iter().any(|reference| reference.is_in(&request.children))
            && self.kinds.iter().all(|(kind, served)| request.cluster.kinds.get(kind) == Some(served))
    }
}

impl Reference {
    fn is_in(&self, objects: &Objects) -> bool {
        objects.get(&self.kind).is_some_and(|objects| objects.contains_key(&self.path))
    }
}

impl TryFrom<RawLine> for Line {
    type Error = &'static str;

    fn try_from(raw: RawLine) -> Result<Self, Self::Error> {
        let outcome = match (raw.answer, raw.fail) {
            (Some(answer), None) => Outcome::Answer(answer),
            (None, Some(failure)) => Outcome::Fail(failure),
            _ => return Err("must have either an answer or fail"),
        };
        Ok(Self { when: raw.when, outcome })
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = text.split_once(' ').filter(|(kind, path)| kind.contains('.') && !path.is_empty());
        let (kind, path) =
            parts.ok_or_else(|| format!("\"{text}\" is no object: write it as ConfigMap.v1 namespace/name"))?;
        Ok(Self { kind: kind.to_owned(), path: path.to_owned() })
    }
}
