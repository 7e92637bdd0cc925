// One dashboard, from its JSON and what Prometheus answered: panels by Grafana's own components, in Grafana's grid.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  FieldColorModeId,
  FieldType,
  getDisplayValueAlignmentFactors,
  reduceField,
  renderMarkdown,
  ThemeContext,
  toDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import { heatmap } from './heatmap.js';

const CELL = 30; // pixels a row of Grafana's grid is high
const GAP = 8;
const { dashboard, answers, from, to } = window.INPUT;
const theme = createTheme({ colors: { mode: 'light' } });
const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
const WIDTH = document.documentElement.clientWidth - 2 * GAP;

const legend = (format, labels) =>
  !format || format === '__auto'
    ? Object.values(labels).join(' ') || 'Value'
    : format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '').trim();

// What Grafana's panel model does with a panel's field options before a component sees them.
function configured(frame, panel) {
  const { custom, links, ...defaults } = panel.fieldConfig.defaults;
  const steps = defaults.thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity }));
  for (const field of frame.fields) {
    const config = { color: { mode: FieldColorModeId.PaletteClassic }, ...defaults, ...field.config };
    config.thresholds = { ...defaults.thresholds, steps };
    config.custom = { drawStyle: 'line', lineInterpolation: 'linear', ...custom };
    for (const { matcher, properties } of panel.fieldConfig.overrides) {
      for (const { id, value } of matcher.options === field.name ? properties : []) {
        if (id.startsWith('custom.')) {
          config.custom[id.slice('custom.'.length)] = value;
        } else {
          config[id] = value;
        }
      }
    }
    field.config = field.type === FieldType.time ? {} : config;
  }
  return frame;
}

// All at once: a series' colour is its place among them.
function displayed(frames) {
  return applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults: {}, overrides: [] },
    theme,
    replaceVariables: (text) => text,
    timeZone: 'utc',
  });
}

function series(panel) {
  const frames = panel.targets.flatMap((target, index) =>
    (answers[panel.id][index] ?? []).map(({ metric, values }) =>
      configured(
        toDataFrame({
          fields: [
            { name: 'Time', type: FieldType.time, values: values.map(([at]) => at * 1000) },
            {
              name: 'Value',
              type: FieldType.number,
              labels: metric,
              config: { displayNameFromDS: legend(target.legendFormat, metric) },
              values: values.map(([, value]) => (value === 'NaN' ? null : Number(value))),
            },
          ],
        }),
        panel
      )
    )
  );
  return displayed(frames);
}

function Empty({ panel }) {
  const text = panel.fieldConfig?.defaults?.noValue ?? 'No data';
  return <div style={{ display: 'grid', placeItems: 'center', height: '100%', color: theme.colors.text.secondary }}>{text}</div>;
}

function Lines({ panel, width, height }) {
  const frames = series(panel);
  if (!frames.length) {
    return <Empty panel={panel} />;
  }
  return (
    <TimeSeries
      frames={frames}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      structureRev={1}
    />
  );
}

function Figure({ panel, width, height }) {
  const [frame] = series(panel);
  if (!frame) {
    return <Empty panel={panel} />;
  }
  const [time, field] = frame.fields;
  const last = reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull;
  const level = [...field.config.thresholds.steps].reverse().find(({ value }) => last >= value);
  const value = { ...field.display(last), title: '', color: theme.visualization.getColorByName(level.color) };
  const sparkline = { x: time, y: { ...field, config: { ...field.config, custom: { fillOpacity: 10, lineWidth: 1 } } }, timeRange };
  return (
    <BigValue
      width={width}
      height={height}
      value={value}
      sparkline={sparkline}
      colorMode={panel.options.colorMode}
      graphMode={panel.options.graphMode}
      justifyMode="auto"
      theme={theme}
      alignmentFactors={getDisplayValueAlignmentFactors([{ display: value }])}
    />
  );
}

// Grafana's transformations `merge` and `organize`, as far as these panels use them.
function Rows({ panel, width, height }) {
  const several = panel.targets.length > 1;
  const organize = panel.transformations.find(({ id }) => id === 'organize').options;
  const columns = Object.entries(organize.indexByName)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name);
  const rows = new Map();
  panel.targets.forEach((target, index) => {
    for (const { metric, value } of answers[panel.id][index] ?? []) {
      const labels = columns.filter((name) => !name.startsWith('Value')).map((name) => metric[name] ?? '');
      const key = JSON.stringify(labels);
      const row = rows.get(key) ?? { ...metric };
      row[several ? `Value #${target.refId}` : 'Value'] = value[1] === 'NaN' ? null : Number(value[1]);
      rows.set(key, row);
    }
  });
  if (!rows.size) {
    return <Empty panel={panel} />;
  }
  const first = columns.find((name) => name.startsWith('Value'));
  const sorted = [...rows.values()].sort((a, b) => (b[first] ?? 0) - (a[first] ?? 0));
  const frame = toDataFrame({
    fields: columns.map((name) => ({
      name: organize.renameByName[name],
      type: name.startsWith('Value') ? FieldType.number : FieldType.string,
      config: {},
      values: sorted.map((row) => row[name] ?? (name.startsWith('Value') ? null : '')),
    })),
  });
  return <Table data={displayed([configured(frame, panel)])[0]} width={width} height={height} cellHeight="sm" />;
}

function Heat({ panel, width, height }) {
  const ref = React.useRef(null);
  React.useEffect(() => heatmap(ref.current, answers[panel.id][0], { from, to, theme }), []);
  return <canvas ref={ref} width={width * 2} height={height * 2} style={{ width, height }} />;
}

function Prose({ panel }) {
  return <div className="markdown-html" style={{ padding: 8 }} dangerouslySetInnerHTML={{ __html: renderMarkdown(panel.options.content) }} />;
}

const KINDS = { timeseries: Lines, stat: Figure, table: Rows, heatmap: Heat, text: Prose };

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const width = (WIDTH * w) / 24 - GAP;
  const height = h * (CELL + GAP) - GAP;
  const Kind = KINDS[panel.type];
  const title = panel.type === 'heatmap' ? `${panel.title} (drawn by a stand-in)` : panel.title;
  return (
    <div style={{ position: 'absolute', left: GAP + (WIDTH * x) / 24, top: 48 + y * (CELL + GAP), width, height }}>
      <PanelChrome width={width} height={height} title={title} padding="md">
        {(innerWidth, innerHeight) => <Kind panel={panel} width={innerWidth} height={innerHeight} />}
      </PanelChrome>
    </div>
  );
}

function Page() {
  const rows = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div id="page" style={{ position: 'relative', height: 56 + rows * (CELL + GAP), background: theme.colors.background.canvas }}>
        <h2 style={{ padding: '10px 12px', margin: 0 }}>{dashboard.title}</h2>
        {dashboard.panels.map((panel) => (
          <Panel key={panel.id} panel={panel} />
        ))}
      </div>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')).render(<Page />);
