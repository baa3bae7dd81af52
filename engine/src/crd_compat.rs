//! Compatibility of a new CRD with the old one of the same name: objects that become invalid, fields that are lost, versions that are
//! no longer served. Widening is compatible, and so is a changed default.

use std::fmt;

use serde_json::{Map, Value};

const KEEPS_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const VALIDATIONS: &str = "x-kubernetes-validations";

/// Something that works with the old CRD and not with the new one. Its `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// Name of the CRD; `None` if it concerns several.
    pub crd: Option<String>,
    /// The version, as `v1alpha1`; `None` if it concerns all of them.
    pub version: Option<String>,
    /// The field, as `spec.servers[].name` or, for any key of a map, `spec.labels.*`; `None` if it is the version or its
    /// objects as a whole.
    pub path: Option<String>,
    /// What changes, in words that follow the name of the field or version.
    pub message: String,
}

impl Incompatibility {
    /// An incompatibility that concerns several CRDs.
    #[must_use]
    pub fn of_all(message: String) -> Self {
        Self { crd: None, version: None, path: None, message }
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(crd) = &self.crd {
            write!(f, "{crd}: ")?;
        }
        match (&self.version, &self.path) {
            (Some(version), Some(path)) => write!(f, "{path} of {version} {}", self.message),
            (Some(version), None) => write!(f, "{version} {}", self.message),
            (None, _) => f.write_str(&self.message),
        }
    }
}

/// Compares two CRDs of the same name. The result is in the order of the old versions, and within each in that of the field names.
#[must_use]
pub fn incompatibilities(old_crd: &Value, new_crd: &Value) -> Vec<Incompatibility> {
    let mut found = Vec::new();
    let crd = text(new_crd, "/metadata/name").or_else(|| text(old_crd, "/metadata/name"));
    for (name, pointer) in [("scope", "/spec/scope"), ("kind", "/spec/names/kind")] {
        if let (Some(old), Some(new)) = (text(old_crd, pointer), text(new_crd, pointer))
            && old != new
        {
            let message = format!("the {name} becomes {new}, was {old}");
            found.push(Incompatibility { crd: crd.map(str::to_owned), ..Incompatibility::of_all(message) });
        }
    }
    for old in versions(old_crd).iter().filter(|version| is(version, "served")) {
        let Some(name) = text(old, "/name") else { continue };
        let mut walk = Walk { crd, version: name, found: &mut found };
        match version(new_crd, name).filter(|version| is(version, "served")) {
            None => {
                let stored = if is(old, "storage") { ", and objects are stored in it" } else { "" };
                walk.report(None, format!("is no longer served{stored}"));
            }
            Some(new) => walk.version(old, new),
        }
    }
    if let (Some(old), Some(new)) = (stored(old_crd), stored(new_crd))
        && let (Some(old_name), Some(name)) = (text(old, "/name"), text(new, "/name"))
        && old_name != name
        && text(new_crd, "/spec/conversion/strategy") != Some("Webhook")
    {
        // Without a webhook, conversion changes nothing but apiVersion: stored objects must be valid as they are.
        let mut moved = Vec::new();
        Walk { crd, version: name, found: &mut moved }.schema("", schema(old), schema(new));
        moved.retain(|incompatibility| !found.contains(incompatibility));
        found.extend(moved);
    }
    found
}

/// The fields and versions of a module's own CRD that the one in the cluster lacks, as `spec.servers[].name of v1alpha1`: what people
/// write there is not checked, gets no default, and is dropped without a word where unknown fields are not kept.
#[must_use]
pub fn lacking(in_cluster: &Value, own: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in versions(own).iter().filter(|version| is(version, "served")) {
        let Some(name) = text(version, "/name") else { continue };
        match self::version(in_cluster, name).filter(|version| is(version, "served")) {
            None => found.push(format!("version {name}")),
            Some(served) => {
                let mut fields = Vec::new();
                lacking_fields("", schema(version), schema(served), &mut fields);
                found.extend(fields.into_iter().map(|path| format!("{path} of {name}")));
            }
        }
    }
    found
}

fn lacking_fields(path: &str, own: &Value, served: &Value, found: &mut Vec<String>) {
    let nested = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, own) in properties(own).into_iter().flatten() {
        match (properties(served).and_then(|served| served.get(name)), Any::of(served)) {
            (Some(served), _) => lacking_fields(&nested(name), own, served, found),
            // Any key.
            (None, Any::Of(_) | Any::All) => {}
            (None, Any::None) => found.push(nested(name)),
        }
    }
    if let (Some(own), Some(served)) = (own.get("items"), served.get("items")) {
        lacking_fields(&format!("{path}[]"), own, served, found);
    }
    if let (Any::Of(own), Any::Of(served)) = (Any::of(own), Any::of(served)) {
        lacking_fields(&nested("*"), own, served, found);
    }
}

