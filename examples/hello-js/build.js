// Builds the component: node build.js WIT_FOLDER OUTPUT

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';

const [witPath, output] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: fileURLToPath(new URL('hello.js', import.meta.url)),
  witPath,
  worldName: 'plugin',
  // Without these features the component imports only the contract's log.
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile(output, component);
