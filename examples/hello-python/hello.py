"""A Greeting becomes a ConfigMap, as in examples/hello."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.provider import Failure
from wit_world.imports import log

GROUP = "hello-python.bartizan.dev"

# The spec. `kubectl explain greeting.spec` shows this schema, and the API server validates against it.
SPEC = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1, "description": "The name to greet."}},
}

# Provider and host each own some of the conditions, so the list must be a map by type.
CONDITION = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string"}},
    "x-kubernetes-preserve-unknown-fields": True,
}
CONDITIONS = {
    "type": "array",
    "items": CONDITION,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
STATUS = {"type": "object", "properties": {"conditions": CONDITIONS}}

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"greetings.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Greeting", "listKind": "GreetingList", "plural": "greetings", "singular": "greeting"},
        "versions": [{
            "name": "v1alpha1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {"spec": SPEC, "status": STATUS},
            }},
            "subresources": {"status": {}},
        }],
    },
}


def to_bytes(document: dict) -> bytes:
    """Payloads are JSON as bytes."""
    return json.dumps({"apiVersion": "provider.bartizan.dev/v1alpha1", **document}).encode()


class Provider(exports.Provider):
    """The interface `provider` of wit/provider.wit."""

    def describe(self) -> bytes:
        return to_bytes({
            "kind": "ProviderManifest",
            "name": "hello-python",
            "version": "0.1.0",
            "crds": [CRD],
            "children": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        })

    def reconcile(self, request: bytes) -> bytes:
        """Decides what should exist for one parent. An `Err` is the `failure` of the contract."""
        parent = json.loads(request)["parent"]
        name = parent.get("spec", {}).get("name")
        if not isinstance(name, str):
            raise Err(Failure("invalid", "is required", "spec.name", None))
        log.write(log.Level.DEBUG, f"greets {name}")
        metadata = parent["metadata"]
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "data": {"greeting": f"Hello, {name}!"},
        }
        return to_bytes({"kind": "ReconcileResponse", "children": [{"object": config_map}]})