fn versions(crd: &Value) -> &[Value] {
    crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn version<'a>(crd: &'a Value, name: &str) -> Option<&'a Value> {
    versions(crd).iter().find(|version| text(version, "/name") == Some(name))
}

fn stored(crd: &Value) -> Option<&Value> {
    versions(crd).iter().find(|version| is(version, "storage"))
}

fn schema(version: &Value) -> &Value {
    version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn is(value: &Value, flag: &str) -> bool {
    value.get(flag) == Some(&Value::Bool(true))
}

/// Walks two schemas side by side.
struct Walk<'a> {
    crd: Option<&'a str>,
    version: &'a str,
    found: &'a mut Vec<Incompatibility>,
}

impl Walk<'_> {
    fn report(&mut self, path: Option<&str>, message: impl Into<String>) {
        let path = path.filter(|path| !path.is_empty()).map(str::to_owned);
        let (crd, version) = (self.crd.map(str::to_owned), Some(self.version.to_owned()));
        self.found.push(Incompatibility { crd, version, path, message: message.into() });
    }

    fn version(&mut self, old: &Value, new: &Value) {
        for name in ["status", "scale"] {
            let has = |version: &Value| version.pointer("/subresources").is_some_and(|all| all.get(name).is_some());
            if has(old) && !has(new) {
                self.report(None, format!("loses its subresource {name}"));
            }
        }
        self.schema("", schema(old), schema(new));
    }

    fn schema(&mut self, path: &str, old: &Value, new: &Value) {
        if let Some(message) = narrowed_type(old, new) {
            // The fields within a value of another type are not comparable.
            return self.report(Some(path), message);
        }
        if is(old, "nullable") && !is(new, "nullable") {
            self.report(Some(path), "may no longer be null");
        }
        for message in narrowed_value(old, new) {
            self.report(Some(path), message);
        }
        self.fields(path, old, new);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.schema(&format!("{path}[]"), old, new);
        }
    }

    fn fields(&mut self, path: &str, old: &Value, new: &Value) {
        let nested = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let (kept_before, kept) = (is(old, KEEPS_UNKNOWN), is(new, KEEPS_UNKNOWN));
        let any = Any::of(new);
        if kept_before && !kept && matches!(any, Any::None | Any::Of(_)) {
            self.report(Some(path), "no longer keeps fields that the schema does not know");
        }
        match (Any::of(old), any) {
            (Any::Of(old), Any::Of(new)) => self.schema(&nested("*"), old, new),
            (Any::All, Any::Of(new)) => self.schema(&nested("*"), &Value::Null, new),
            (Any::Of(_) | Any::All, Any::None) if !kept => self.report(Some(path), "no longer takes any key"),
            _ => {}
        }
        let nothing = Map::new();
        let (olds, news) = (properties(old).unwrap_or(&nothing), properties(new).unwrap_or(&nothing));
        for (name, old) in olds {
            match (news.get(name), any) {
                (Some(new), _) | (None, Any::Of(new)) => self.schema(&nested(name), old, new),
                (None, Any::None) if !kept && !kept_before => self.report(Some(&nested(name)), "is removed"),
                (None, Any::All | Any::None) => {}
            }
        }
        let was_required: Vec<&str> = required(old).collect();
        for name in required(new).filter(|name| !was_required.contains(name)) {
            if news.get(name).is_some_and(|new| new.get("default").is_some()) {
                continue;
            }
            let message = match olds.contains_key(name) {
                true => "is required from now on",
                false => "is new and required, and has no default",
            };
            self.report(Some(&nested(name)), message);
        }
    }
}

/// What the values of a map may be.
#[derive(Clone, Copy)]
enum Any<'a> {
    /// It is not a map.
    None,
    /// Anything.
    All,
    /// Values of this schema.
    Of(&'a Value),
}

