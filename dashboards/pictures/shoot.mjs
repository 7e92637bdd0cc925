// node shoot.mjs SPEC.json: draws dashboards in headless Chromium while their Prometheus runs.
// SPEC: {prometheus: URL, scrape: "15s", jsonData: of the data source, pictures: [{dashboard, from, to, mode, width, png, json}]};
// `json` gets every frame, text and link that Grafana's libraries made.
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import puppeteer from 'puppeteer-core';
import { bundled } from './build.mjs';

const spec = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { outputFiles } = await bundled('/out');
const written = (kind) => outputFiles.filter(({ path }) => path.endsWith(kind)).map(({ text }) => text).join('\n');
const [script, style] = [written('.js'), written('.css')];
let shown = {};
const page = () => `<!doctype html><meta charset="utf-8"><style>${style}</style><div id="root"></div>
<script>window.INPUT=${JSON.stringify(shown).replaceAll('<', '\\u003c')}</script><script src="/app.js"></script>`;

const server = createServer((asked, answer) => {
  if (asked.url.startsWith('/prometheus/')) {
    const on = request(spec.prometheus + asked.url.slice('/prometheus'.length), { method: asked.method, headers: { 'content-type': asked.headers['content-type'] ?? '' } }, (found) => {
      answer.writeHead(found.statusCode, { 'content-type': 'application/json' });
      found.pipe(answer);
    });
    on.on('error', () => answer.writeHead(502).end('{}'));
    asked.pipe(on);
    return;
  }
  const [type, body] = asked.url === '/app.js' ? ['text/javascript', script] : asked.url === '/' ? ['text/html', page()] : ['text/plain', ''];
  answer.writeHead(body ? 200 : 404, { 'content-type': `${type}; charset=utf-8` });
  answer.end(body);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${server.address().port}/`;

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--force-device-scale-factor=1'],
  protocolTimeout: 600000,
});
try {
  for (const { dashboard, png, json, ...rest } of spec.pictures) {
    shown = { scrape: spec.scrape, jsonData: spec.jsonData, dashboard: JSON.parse(readFileSync(dashboard, 'utf8')), ...rest };
    const tab = await browser.newPage();
    const errors = [];
    tab.on('pageerror', (error) => errors.push(String(error.stack ?? error)));
    if (process.env.DEBUG) tab.on('console', async (message) => { if (!/LoggerRegistry|404/.test(message.text())) { console.log(message.text(), ...(await Promise.all(message.args().map((one) => one.evaluate((it) => it?.stack ?? ''))))); } });
    await tab.setViewport({ width: rest.width + 16, height: 900 });
    // the page's clock stands at the end of the range, as on a dashboard of "now": texts such as "2 minutes ago" depend on it
    await tab.evaluateOnNewDocument((to) => { const [now, began] = [Date.now.bind(Date), Date.now()]; Date.now = () => to + now() - began; }, rest.to);
    await tab.goto(url, { timeout: 300000 }); // a busy machine
    await tab.waitForFunction(() => window.SCENE?.settled(), { timeout: 300000, polling: 500 }).catch(() => errors.push('the panels did not settle'));
    const height = await tab.evaluate(() => Math.ceil(document.querySelector('#page')?.getBoundingClientRect().height ?? 900));
    await tab.setViewport({ width: rest.width + 16, height });
    await new Promise((done) => setTimeout(done, 3000));
    const made = await tab.evaluate(() => ({ panels: window.SCENE?.panels(), variables: window.SCENE?.variables(), layers: window.SCENE?.layers(), failures: window.SCENE?.failures() }));
    errors.push(...(made.failures ?? []));
    if (json) {
      writeFileSync(json, JSON.stringify(made, null, 1));
    }
    if (png) {
      await tab.screenshot({ path: png, ...(rest.height ? { clip: { x: 0, y: 0, width: rest.width + 16, height: rest.height } } : { fullPage: true }) });
    }
    await tab.close();
    if (errors.length) {
      throw new Error(`${dashboard}:\n${errors.join('\n').slice(0, 4000)}`);
    }
    console.log(png ?? json);
  }
} finally {
  await browser.close();
  server.close();
}
