// Bundles app.jsx for a browser.
import { readFile } from 'node:fs/promises';
import { build } from 'esbuild';

const here = new URL('.', import.meta.url).pathname;

// Scenes asks at run time which of these names the running Grafana has: a missing one is undefined there, and here.
const compatible = {
  name: 'plugin-compat',
  setup({ onLoad }) {
    onLoad({ filter: /@grafana\/plugin-compat\/.*\.mjs$/ }, async ({ path }) => {
      let number = 0;
      const contents = (await readFile(path, 'utf8')).replaceAll(/import \{([^}]*)\} from ('@grafana\/runtime[^']*');/g, (_, names, from) => {
        const all = `runtime${number++}`;
        const each = names.split(',').map((name) => name.trim().split(' as '));
        return `import * as ${all} from ${from}; ${each.map(([name, local = name]) => `const ${local} = ${all}['${name}'];`).join(' ')}`;
      });
      return { contents, loader: 'js' };
    });
  },
};

export const bundled = (outdir, entry = 'app.jsx', platform = 'browser') =>
  build({
    absWorkingDir: here, // where aliases are looked up
    entryPoints: [`${here}${entry}`],
    bundle: true,
    write: false,
    outdir,
    format: 'iife',
    platform,
    logLevel: 'error',
    jsx: 'automatic',
    plugins: [compatible],
    alias: { 'react-custom-scrollbars-2': `${here}scrollbars.jsx`, 'react-router-dom-v5-compat': 'react-router-dom', '@grafana/assistant': `${here}assistant.jsx` },
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.ttf': 'dataurl', '.woff2': 'dataurl', '.svg': 'dataurl', '.png': 'dataurl' },
  });
