import { mkdir, writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

const { component } = await componentize({
  sourcePath: 'component.js',
  witPath: '../../../wit',
  worldName: 'runtime',
  // Nothing of this is granted to a component anyway.
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await mkdir('../components', { recursive: true });
await writeFile('../components/awk.wasm', component);
