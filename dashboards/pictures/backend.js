// What the Go part of Grafana's Prometheus data source does: durations, the queries themselves, and answers as data frames.
// It is no copy: npm does not carry that part. Where it matters (an answer without series is a frame without fields, the step's
// rounding, the legend) it follows grafana/pkg/promlib.
const UNITS = { d: 86400000, h: 3600000, m: 60000, s: 1000, ms: 1 };
const milliseconds = (text) => {
  const [, number, unit] = /^([\d.]+)(ms|[dhms])$/.exec(text) ?? [];
  return Number(number) * UNITS[unit];
};
const duration = (ms) => (ms % 1000 ? `${ms}ms` : `${ms / 1000}s`);

const errors = [];
export const failures = () => errors;

async function asked(path, params) {
  const answer = await fetch(`/prometheus/api/v1/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(params),
  });
  const json = await answer.json();
  if (json.status !== 'success') {
    errors.push(`${params.query ?? path}: ${json.error}`);
    throw new Error(json.error);
  }
  return json.data;
}

const legend = (format, labels) => {
  if (!format || format === '__auto') {
    const { __name__: name = '', ...rest } = labels;
    const pairs = Object.keys(rest).sort().map((key) => `${key}="${rest[key]}"`);
    return pairs.length ? `${name}{${pairs.join(', ')}}` : name || 'Value';
  }
  const text = format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  return text === '' ? `{${Object.keys(labels).sort().map((key) => `${key}="${labels[key]}"`).join(', ')}}` : text;
};

const number = (text) => ({ NaN, '+Inf': Infinity, '-Inf': -Infinity })[text] ?? Number(text);

function frame(refId, query, resultType, step, { metric, values, value }) {
  const samples = values ?? [value];
  const name = legend(query.legendFormat, metric);
  return {
    name,
    refId,
    meta: { type: 'timeseries-multi', custom: { resultType } },
    fields: [
      { name: 'Time', type: 'time', config: { interval: step }, values: samples.map(([at]) => at * 1000) },
      {
        name: query.legendFormat === '__auto' && metric.__name__ ? metric.__name__ : 'Value',
        type: 'number',
        labels: metric,
        config: { displayNameFromDS: name },
        values: samples.map(([, text]) => number(text)),
      },
    ],
  };
}

// Of each step those that differ: two standard deviations apart, the highest first.
function sampled(points, step) {
  const mean = points.reduce((sum, { value }) => sum + value, 0) / points.length;
  const deviation = Math.sqrt(points.reduce((sum, { value }) => sum + (value - mean) ** 2, 0) / points.length);
  const buckets = Map.groupBy ? Map.groupBy(points, ({ at }) => Math.floor(at / step)) : points.reduce((all, one) => all.set(Math.floor(one.at / step), [...(all.get(Math.floor(one.at / step)) ?? []), one]), new Map());
  return [...buckets.values()].flatMap((bucket) => {
    const kept = [];
    for (const point of bucket.sort((a, b) => b.value - a.value)) {
      if (!kept.length || kept.at(-1).value - point.value >= 2 * deviation) {
        kept.push(point);
      }
    }
    return kept;
  });
}

function exemplars(refId, found, step) {
  const all = found.flatMap(({ seriesLabels, exemplars: these }) =>
    these.map(({ labels, value, timestamp }) => ({ at: timestamp * 1000, value: Number(value), labels: { ...seriesLabels, ...labels } }))
  );
  const points = sampled(all, step).sort((a, b) => a.at - b.at);
  const keys = [...new Set(points.flatMap(({ labels }) => Object.keys(labels)))];
  return {
    name: 'exemplar',
    refId,
    meta: { custom: { resultType: 'exemplar' } },
    fields: [
      { name: 'Time', type: 'time', config: {}, values: points.map(({ at }) => at) },
      { name: 'Value', type: 'number', config: {}, values: points.map(({ value }) => value) },
      ...keys.map((key) => ({ name: key, type: 'string', config: {}, values: points.map(({ labels }) => labels[key] ?? '') })),
    ],
  };
}

const STEPS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600].map((seconds) => seconds * 1000);
const rounded = (ms) => STEPS.find((step) => ms <= step * 1.25) ?? 3600000;

async function answered(query, from, to, scrape) {
  const least = milliseconds(query.interval || scrape);
  const step = Math.max(least, rounded((to - from) / (query.maxDataPoints ?? 1000)));
  const range = to - from;
  const every = Math.max(step + milliseconds(scrape), 4 * milliseconds(scrape));
  const expr = query.expr
    .replaceAll(/\$__rate_interval|\$\{__rate_interval\}/g, duration(every))
    .replaceAll(/\$__range_ms/g, String(range))
    .replaceAll(/\$__range_s/g, String(Math.round(range / 1000)))
    .replaceAll(/\$__range|\$\{__range\}/g, duration(Math.round(range / 1000) * 1000))
    .replaceAll(/\$__interval(?!_)|\$\{__interval\}/g, duration(step));
  const frames = [];
  if (query.range) {
    const start = Math.floor(from / step) * step;
    const data = await asked('query_range', { query: expr, start: start / 1000, end: Math.floor(to / step) * step / 1000, step: step / 1000 });
    frames.push(...data.result.map((one) => frame(query.refId, query, 'matrix', step, one)));
  }
  if (query.instant) {
    const data = await asked('query', { query: expr, time: to / 1000 });
    const found = data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
    frames.push(...found.map((one) => frame(query.refId, query, 'vector', step, one)));
  }
  if (query.exemplar) {
    const found = await asked('query_exemplars', { query: expr, start: from / 1000, end: to / 1000 });
    if (found.length) {
      frames.push(exemplars(query.refId, found, step));
    }
  }
  return frames.length ? frames : [{ refId: query.refId, fields: [], meta: { type: 'timeseries-multi' } }];
}

const schema = ({ fields, ...rest }) => ({
  schema: { ...rest, fields: fields.map(({ values: _, ...field }) => field) },
  data: {
    values: fields.map(({ values }) => values.map((value) => (typeof value === 'number' && !Number.isFinite(value) ? null : value))),
    entities: fields.map(({ values }) => {
      const where = (test) => values.flatMap((value, index) => (test(value) ? [index] : []));
      const found = { NaN: where(Number.isNaN), Inf: where((value) => value === Infinity), NegInf: where((value) => value === -Infinity) };
      return Object.values(found).some((list) => list.length) ? found : null;
    }),
  },
});

export async function fetched({ url, data, params, method }) {
  const scrape = window.INPUT.scrape;
  if (url.includes('/ds/query')) {
    const results = {};
    for (const query of data.queries) {
      try {
        results[query.refId] = { status: 200, frames: (await answered(query, Number(data.from), Number(data.to), scrape)).map(schema) };
      } catch (error) {
        results[query.refId] = { status: 400, error: String(error), frames: [] };
      }
    }
    return { data: { results }, status: 200, ok: true };
  }
  const path = /resources\/api\/v1\/(.*)/.exec(url)?.[1];
  if (path) {
    const [bare, search = ''] = path.split('?');
    const all = new URLSearchParams(search);
    for (const [key, value] of Object.entries({ ...params, ...(typeof data === 'object' ? data : {}) })) {
      (Array.isArray(value) ? value : [value]).forEach((one) => all.append(key, one));
    }
    const answer = await fetch(`/prometheus/api/v1/${bare}?${all}`);
    return { data: await answer.json(), status: answer.status, ok: answer.ok };
  }
  errors.push(`nobody answers ${method ?? 'GET'} ${url}`);
  throw new Error(`nobody answers ${url}`);
}
