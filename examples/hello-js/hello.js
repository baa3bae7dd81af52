// A Greeting becomes a ConfigMap, as in examples/hello.

import { write } from 'bartizan:provider/log@0.1.0';

const GROUP = 'hello-js.bartizan.dev';

// The spec. `kubectl explain greeting.spec` shows this schema, and the API server validates against it.
const spec = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string', minLength: 1, description: 'The name to greet.' } },
};

// Provider and host each own some of the conditions, so the list must be a map by type.
const condition = {
  type: 'object',
  required: ['type'],
  properties: { type: { type: 'string' } },
  'x-kubernetes-preserve-unknown-fields': true,
};
const conditions = {
  type: 'array',
  items: condition,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
};
const status = { type: 'object', properties: { conditions } };

const crd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `greetings.${GROUP}` },
  spec: {
    group: GROUP,
    scope: 'Namespaced',
    names: { kind: 'Greeting', listKind: 'GreetingList', plural: 'greetings', singular: 'greeting' },
    versions: [{
      name: 'v1alpha1',
      served: true,
      storage: true,
      schema: { openAPIV3Schema: { type: 'object', required: ['spec'], properties: { spec, status } } },
      subresources: { status: {} },
    }],
  },
};

// Payloads are JSON as bytes.
const toBytes = (document) =>
  new TextEncoder().encode(JSON.stringify({ apiVersion: 'provider.bartizan.dev/v1alpha1', ...document }));
const fromBytes = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

// The interface `provider` of wit/provider.wit.
export const provider = {
  describe() {
    return toBytes({
      kind: 'ProviderManifest',
      name: 'hello-js',
      version: '0.1.0',
      crds: [crd],
      children: [{ apiVersion: 'v1', kind: 'ConfigMap' }],
    });
  },

  // Decides what should exist for one parent. A thrown object is the `failure` of the contract.
  reconcile(request) {
    const { parent } = fromBytes(request);
    const name = parent.spec?.name;
    if (typeof name !== 'string') {
      throw { code: 'invalid', message: 'is required', field: 'spec.name' };
    }
    write('debug', `greets ${name}`);
    const { name: configMap, namespace } = parent.metadata;
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: configMap, namespace },
      data: { greeting: `Hello, ${name}!` },
    };
    return toBytes({ kind: 'ReconcileResponse', children: [{ object }] });
  },
};
