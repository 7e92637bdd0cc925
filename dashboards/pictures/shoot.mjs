// node shoot.mjs INPUT.json OUT.png: bundles app.jsx and photographs it in headless Chromium.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { build } from 'esbuild';
import puppeteer from 'puppeteer-core';

const [input, out] = process.argv.slice(2);
const here = new URL('.', import.meta.url).pathname;
const bundle = await build({
  entryPoints: [`${here}app.jsx`],
  bundle: true,
  write: false,
  outdir: dirname(input),
  format: 'iife',
  minify: true,
  logLevel: 'error',
  jsx: 'automatic',
  alias: { 'react-custom-scrollbars-2': `${here}scrollbars.jsx` },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.ttf': 'dataurl', '.woff2': 'dataurl', '.svg': 'dataurl', '.png': 'dataurl' },
});
const page = `${dirname(input)}/page.html`;
const json = readFileSync(input, 'utf8').replaceAll('<', '\\u003c');
const written = (kind) => bundle.outputFiles.filter(({ path }) => path.endsWith(kind)).map(({ text }) => text).join('\n');
const script = written('.js').replaceAll('</script', '<\\/script');
writeFileSync(page, `<!doctype html><meta charset="utf-8"><style>${written('.css')}</style><div id="root"></div><script>window.INPUT=${json}</script><script>${script}</script>`);

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  const tab = await browser.newPage();
  const errors = [];
  tab.on('pageerror', (error) => errors.push(String(error.stack ?? error)));
  await tab.setViewport({ width: 1440, height: 900 });
  await tab.goto(`file://${page}`);
  await tab.waitForSelector('#page', { timeout: 30000 }).catch(() => errors.push('nothing was drawn'));
  await tab.waitForNetworkIdle({ idleTime: 500 });
  if (errors.length) {
    throw new Error(errors.join('\n').slice(0, 3000));
  }
  const drawn = await tab.$('#page');
  const box = await drawn.boundingBox();
  await tab.setViewport({ width: 1440, height: Math.ceil(box.height) });
  await tab.evaluate(() => new Promise((done) => setTimeout(done, 500)));
  await tab.screenshot({ path: out, fullPage: true });
} finally {
  await browser.close();
}
