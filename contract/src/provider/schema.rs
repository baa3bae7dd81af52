//! Schemas of fields in the CRD of a Provider whose types say too little.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::field::{DNS_LABEL, DNS_LABEL_LENGTH};

/// Any object.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The namespaces of children: a node without a type, because it is a string or a list. The pattern applies to strings only, and
/// the rules for items to lists only; the host refuses anything else.
pub(super) fn child_namespaces(_: &mut SchemaGenerator) -> Schema {
    namespaces("^Parent$")
}

/// The namespaces of related objects.
pub(super) fn related_namespaces(_: &mut SchemaGenerator) -> Schema {
    namespaces("^(Parent|All)$")
}

fn namespaces(words: &str) -> Schema {
    json_schema!({
        "x-kubernetes-preserve-unknown-fields": true,
        "pattern": words,
        "minItems": 1,
        "maxItems": 256,
        "items": {"type": "string", "maxLength": DNS_LABEL_LENGTH, "pattern": DNS_LABEL},
    })
}

/// Conditions by the API conventions: a map by type, so that two writers can each own some.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
            },
        },
    })
}