impl<'a> Any<'a> {
    fn of(schema: &'a Value) -> Self {
        match schema.get("additionalProperties") {
            None | Some(Value::Bool(false) | Value::Null) => Self::None,
            Some(Value::Bool(true)) => Self::All,
            Some(schema) => Self::Of(schema),
        }
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The types that a value may have; empty if any.
fn types(schema: &Value) -> Vec<&str> {
    if is(schema, INT_OR_STRING) {
        return vec!["integer", "string"];
    }
    text(schema, "/type").into_iter().collect()
}

fn narrowed_type(old: &Value, new: &Value) -> Option<String> {
    let (olds, news) = (types(old), types(new));
    let takes = |name: &&str| news.contains(name) || *name == "integer" && news.contains(&"number");
    if news.is_empty() || !olds.is_empty() && olds.iter().all(takes) {
        return None;
    }
    let was = if olds.is_empty() { "of any type".to_owned() } else { olds.join(" or ") };
    Some(format!("must be {}, was {was}", news.join(" or ")))
}

/// Which values of the same type are no longer allowed.
fn narrowed_value(old: &Value, new: &Value) -> Vec<String> {
    let mut messages = Vec::new();
    let list = |schema: &Value, name: &str| schema.get(name).and_then(Value::as_array).cloned();
    match (list(old, "enum"), list(new, "enum")) {
        (Some(olds), Some(news)) => {
            let gone: Vec<Value> = olds.into_iter().filter(|value| !news.iter().any(|new| same(value, new))).collect();
            if !gone.is_empty() {
                messages.push(format!("no longer takes {}", all(&gone)));
            }
        }
        (None, Some(news)) => messages.push(format!("takes nothing but {} from now on", all(&news))),
        (_, None) => {}
    }
    messages.extend(
        ["maxLength", "maximum", "maxItems", "maxProperties"]
            .iter()
            .filter_map(|name| bound(old, new, name, "smaller", |old, new| new < old)),
    );
    messages.extend(
        ["minLength", "minimum", "minItems", "minProperties"]
            .iter()
            .filter_map(|name| bound(old, new, name, "larger", |old, new| new > old)),
    );
    messages.extend(bound(old, new, "multipleOf", "different", |old, new| old % new != 0.0));
    for (name, of) in [("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum")] {
        if is(new, name) && !is(old, name) && old.get(of).zip(new.get(of)).is_some_and(|(old, new)| same(old, new)) {
            messages.push(format!("may no longer equal its {of}"));
        }
    }
    for name in ["pattern", "format"] {
        match (old.get(name), new.get(name)) {
            (None, Some(new)) => messages.push(format!("gets the {name} {new}, had none")),
            (Some(old), Some(new)) if old != new && !is_wider_format(old, new) => {
                messages.push(format!("gets the {name} {new}, was {old}"))
            }
            _ => {}
        }
    }
    for name in ["allOf", "anyOf", "oneOf", "not"] {
        // By convention, int-or-string fields carry this anyOf, which adds nothing.
        let is_convention = name == "anyOf" && is(new, INT_OR_STRING);
        if !is_convention && new.get(name).is_some_and(|new| !old.get(name).is_some_and(|old| same(old, new))) {
            messages.push(format!("has other rules in {name}"));
        }
    }
    let rules = |schema: &Value| list(schema, VALIDATIONS).unwrap_or_default();
    let known = rules(old);
    let known = |rule: &str| known.iter().any(|known| text(known, "/rule") == Some(rule));
    let rules = rules(new);
    let added = rules.iter().filter_map(|rule| text(rule, "/rule")).filter(|rule| !known(rule));
    messages.extend(added.map(|rule| format!("gets the rule {rule:?}")));
    messages.extend(merged_otherwise(old, new));
    messages
}

/// Whether two values are equal. 9 and 9.0 are: an API server writes one and a generator the other. Integers are compared as integers,
/// since floating-point numbers are inexact beyond 2^53.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(key, one)| other.get(key).is_some_and(|other| same(one, other));
            one.len() == other.len() && one.iter().all(has)
        }
        _ => one == other,
    }
}

fn is_wider_format(old: &Value, new: &Value) -> bool {
    [("int32", "int64"), ("float", "double")].iter().any(|(narrow, wide)| old == narrow && new == wide)
}

fn bound(old: &Value, new: &Value, name: &str, word: &str, narrows: fn(f64, f64) -> bool) -> Option<String> {
    let (old, new) = (old.get(name), new.get(name)?);
    match old {
        None => Some(format!("gets a {name} of {new}, had none")),
        Some(old) if old.as_f64().zip(new.as_f64()).is_some_and(|(old, new)| narrows(old, new)) => {
            Some(format!("gets a {word} {name} of {new}, was {old}"))
        }
        Some(_) => None,
    }
}

/// Changes in how the API server merges what several managers apply, and in which list items must be unique.
fn merged_otherwise(old: &Value, new: &Value) -> Vec<String> {
    let mut messages = Vec::new();
    let is_list = |schema: &Value| text(schema, "/type") == Some("array");
    for (applies, key, name, default) in [
        (is_list(old) && is_list(new), "/x-kubernetes-list-type", "list", "atomic"),
        (!is_list(old) && !is_list(new), "/x-kubernetes-map-type", "map", "granular"),
    ] {
        let of = |schema| text(schema, key).unwrap_or(default);
        if applies && of(old) != of(new) {
            messages.push(format!("becomes a {name} of the type {}, was {}", of(new), of(old)));
        }
    }
    let keys = |schema: &Value| schema.get("x-kubernetes-list-map-keys").cloned();
    if let (Some(old), Some(new)) = (keys(old), keys(new))
        && old != new
    {
        messages.push(format!("gets the keys {new}, were {old}"));
    }
    messages
}

/// `"a", "b" and "c"`.
fn all(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests;
