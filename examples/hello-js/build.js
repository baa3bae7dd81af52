// Makes the component: node build.js FOLDER_OF_THE_WIT OUTPUT

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';

const [witPath, output] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: fileURLToPath(new URL('hello.js', import.meta.url)),
  witPath,
  worldName: 'plugin',
  // Without all of them the component imports nothing but the contract's log.
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile(output, component);
